//! Settings that all probes share.

use cache::Split;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::control::Control;
use crate::examples::{Pool, Selection, Unit};
use crate::features::Tokens;
use crate::metrics::measures::Confidence;
use crate::protocol::Protocol;

/// Settings that all probes share.
#[derive(Clone, Debug, Serialize)]
pub struct Settings {
    /// Evaluation protocol.
    pub protocol: Protocol,
    /// Kind of examples; found from the labels if `None`.
    pub unit: Option<Unit>,
    /// Pooling of slices to volumes; [`Pool::Mean`] if `None`.
    pub pool: Option<Pool>,
    /// Name of the split of the samples; `None` for that of the extraction.
    pub split_name: Option<String>,
    /// Splits that the evaluated probe is fitted on.
    pub fit: Vec<Split>,
    /// Split to evaluate.
    pub eval: Split,
    /// Share of the patients in `train` that replaces a missing `val`; that of the probe if `None`.
    pub val_share: Option<f64>,
    /// Negative control.
    pub control: Option<Control>,
    /// Random seed.
    pub seed: u64,
    /// Confidence intervals, if any.
    pub confidence: Option<Confidence>,
    /// Whether the cases of a patient are measured as one.
    pub per_patient: bool,
}

impl Settings {
    pub(crate) fn selection(&self, tokens: Tokens) -> Selection {
        Selection {
            tokens,
            unit: self.unit,
            pool: self.pool(),
            split: self.split_name.clone(),
            protocol: self.protocol,
            labelled: true,
            control: self.control.map(|control| (control, self.seed)),
        }
    }

    /// Pooling of slices to volumes.
    pub(crate) fn pool(&self) -> Pool {
        self.pool.unwrap_or(Pool::Mean)
    }

    /// The same without intervals, for results whose spread is reported.
    pub(super) fn without_intervals(&self) -> Settings {
        Settings {
            confidence: None,
            ..self.clone()
        }
    }
}

/// Fields of a struct by name.
pub(crate) fn fields(of: &impl Serialize) -> Map<String, Value> {
    match json!(of) {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}
