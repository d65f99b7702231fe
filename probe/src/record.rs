//! Run records: what was evaluated, how, and what came out.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::Error;

/// One evaluation: a line of `RUNS/PROBE.jsonl`. Keys that do not apply are absent.
#[derive(Clone, Debug, Serialize)]
pub struct RunRecord {
    /// The dataset's name.
    pub dataset: String,
    /// The backbone's name.
    pub model: String,
    /// Input height and width of the backbone in pixels.
    pub image_size: u32,
    /// The probe's name.
    pub probe: String,
    /// The probe's parameters.
    pub params: Map<String, Value>,
    /// The split that was evaluated.
    pub split: String,
    /// The name of the split of the samples; absent for that of the extraction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split_name: Option<String>,
    /// Hash of the named split's file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split_sha256: Option<String>,
    /// Slices fitted on.
    pub n_train: usize,
    /// Slices evaluated.
    pub n_test: usize,
    /// Measures by name.
    pub metrics: Map<String, Value>,
    /// Time of reading, fitting and scoring in seconds; records from one search share it.
    pub seconds: f64,
    /// The most memory that the process has held, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_rss_bytes: Option<u64>,
    /// Hash of the cache's `meta.json`.
    pub cache_sha256: String,
    /// Version of this program.
    pub tool_version: String,
    /// When the evaluation ended, RFC 3339 in UTC.
    pub time: String,
}

/// The time now, RFC 3339 in UTC.
pub(crate) fn now() -> String {
    // Formatting fails only for years beyond 9999.
    OffsetDateTime::now_utc()
        .format(&Rfc3339)
        .unwrap_or_default()
}

impl RunRecord {
    /// The record as one line of JSON, without the line's end.
    pub fn to_json(&self) -> String {
        serde_json::json!(self).to_string()
    }

    /// Appends the record to `folder/PROBE.jsonl`, whole or not at all, and syncs it to disk.
    ///
    /// # Errors
    ///
    /// [`Error::Record`] if the file cannot be created or written.
    pub fn append(&self, folder: &Path) -> Result<(), Error> {
        let path = folder.join(format!("{}.jsonl", self.probe));
        let line = self.to_json() + "\n";
        let written = fs::create_dir_all(folder).and_then(|()| append(&path, line.as_bytes()));
        written.map_err(|source| Error::Record { path, source })
    }
}

fn append(path: &Path, line: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    if file.write(line)? < line.len() {
        return Err(io::ErrorKind::WriteZero.into());
    }
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> RunRecord {
        RunRecord {
            dataset: "d".into(),
            model: "m".into(),
            image_size: 224,
            probe: "knn".into(),
            params: Map::new(),
            split: "test".into(),
            split_name: None,
            split_sha256: None,
            n_train: 3,
            n_test: 2,
            metrics: Map::from_iter([("accuracy".into(), 0.5.into())]),
            seconds: 0.1,
            peak_rss_bytes: None,
            cache_sha256: "0".into(),
            tool_version: "1".into(),
            time: now(),
        }
    }

    #[test]
    fn records_are_appended_a_line_each() {
        let folder = tempfile::tempdir().unwrap();
        let runs = folder.path().join("new/runs");
        record().append(&runs).unwrap();
        record().append(&runs).unwrap();
        let text = fs::read_to_string(runs.join("knn.jsonl")).unwrap();
        assert_eq!(text.lines().count(), 2);
        let value: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(value["metrics"]["accuracy"], 0.5);
        assert!(value.get("peak_rss_bytes").is_none());
        assert!(value.get("split_name").is_none());
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = record().append(file.path()).unwrap_err().to_string();
        assert!(
            text.contains("knn.jsonl`: cannot write a run record"),
            "{text}"
        );
    }

    #[test]
    fn time_is_utc() {
        assert!(now().starts_with("2") && now().ends_with('Z'), "{}", now());
    }
}
