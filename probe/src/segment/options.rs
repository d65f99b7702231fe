//! Options of the training of decoders.

use cache::{CacheReader, Split};
use nn::{Kind, Loss};
use serde::Serialize;
use serde_json::{Map, json};

use super::cases::has_all_splits;
use super::task::Task;
use crate::Error;
use crate::evaluate::{Identity, Settings, VAL_SHARE};

/// Options of the training of decoders.
#[derive(Clone, Debug, Serialize)]
pub struct Options {
    /// The kind of decoder.
    pub decoder: Kind,
    /// Initial learning rates of the scan; they fall along a cosine to 0.
    pub learning_rates: Vec<f32>,
    /// Passes over the training slices.
    pub epochs: usize,
    /// Slices per step.
    pub batch_size: usize,
    /// The loss that is minimised.
    pub loss: Loss,
    /// Epochs without improvement on `val` after which the scan ends.
    pub patience: Option<usize>,
    /// Numbers of shots; `None` for all samples.
    pub shots: Vec<Option<usize>>,
    /// Draws of each number, if draws are random.
    pub repeats: usize,
    /// If some values in masks have names and others do not: ignores pixels of the others instead of
    /// refusing the cache.
    pub ignore_unnamed: bool,
}

impl Options {
    /// Returns whether a learning rate or a number of epochs is chosen.
    pub fn scans(&self) -> bool {
        self.learning_rates.len() > 1 || self.patience.is_some()
    }

    /// Checks that a cache has the splits that an evaluation needs. Masks are read only if one has no slices.
    ///
    /// # Errors
    ///
    /// [`SegmentError::NoMaskedSlices`](crate::error::SegmentError::NoMaskedSlices), and those of reading slices and masks.
    pub fn check_splits(&self, reader: &CacheReader, settings: &Settings) -> Result<(), Error> {
        if has_all_splits(reader, settings)? {
            return Ok(());
        }
        let task = Task::open(reader, self, settings)?;
        task.part(&[Split::Test], false)?;
        self.shots
            .iter()
            .try_for_each(|&shots| task.parts(shots, settings.seed).map(drop))
    }

    /// Identity of an evaluation of decoders with these options.
    ///
    /// # Errors
    ///
    /// [`Error::Cache`] if the cache's slices or the named split cannot be read.
    pub fn identity(&self, reader: &CacheReader, settings: &Settings) -> Result<Identity, Error> {
        let mut options = Map::from_iter([("probe".to_owned(), json!("segment"))]);
        options.extend(json!(self).as_object().cloned().unwrap_or_default());
        settings.identity(reader, options, VAL_SHARE, &[])
    }
}
