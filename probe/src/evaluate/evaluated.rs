//! Result of an evaluation, and the fields of its record.

use cache::CacheReader;
use serde_json::{Map, Value};

use super::identity::Identity;
use super::settings::Settings;
use crate::examples::Examples;
use crate::head::SavedHead;
use crate::predictions::Predictions;
use crate::record::{self, RunRecord};
use crate::version::EVALUATION_VERSION;

/// Result of one setting of a probe.
#[derive(Clone, Debug)]
pub struct Evaluated {
    /// Record of the result.
    pub record: RunRecord,
    /// Scores that were measured.
    pub predictions: Predictions,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// The head, if the probe has one.
    pub head: Option<SavedHead>,
}

/// Parameters of a record, with the kind of the examples and of the measured cases.
pub(super) fn with_examples(
    mut params: Map<String, Value>,
    examples: &Examples,
    settings: &Settings,
) -> Map<String, Value> {
    let unit = examples.unit.name();
    let measured = if settings.per_patient {
        examples.cluster_word()
    } else {
        unit
    };
    params.insert("unit".into(), unit.into());
    params.insert("measured_unit".into(), measured.into());
    params.insert("pool".into(), settings.pool().name().into());
    if let Some(held_out) = &examples.held_out {
        params.insert("val_from_train".into(), held_out.to_json());
    }
    params
}

/// A record with the fields that are known before a probe is fitted.
pub(crate) fn blank(reader: &CacheReader, settings: &Settings, identity: &Identity) -> RunRecord {
    let meta = reader.meta();
    let (labels_name, labels_sha256) = identity.labels.clone().unzip();
    RunRecord {
        name: String::new(),
        dataset: meta.dataset.clone(),
        model: meta.model.name.clone(),
        image_size: meta.image_size,
        probe: String::new(),
        protocol: settings.protocol.name().into(),
        setting: String::new(),
        params: Map::new(),
        control: settings.control.map(|control| control.name().into()),
        seed: settings.seed,
        split: settings.eval.name().into(),
        split_name: settings.split_name.clone(),
        split_sha256: identity.split_sha256.clone(),
        labels_name,
        labels_sha256,
        examples_sha256: identity.examples_sha256.clone(),
        settings: identity.settings.clone(),
        n_train: 0,
        n_test: 0,
        per_patient: settings.per_patient,
        chosen: None,
        chosen_on: None,
        metrics: Map::new(),
        ci: None,
        spread: None,
        warnings: Vec::new(),
        predictions: None,
        head: None,
        pictures: Vec::new(),
        seconds: 0.0,
        peak_rss_bytes: common::peak_rss_bytes(),
        result: 1,
        results: 1,
        key: identity.key.clone(),
        evaluation_version: EVALUATION_VERSION,
        command: String::new(),
        study: None,
        cache_sha256: reader.sha256().into(),
        tool_version: env!("CARGO_PKG_VERSION").into(),
        time: record::now(),
    }
}
