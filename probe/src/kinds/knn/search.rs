//! Evaluation of nearest neighbours: choice of `k`, scores and parameters.

use cache::Split;
use ndarray::{Array2, ArrayView2};
use serde_json::{Map, Value, json};

use super::{IndexKind, Knn};
use crate::Error;
use crate::evaluate::{Choice, Fitted, Task, best, fields};
use crate::metrics::measures::Scored;
#[cfg(feature = "hnsw")]
use crate::probes::hnsw::{HnswIndex, HnswOptions};
use crate::probes::knn::{self, Classes, Vote, Whole};
use crate::probes::ml_knn::{self, MlKnn};
use crate::probes::search::{Index, Neighbours};
use crate::scores::Scores;
use crate::targets::Targets;

/// Maximum number of queries on which the recall of an approximate search is measured.
#[cfg(feature = "hnsw")]
const MEASURED: usize = 1000;

/// Scores the evaluated part: one result per number of neighbours.
pub(super) fn fit(task: &Task<'_>, options: &Knn) -> Result<Vec<Fitted>, Error> {
    let search = Search {
        task,
        options,
        vote: options.vote(),
        index: options.index(),
        exclude_self: options.exclude_self(task.settings.protocol),
    };
    let ks = search.ks()?;
    let on = if task.parts.is_few {
        task.parts.chosen_on
    } else {
        task.settings.protocol.neighbours_chosen_on()
    };
    let on_val = if on == Split::Val && !task.parts.val.is_empty() {
        Some(search.scored(&task.parts.train, &task.parts.val, &ks)?)
    } else {
        None
    };
    let (found, recall) = search.scores(&task.parts.fit, &task.parts.test, &ks);
    let aurocs = match (&on_val, on) {
        (Some(scored), _) => scored.iter().map(|s| s.auroc_macro(None)).collect(),
        (None, Split::Test) => search.aurocs(&found)?,
        (None, _) => Vec::new(),
    };
    let chosen = best(&aurocs).filter(|_| ks.len() > 1);
    let results = ks.iter().zip(found).enumerate();
    let results = results.map(|(index, (&k, scores))| {
        let (thresholds, without) = on_val
            .as_ref()
            .map_or((None, None), |scored| task.thresholds(&scored[index]));
        let of_k = search.warning(&ks, &aurocs, chosen, on);
        Fitted {
            setting: search.setting(k),
            params: search.params(k, &ks, recall),
            scores: Scores::probabilities(scores),
            thresholds,
            n_train: task.parts.fit.len(),
            choice: chosen.map(|chosen| Choice {
                is_chosen: chosen == index,
                on,
            }),
            warnings: of_k.into_iter().chain(without).collect(),
            head: None,
        }
    });
    Ok(results.collect())
}

struct Search<'a> {
    task: &'a Task<'a>,
    options: &'a Knn,
    vote: Option<Vote>,
    index: IndexKind,
    exclude_self: bool,
}

