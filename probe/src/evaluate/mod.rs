//! From a cache to run records.

mod knn;
mod linear;

use serde_json::{Map, Value};

pub use self::knn::{KnnOptions, knn};
pub use self::linear::{LinearOptions, linear};
use crate::features::Targets;
use crate::metrics::classify::{self, ClassAuroc, Classification};
use crate::record::RunRecord;

/// One setting of a probe, evaluated.
#[derive(Clone, Debug)]
pub struct Evaluation {
    /// What sets it apart from others of the probe, for people: `k=20`.
    pub setting: String,
    /// What came out.
    pub measured: Classification,
    /// The same as a record.
    pub record: RunRecord,
}

fn measure(scores: ndarray::ArrayView2<'_, f64>, targets: &Targets) -> Classification {
    match targets {
        Targets::Single(labels) => classify::single_label(scores, labels),
        Targets::Multi(present) => classify::multi_label(scores, present.view()),
    }
}

fn metrics(measured: &Classification, names: &[String]) -> Map<String, Value> {
    let mut metrics = Map::new();
    if let Some(mean) = measured.auroc_macro {
        metrics.insert("auroc_macro".into(), mean.into());
    }
    let auroc = |class: &ClassAuroc| Some((names[class.class].clone(), class.auroc?.into()));
    let per_class: Map<String, Value> = measured.classes.iter().filter_map(auroc).collect();
    metrics.insert("auroc_per_class".into(), per_class.into());
    let undefined = measured
        .classes
        .iter()
        .filter(|class| class.auroc.is_none());
    let undefined: Vec<Value> = undefined.map(|c| names[c.class].clone().into()).collect();
    if !undefined.is_empty() {
        metrics.insert("auroc_undefined".into(), undefined.into());
    }
    metrics.insert("accuracy".into(), measured.accuracy.into());
    metrics
}
