//! Batches of slices, and concatenation of the tokens of their parts.

use std::path::PathBuf;
use std::sync::Arc;

use cache::{SliceMeta, TokenBatch};
use common::{Mask, Picture};
use ndarray::{Array2, Array4, Axis, concatenate};

use super::binding::{Bindings, Bound};
use super::run_error;
use crate::ModelError;

/// Slices for the backbone.
#[derive(Debug)]
pub struct SliceBatch {
    /// `[B, 3, S, S]`, normalised as the model card says.
    pub pixels: Array4<f32>,
    /// `B` rows.
    pub slices: Vec<SliceMeta>,
    /// One per slice; empty if the dataset has no masks.
    pub masks: Vec<Option<Mask>>,
    /// One per slice; empty if no pictures are kept.
    pub pictures: Vec<Picture>,
}

/// A batch whose pixels are on the GPUs, if there are any.
pub struct LoadedBatch {
    pub(super) pixels: Pixels,
    pub(super) slices: Vec<SliceMeta>,
    pub(super) masks: Vec<Option<Mask>>,
    pub(super) pictures: Vec<Picture>,
}

impl LoadedBatch {
    /// Number of slices.
    pub fn slices(&self) -> usize {
        self.slices.len()
    }
}

impl From<SliceBatch> for LoadedBatch {
    fn from(batch: SliceBatch) -> LoadedBatch {
        LoadedBatch {
            pixels: Pixels::InMemory(batch.pixels),
            slices: batch.slices,
            masks: batch.masks,
            pictures: batch.pictures,
        }
    }
}

pub(super) enum Pixels {
    InMemory(Array4<f32>),
    /// A part for each GPU, in order.
    OnGpus(Vec<Bound>),
}

/// Copies pixels to the GPUs of a backbone, from another thread.
pub struct Loader {
    pub(super) gpus: Vec<Arc<Bindings>>,
    pub(super) file: PathBuf,
}

impl Loader {
    /// Copies a batch's pixels to the GPUs, as soon as the batch before the last is computed. On the CPU, and if
    /// there is more than a batch for each GPU, the pixels stay in memory.
    ///
    /// # Errors
    ///
    /// [`ModelError::Run`] if a GPU has too little memory.
    pub fn load(&self, batch: SliceBatch) -> Result<LoadedBatch, ModelError> {
        let slices = batch.pixels.len_of(Axis(0));
        let run = self.gpus.first().and_then(|gpu| gpu.run());
        let Some(run) = run.filter(|run| slices <= run * self.gpus.len()) else {
            return Ok(batch.into());
        };
        let parts = if slices <= run {
            vec![batch.pixels]
        } else {
            let parts = batch.pixels.axis_chunks_iter(Axis(0), run);
            parts.map(|part| part.to_owned()).collect()
        };
        let bound = self
            .gpus
            .iter()
            .zip(parts)
            .map(|(gpu, part)| gpu.bind(part));
        let bound = bound.collect::<Result<_, _>>();
        Ok(LoadedBatch {
            pixels: Pixels::OnGpus(bound.map_err(run_error(&self.file))?),
            slices: batch.slices,
            masks: batch.masks,
            pictures: batch.pictures,
        })
    }
}

/// The rows of all parts as one batch.
pub(super) fn joined(parts: Vec<TokenBatch>) -> TokenBatch {
    let (cls, mean) = (
        stacked(&parts, |part| &part.cls),
        stacked(&parts, |part| &part.mean),
    );
    let patch = parts.into_iter().map(|part| part.patch);
    let patch = patch.reduce(|mut all, part| {
        for (layer, tokens) in all.iter_mut().zip(part) {
            layer.append(tokens);
        }
        all
    });
    TokenBatch {
        cls,
        mean,
        patch: patch.unwrap_or_default(),
        slices: Vec::new(),
        masks: Vec::new(),
        pictures: Vec::new(),
    }
}

/// The rows of all parts, layer by layer.
fn stacked(
    parts: &[TokenBatch],
    layers: impl Fn(&TokenBatch) -> &Vec<Array2<f32>>,
) -> Vec<Array2<f32>> {
    let count = parts.first().map_or(0, |part| layers(part).len());
    let layer = |index: usize| {
        let rows = parts.iter().map(|part| layers(part)[index].view());
        concatenate(Axis(0), &rows.collect::<Vec<_>>()).ok()
    };
    (0..count).filter_map(layer).collect()
}