impl Search<'_> {
    fn is_ml_knn(&self) -> bool {
        !self.task.is_single_label() && self.vote.is_none()
    }

    /// Short description for people: `k=20`.
    fn setting(&self, k: usize) -> String {
        match self.index {
            IndexKind::Exact => format!("k={k}"),
            #[cfg(feature = "hnsw")]
            IndexKind::Hnsw(_) => format!("k={k} hnsw"),
        }
    }

    /// Warning if `k` was chosen on `test`, or not at all.
    fn warning(
        &self,
        ks: &[usize],
        aurocs: &[Option<f64>],
        chosen: Option<usize>,
        on: Split,
    ) -> Option<String> {
        if chosen.is_some() {
            return (on == Split::Test).then(|| "k chosen on test".to_owned());
        }
        if ks.len() < 2 || self.task.settings.eval != Split::Test {
            return None;
        }
        if aurocs.is_empty() {
            return Some("no k is chosen: there is no `val`".to_owned());
        }
        Some(format!(
            "no k is chosen: no class has both positive and negative cases in `{}`",
            on.name()
        ))
    }

    /// The vote for exclusive classes.
    fn single_vote(&self) -> (Vote, Whole) {
        match self.vote.unwrap_or(Knn::SOFTMAX) {
            vote @ Vote::Softmax { .. } => (vote, self.task.settings.protocol.whole()),
            vote => (vote, Whole::OwnK),
        }
    }

    /// Maximum number of neighbours among `examples` training examples.
    fn most(&self, examples: usize) -> usize {
        examples - usize::from(self.exclude_self && self.is_ml_knn())
    }

    fn ks(&self) -> Result<Vec<usize>, Error> {
        let parts = &self.task.parts;
        let most = self.most(parts.fit.len());
        let too_few = |k| Error::TooFewNeighbours {
            path: self.task.reader.dir().into(),
            k,
            train: parts.fit.len(),
            most,
        };
        if most == 0 {
            return Err(too_few(1));
        }
        let default = self.task.settings.protocol.neighbours();
        let given = self.options.distinct();
        let wanted = given.as_deref();
        let is_asked_for = wanted.is_some() && !parts.is_few;
        let wanted = wanted.unwrap_or(default);
        if let Some(&k) = wanted.iter().find(|&&k| k > most && is_asked_for) {
            return Err(too_few(k));
        }
        let fitting: Vec<usize> = wanted.iter().copied().filter(|&k| k <= most).collect();
        Ok(if fitting.is_empty() {
            vec![most]
        } else {
            fitting
        })
    }

    /// Scores of the examples `queries` by neighbours among the examples `train`, for each number of
    /// neighbours, and the recall of the search if it is approximate.
    fn scores(
        &self,
        train: &[usize],
        queries: &[usize],
        ks: &[usize],
    ) -> (Vec<Array2<f64>>, Option<f64>) {
        let examples = self.task.examples;
        let most = self.most(train.len());
        let ks: Vec<usize> = ks.iter().map(|&k| k.min(most)).collect();
        let (keys, queries) = (examples.normalised(train), examples.normalised(queries));
        let (keys, queries) = (keys.view(), queries.view());
        // ML-kNN looks for the neighbours of its own examples too.
        let own = if self.is_ml_knn() { train.len() } else { 0 };
        let all = own + queries.nrows();
        let count = self.task.steps.count("searching", all, "examples");
        match self.index {
            IndexKind::Exact => {
                let index = Index::new(keys);
                let search = |queries: ArrayView2<'_, f32>, k| {
                    let found = index.neighbours(queries, k);
                    count.add(queries.nrows());
                    found
                };
                (self.votes(search, train, keys, queries, &ks), None)
            }
            #[cfg(feature = "hnsw")]
            IndexKind::Hnsw(options) => {
                let index = HnswIndex::new(keys, options);
                let search = |queries: ArrayView2<'_, f32>, k| {
                    let found = index.neighbours(queries, k);
                    count.add(queries.nrows());
                    found
                };
                let step = queries.nrows().div_ceil(MEASURED).max(1);
                let most = ks.iter().copied().max().unwrap_or(0);
                let recall = index.recall(queries.slice(ndarray::s![..;step, ..]), most);
                (self.votes(search, train, keys, queries, &ks), Some(recall))
            }
        }
    }

    /// Scores of `queries [Q, D]` by the neighbours that `search` finds in `keys [N, D]`, the features
    /// of the examples `train`.
    fn votes(
        &self,
        search: impl Fn(ArrayView2<f32>, usize) -> Neighbours,
        train: &[usize],
        keys: ArrayView2<f32>,
        queries: ArrayView2<f32>,
        ks: &[usize],
    ) -> Vec<Array2<f64>> {
        match self.task.examples.truth(train) {
            Targets::Single(labels) => {
                let (labels, classes) = (labels.as_slice(), self.task.classes());
                let classes = Classes::Single { labels, classes };
                knn::scores(search, classes, queries, ks, self.single_vote())
            }
            Targets::Multi(present) => {
                let present = present.mapv(|state| state == Some(true));
                match self.vote {
                    Some(vote) => {
                        let classes = Classes::Multi(present.view());
                        knn::scores(search, classes, queries, ks, (vote, Whole::OwnK))
                    }
                    None => MlKnn::fit(search, keys, present.view(), ks, !self.exclude_self)
                        .scores(queries),
                }
            }
        }
    }

    fn scored(&self, train: &[usize], part: &[usize], ks: &[usize]) -> Result<Vec<Scored>, Error> {
        let found = self.scores(train, part, ks).0.into_iter();
        found
            .map(|scores| self.task.scored(part, Scores::probabilities(scores)))
            .collect()
    }

    fn aurocs(&self, found: &[Array2<f64>]) -> Result<Vec<Option<f64>>, Error> {
        let undefined = self.task.settings.protocol.undefined_auroc();
        let auroc = |scores: &Array2<f64>| {
            let scores = Scores::probabilities(scores.clone());
            let scored = self.task.scored(&self.task.parts.test, scores)?;
            Ok(scored.auroc_macro(undefined))
        };
        found.iter().map(auroc).collect()
    }

    /// Number of neighbours over which softmax weights are normalised.
    fn normalised_over(&self, k: usize, ks: &[usize]) -> usize {
        match self.single_vote() {
            (_, Whole::LargestK) if self.task.is_single_label() => {
                ks.iter().copied().max().unwrap_or(k)
            }
            _ => k,
        }
    }

    fn params(&self, k: usize, ks: &[usize], recall: Option<f64>) -> Map<String, Value> {
        let options = self.options;
        let own = match self.vote {
            None if self.is_ml_knn() => json!({
                "vote": "ml-knn",
                "smoothing": ml_knn::SMOOTHING,
                "exclude_self": self.exclude_self,
            }),
            vote => match vote.unwrap_or(Knn::SOFTMAX) {
                Vote::Softmax { temperature } => json!({
                    "vote": "softmax",
                    "temperature": temperature,
                    "normalised_over": self.normalised_over(k, ks),
                }),
                Vote::Majority => json!({"vote": "majority"}),
                Vote::Distance => json!({"vote": "distance"}),
            },
        };
        let all = json!({
            "k": k,
            "features": options.tokens.features,
            "layer": options.tokens.layer,
        });
        let index = match self.index {
            IndexKind::Exact => json!({}),
            #[cfg(feature = "hnsw")]
            IndexKind::Hnsw(HnswOptions {
                m,
                ef_construction,
                ef,
            }) => json!({
                "index": "hnsw",
                "m": m,
                "ef_construction": ef_construction,
                "ef": ef,
            }),
        };
        let recall = recall.map(|recall| ("recall".to_owned(), json!(recall)));
        let parts = [all, own, index].into_iter();
        let params = parts.flat_map(|part| fields(&part));
        params.chain(recall).collect()
    }
}
