//! Trained blocks on other caches.

use std::path::{Component, Path};

use cache::CacheReader;
use ndarray::Array2;
use nn::transformer::Session;
use serde::{Deserialize, Serialize};

use super::backbone::Backbone;
use super::options::Options;
use super::residuals::Residuals;
use super::saved;
use crate::Error;
use crate::examples::Examples;
use crate::head::SavedHead;

/// Trained blocks whose features a saved head takes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Blocks {
    /// The folder of their tensors, below that of the run records.
    pub(super) folder: String,
    pub(super) options: Options,
}

/// Folders from which trained blocks are read.
#[derive(Clone, Copy, Debug)]
pub struct Folders<'a> {
    /// The folder of run records.
    pub runs: &'a Path,
    /// The folder of model cards and weights.
    pub models: &'a Path,
}

impl Blocks {
    /// Checks what a file of a head says of them: options, and a folder below that of the run records.
    pub(crate) fn check(&self) -> Result<(), String> {
        let mut parts = Path::new(&self.folder).components();
        if self.folder.is_empty() || !parts.all(|part| matches!(part, Component::Normal(_))) {
            return Err("found blocks outside the folder of run records".into());
        }
        if !self.options.are_usable() {
            return Err("found options by which no blocks can be built".into());
        }
        Ok(())
    }

    /// Logits `[N, O]` of some examples of a cache, by these blocks and `head`.
    ///
    /// # Errors
    ///
    /// As [`evaluate`](super::evaluate) for tokens and weights, and [`Input`](crate::error::FileError::Input) if the tensors of the blocks are
    /// missing or damaged.
    pub(crate) fn logits(
        &self,
        head: &SavedHead,
        (reader, examples): (&CacheReader, &Examples),
        part: &[usize],
        folders: Folders<'_>,
    ) -> Result<Array2<f64>, Error> {
        let (options, outputs) = (&self.options, head.bias.len());
        let backbone = Backbone::open(reader, folders.models, options, outputs)?;
        let sizes = (options.blocks, options.batch_size);
        let residuals = Residuals::open(reader, examples, &backbone, sizes)?;
        let mut network = backbone.network(options, 0)?;
        let folder = folders.runs.join(&self.folder);
        saved::read(&folder, &backbone.last, options.method, head, &mut network)?;
        let session = Session::new(&network, options.optimiser());
        let rows = part.iter().map(|&example| examples.rows[example][0]);
        residuals.logits(&network, &session, &rows.collect::<Vec<_>>(), outputs)
    }
}
