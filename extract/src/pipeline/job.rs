//! What a run works on.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use imaging::preprocess::Preprocess;
use imaging::read::Reader;

use crate::dataset::Dataset;

/// Input of [`run`](super::run).
pub struct Job<'a> {
    /// Dataset.
    pub dataset: &'a Dataset,
    /// Indices of the samples to extract.
    pub samples: Range<usize>,
    /// Reader of their files.
    pub reader: &'a Reader,
    /// Preprocessing from voxels to pixels.
    pub recipe: &'a Preprocess,
    /// True if pictures of slices are stored.
    pub pictures: bool,
    /// Slices per batch.
    pub batch_size: usize,
    /// Threads that read and prepare samples.
    pub readers: usize,
    /// True if slices of all samples are in the cache already: one that cannot be read stops the run.
    pub is_repeated: bool,
    /// Time after which slices are saved, also if their shard is not full.
    pub save_every: Duration,
    /// True once the run shall stop after the batch that is being computed.
    pub stop: &'a AtomicBool,
}

impl Job<'_> {
    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}
