//! The description of a training.

use std::fs;
use std::path::Path;

use cache::Split;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::Error;
use crate::error::FileError;
use crate::evaluate::Settings;
use crate::examples::Unit;
use crate::metrics::measures::Confidence;
use crate::protocol::Protocol;
use crate::record::RunRecord;

/// File of the description in the folder of a training.
const FILE: &str = "run.json";

/// The task that was trained for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// Classes of slices.
    Classification,
    /// Classes of pixels.
    Segmentation,
}

/// The description of a training: `run.json`.
#[derive(Clone, Debug, Deserialize)]
pub struct Run {
    /// The task.
    pub task: Task,
    /// Hash of the cache's `meta.json`.
    pub cache_sha256: String,
    /// The network; `None` for the backbone of the cache.
    pub model: Option<String>,
    /// Evaluation protocol.
    pub protocol: Protocol,
    /// The name of the split; `None` for that of the extraction.
    pub split: Option<String>,
    /// Random seed.
    pub seed: u64,
    /// Splits that were learned from.
    pub train: Vec<Split>,
    /// Number of slices that were learned from.
    pub n_train: usize,
    /// Short description for people: `lora epoch=3`.
    pub setting: String,
    /// Options with all defaults filled in.
    pub settings: Map<String, Value>,
    /// Options and chosen values, for the record.
    pub params: Map<String, Value>,
    /// Time of the training in seconds.
    pub seconds: f64,
    /// The most memory of the training: that of the process, or of a GPU.
    pub peak_memory_bytes: u64,
}

impl Run {
    /// Reads the description in the folder of a training.
    ///
    /// # Errors
    ///
    /// [`FileError::Input`] if there is none, or it is damaged.
    pub fn read(folder: &Path) -> Result<Run, Error> {
        let path = folder.join(FILE);
        let failed = |source| {
            Error::File(FileError::Input {
                path: path.clone(),
                source,
            })
        };
        let bytes = fs::read(&path).map_err(|error| failed(error.into()))?;
        serde_json::from_slice(&bytes).map_err(|error| failed(error.into()))
    }

    /// Settings of the evaluation.
    pub fn evaluation(&self, confidence: Option<Confidence>, per_patient: bool) -> Settings {
        Settings {
            protocol: self.protocol,
            unit: Some(Unit::Slice),
            pool: None,
            split_name: self.split.clone(),
            fit: self.train.clone(),
            eval: Split::Test,
            val_share: None,
            control: None,
            seed: self.seed,
            confidence,
            per_patient,
        }
    }

    /// Puts what is known of the training into its record.
    pub(crate) fn complete(&self, record: &mut RunRecord) {
        if let Some(model) = &self.model {
            record.model.clone_from(model);
        }
        record.seconds = self.seconds;
        record.peak_rss_bytes = Some(self.peak_memory_bytes);
    }
}
