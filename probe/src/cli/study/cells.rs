//! The cells of a study: a probe on a cache under a protocol, for each fold.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;
use cache::{CacheMeta, CacheName, CacheReader, Task, Tokens};

use super::estimate::{Basis, Work};
use super::jobs::{Evaluation, has_folds};
use crate::record::{self, Recorded, RunRecord};
use crate::study::{Folds, StudyFile};

/// A cell of a study.
pub(super) struct Cell {
    /// Number of its evaluation.
    pub(super) evaluation: usize,
    /// Number of its protocol among those of the evaluation.
    pub(super) setting: usize,
    pub(super) dataset: String,
    pub(super) model: String,
    /// Image size; blank if there is no cache and no size is asked for.
    pub(super) size: String,
    pub(super) state: State,
    /// Hash of the cache; blank if there is none.
    pub(super) cache_sha256: String,
    /// Records of the same evaluation that `--force` repeats.
    pub(super) earlier: Vec<RunRecord>,
    /// Work in units of its probe, the estimated time in seconds, and what it is estimated from.
    pub(super) work: f64,
    pub(super) seconds: f64,
    pub(super) basis: Basis,
}

/// State of a cell.
pub(super) enum State {
    /// Its records.
    Done(Vec<RunRecord>),
    /// The cache to evaluate.
    ToRun(PathBuf),
    NoCache,
    /// The cache lacks the tokens from which blocks are adapted.
    NoTokens,
    /// The cache on whose images a script trains.
    ByScript(PathBuf),
    /// The cache has no split of this fold.
    NoFold(Folds),
    /// The cache has a split of its name that another rule made.
    OtherFold(Folds),
    /// The error.
    Failed(String),
}

/// Records by the name of their probe.
pub(super) struct Records(BTreeMap<String, Recorded>);

impl Records {
    /// The records of all probes in a folder; complaints about them go to `messages`.
    pub(super) fn read(
        runs: &Path,
        evaluations: &[Evaluation<'_>],
        messages: &mut impl Write,
    ) -> Result<Records> {
        let mut records = BTreeMap::new();
        for evaluation in evaluations {
            let probe = evaluation.job.probe;
            if !records.contains_key(probe) {
                let recorded = record::read(runs, probe)?;
                for complaint in recorded.complaints() {
                    writeln!(messages, "warning: {complaint}")?;
                }
                records.insert(probe.to_owned(), recorded);
            }
        }
        Ok(Records(records))
    }

    /// The records of each evaluation of a probe.
    pub(super) fn all(&self, probe: &str) -> &[Vec<RunRecord>] {
        self.0.get(probe).map_or(&[], Recorded::evaluations)
    }

    /// The records of a probe with a key.
    pub(super) fn of(&self, probe: &str, key: &str) -> Option<&[RunRecord]> {
        self.0.get(probe)?.of(key)
    }
}

impl State {
    pub(super) fn lacks_cache(&self) -> bool {
        matches!(self, State::NoCache | State::NoTokens)
    }

    pub(super) fn lacks_training(&self) -> bool {
        matches!(self, State::ByScript(_))
    }

    pub(super) fn lacks_fold(&self) -> bool {
        matches!(self, State::NoFold(_))
    }
}

impl Cell {
    pub(super) fn records(&self) -> &[RunRecord] {
        match &self.state {
            State::Done(records) => records,
            _ => &[],
        }
    }

    /// `DATASET/MODEL@SIZE`.
    pub(super) fn cache(&self) -> String {
        let at = if self.size.is_empty() { "" } else { "@" };
        format!("{}/{}{at}{}", self.dataset, self.model, self.size)
    }

