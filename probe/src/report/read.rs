//! Run records of a folder, of all probes.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use crate::Error;
use crate::error::FileError;
use crate::record::{self, RunRecord};

/// Probes whose records are no results of a task but come with it.
const OTHERS: [&str; 7] = [
    "pca", "nearest", "retrieve", "map", "trust", "compare", "curve",
];

/// What is known of some evaluations.
#[derive(Clone, Debug, Default)]
pub struct Study {
    /// The folder.
    pub runs: PathBuf,
    /// Complete records of the current version; of equal evaluations the last that was recorded. By probe, in
    /// the order of their files.
    pub records: Vec<RunRecord>,
    /// Messages about what was left out.
    pub complaints: Vec<String>,
}

impl Study {
    /// Reads `RUNS/*.jsonl`; nothing if there is no such folder. A line that cannot be read is left out and
    /// reported, as is a file.
    ///
    /// # Errors
    ///
    /// [`FileError::Records`] if the folder cannot be listed.
    pub fn read(runs: &Path) -> Result<Study, Error> {
        let mut study = Study {
            runs: runs.into(),
            ..Study::default()
        };
        for probe in probes(runs)? {
            match record::read(runs, &probe) {
                Ok(recorded) => {
                    study.complaints.extend_from_slice(recorded.complaints());
                    study.records.extend(recorded.latest());
                }
                Err(error) => study.complaints.push(error.to_string()),
            }
        }
        Ok(study)
    }

    /// A file that a record names; `None` if it is not a file below the folder.
    pub(super) fn file(&self, name: Option<&str>) -> Option<PathBuf> {
        let name = Path::new(name?);
        let is_below = name
            .components()
            .all(|part| matches!(part, Component::Normal(_)));
        let path = self.runs.join(name);
        (is_below && path.is_file()).then_some(path)
    }

    /// Records of tasks: classification and segmentation.
    pub fn results(&self) -> impl Iterator<Item = &RunRecord> {
        self.records.iter().filter(|record| !is_other(record))
    }

    /// Records that are no results: those of pictures, maps, retrieval and trust.
    pub(super) fn others(&self) -> impl Iterator<Item = &RunRecord> + Clone {
        self.records.iter().filter(|record| is_other(record))
    }

    /// Records of a probe.
    pub fn of<'a>(&'a self, probe: &'a str) -> impl Iterator<Item = &'a RunRecord> {
        let records = self.records.iter();
        records.filter(move |record| record.probe == probe)
    }
}

/// Names of the probes with a file of records, sorted.
fn probes(runs: &Path) -> Result<BTreeSet<String>, Error> {
    let failed = |source| {
        Error::File(FileError::Records {
            path: runs.into(),
            source,
        })
    };
    if !runs.is_dir() {
        return Ok(BTreeSet::new());
    }
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(runs).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let is_records = path.extension().is_some_and(|end| end == "jsonl");
        if is_records && let Some(stem) = path.file_stem().and_then(|stem| stem.to_str()) {
            found.insert(stem.to_owned());
        }
    }
    Ok(found)
}

/// Whether a record is no result of a task.
pub(super) fn is_other(record: &RunRecord) -> bool {
    OTHERS.contains(&record.probe.as_str())
}

/// A measure of a record.
pub(super) fn measure(record: &RunRecord, name: &str) -> Option<f64> {
    record.metrics.get(name)?.as_f64()
}

/// `[low, high]` of a measure.
pub(super) fn interval(record: &RunRecord, name: &str) -> Option<[f64; 2]> {
    match record.ci.as_ref()?.get(name)?.as_array()?.as_slice() {
        [low, high] => Some([low.as_f64()?, high.as_f64()?]),
        _ => None,
    }
}

/// A parameter as text.
pub(super) fn parameter<'a>(record: &'a RunRecord, name: &str) -> Option<&'a str> {
    record.params.get(name)?.as_str()
}

/// Backbone and size: `dinov2-l14@448`.
pub(super) fn backbone(record: &RunRecord) -> String {
    format!("{}@{}", record.model, record.image_size)
}

/// Values of a measure by class, in the order of the record.
pub(super) fn by_class(record: &RunRecord, name: &str) -> Vec<(String, f64)> {
    let classes = record.metrics.get(name).and_then(Value::as_object);
    let classes = classes.into_iter().flatten();
    classes
        .filter_map(|(class, value)| Some((class.clone(), value.as_f64()?)))
        .collect()
}
