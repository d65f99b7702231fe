//! Nearest neighbours.

use cache::Split;
use ndarray::{Array2, ArrayView2, s};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::fitted::best;
use super::{Choice, Fitted, Task};
use crate::Error;
use crate::examples::Tokens;
use crate::metrics::measures::Scored;
use crate::probes::hnsw::{HnswIndex, HnswOptions};
use crate::probes::knn::{self, Classes, Vote, Whole};
use crate::probes::ml_knn::{self, MlKnn};
use crate::probes::search::{Index, Neighbours};
use crate::targets::Targets;

/// DINOv2's vote.
pub(super) const SOFTMAX: Vote = Vote::Softmax { temperature: 0.07 };

/// Queries on which the recall of an approximate search is measured, at most.
const MEASURED: usize = 1000;

/// How a nearest-neighbour probe is evaluated.
#[derive(Clone, Debug, Serialize)]
pub struct KnnOptions {
    /// Numbers of neighbours, each at least 1, all answered from one search; `None` for those of the
    /// protocol that there are enough training examples for.
    pub ks: Option<Vec<usize>>,
    /// What neighbours are near by.
    pub features: Features,
    /// The block whose tokens are used, 1 for the last.
    pub layer: u32,
    /// How neighbours vote; `None` for a softmax vote of temperature 0.07 on single-label tasks and
    /// ML-kNN on multi-label ones.
    pub vote: Option<Vote>,
    /// ML-kNN: whether a training example is left out of its own neighbours; `None` for what the
    /// protocol says.
    pub exclude_self: Option<bool>,
    /// How neighbours are found.
    pub index: IndexKind,
}

/// How neighbours are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum IndexKind {
    /// All of them, by exhaustive search.
    Exact,
    /// Most of them, by following links.
    Hnsw(HnswOptions),
}

/// Which tokens of a block are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Features {
    /// The CLS token.
    Cls,
    /// The mean of the patch tokens.
    #[serde(rename = "mean-patch")]
    Mean,
    /// Both, one after the other.
    #[serde(rename = "cls+mean-patch")]
    Both,
}

impl Features {
    pub(super) fn tokens(self, layer: u32) -> Tokens {
        let on = |wanted: bool| if wanted { vec![layer] } else { Vec::new() };
        Tokens {
            cls: on(self != Features::Mean),
            mean: on(self != Features::Cls),
        }
    }

    /// The word for it in records and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Features::Cls => "cls",
            Features::Mean => "mean-patch",
            Features::Both => "cls+mean-patch",
        }
    }
}

/// A result per number of neighbours.
pub(super) fn fit(task: &Task<'_>, options: &KnnOptions) -> Result<Vec<Fitted>, Error> {
    let search = Search {
        task,
        options,
        exclude_self: options
            .exclude_self
            .unwrap_or(!task.settings.protocol.counts_self()),
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
        let of_k = match (chosen, ks.len()) {
            (Some(_), _) if on == Split::Test => Some("k chosen on test".to_owned()),
            (None, 2..) if task.settings.eval == Split::Test => Some(if aurocs.is_empty() {
                "no k is chosen: there is no `val`".to_owned()
            } else {
                format!(
                    "no k is chosen: no class has both positive and negative cases in `{}`",
                    on.name()
                )
            }),
            _ => None,
        };
        Fitted {
            setting: match options.index {
                IndexKind::Exact => format!("k={k}"),
                IndexKind::Hnsw(_) => format!("k={k} hnsw"),
            },
            params: search.params(k, &ks, recall),
            scores,
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
    options: &'a KnnOptions,
    exclude_self: bool,
}

impl Search<'_> {
    fn is_ml_knn(&self) -> bool {
        let is_multi_label = matches!(self.task.examples.targets, Targets::Multi(_));
        is_multi_label && self.options.vote.is_none()
    }

    /// The vote where an example is of one class.
    fn single_vote(&self) -> (Vote, Whole) {
        match self.options.vote.unwrap_or(SOFTMAX) {
            vote @ Vote::Softmax { .. } => (vote, self.task.settings.protocol.whole()),
            vote => (vote, Whole::OwnK),
        }
    }

    /// The most neighbours that `examples` training examples have.
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
        let wanted = self.options.ks.as_deref();
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

    /// The scores of a part by neighbours in another, per number of neighbours, and the recall of the
    /// search if it is not exact.
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
        match self.options.index {
            IndexKind::Exact => {
                let index = Index::new(keys);
                let search = |queries: ArrayView2<'_, f32>, k| index.neighbours(queries, k);
                (self.votes(search, train, keys, queries, &ks), None)
            }
            IndexKind::Hnsw(options) => {
                let index = HnswIndex::new(keys, options);
                let search = |queries: ArrayView2<'_, f32>, k| index.neighbours(queries, k);
                let step = queries.nrows().div_ceil(MEASURED).max(1);
                let most = ks.iter().copied().max().unwrap_or(0);
                let recall = index.recall(queries.slice(s![..;step, ..]), most);
                (self.votes(search, train, keys, queries, &ks), Some(recall))
            }
        }
    }

    /// The scores of `queries [Q, D]` by the neighbours that `search` finds in `keys [N, D]`, the
    /// features of `train`.
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
                match self.options.vote {
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
        found.map(|scores| self.task.scored(part, scores)).collect()
    }

    fn aurocs(&self, found: &[Array2<f64>]) -> Result<Vec<Option<f64>>, Error> {
        let undefined = self.task.settings.protocol.undefined_auroc();
        let auroc = |scores: &Array2<f64>| {
            let scored = self.task.scored(&self.task.parts.test, scores.clone())?;
            Ok(scored.auroc_macro(undefined))
        };
        found.iter().map(auroc).collect()
    }

    /// Number of neighbours in whose softmax weight a class has a share.
    fn normalised_over(&self, k: usize, ks: &[usize]) -> usize {
        let is_single_label = matches!(self.task.examples.targets, Targets::Single(_));
        match self.single_vote() {
            (_, Whole::LargestK) if is_single_label => ks.iter().copied().max().unwrap_or(k),
            _ => k,
        }
    }

    fn params(&self, k: usize, ks: &[usize], recall: Option<f64>) -> Map<String, Value> {
        let options = self.options;
        let own = match options.vote {
            None if self.is_ml_knn() => json!({
                "vote": "ml-knn",
                "smoothing": ml_knn::SMOOTHING,
                "exclude_self": self.exclude_self,
            }),
            vote => match vote.unwrap_or(SOFTMAX) {
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
            "features": options.features.name(),
            "layer": options.layer,
        });
        let index = match options.index {
            IndexKind::Exact => json!({}),
            IndexKind::Hnsw(HnswOptions {
                m,
                ef_construction,
                ef,
            }) => json!({
                "index": "hnsw",
                "m": m,
                "ef_construction": ef_construction,
                "ef": ef,
                "recall": recall,
            }),
        };
        [all, own, index]
            .into_iter()
            .filter_map(|value| value.as_object().cloned())
            .flatten()
            .collect()
    }
}
