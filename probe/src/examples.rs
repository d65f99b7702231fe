//! Labelled examples with the tokens of some blocks.

mod case;
mod read;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use cache::{CacheReader, Labels, SliceMeta, Split, Task};
use clap::ValueEnum;
use half::f16;
use ndarray::{Array1, Array2, ArrayView2, Axis};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

pub use self::case::{Case, Clusters};
pub(crate) use self::case::{Who, cluster_word};
use self::read::{features, members, targets, views};
use crate::Error;
use crate::control::{self, Control};
use crate::features::{Columns, Tokens};
use crate::hold_out::{HeldOut, hold_out};
use crate::probes::widen;
use crate::protocol::Protocol;
use crate::targets::{Targets, is_blank};

/// Rows shorter than this are not scaled to length 1.
const SHORTEST: f32 = 1e-12;

/// Unit of examples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// A slice
    Slice,
    /// A sample: features are pooled over its slices
    Volume,
}

/// Pooling of the features of slices to those of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Pool {
    /// Mean, as in the study
    Mean,
    /// Maximum of each feature
    Max,
}

/// Selection of examples and features of a cache.
#[derive(Clone, Debug)]
pub struct Selection {
    /// The features.
    pub tokens: Tokens,
    /// Unit of examples; found from the labels if `None`.
    pub unit: Option<Unit>,
    /// Pooling of slices to volumes.
    pub pool: Pool,
    /// The name of a split other than that of the extraction.
    pub split: Option<String>,
    /// Evaluation protocol, for the conversion of labels to targets.
    pub protocol: Protocol,
    /// Whether slices without labels are excluded; else targets hold the known state of each class.
    pub labelled: bool,
    /// Negative control, and its random seed.
    pub control: Option<(Control, u64)>,
}

/// The examples of a cache, `N`, with the features of their views, `R` rows.
#[derive(Clone, Debug)]
pub struct Examples {
    /// `[R, F]`.
    pub features: Array2<f16>,
    /// Tokens of the columns.
    pub columns: Columns,
    /// Targets of the `R` rows.
    pub targets: Targets,
    /// Names of the classes: those of the cache, and one that the protocol may add.
    pub classes: Vec<String>,
    /// The rows of each example: the plain view, then the augmented ones.
    pub rows: Vec<Vec<usize>>,
    /// The `N` examples.
    pub cases: Vec<Case>,
    /// Whether the `N` examples are labelled.
    pub is_labelled: Vec<bool>,
    /// Unit of examples.
    pub unit: Unit,
    /// The slice of the cache of each of the `R` rows; the first one of a volume.
    pub(crate) stored: Vec<usize>,
    pub(crate) held_out: Option<HeldOut>,
    path: PathBuf,
}

impl Unit {
    /// Name in records.
    pub fn name(self) -> &'static str {
        match self {
            Unit::Slice => "slice",
            Unit::Volume => "volume",
        }
    }

    /// [`Unit::Volume`] if samples have several slices, all with equal labels within a sample.
    pub(crate) fn of(slices: &[SliceMeta]) -> Unit {
        let mut labels: BTreeMap<&str, &Labels> = BTreeMap::new();
        let mut several = false;
        for slice in slices.iter().filter(|slice| slice.view == 0) {
            match labels.insert(&slice.sample, &slice.labels) {
                Some(before) if *before != slice.labels => return Unit::Slice,
                before => several |= before.is_some(),
            }
        }
        if several { Unit::Volume } else { Unit::Slice }
    }
}

impl Pool {
    /// Name in records.
    pub fn name(self) -> &'static str {
        match self {
            Pool::Mean => "mean",
            Pool::Max => "max",
        }
    }

    fn rows(self, tokens: ArrayView2<'_, f32>, rows: &[usize]) -> Array1<f32> {
        let mut pooled = tokens.row(rows[0]).to_owned();
        for &row in &rows[1..] {
            match self {
                Pool::Mean => pooled += &tokens.row(row),
                Pool::Max => pooled.zip_mut_with(&tokens.row(row), |a, &b| *a = a.max(b)),
            }
        }
        if self == Pool::Mean && rows.len() > 1 {
            pooled /= rows.len() as f32;
        }
        pooled
    }
}

