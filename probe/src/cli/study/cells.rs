//! The cells of a study: a probe on a cache under a protocol, for each fold.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;
use cache::{CacheMeta, CacheName, CacheReader, Task, Tokens};

use super::commands::has_folds;
use super::estimate::Basis;
use super::jobs::Evaluation;
use super::work::Extent;
use crate::Error;
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
    /// Size of the cache, if there is one.
    pub(super) extent: Option<Extent>,
    /// Estimated time in seconds, and what it is estimated from.
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
/// without masks, other probes those without labels. Evaluations that leave out options without effect on some
/// caches are added.
pub(super) fn cells(
    study: &StudyFile,
    evaluations: &mut Vec<Evaluation<'_>>,
    caches: &[PathBuf],
    records: &Records,
    force: bool,
) -> Vec<Cell> {
    let mut cells = Vec::new();
    for number in 0..evaluations.len() {
        if evaluations[number].is_fewer {
            continue;
        }
        let entry = evaluations[number].entry;
        for dataset in study.datasets(entry) {
            let folds = study.folds.get(dataset).filter(|_| has_folds(entry));
            let is_meant = match (evaluations[number].fold, folds) {
                (Some(fold), Some(folds)) => fold < folds.0,
                (fold, folds) => fold.is_none() && folds.is_none(),
            };
            if !is_meant {
                continue;
            }
            for model in study.models(entry) {
                let evaluation = &evaluations[number];
                let is_of = |path: &&PathBuf| {
                    let name = CacheName::of(path);
                    name.is_some_and(|name| name.matches(Some(dataset), Some(model), None))
                        && evaluation.job.caches.wants(path)
                };
                let found: Vec<&PathBuf> = caches.iter().filter(is_of).collect();
                let settings = evaluation.job.settings.len();
                let size = evaluation.job.caches.size().unwrap_or_default();
                let blank = |setting: usize| Cell {
                    evaluation: number,
                    setting,
                    dataset: dataset.clone(),
                    model: model.clone(),
                    size: size.clone(),
                    state: State::NoCache,
                    cache_sha256: String::new(),
                    earlier: Vec::new(),
                    extent: None,
                    seconds: 0.0,
                    basis: Basis::Typical,
                };
                if found.is_empty() {
                    cells.extend((0..settings).map(blank));
                }
                for path in found {
                    let of = (number, path.as_path());
                    cells.extend(of_cache(evaluations, of, folds, records, force, &blank));
                }
            }
        }
    }
    cells
}

/// The cells of an evaluation and a cache: one for each protocol.
fn of_cache(
    evaluations: &mut Vec<Evaluation<'_>>,
    (number, path): (usize, &Path),
    folds: Option<&Folds>,
    records: &Records,
    force: bool,
    blank: &dyn Fn(usize) -> Cell,
) -> Vec<Cell> {
    let size = CacheName::of(path)
        .map(|name| name.size)
        .unwrap_or_default();
    let evaluation = &evaluations[number];
    let reader = evaluation.job.caches.open(path).map(|(reader, _)| reader);
    if let Ok(reader) = &reader
        && evaluation.entry.datasets.is_none()
        && !suits(evaluation, reader.meta())
    {
        return Vec::new();
    }
    let settings = 0..evaluation.job.settings.len();
    let cells = settings.map(|setting| {
        let cell = Cell {
            size: size.clone(),
            ..blank(setting)
        };
        match &reader {
            Err(error) => Cell {
                state: State::Failed(error.to_string()),
                ..cell
            },
            Ok(reader) => with_cache(cell, evaluations, reader, folds, records, force),
        }
    });
    cells.collect()
}

/// A cell with the state in which its cache and its records leave it.
fn with_cache(
    mut cell: Cell,
    evaluations: &mut Vec<Evaluation<'_>>,
    reader: &CacheReader,
    folds: Option<&Folds>,
    records: &Records,
    force: bool,
) -> Cell {
    let evaluation = &evaluations[cell.evaluation];
    cell.cache_sha256 = reader.sha256().to_owned();
    cell.extent = Some(Extent::of(reader.meta()));
    if evaluation.is_adaptation() && reader.meta().tokens == Tokens::Cls {
        cell.state = State::NoTokens;
        return cell;
    }
    if let Some(lacking) = lacking_fold(reader, evaluation.fold, folds) {
        cell.state = lacking;
        return cell;
    }
    let (of, key) = keyed(evaluations, &cell, reader);
    cell.evaluation = of;
    let evaluation = &evaluations[of];
    let known = key
        .as_ref()
        .ok()
        .and_then(|key| records.of(evaluation.job.probe, key));
    if let Some(known) = known
        && !force
    {
        cell.state = State::Done(known.to_vec());
        return cell;
    }
    cell.earlier = known.unwrap_or_default().to_vec();
    let settings = &evaluation.job.settings[cell.setting];
    let path = reader.dir().to_path_buf();
    cell.state = match key.and_then(|_| evaluation.check_splits(reader, settings)) {
        Err(error) => State::Failed(evaluation.told(&error)),
        Ok(()) if evaluation.is_by_script() => State::ByScript(path),
        Ok(()) => State::ToRun(path),
    };
    cell
}

/// The number of the evaluation of a cell without those of `[options]` that have no effect on its cache, and its key.
fn keyed(
    evaluations: &mut Vec<Evaluation<'_>>,
    cell: &Cell,
    reader: &CacheReader,
) -> (usize, Result<String, Error>) {
    let mut of = cell.evaluation;
    loop {
        let job = &evaluations[of].job;
        let key = (job.key)(reader, &job.settings[cell.setting]);
        let fewer = match &key {
            Err(Error::NoEffect { option, .. }) => Evaluation::without(evaluations, of, option),
            _ => None,
        };
        match fewer {
            Some(fewer) => of = fewer,
            None => return (of, key),
        }
    }
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