    /// Name for people.
    pub(super) fn label(&self, evaluations: &[Evaluation<'_>]) -> String {
        let of = &evaluations[self.evaluation];
        let protocol = of.job.settings[self.setting].protocol.name();
        let fold = of.fold.map(|fold| format!(" {}", Folds::name(fold)));
        let fold = fold.unwrap_or_default();
        format!("{} {protocol}{fold}, {}", of.label, self.cache())
    }
}

/// All cells. A probe without datasets of its own leaves out caches that it cannot be for: decoders those
/// without masks, other probes those without labels.
pub(super) fn cells(
    study: &StudyFile,
    evaluations: &[Evaluation<'_>],
    caches: &[PathBuf],
    records: &Records,
    force: bool,
) -> Vec<Cell> {
    let mut cells = Vec::new();
    for (number, evaluation) in evaluations.iter().enumerate() {
        let entry = evaluation.entry;
        for dataset in study.datasets(entry) {
            let folds = study.folds.get(dataset).filter(|_| has_folds(entry));
            let is_meant = match (evaluation.fold, folds) {
                (Some(fold), Some(folds)) => fold < folds.0,
                (fold, folds) => fold.is_none() && folds.is_none(),
            };
            if !is_meant {
                continue;
            }
            for model in study.models(entry) {
                let is_of = |path: &&PathBuf| {
                    let name = CacheName::of(path);
                    name.is_some_and(|name| name.matches(Some(dataset), Some(model), None))
                        && evaluation.job.caches.wants(path)
                };
                let found: Vec<&PathBuf> = caches.iter().filter(is_of).collect();
                let blank = |setting: usize| Cell {
                    evaluation: number,
                    setting,
                    dataset: dataset.clone(),
                    model: model.clone(),
                    size: evaluation.job.caches.size().unwrap_or_default(),
                    state: State::NoCache,
                    cache_sha256: String::new(),
                    earlier: Vec::new(),
                    work: 0.0,
                    seconds: 0.0,
                    basis: Basis::Typical,
                };
                if found.is_empty() {
                    cells.extend((0..evaluation.job.settings.len()).map(blank));
                }
                for path in found {
                    cells.extend(of_cache(evaluation, path, folds, records, force, &blank));
                }
            }
        }
    }
    cells
}

/// The cells of an evaluation and a cache: one for each protocol.
fn of_cache(
    evaluation: &Evaluation<'_>,
    path: &Path,
    folds: Option<&Folds>,
    records: &Records,
    force: bool,
    blank: &dyn Fn(usize) -> Cell,
) -> Vec<Cell> {
    let size = CacheName::of(path)
        .map(|name| name.size)
        .unwrap_or_default();
    let reader = evaluation.job.caches.open(path).map(|(reader, _)| reader);
    if let Ok(reader) = &reader
        && evaluation.entry.datasets.is_none()
        && !suits(evaluation, reader.meta())
    {
        return Vec::new();
    }
    let cell = |setting: usize| {
        let settings = &evaluation.job.settings[setting];
        let mut earlier = Vec::new();
        let state = match &reader {
            Err(error) => State::Failed(error.to_string()),
            Ok(reader) if evaluation.is_adaptation() && reader.meta().tokens == Tokens::Cls => {
                State::NoTokens
            }
            Ok(reader) => match lacking_fold(reader, evaluation.fold, folds) {
                Some(lacking) => lacking,
                None => match (evaluation.job.key)(reader, settings) {
                    Err(error) => State::Failed(evaluation.told(&error)),
                    Ok(key) => match records.of(evaluation.job.probe, &key) {
                        Some(known) if !force => State::Done(known.to_vec()),
                        _ if evaluation.is_by_script() => State::ByScript(path.to_path_buf()),
                        known => {
                            earlier = known.unwrap_or_default().to_vec();
                            match evaluation.check_splits(reader, settings) {
                                Ok(()) => State::ToRun(path.to_path_buf()),
                                Err(error) => State::Failed(evaluation.told(&error)),
                            }
                        }
                    },
                },
            },
        };
        let (mut work, mut cache_sha256) = (0.0, String::new());
        if let Ok(reader) = &reader {
            work = Work::of(evaluation).on(reader.meta());
            cache_sha256 = reader.sha256().to_owned();
        }
        Cell {
            size: size.clone(),
            state,
            earlier,
            work,
            cache_sha256,
            ..blank(setting)
        }
    };
    (0..evaluation.job.settings.len()).map(cell).collect()
}

/// Whether a cache has what a probe is for.
fn suits(evaluation: &Evaluation<'_>, meta: &CacheMeta) -> bool {
    if evaluation.segments() {
        meta.has_masks
    } else {
        meta.task != Task::Unlabelled
    }
}

/// The state of a cell whose cache has no split of the fold, or one that another rule made.
fn lacking_fold(reader: &CacheReader, fold: Option<u32>, folds: Option<&Folds>) -> Option<State> {
    let (fold, folds) = (fold?, *folds?);
    match reader.named_split(&Folds::name(fold)) {
        Ok(split) if split.rule == folds.rule(fold) => None,
        Ok(_) => Some(State::OtherFold(folds)),
        Err(_) => Some(State::NoFold(folds)),
    }
}