impl Examples {
    /// Reads a selection.
    ///
    /// # Errors
    ///
    /// [`Error::Unlabelled`] if the dataset has no slice labels, [`Error::Label`] and
    /// [`Error::NotFinite`] if the cache is invalid, and [`Error::Cache`] if it cannot be read or has fewer blocks.
    pub fn read(reader: &CacheReader, selection: &Selection) -> Result<Examples, Error> {
        let (path, meta) = (reader.dir(), reader.meta());
        let is_unlabelled = meta.task == Task::Unlabelled || meta.classes.is_empty();
        if is_unlabelled && selection.labelled {
            return Err(Error::Unlabelled { path: path.into() });
        }
        let slices = match &selection.split {
            Some(name) => reader.slices_with_split(name)?.0,
            None => reader.slices()?,
        };
        let unit = selection.unit.unwrap_or_else(|| Unit::of(&slices));
        let is_labelled = |&row: &usize| !is_blank(&slices[row].labels);
        let has_labels = |rows: &Vec<usize>| rows.iter().any(is_labelled);
        let mut members = members(&slices, unit);
        if selection.labelled {
            members.retain(has_labels);
        }
        let (features, columns) = match selection.control {
            Some((Control::MetadataOnly, _)) => {
                control::metadata(&slices, &members, &selection.tokens)
            }
            _ => features(reader, selection, &slices, &members)?,
        };
        let firsts: Vec<usize> = members.iter().map(|rows| rows[0]).collect();
        let mut classes = meta.classes.clone();
        let made = selection.protocol.made_class(&classes);
        let targets = targets(reader, selection, made, &slices, &members)?;
        classes.extend(made.map(|class| class.name().to_owned()));
        let rows = views(&slices, &firsts, unit);
        let case = |rows: &Vec<usize>| {
            let slice = &slices[firsts[rows[0]]];
            Case {
                sample: slice.sample.clone(),
                slice: (unit == Unit::Slice).then_some(slice.slice),
                patient: slice.patient.clone(),
                split: slice.split,
            }
        };
        let mut examples = Examples {
            cases: rows.iter().map(case).collect(),
            is_labelled: rows.iter().map(|of| has_labels(&members[of[0]])).collect(),
            features,
            columns,
            targets,
            classes,
            rows,
            unit,
            stored: firsts,
            held_out: None,
            path: path.into(),
        };
        if let Some((Control::RandomFeatures, seed)) = selection.control {
            control::randomise(&mut examples.features, seed);
        }
        Ok(examples)
    }

    /// Examples of one row each, without a cache.
    #[cfg(test)]
    pub(crate) fn new(
        features: Array2<f16>,
        columns: Columns,
        targets: Targets,
        cases: Vec<Case>,
        unit: Unit,
    ) -> Examples {
        Examples {
            rows: (0..cases.len()).map(|row| vec![row]).collect(),
            stored: (0..cases.len()).collect(),
            is_labelled: vec![true; cases.len()],
            features,
            columns,
            targets,
            classes: Vec::new(),
            cases,
            unit,
            held_out: None,
            path: PathBuf::new(),
        }
    }

    /// Moves the examples of about `share` of the patients in `train` to `val`, if `train` has several patients.
    /// The draw is stratified by the patients' sets of classes.
    pub(crate) fn hold_out(&mut self, share: f64, seed: u64) {
        let train = self.of(&[Split::Train]);
        let truth = self.truth(&train);
        let mut patients: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
        for (index, &example) in train.iter().enumerate() {
            let classes = 0..self.classes.len();
            let has = classes.filter(|&class| truth.is(index, class) == Some(true));
            let known = patients.entry(self.cases[example].cluster()).or_default();
            known.extend(has);
        }
        let word = self.cluster_word();
        let Some((drawn, held_out)) = hold_out(&patients, share, seed, word) else {
            return;
        };
        let is_drawn = |&example: &usize| drawn.contains(self.cases[example].cluster());
        let drawn: Vec<usize> = train.into_iter().filter(is_drawn).collect();
        for example in drawn {
            self.cases[example].split = Some(Split::Val);
        }
        self.held_out = Some(held_out);
    }

