//! The nearest centroid.

use serde::Serialize;
use serde_json::{Map, json};

use super::{Features, Fitted, Task};
use crate::probes::centroid;

/// How the nearest centroid is evaluated.
#[derive(Clone, Debug, Serialize)]
pub struct CentroidOptions {
    /// Which tokens are averaged.
    pub features: Features,
    /// The block whose tokens are used, 1 for the last.
    pub layer: u32,
}

pub(super) fn fit(task: &Task<'_>, options: &CentroidOptions) -> Fitted {
    let (examples, parts) = (task.examples, &task.parts);
    let (train, test) = (
        examples.normalised(&parts.fit),
        examples.normalised(&parts.test),
    );
    let truth = examples.truth(&parts.fit);
    Fitted {
        setting: "centroid".into(),
        params: Map::from_iter([
            ("features".to_owned(), json!(options.features.name())),
            ("layer".to_owned(), json!(options.layer)),
            ("temperature".to_owned(), json!(centroid::TEMPERATURE)),
        ]),
        scores: centroid::scores(train.view(), &truth, task.classes(), test.view()),
        thresholds: None,
        n_train: parts.fit.len(),
        choice: None,
        warnings: Vec::new(),
        head: None,
    }
}
