//! Label maps that a decoder predicts.

use nn::{Decoder, Workspace};
use rayon::prelude::*;

use super::cases::Cases;
use super::stream::{Order, Stream};
use super::volumes::{Stack, Volume};
use crate::Error;
use crate::metrics::overlap::Confusion;

/// The size at which label maps are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resolution {
    /// The backbone's input, as in the study.
    Input,
    /// Each slice's own height and width.
    Native,
}

/// Predicts the classes of some rows, in the order of the cache: hands the row and its classes `[H, W]`,
/// of the size that `size` says, to `consume`.
pub(super) fn predict(
    decoder: &Decoder,
    workspace: &mut Workspace,
    stream: &Stream,
    rows: &[usize],
    size: impl Fn(usize) -> [usize; 2] + Sync,
    mut consume: impl FnMut(usize, Vec<u16>) -> Result<(), Error>,
) -> Result<(), Error> {
    let classes = decoder.shape().classes;
    stream.pass(rows, Order::Stored, |batch| {
        let tokens: Vec<&[f32]> = batch.tokens.iter().map(Vec::as_slice).collect();
        let maps = decoder.maps(workspace, &tokens, batch.rows.len())?;
        let images = batch.rows.par_iter().enumerate();
        let labels = images.map(|(image, &row)| {
            let [height, width] = size(row);
            let mut logits = vec![0.0; classes * height * width];
            maps.logits(image, (height, width), &mut logits)?;
            Ok(highest(&logits, height * width))
        });
        let labels = labels.collect::<Result<Vec<_>, Error>>()?;
        let mut all = batch.rows.iter().zip(labels);
        all.try_for_each(|(&row, labels)| consume(row, labels))
    })
}

/// Predicts some rows, and measures those that have masks. At native resolution, hands the label maps
/// of each sample to `each`.
pub(super) fn measure(
    decoder: &Decoder,
    workspace: &mut Workspace,
    stream: &Stream,
    cases: &Cases,
    rows: &[usize],
    resolution: Resolution,
    mut each: impl FnMut(&Stack) -> Result<(), Error>,
) -> Result<Vec<Volume>, Error> {
    let (side, classes) = (decoder.shape().size, decoder.shape().classes);
    let is_native = resolution == Resolution::Native;
    let size = |row: usize| {
        let slice = &cases.slices[row];
        if is_native {
            [slice.height as usize, slice.width as usize]
        } else {
            [side; 2]
        }
    };
    let mut volumes: Vec<Volume> = Vec::new();
    let mut stack = Stack::default();
    let mut close = |volumes: &mut Vec<Volume>, stack: &mut Stack| {
        let stack = std::mem::take(stack);
        let (Some(volume), Some(&first)) = (volumes.last_mut(), stack.rows.first()) else {
            return Ok(());
        };
        let is_next = |rows: &[usize]| {
            let [before, slice] = [rows[0], rows[1]].map(|row| cases.slices[row].slice);
            slice == before + 1
        };
        // Across a gap distances are not known.
        let spacing_mm = cases.slices[first].spacing_mm;
        let spacing_mm = spacing_mm.filter(|_| stack.rows.windows(2).all(is_next));
        volume.distances = stack.distances(classes, spacing_mm);
        each(&stack)
    };
    predict(decoder, workspace, stream, rows, size, |row, predicted| {
        let slice = &cases.slices[row];
        let truth = match (cases.masks[row].is_some(), is_native) {
            (false, _) => Vec::new(),
            (true, true) => cases.classes(row),
            (true, false) => cases.squares(&[row], side),
        };
        if volumes
            .last()
            .is_none_or(|last| last.sample != slice.sample)
        {
            close(&mut volumes, &mut stack)?;
            volumes.push(Volume {
                sample: slice.sample.clone(),
                patient: slice.patient.clone(),
                counts: Confusion::new(classes),
                distances: None,
            });
        }
        if let Some(volume) = volumes.last_mut().filter(|_| !truth.is_empty()) {
            volume.counts.add(&truth, &predicted);
        }
        if is_native {
            stack.push(row, size(row), &truth, &predicted);
        }
        Ok(())
    })?;
    close(&mut volumes, &mut stack)?;
    Ok(volumes)
}

/// The class of the highest logit at each pixel, of equal ones the first; `logits` are `[C, pixels]`.
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
