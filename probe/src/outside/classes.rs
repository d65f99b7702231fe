//! Scores of cases.

use std::collections::HashMap;
use std::path::Path;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float64Type, UInt64Type};
use cache::{CacheReader, Split};
use ndarray::Array2;
use serde_json::{Map, Value, json};

use super::{Run, SCORES, check_cache};
use crate::Error;
use crate::control::Control;
use crate::error::Cause;
use crate::error::FileError;
use crate::evaluate::{
    AnyProbe, Choice, Evaluated, Fitted, Identity, NOTHING_CHOSEN, Probe, Select, Settings, Task,
};
use crate::examples::{Examples, Selection};
use crate::features::{Features, Tokens};
use crate::progress::Steps;
use crate::protocol::Protocol;
use crate::scores::Scores;

/// The key of the evaluation of the training in `folder`.
///
/// # Errors
///
/// [`Error::ScoresOfOtherCache`], and [`Error::Cache`] if the slices of the cache or the named split cannot be read.
pub fn key(
    run: &Run,
    folder: &Path,
    reader: &CacheReader,
    settings: &Settings,
) -> Result<String, Error> {
    check_cache(reader, run, folder)?;
    Outside { run, folder }.key(reader, settings, None)
}

/// Checks that `train`, `val` and `test` of a cache have labelled slices.
///
/// # Errors
///
/// [`Error::EmptySplit`], and those of reading slices.
pub fn check_splits(reader: &CacheReader, settings: &Settings) -> Result<(), Error> {
    let bare = Selection {
        control: Some((Control::MetadataOnly, settings.seed)),
        ..settings.selection(Features::Cls.tokens(1))
    };
    let examples = Examples::read(reader, &bare)?;
    Split::ALL
        .iter()
        .try_for_each(|&split| examples.part(&[split]).map(drop))
}

/// Measures the scores in `folder`.
///
/// # Errors
///
/// [`Error::ScoresOfOtherCache`], [`FileError::Input`] if there is no score of a case, and those of other probes.
pub fn evaluate(
    run: &Run,
    folder: &Path,
    reader: &CacheReader,
    settings: &Settings,
    steps: &Steps<'_>,
) -> Result<Vec<Evaluated>, Error> {
    check_cache(reader, run, folder)?;
    let mut found = Outside { run, folder }.evaluate(reader, settings, None, steps)?;
    for evaluated in &mut found {
        run.complete(&mut evaluated.record);
    }
    Ok(found)
}

/// A training as a probe that has been fitted already.
#[derive(Debug)]
struct Outside<'a> {
    run: &'a Run,
    folder: &'a Path,
}

impl Probe for Outside<'_> {
    const NAME: &'static str = "finetune";

    fn tokens(&self, _: u32) -> Tokens {
        Features::Cls.tokens(1)
    }

    fn options(&self, _: Protocol, _: &CacheReader) -> Result<Map<String, Value>, Error> {
        Ok(self.run.settings.clone())
    }

    fn identity(
        &self,
        reader: &CacheReader,
        settings: &Settings,
        _: Option<&crate::evaluate::FewShot>,
    ) -> Result<Identity, Error> {
        let mut options = Map::from_iter([("probe".to_owned(), json!(Self::NAME))]);
        options.extend(self.run.settings.clone());
        let sha256 = crate::head::sha256_of(&self.folder.join(SCORES))?;
        settings.identity(reader, options, NOTHING_CHOSEN, &[sha256])
    }

    fn fit(&self, task: &Task<'_>) -> Result<Vec<Fitted>, Error> {
        let path = self.folder.join(SCORES);
        let table = read(&path, &task.examples.classes);
        let scores = |part: &[usize]| {
            let table = table.as_ref().map_err(ToString::to_string)?;
            let rows = part.iter().map(|&example| {
                let plain = task.examples.rows[example][0];
                task.examples.stored[plain] as u64
            });
            table.of(&rows.collect::<Vec<u64>>())
        };
        let of = |part: &[usize]| {
            scores(part).map_err(|what: String| {
                Error::File(FileError::Input {
                    path: path.clone(),
                    source: what.into(),
                })
            })
        };
        let test = of(&task.parts.test)?;
        let mut params = self.run.params.clone();
        let (mut thresholds, mut warnings) = (None, Vec::new());
        if !task.parts.val.is_empty() {
            let on_val = task.scored(&task.parts.val, of(&task.parts.val)?)?;
            let undefined = task.settings.protocol.undefined_auroc();
            let value = Select::Auroc.of(&on_val, undefined);
            params.insert("val_auroc_macro".into(), json!(value));
            let (chosen, without) = task.thresholds(&on_val);
            thresholds = chosen;
            warnings.extend(without);
        }
        Ok(vec![Fitted {
            setting: self.run.setting.clone(),
            params,
            scores: test,
            n_train: self.run.n_train,
            choice: Some(Choice {
                is_chosen: true,
                on: Split::Val,
            }),
            warnings,
            head: None,
            thresholds,
        }])
    }
}

/// Scores by rows of the cache.
struct Table {
    rows: HashMap<u64, usize>,
    /// `[N, C]`.
    values: Array2<f64>,
}

impl Table {
    /// The scores of some rows.
    fn of(&self, rows: &[u64]) -> Result<Scores, String> {
        let mut values = Array2::zeros((rows.len(), self.values.ncols()));
        for (mut out, row) in values.outer_iter_mut().zip(rows) {
            let at = self.rows.get(row);
            let at = at.ok_or_else(|| format!("there are no scores of row {row} of the cache"))?;
            out.assign(&self.values.row(*at));
        }
        Ok(Scores::probabilities(values))
    }
}

fn read(path: &Path, classes: &[String]) -> Result<Table, Cause> {
    let (batch, _) = cache::read_table(path)?;
    let column = |name: &str| {
        let column = batch.column_by_name(name);
        column.ok_or_else(|| format!("the column `{name}` is missing"))
    };
    let numbers = column("row")?.as_primitive_opt::<UInt64Type>();
    let numbers = numbers.ok_or("the column `row` has another type")?;
    let mut values = Array2::zeros((batch.num_rows(), classes.len()));
    for (class, mut out) in classes.iter().zip(values.columns_mut()) {
        let name = format!("score/{class}");
        let scores = column(&name)?.as_primitive_opt::<Float64Type>();
        let scores = scores.filter(|scores| scores.null_count() == 0);
        let scores = scores.ok_or_else(|| format!("the column `{name}` has another type"))?;
        for (out, &score) in out.iter_mut().zip(scores.values()) {
            if !(0.0..=1.0).contains(&score) {
                return Err(
                    format!("the column `{name}` holds {score}, which is no probability").into(),
                );
            }
            *out = score;
        }
    }
    let rows = numbers.values().iter().copied().zip(0..).collect();
    Ok(Table { rows, values })
}
