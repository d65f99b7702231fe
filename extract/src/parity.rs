//! The parity gate: a comparison of a device's tokens with those of the CPU in f32.

use cache::{PatchTokens, TokenBatch};
use imaging::preprocess::Preprocess;
use imaging::read::Reader;
use ndarray::{Array4, ArrayView2, Axis, Dimension, concatenate};
use serde::Serialize;

use crate::ModelError;
use crate::backbone::{Backbone, SliceBatch};
use crate::dataset::Dataset;
use crate::prepare;

/// A channel is massive if its root mean square is at least this multiple of the median channel's. Trained
/// transformers have a few massive channels (Sun et al. 2024), which dominate the cosine and hide errors of
/// the other channels.
const MASSIVE: f64 = 10.0;

/// The difference between the tokens of two computations.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Parity {
    /// Number of compared slices.
    pub slices: usize,
    /// Minimum cosine similarity of two tokens.
    pub cosine_min: f64,
    /// Root mean square of the differences, relative to that of the reference, without massive channels:
    /// the maximum over layers and kinds of tokens.
    pub relative_rms: f64,
    /// Largest number of massive channels in a layer.
    pub massive_channels: usize,
}

impl Parity {
    /// Compares tokens of the same slices.
    pub fn of(reference: &TokenBatch, found: &TokenBatch) -> Parity {
        let mut parity = Parity {
            slices: reference.cls.first().map_or(0, |cls| cls.len_of(Axis(0))),
            cosine_min: 1.0,
            relative_rms: 0.0,
            massive_channels: 0,
        };
        parity.compare(&reference.cls, &found.cls);
        parity.compare(&reference.mean, &found.mean);
        let patches = reference.patch.iter().zip(&found.patch);
        for (reference, found) in patches {
            parity.compare(&[reference.to_f32()], &[found.to_f32()]);
        }
        parity
    }

    fn compare<D: Dimension>(
        &mut self,
        reference: &[ndarray::Array<f32, D>],
        found: &[ndarray::Array<f32, D>],
    ) {
        for (reference, found) in reference.iter().zip(found) {
            let width = reference.shape().last().copied().unwrap_or(1).max(1);
            let rows = |array: &ndarray::Array<f32, D>| {
                let values = array.iter().map(|&value| f64::from(value));
                let values: Vec<f64> = values.collect();
                ndarray::Array2::from_shape_vec((values.len() / width, width), values)
            };
            if let (Ok(reference), Ok(found)) = (rows(reference), rows(found)) {
                self.add(reference.view(), found.view());
            }
        }
    }

    fn add(&mut self, reference: ArrayView2<'_, f64>, found: ArrayView2<'_, f64>) {
        let rows = reference.outer_iter().zip(found.outer_iter());
        let cosines = rows.map(|(a, b)| {
            let cosine = a.dot(&b) / (a.dot(&a) * b.dot(&b)).sqrt();
            if !cosine.is_nan() {
                cosine
            } else if a == b {
                // Both zero, as tokens after a ReLU may be.
                1.0
            } else {
                -1.0
            }
        });
        self.cosine_min = cosines.fold(self.cosine_min, f64::min);
        let energy = |x: ArrayView2<'_, f64>| x.map_axis(Axis(0), |column| column.dot(&column));
        let own = energy(reference);
        let off = energy((&found - &reference).view());
        let mut sorted = own.to_vec();
        sorted.sort_by(f64::total_cmp);
        let most = MASSIVE * MASSIVE * sorted.get(sorted.len() / 2).copied().unwrap_or(0.0);
        let plain = own.iter().zip(&off).filter(|(own, _)| **own <= most);
        let (own_sum, off_sum) =
            plain.fold((0.0, 0.0), |sums, (own, off)| (sums.0 + own, sums.1 + off));
        let massive = own.iter().filter(|own| **own > most).count();
        self.massive_channels = self.massive_channels.max(massive);
        if own_sum > 0.0 {
            let rms = (off_sum / own_sum).sqrt();
            // `max` ignores NaN.
            let rms = if rms.is_nan() { f64::INFINITY } else { rms };
            self.relative_rms = self.relative_rms.max(rms);
        }
    }

