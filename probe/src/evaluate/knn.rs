//! Nearest neighbours.

use std::time::Instant;

use cache::{CacheReader, Split, Task};
use ndarray::{Array2, ArrayView2};
use serde_json::{Map, Value, json};

use super::{Evaluation, measure, metrics};
use crate::Error;
use crate::features::{Features, Targets, join};
use crate::metrics::classify::Classification;
use crate::probes::knn::{self, Classes, Vote};
use crate::probes::ml_knn::{self, MlKnn};
use crate::probes::search::Index;
use crate::record::{self, RunRecord};

/// How a nearest-neighbour probe is evaluated.
#[derive(Clone, Debug)]
pub struct KnnOptions {
    /// Numbers of neighbours, each at least 1; all are answered from one search.
    pub ks: Vec<usize>,
    /// The block whose CLS tokens are used, 1 for the last.
    pub layer: u32,
    /// Temperature of the vote; single-label tasks only.
    pub temperature: f64,
    /// Leaves a training slice out of its own neighbours; multi-label tasks only.
    pub exclude_self: bool,
    /// Splits to fit on.
    pub train: Vec<Split>,
    /// The split to evaluate.
    pub eval: Split,
    /// The name of the split of the samples; `None` for that of the extraction.
    pub split_name: Option<String>,
}

/// Evaluates nearest neighbours on a cache: a softmax vote for single-label tasks, ML-kNN for
/// multi-label ones. One evaluation per number of neighbours, in their order.
///
/// # Errors
///
/// [`Error::TooFewNeighbours`] if a number of neighbours exceeds the training slices, and what
/// [`Features::read`] and [`Features::part`] give.
pub fn knn(reader: &CacheReader, options: &KnnOptions) -> Result<Vec<Evaluation>, Error> {
    let start = Instant::now();
    let named = options.split_name.as_deref();
    let mut features = Features::read(reader, options.layer, named)?;
    let (train, test) = (
        features.part(&options.train)?,
        features.part(&[options.eval])?,
    );
    let split_sha256 = features.split_sha256.take();
    drop(features);
    let mut run = Run {
        reader,
        options,
        train,
        test,
        split_sha256,
        seconds: 0.0,
    };
    run.check_k()?;
    let scores = run.scores();
    let measured: Vec<Classification> = scores
        .iter()
        .map(|scores| measure(scores.view(), &run.test.1))
        .collect();
    run.seconds = start.elapsed().as_secs_f64();
    let evaluations = options.ks.iter().zip(measured);
    Ok(evaluations
        .map(|(&k, measured)| run.evaluation(k, measured))
        .collect())
}

struct Run<'a> {
    reader: &'a CacheReader,
    options: &'a KnnOptions,
    train: (Array2<f32>, Targets),
    test: (Array2<f32>, Targets),
    split_sha256: Option<String>,
    seconds: f64,
}

impl Run<'_> {
    fn is_multi_label(&self) -> bool {
        self.reader.meta().task == Task::MultiLabel
    }

    fn check_k(&self) -> Result<(), Error> {
        let train = self.train.0.nrows();
        let most = train - usize::from(self.options.exclude_self && self.is_multi_label());
        match self.options.ks.iter().copied().find(|&k| k > most) {
            Some(k) => {
                let path = self.reader.dir().into();
                Err(Error::TooFewNeighbours {
                    path,
                    k,
                    train,
                    most,
                })
            }
            None => Ok(()),
        }
    }

    fn scores(&self) -> Vec<Array2<f64>> {
        let ((train, targets), (test, _), options) = (&self.train, &self.test, self.options);
        let (train, test) = (train.view(), test.view());
        let index = Index::new(train);
        let search = |queries: ArrayView2<f32>, k| index.neighbours(queries, k);
        match targets {
            Targets::Single(labels) => {
                let classes = self.reader.meta().classes.len();
                let classes = Classes::Single { labels, classes };
                let temperature = options.temperature;
                let vote = Vote::Softmax { temperature };
                knn::scores(search, classes, test, &options.ks, vote)
            }
            Targets::Multi(targets) => {
                let (ks, count_self) = (&options.ks, !options.exclude_self);
                MlKnn::fit(search, train, targets.view(), ks, count_self).scores(test)
            }
        }
    }

    fn evaluation(&self, k: usize, measured: Classification) -> Evaluation {
        let meta = self.reader.meta();
        let record = RunRecord {
            dataset: meta.dataset.clone(),
            model: meta.model.name.clone(),
            image_size: meta.image_size,
            probe: "knn".into(),
            params: self.params(k),
            split: self.options.eval.name().into(),
            split_name: self.options.split_name.clone(),
            split_sha256: self.split_sha256.clone(),
            n_train: self.train.0.nrows(),
            n_test: self.test.0.nrows(),
            metrics: metrics(&measured, &meta.classes),
            seconds: self.seconds,
            peak_rss_bytes: cache::peak_rss_bytes(),
            cache_sha256: self.reader.sha256().into(),
            tool_version: env!("CARGO_PKG_VERSION").into(),
            time: record::now(),
        };
        Evaluation {
            setting: format!("k={k}"),
            measured,
            record,
        }
    }

    fn params(&self, k: usize) -> Map<String, Value> {
        let options = self.options;
        let own = match self.is_multi_label() {
            true => json!({
                "vote": "ml-knn",
                "smoothing": ml_knn::SMOOTHING,
                "exclude_self": options.exclude_self,
            }),
            false => json!({
                "vote": "softmax",
                "temperature": options.temperature,
                "k_max": options.ks.iter().max(),
            }),
        };
        let all = json!({"k": k, "layer": options.layer, "train": join(&options.train)});
        [all, own]
            .into_iter()
            .filter_map(|value| value.as_object().cloned())
            .flatten()
            .collect()
    }
}
