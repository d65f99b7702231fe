//! Examples with the tokens of several blocks, as heads are trained on them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use cache::{CacheReader, Labels, SliceMeta, Split, Task};
use half::f16;
use ndarray::{Array2, ArrayView2, Axis, s};

use crate::Error;
use crate::features::{Targets, empty_split, is_blank, targets};
use crate::probes::linear::Columns;

/// What one example is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A slice.
    Slice,
    /// A sample: its features are the mean over its slices, as in the study.
    Volume,
}

impl Unit {
    /// The word for it in records.
    pub fn name(self) -> &'static str {
        match self {
            Unit::Slice => "slice",
            Unit::Volume => "volume",
        }
    }

    /// [`Unit::Volume`] if samples have several slices which all have the sample's labels.
    fn of(slices: &[SliceMeta]) -> Unit {
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

/// The labelled examples of a cache, `N`, with the features of their views, `R` rows.
#[derive(Clone, Debug)]
pub struct Examples {
    /// `[R, F]`.
    pub features: Array2<f16>,
    /// What the columns are.
    pub columns: Columns,
    /// Of the `R` rows.
    pub targets: Targets,
    /// The rows of each example: the plain view, then the augmented ones.
    pub rows: Vec<Vec<usize>>,
    /// Splits of the `N` examples.
    pub splits: Vec<Option<Split>>,
    /// What an example is.
    pub unit: Unit,
    /// sha256 of the named split's file, in hex.
    pub split_sha256: Option<String>,
    path: PathBuf,
}

impl Examples {
    /// Reads the CLS tokens of the last `blocks` blocks and the last one's mean patch token.
    ///
    /// `unit` is found from the labels if it is `None`; `split` names a split other than that of the
    /// extraction.
    ///
    /// # Errors
    ///
    /// [`Error::Unlabelled`], [`Error::Label`], [`Error::NotFinite`], and [`Error::Cache`] if the
    /// cache cannot be read or has fewer blocks.
    pub fn read(
        reader: &CacheReader,
        blocks: u32,
        unit: Option<Unit>,
        split: Option<&str>,
    ) -> Result<Examples, Error> {
        let (path, meta) = (reader.dir(), reader.meta());
        if meta.task == Task::Unlabelled || meta.classes.is_empty() {
            return Err(Error::Unlabelled { path: path.into() });
        }
        let (slices, split_sha256) = match split {
            Some(name) => reader
                .slices_with_split(name)
                .map(|(slices, of)| (slices, Some(of.sha256)))?,
            None => (reader.slices()?, None),
        };
        let unit = unit.unwrap_or_else(|| Unit::of(&slices));
        let members = members(&slices, unit);
        let (features, columns) = features(reader, blocks, &slices, &members)?;
        let firsts: Vec<usize> = members.iter().map(|rows| rows[0]).collect();
        let targets = targets(path, &slices, &firsts, meta.task, meta.classes.len())?;
        let mut examples: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        let mut number: BTreeMap<(&str, Option<u32>), usize> = BTreeMap::new();
        for (row, &first) in firsts.iter().enumerate() {
            let slice = (unit == Unit::Slice).then_some(slices[first].slice);
            let next = number.len();
            let example = *number.entry((&slices[first].sample, slice)).or_insert(next);
            examples.entry(example).or_default().push(row);
        }
        let mut rows: Vec<Vec<usize>> = examples.into_values().collect();
        for rows in &mut rows {
            rows.sort_by_key(|&row| slices[firsts[row]].view);
        }
        let splits = rows.iter().map(|rows| slices[firsts[rows[0]]].split);
        Ok(Examples {
            splits: splits.collect(),
            features,
            columns,
            targets,
            rows,
            unit,
            split_sha256,
            path: path.into(),
        })
    }

    /// The examples of some splits.
    ///
    /// # Errors
    ///
    /// [`Error::EmptySplit`] if there is none.
    pub fn part(&self, wanted: &[Split]) -> Result<Vec<usize>, Error> {
        let is_wanted =
            |&example: &usize| self.splits[example].is_some_and(|s| wanted.contains(&s));
        let part: Vec<usize> = (0..self.splits.len()).filter(is_wanted).collect();
        match part.is_empty() {
            true => Err(empty_split(&self.path, &self.splits, wanted)),
            false => Ok(part),
        }
    }

    /// The rows that stand for each example in training: augmented views, or the plain one if there
    /// are none.
    pub fn training_rows(&self, examples: &[usize]) -> Vec<Vec<usize>> {
        let rows = examples
            .iter()
            .map(|&example| match &self.rows[example][..] {
                [_, augmented @ ..] if !augmented.is_empty() => augmented.to_vec(),
                plain => plain.to_vec(),
            });
        rows.collect()
    }

    /// Features and targets of the plain views.
    pub fn plain(&self, examples: &[usize]) -> (Array2<f16>, Targets) {
        let rows: Vec<usize> = examples
            .iter()
            .map(|&example| self.rows[example][0])
            .collect();
        let targets = match &self.targets {
            Targets::Single(labels) => Targets::Single(rows.iter().map(|&r| labels[r]).collect()),
            Targets::Multi(present) => Targets::Multi(present.select(Axis(0), &rows)),
        };
        (self.features.select(Axis(0), &rows), targets)
    }
}

/// The labelled slices that make up each row: one, or those of a sample with the same view.
fn members(slices: &[SliceMeta], unit: Unit) -> Vec<Vec<usize>> {
    let labelled = (0..slices.len()).filter(|&row| !is_blank(&slices[row].labels));
    if unit == Unit::Slice {
        return labelled.map(|row| vec![row]).collect();
    }
    let mut members: Vec<Vec<usize>> = Vec::new();
    let mut place: BTreeMap<(&str, u16), usize> = BTreeMap::new();
    for row in labelled {
        let next = members.len();
        match *place
            .entry((&slices[row].sample, slices[row].view))
            .or_insert(next)
        {
            at if at == next => members.push(vec![row]),
            at => members[at].push(row),
        }
    }
    members
}

/// The rows' features `[R, F]`, a block's tokens at a time.
fn features(
    reader: &CacheReader,
    blocks: u32,
    slices: &[SliceMeta],
    members: &[Vec<usize>],
) -> Result<(Array2<f16>, Columns), Error> {
    let shapes = (1..=blocks).rev().map(|layer| reader.meta().shape(layer));
    let columns = Columns {
        cls: shapes.map(|shape| shape.cls as usize).collect(),
        mean: reader.meta().shape(1).patch as usize,
    };
    let mut features = Array2::from_elem((members.len(), columns.width()), f16::ZERO);
    let mut first = 0;
    for layer in (0..=blocks).rev() {
        let tokens = match layer {
            0 => reader.mean(1)?,
            layer => reader.cls(layer)?,
        };
        let width = tokens.ncols();
        let mut target = features.slice_mut(s![.., first..first + width]);
        for (mut target, members) in target.outer_iter_mut().zip(members) {
            let mean = mean(tokens.view(), members);
            if let Some(&value) = mean
                .iter()
                .find(|value| !f16::from_f32(**value).is_finite())
            {
                return Err(Error::NotFinite {
                    path: reader.dir().into(),
                    row: members[0],
                    sample: slices[members[0]].sample.clone(),
                    value,
                });
            }
            target.zip_mut_with(&mean, |target, &value| *target = f16::from_f32(value));
        }
        first += width;
    }
    Ok((features, columns))
}

fn mean(tokens: ArrayView2<'_, f32>, rows: &[usize]) -> ndarray::Array1<f32> {
    let mut sum = tokens.row(rows[0]).to_owned();
    for &row in &rows[1..] {
        sum += &tokens.row(row);
    }
    if rows.len() > 1 {
        sum /= rows.len() as f32;
    }
    sum
}
