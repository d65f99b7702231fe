//! Run records: what was evaluated, how, and what came out.

mod file;
mod name;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::evaluate::EXHAUSTED;

pub use self::file::{Appended, Recorded, append, read, read_all};

/// One result of an evaluation: a line of `RUNS/PROBE.jsonl`. Keys that do not apply are absent.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunRecord {
    /// Name to type: `linear-brain-dinov2-s14-3f2a`, unique in the folder of records. It follows from the key and the
    /// earlier records, and is set whenever a record is appended or read.
    #[serde(default)]
    pub name: String,
    /// The dataset's name.
    pub dataset: String,
    /// The backbone's name.
    pub model: String,
    /// Input height and width of the backbone in pixels.
    pub image_size: u32,
    /// The probe's name.
    pub probe: String,
    /// Evaluation protocol: `paper` or `strict`.
    pub protocol: String,
    /// Short description for people: `k=20`.
    pub setting: String,
    /// The probe's parameters.
    pub params: Map<String, Value>,
    /// Negative control.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control: Option<String>,
    /// Random seed.
    pub seed: u64,
    /// The split that was evaluated.
    pub split: String,
    /// The name of the split of the samples; absent for that of the extraction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split_name: Option<String>,
    /// Hash of the named split's file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split_sha256: Option<String>,
    /// The name of the label set; absent for the labels of the extraction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels_name: Option<String>,
    /// Hash of the description of the label set, and so of its files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels_sha256: Option<String>,
    /// Hash of the samples with their patients, splits and labels.
    #[serde(default)]
    pub examples_sha256: String,
    /// All settings of the evaluation, with every default filled in.
    #[serde(default)]
    pub settings: Map<String, Value>,
    /// Examples fitted on, of the kind that `params.unit` names: slices or volumes.
    pub n_train: usize,
    /// Cases measured, of the kind that `params.measured_unit` names: slices, volumes or patients.
    pub n_test: usize,
    /// Whether a patient's examples were measured as one.
    pub per_patient: bool,
    /// Whether this setting was chosen among several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chosen: Option<bool>,
    /// The split that it was chosen on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chosen_on: Option<String>,
    /// Measures by name; means over draws where there are several.
    pub metrics: Map<String, Value>,
    /// `[low, high]` of measures, and how they were found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ci: Option<Map<String, Value>>,
    /// Standard deviations over draws, and each draw's value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spread: Option<Map<String, Value>>,
    /// Warnings about the result.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The file of scores, relative to the folder of records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predictions: Option<String>,
    /// The file of the trained head, relative to the folder of records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<String>,
    /// Files of pictures, relative to the folder of records.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pictures: Vec<String>,
    /// Time of reading, fitting and scoring in seconds; records from one search share it.
    pub seconds: f64,
    /// The most memory that the process has held, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_rss_bytes: Option<u64>,
    /// The number of this result, from 1, among those of its evaluation.
    #[serde(default)]
    pub result: usize,
    /// Results of the evaluation, which are recorded together.
    #[serde(default)]
    pub results: usize,
    /// Equal for evaluations of equal settings on an equal cache.
    pub key: String,
    /// [`EVALUATION_VERSION`](crate::evaluate::EVALUATION_VERSION) of the program; 0 for earlier ones, which
    /// recorded none.
    #[serde(default)]
    pub evaluation_version: u32,
    /// The command as it was typed, without options of folders, threads and printing; empty for earlier versions.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub command: String,
    /// The study that the command is of: a built-in one, or the name of its file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub study: Option<String>,
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
    /// The name of the evaluation: that of the record without the number of the result.
    pub fn run(&self) -> &str {
        let suffix = format!(".{}", self.result);
        let stem = self.name.strip_suffix(&suffix);
        stem.filter(|_| self.results > 1).unwrap_or(&self.name)
    }

    /// Standard deviation of a measure over draws; none of draws that all take all examples, which differ by the seed of
    /// the head alone.
    pub(crate) fn deviation(&self, name: &str) -> Option<f64> {
        if self.params.get(EXHAUSTED) == Some(&true.into()) {
            return None;
        }
        self.spread.as_ref()?.get(name)?.get("sd")?.as_f64()
    }

    /// Whether this is of a single fold of a cross-validation: of the named split `fold0`, `fold1`, ….
    pub(crate) fn is_of_fold(&self) -> bool {
        let name = self.split_name.as_deref().unwrap_or_default();
        let number = name.strip_prefix("fold");
        number.is_some_and(|number| number.parse::<u32>().is_ok())
    }

    /// A name for files of the result, without an extension; `number` differs among those of an evaluation.
    pub(crate) fn file_name(&self, number: usize) -> String {
        name::file_name(self, number)
    }

    /// The record as one line of JSON, without a line break.
    pub fn to_json(&self) -> String {
        serde_json::json!(self).to_string()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::json;

    use super::*;
    use crate::version::EVALUATION_VERSION;

    pub(crate) fn record() -> RunRecord {
        RunRecord {
            name: String::new(),
            dataset: "d".into(),
            model: "m".into(),
            image_size: 224,
            probe: "knn".into(),
            protocol: "strict".into(),
            setting: "k=1".into(),
            params: Map::new(),
            control: None,
            seed: 0,
            split: "test".into(),
            split_name: None,
            split_sha256: None,
            labels_name: None,
            labels_sha256: None,
            examples_sha256: "0".into(),
            settings: Map::new(),
            n_train: 3,
            n_test: 2,
            per_patient: false,
            chosen: None,
            chosen_on: None,
            metrics: Map::from_iter([("accuracy".into(), 0.5.into())]),
            ci: None,
            spread: None,
            warnings: Vec::new(),
            predictions: None,
            head: None,
            pictures: Vec::new(),
            seconds: 0.1,
            peak_rss_bytes: None,
            result: 1,
            results: 1,
            key: "k".into(),
            evaluation_version: EVALUATION_VERSION,
            command: String::new(),
            study: None,
            cache_sha256: "0".into(),
            tool_version: "1".into(),
            time: now(),
        }
    }

    #[test]
    fn keys_that_do_not_apply_are_absent() {
        let value: Value = serde_json::from_str(&record().to_json()).unwrap();
        assert_eq!(value["metrics"]["accuracy"], 0.5);
        assert!(value.get("peak_rss_bytes").is_none());
        assert!(value.get("split_name").is_none());
    }

    #[test]
    fn draws_of_all_examples_have_no_deviation() {
        let mut record = record();
        let spread = json!({"accuracy": {"sd": 0.1, "draws": [0.4, 0.6]}});
        record.spread = spread.as_object().cloned();
        assert_eq!(record.deviation("accuracy"), Some(0.1));
        record.params.insert(EXHAUSTED.into(), true.into());
        assert_eq!(record.deviation("accuracy"), None);
    }

    #[test]
    fn time_is_utc() {
        assert!(now().starts_with("2") && now().ends_with('Z'), "{}", now());
    }
}