    /// Checks the minimum cosine similarity.
    ///
    /// # Errors
    ///
    /// [`ModelError::Parity`] if it is below `bound`.
    pub fn check(&self, bound: f64) -> Result<(), ModelError> {
        if self.cosine_min >= bound {
            Ok(())
        } else {
            Err(ModelError::Parity {
                slices: self.slices,
                cosine: self.cosine_min,
                bound,
                relative_rms: self.relative_rms,
            })
        }
    }
}

/// Up to `count` slices to compare, `[count, 3, S, S]`: the middle slices of samples spread evenly over the
/// dataset, without samples that cannot be read. `None` if there is no slice.
pub fn slices(dataset: &Dataset, recipe: &Preprocess, count: usize) -> Option<Array4<f32>> {
    let samples = dataset.samples.len();
    let count = count.min(samples);
    let reader = Reader::new(&dataset.root);
    let middle = |k: usize| {
        let sample = &dataset.samples[k * samples / count];
        let sample = prepare::open(&reader, k, dataset, sample, recipe).ok()?;
        let slices = sample.slices();
        let slice = sample.slice(slices.start + slices.len() / 2, 0).ok()?;
        Some(slice.pixels.insert_axis(Axis(0)))
    };
    let pixels: Vec<_> = (0..count).filter_map(middle).collect();
    let views: Vec<_> = pixels.iter().map(|pixels| pixels.view()).collect();
    concatenate(Axis(0), &views).ok()
}

/// True if no token contains NaN or infinity.
pub fn is_finite(tokens: &TokenBatch) -> bool {
    let finite = |value: &f32| value.is_finite();
    let rows = tokens.cls.iter().chain(&tokens.mean);
    let patches = tokens.patch.iter().map(PatchTokens::to_f32);
    rows.flatten().all(finite) && patches.flatten().all(f32::is_finite)
}

/// The tokens of slices.
///
/// # Errors
///
/// The errors of [`Backbone::embed`].
pub fn tokens(backbone: &mut Backbone, pixels: &Array4<f32>) -> Result<TokenBatch, ModelError> {
    backbone.embed(SliceBatch {
        pixels: pixels.clone(),
        slices: Vec::new(),
        masks: Vec::new(),
        pictures: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;

    fn batch(cls: Array2<f32>) -> TokenBatch {
        TokenBatch {
            cls: vec![cls],
            mean: Vec::new(),
            patch: Vec::new(),
            slices: Vec::new(),
            masks: Vec::new(),
            pictures: Vec::new(),
        }
    }

    #[test]
    fn a_massive_channel_hides_an_error_from_the_cosine_but_not_from_relative_rms() {
        let mut reference = Array2::from_shape_fn((3, 64), |(r, c)| ((r + 3 * c) % 7) as f32 - 3.0);
        let mut found = reference.mapv(|value| value * 1.5);
        reference.column_mut(5).fill(1000.0);
        found.column_mut(5).fill(1000.0);
        let parity = Parity::of(&batch(reference), &batch(found));
        assert_eq!((parity.slices, parity.massive_channels), (3, 1));
        assert!(parity.cosine_min > 0.9998, "{parity:?}");
        assert!((parity.relative_rms - 0.5).abs() < 1e-6, "{parity:?}");
    }

    #[test]
    fn a_cosine_below_the_bound_or_nan_is_refused() {
        let reference = batch(Array2::from_elem((2, 4), 1.0));
        let mut wrong = Array2::from_elem((2, 4), 1.0);
        wrong[[1, 2]] = -1.0;
        let parity = Parity::of(&reference, &batch(wrong));
        assert!((parity.cosine_min - 0.5).abs() < 1e-9);
        parity.check(0.5).unwrap();
        parity.check(0.51).unwrap_err();
        let nan = Parity::of(&reference, &batch(Array2::from_elem((2, 4), f32::NAN)));
        nan.check(0.0).unwrap_err();
        assert_eq!(nan.relative_rms, f64::INFINITY);
        let zeros = batch(Array2::zeros((2, 4)));
        Parity::of(&zeros, &zeros).check(1.0).unwrap();
        Parity::of(&zeros, &reference).check(0.0).unwrap_err();
    }
}