    /// Examples of some splits; empty if there are none.
    pub fn of(&self, wanted: &[Split]) -> Vec<usize> {
        let is_wanted = |&example: &usize| {
            let split = self.cases[example].split;
            split.is_some_and(|split| wanted.contains(&split))
        };
        (0..self.cases.len()).filter(is_wanted).collect()
    }

    /// The examples of some splits.
    ///
    /// # Errors
    ///
    /// [`Error::EmptySplit`] if there is none.
    pub fn part(&self, wanted: &[Split]) -> Result<Vec<usize>, Error> {
        let part = self.of(wanted);
        if part.is_empty() {
            Err(self.empty_split(wanted))
        } else {
            Ok(part)
        }
    }

    /// Word for a cluster of dependent examples.
    pub(crate) fn cluster_word(&self) -> &'static str {
        cluster_word(self.cases.iter().map(|case| case.patient.as_deref()))
    }

    pub(crate) fn empty_split(&self, wanted: &[Split]) -> Error {
        let splits = self.cases.iter().map(|case| match case.split {
            // The split of the dataset.
            Some(Split::Val) if self.held_out.is_some() => Some(Split::Train),
            split => split,
        });
        let splits: Vec<Option<Split>> = splits.collect();
        let count = |split| splits.iter().filter(|&&known| known == split).count();
        let known = Split::ALL.map(|s| format!("{} in `{}`", count(Some(s)), s.name()));
        Error::EmptySplit {
            path: self.path.clone(),
            unit: self.unit.name(),
            wanted: join(wanted),
            found: format!("{}, {} in none", known.join(", "), count(None)),
        }
    }

    /// Training rows of each example: augmented views, or the plain one if there are none.
    pub fn training_rows(&self, examples: &[usize]) -> Vec<Vec<usize>> {
        let rows = examples
            .iter()
            .map(|&example| match &self.rows[example][..] {
                [_, augmented @ ..] if !augmented.is_empty() => augmented.to_vec(),
                plain => plain.to_vec(),
            });
        rows.collect()
    }

    fn plain_rows(&self, examples: &[usize]) -> Vec<usize> {
        examples.iter().map(|&e| self.rows[e][0]).collect()
    }

    /// Features of the plain views, `[N, F]`.
    pub fn plain(&self, examples: &[usize]) -> Array2<f16> {
        self.features.select(Axis(0), &self.plain_rows(examples))
    }

    /// Features of the plain views, `[N, F]`, every row of length 1.
    pub fn normalised(&self, examples: &[usize]) -> Array2<f32> {
        let mut x = Array2::zeros((examples.len(), self.features.ncols()));
        let rows = x.outer_iter_mut().into_par_iter();
        rows.zip(examples).for_each(|(mut row, &example)| {
            widen(self.features.row(self.rows[example][0]), row.view_mut());
            let squares = row.iter().map(|&value| f64::from(value) * f64::from(value));
            let length = squares.sum::<f64>().sqrt() as f32;
            row /= length.max(SHORTEST);
        });
        x
    }

    /// Targets of the plain views, `[N]` or `[N, C]`.
    pub fn truth(&self, examples: &[usize]) -> Targets {
        self.targets.select(&self.plain_rows(examples))
    }

    /// Samples, slices, patients and splits of some examples.
    pub fn cases(&self, examples: &[usize]) -> Vec<Case> {
        examples.iter().map(|&e| self.cases[e].clone()).collect()
    }
}

/// Names of splits with `+` between them.
pub(crate) fn join(splits: &[Split]) -> String {
    let names: Vec<_> = splits.iter().map(|split| split.name()).collect();
    names.join("+")
}

#[cfg(test)]
mod tests;
