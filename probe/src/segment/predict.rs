//! Label maps that a decoder predicts, and their comparison with the masks.

use std::sync::{Mutex, PoisonError};

use nn::{Decoder, Workspace};
use rayon::prelude::*;

use super::cases::Cases;
use super::resolution::Resolution;
use super::stack::Stack;
use super::volume::Volume;
use crate::Error;
use crate::metrics::overlap::Confusion;
use crate::progress::Count;
use crate::stream::{Order, Stream};

/// A decoder and the slices of a cache.
pub(super) struct Predictor<'a> {
    pub(super) decoder: &'a Decoder,
    pub(super) workspace: &'a mut Workspace,
    pub(super) stream: &'a Stream,
    pub(super) cases: &'a Cases,
    /// Counts the slices that are done.
    pub(super) count: Option<&'a Count<'a>>,
}

impl Predictor<'_> {
    /// Predicts the classes of some rows, in the order of the cache. `size` is the height and width of
    /// the label map of a row; `consume` takes the row and its classes `[H, W]`.
    pub(super) fn predict(
        &mut self,
        rows: &[usize],
        size: impl Fn(usize) -> [usize; 2] + Sync,
        mut consume: impl FnMut(usize, Vec<u16>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let classes = self.decoder.shape().classes;
        // Memory of many classes that is allocated for each slice costs as much time as the logits.
        let spare: Mutex<Vec<Vec<f32>>> = Mutex::default();
        let spare = || spare.lock().unwrap_or_else(PoisonError::into_inner);
        self.stream.pass(rows, Order::Stored, |batch| {
            let tokens: Vec<&[f32]> = batch.tokens.iter().map(Vec::as_slice).collect();
            let count = batch.rows.len();
            let maps = self.decoder.maps(self.workspace, &tokens, count)?;
            let images = batch.rows.par_iter().enumerate();
            let labels = images.map(|(image, &row)| {
                let [height, width] = size(row);
                let mut logits = spare().pop().unwrap_or_default();
                logits.resize(classes * height * width, 0.0);
                maps.logits(image, (height, width), &mut logits)?;
                let labels = highest(&logits, height * width);
                spare().push(logits);
                Ok(labels)
            });
            let labels = labels.collect::<Result<Vec<_>, Error>>()?;
            for (&row, labels) in batch.rows.iter().zip(labels) {
                consume(row, labels)?;
                if let Some(count) = self.count {
                    count.add(1);
                }
            }
            Ok(())
        })
    }

    /// Predicts some rows, and compares those that have masks. At native resolution, `each` takes the
    /// label maps of each sample.
    pub(super) fn measure(
        &mut self,
        rows: &[usize],
        resolution: Resolution,
        each: impl FnMut(&Stack) -> Result<(), Error>,
    ) -> Result<Vec<Volume>, Error> {
        let shape = self.decoder.shape();
        compare(
            self.cases,
            (shape.classes, shape.size),
            resolution,
            each,
            |size, consume| self.predict(rows, size, consume),
        )
    }
}

/// Takes the row and the predicted classes `[H, W]` of a slice.
type Consume<'a> = dyn FnMut(usize, Vec<u16>) -> Result<(), Error> + 'a;

/// Compares the label maps that `predict` gives with the masks. `predict` takes the height and width of the label
/// map of a row, and what takes the maps, in the order of the cache; `shape` is the number of classes and the side of the
/// input. At native resolution, `each` takes the label maps of each sample.
pub(super) fn compare(
    cases: &Cases,
    (classes, side): (usize, usize),
    resolution: Resolution,
    each: impl FnMut(&Stack) -> Result<(), Error>,
    predict: impl FnOnce(&(dyn Fn(usize) -> [usize; 2] + Sync), &mut Consume<'_>) -> Result<(), Error>,
) -> Result<Vec<Volume>, Error> {
    let mut collector = Collector {
        cases,
        classes,
        volumes: Vec::new(),
        stack: Stack::default(),
        each,
    };
    match resolution {
        Resolution::Native => {
            let size = |row: usize| {
                let slice = &cases.slices[row];
                [slice.height as usize, slice.width as usize]
            };
            predict(&size, &mut |row, predicted| {
                let truth = cases.classes(row);
                collector.add(row, &truth, &predicted)?;
                collector.stack.push(row, size(row), &truth, &predicted);
                Ok(())
            })?;
        }
        Resolution::Input => predict(&|_| [side; 2], &mut |row, predicted| {
            let truth = if cases.has_mask(row) {
                cases.squares(&[row], side)
            } else {
                Vec::new()
            };
            collector.add(row, &truth, &predicted)
        })?,
    }
    collector.close()?;
    Ok(collector.volumes)
}

/// Collects slices to volumes.
struct Collector<'a, F> {
    cases: &'a Cases,
    classes: usize,
    volumes: Vec<Volume>,
    /// The slices of the last volume, at native resolution.
    stack: Stack,
    /// Takes the slices of a volume that is complete.
    each: F,
}

impl<F: FnMut(&Stack) -> Result<(), Error>> Collector<'_, F> {
    /// Counts the pixels of a slice; `truth` is empty if it has no mask.
    fn add(&mut self, row: usize, truth: &[u16], predicted: &[u16]) -> Result<(), Error> {
        let slice = &self.cases.slices[row];
        let is_next = |last: &Volume| last.sample == slice.sample;
        if !self.volumes.last().is_some_and(is_next) {
            self.close()?;
            self.volumes.push(Volume {
                sample: slice.sample.clone(),
                patient: slice.patient.clone(),
                counts: Confusion::new(self.classes),
                distances: None,
            });
        }
        if let Some(volume) = self.volumes.last_mut()
            && !truth.is_empty()
        {
            volume.counts.add(truth, predicted);
        }
        Ok(())
    }

    /// Completes the last volume.
    fn close(&mut self) -> Result<(), Error> {
        let stack = std::mem::take(&mut self.stack);
        let (Some(volume), Some(&first)) = (self.volumes.last_mut(), stack.rows.first()) else {
            return Ok(());
        };
        let slices = &self.cases.slices;
        // Across a gap, distances are not known.
        let is_contiguous = stack
            .rows
            .windows(2)
            .all(|rows| slices[rows[1]].slice == slices[rows[0]].slice + 1);
        let spacing_mm = slices[first].spacing_mm.filter(|_| is_contiguous);
        volume.distances = stack.distances(self.classes, spacing_mm);
        (self.each)(&stack)
    }
}

/// The class of the highest logit at each pixel, the first of equal ones; `logits` are `[C, pixels]`.
fn highest(logits: &[f32], pixels: usize) -> Vec<u16> {
    let mut labels = vec![0; pixels];
    let Some((first, others)) = logits.split_at_checked(pixels) else {
        return labels;
    };
    let mut best = first.to_vec();
    for (class, logits) in (1..).zip(others.chunks_exact(pixels.max(1))) {
        for ((best, label), &logit) in best.iter_mut().zip(&mut labels).zip(logits) {
            if logit > *best {
                (*best, *label) = (logit, class);
            }
        }
    }
    labels
}
