//! Masks of a sample, and labels from masks.

use cache::Labels;
use common::Mask;
use imaging::preprocess::Slicing;
use imaging::read::{Reader, SampleBudget, Volume, is_jpeg};

use super::{Part, PreparedSample, SampleError};
use crate::Error;
use crate::dataset::{IGNORED, Sample, SampleOddities, examples};

/// Reads the parts of a sample's mask and cuts them like the image, which is not cut yet.
pub(super) fn open(
    reader: &Reader,
    budget: &SampleBudget,
    sample: &Sample,
    image: &Volume,
    slicing: Slicing,
) -> Result<(Vec<Part>, SampleOddities), Error> {
    let mut shift_mm: Option<f64> = None;
    let mut parts = Vec::with_capacity(sample.mask.len());
    for part in &sample.mask {
        let labels = reader.labels_in(budget, &part.source)?;
        if let Some(mm) = labels.shift_mm(image) {
            shift_mm = Some(shift_mm.map_or(mm, |most| most.max(mm)));
        }
        parts.push((
            super::cut(labels.placed_as(image)?, slicing, budget)?,
            part.value,
        ));
    }
    let oddities = SampleOddities {
        shift_mm,
        ..SampleOddities::default()
    };
    Ok((parts, oddities))
}

impl PreparedSample<'_> {
    /// Labels of all slices together. If they come from masks, a class is present if it is in any slice,
    /// else unknown if it is unknown in any slice.
    ///
    /// # Errors
    ///
    /// As [`slice`](Self::slice).
    pub fn sample_labels(&self) -> Result<Labels, Error> {
        if !self.dataset.labels_from_mask {
            return Ok(self.sample.labels.clone());
        }
        let of_slice = |k| Ok(self.labels(self.mask(k)?.as_ref()));
        let labels: Vec<Labels> = self.slices().map(of_slice).collect::<Result<_, Error>>()?;
        Ok(labels
            .into_iter()
            .reduce(joined)
            .unwrap_or_else(|| self.sample.labels.clone()))
    }

    /// Label map of slice `k`: later parts on top of earlier ones, ignored values as [`IGNORED`].
    pub(super) fn mask(&self, k: usize) -> Result<Option<Mask>, Error> {
        let mut whole: Option<Mask> = None;
        for (volume, value) in &self.mask {
            let mut part = volume.label_plane(k)?;
            if let Some(value) = *value {
                part.mapv_inplace(|label| if label > 0 { value } else { 0 });
            }
            match &mut whole {
                None => whole = Some(part),
                Some(whole) => whole.zip_mut_with(&part, |below, &label| {
                    if label > 0 {
                        *below = label;
                    }
                }),
            }
        }
        if let Some(whole) = &mut whole
            && !self.ignored.is_empty()
        {
            whole.mapv_inplace(|value| match self.ignored.binary_search(&value) {
                Ok(_) => IGNORED,
                Err(_) => value,
            });
        }
        Ok(whole)
    }

    /// Labels of the sample, or if they come from masks, those of this view's mask. An absent class is
    /// unknown if there are ignored pixels.
    pub(super) fn labels(&self, mask: Option<&Mask>) -> Labels {
        let Some(mask) = mask.filter(|_| self.dataset.labels_from_mask) else {
            return self.sample.labels.clone();
        };
        let present = values_in(mask);
        let ignored = self.dataset.ignored_mask_value();
        let is_partial = ignored.is_some_and(|value| present[usize::from(value)]);
        let states = self.dataset.mask_classes.iter().map(|class| {
            let is_present = present[usize::from(class.value)];
            (is_present || !is_partial).then_some(i8::from(is_present))
        });
        Labels::Multi(states.collect())
    }

    pub(super) fn check_mask_shapes(&self) -> Result<(), Error> {
        let shape = |v: &Volume, k: usize| {
            let [_, height, width] = v.shape(k);
            [v.slices(), height, width]
        };
        for (mask, _) in &self.mask {
            for k in self.slices() {
                let k_found = k.min(mask.slices() - 1);
                let (found, expected) = (shape(mask, k_found), shape(&self.image, k));
                if found != expected {
                    let path = mask.path().to_path_buf();
                    return Err(SampleError::MaskShape {
                        path,
                        found,
                        expected,
                    }
                    .into());
                }
            }
        }
        Ok(())
    }

    /// Checks that masks of single structures hold 0 and one other value.
    pub(super) fn check_binary(&self) -> Result<(), Error> {
        for (part, _) in self.mask.iter().filter(|(_, value)| value.is_some()) {
            let mut first = 0;
            for k in self.slices() {
                let labels = part.label_plane(k)?;
                let mut values = labels.iter().copied().filter(|value| *value > 0);
                if first == 0 {
                    first = values.clone().next().unwrap_or(0);
                }
                if let Some(other) = values.find(|value| *value != first) {
                    return Err(SampleError::NotBinary {
                        path: part.path().to_path_buf(),
                        values: format!("{first} and {other}"),
                    }
                    .into());
                }
            }
        }
        Ok(())
    }

    /// Checks all labels, and finds those that are ignored.
    pub(super) fn check_labels(&mut self) -> Result<(), Error> {
        let mut is_present = vec![false; usize::from(u16::MAX) + 1];
        for k in self.slices() {
            for &value in self.mask(k)?.iter().flatten() {
                is_present[usize::from(value)] = true;
            }
        }
        let values: Vec<u16> = (0..=u16::MAX)
            .filter(|value| is_present[usize::from(*value)])
            .collect();
        self.check_lossless(values.len())?;
        let dataset = self.dataset;
        let classes = &dataset.mask_classes;
        let is_ignored = |value: &u16| dataset.ignored_values.contains(value);
        let has_class = |value: &u16| *value == 0 || classes.iter().any(|c| c.value == *value);
        let unnamed: Vec<u16> = values
            .iter()
            .filter(|value| !classes.is_empty() && !has_class(value) && !is_ignored(value))
            .copied()
            .collect();
        if !unnamed.is_empty() && !dataset.ignore_unnamed {
            let values: Vec<String> = unnamed.iter().map(u16::to_string).collect();
            return Err(SampleError::UnnamedLabels {
                path: self.mask[0].0.path().to_path_buf(),
                values: examples(&values),
            }
            .into());
        }
        self.ignored = values
            .into_iter()
            .filter(|value| is_ignored(value) || unnamed.contains(value))
            .collect();
        self.oddities.unnamed = unnamed;
        Ok(())
    }

    /// Refuses label maps of more than two values in a JPEG, since compression makes values between labels.
    fn check_lossless(&self, values: usize) -> Result<(), Error> {
        let [(mask, None)] = &self.mask[..] else {
            return Ok(());
        };
        if values <= 2 || self.dataset.ignore_unnamed || !is_jpeg(mask.path()) {
            return Ok(());
        }
        let path = mask.path().to_path_buf();
        Err(SampleError::LossyMask { path, values }.into())
    }
}

/// For each value, whether a mask holds it.
fn values_in(mask: &Mask) -> Vec<bool> {
    let mut is_present = vec![false; usize::from(u16::MAX) + 1];
    for &value in mask {
        is_present[usize::from(value)] = true;
    }
    is_present
}

/// Labels of two slices together.
fn joined(first: Labels, second: Labels) -> Labels {
    let state = |pair: (Option<i8>, Option<i8>)| match pair {
        (Some(1), _) | (_, Some(1)) => Some(1),
        (first, second) => first.and(second),
    };
    match (first, second) {
        (Labels::Multi(first), Labels::Multi(second)) => {
            Labels::Multi(first.into_iter().zip(second).map(state).collect())
        }
        (first, _) => first,
    }
}
