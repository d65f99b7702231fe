//! Features and labels of slices, as a classification probe sees them.

use std::path::{Path, PathBuf};

use cache::{CacheReader, Labels, SliceMeta, Split, Task};
use ndarray::{Array2, ArrayView1, Axis, Zip};

use crate::Error;

/// Rows shorter than this are not stretched to length 1.
const SHORTEST: f32 = 1e-12;

/// What is known of `N` slices.
#[derive(Clone, Debug, PartialEq)]
pub enum Targets {
    /// One class per slice, `[N]`.
    Single(Vec<u32>),
    /// Classes present, `[N, C]`. Uncertain (-1) and blank labels count as absent.
    Multi(Array2<bool>),
}

/// Features of the labelled slices of a cache; augmented views are left out.
#[derive(Clone, Debug)]
pub struct Features {
    /// CLS tokens `[N, D]`, every row of length 1.
    pub x: Array2<f32>,
    /// Labels of the `N` slices.
    pub targets: Targets,
    /// Splits of the `N` slices.
    pub splits: Vec<Option<Split>>,
    /// sha256 of the file that these were read from, in hex; `None` for those of the extraction.
    pub split_sha256: Option<String>,
    path: PathBuf,
}

impl Features {
    /// Reads the CLS tokens of a layer (1 is the last block) with the labels, and the splits: those
    /// of the extraction, or those that were named later.
    ///
    /// # Errors
    ///
    /// [`Error::Unlabelled`] if the dataset has no slice labels, [`Error::Label`] and
    /// [`Error::NotFinite`] if the cache holds what no cache should, and [`Error::Cache`] if it
    /// cannot be read.
    pub fn read(reader: &CacheReader, layer: u32, split: Option<&str>) -> Result<Features, Error> {
        let (path, meta) = (reader.dir(), reader.meta());
        if meta.task == Task::Unlabelled || meta.classes.is_empty() {
            return Err(Error::Unlabelled { path: path.into() });
        }
        let (slices, named) = match split {
            Some(name) => reader
                .slices_with_split(name)
                .map(|(s, of)| (s, Some(of)))?,
            None => (reader.slices()?, None),
        };
        let x = reader.cls(layer)?;
        let features = Features::new(path, &slices, x, meta.task, meta.classes.len())?;
        Ok(Features {
            split_sha256: named.map(|split| split.sha256),
            ..features
        })
    }

    fn new(
        path: &Path,
        slices: &[SliceMeta],
        mut x: Array2<f32>,
        task: Task,
        classes: usize,
    ) -> Result<Features, Error> {
        check_finite(path, slices, &x)?;
        let used = |&row: &usize| slices[row].view == 0 && !is_blank(&slices[row].labels);
        let rows: Vec<usize> = (0..slices.len()).filter(used).collect();
        let targets = targets(path, slices, &rows, task, classes)?;
        if rows.len() < slices.len() {
            x = x.select(Axis(0), &rows);
        }
        normalise(&mut x);
        let splits = rows.iter().map(|&row| slices[row].split).collect();
        Ok(Features {
            x,
            targets,
            splits,
            split_sha256: None,
            path: path.into(),
        })
    }

    /// The slices of some splits.
    ///
    /// # Errors
    ///
    /// [`Error::EmptySplit`] if there is none.
    pub fn part(&self, wanted: &[Split]) -> Result<(Array2<f32>, Targets), Error> {
        let is_wanted = |&row: &usize| self.splits[row].is_some_and(|s| wanted.contains(&s));
        let rows: Vec<usize> = (0..self.splits.len()).filter(is_wanted).collect();
        if rows.is_empty() {
            return Err(empty_split(&self.path, &self.splits, wanted));
        }
        let targets = match &self.targets {
            Targets::Single(labels) => Targets::Single(rows.iter().map(|&r| labels[r]).collect()),
            Targets::Multi(present) => Targets::Multi(present.select(Axis(0), &rows)),
        };
        Ok((self.x.select(Axis(0), &rows), targets))
    }
}

/// Says how many labelled examples there are in which split.
pub(crate) fn empty_split(path: &Path, splits: &[Option<Split>], wanted: &[Split]) -> Error {
    let count = |split: Option<Split>| splits.iter().filter(|&&s| s == split).count();
    let known = Split::ALL.map(|split| format!("{} in `{}`", count(Some(split)), split.name()));
    let found = format!("{}, {} in none", known.join(", "), count(None));
    Error::EmptySplit {
        path: path.into(),
        wanted: join(wanted),
        found,
    }
}

/// Names of splits with `+` between them.
pub(crate) fn join(splits: &[Split]) -> String {
    splits
        .iter()
        .map(|split| split.name())
        .collect::<Vec<_>>()
        .join("+")
}

/// Whether nothing is known of the slice's classes.
pub(crate) fn is_blank(labels: &Labels) -> bool {
    match labels {
        Labels::Unlabelled => true,
        Labels::Single(class) => class.is_none(),
        Labels::Multi(states) => states.iter().all(Option::is_none),
    }
}

fn check_finite(path: &Path, slices: &[SliceMeta], x: &Array2<f32>) -> Result<(), Error> {
    for (row, (slice, values)) in slices.iter().zip(x.rows()).enumerate() {
        if let Some(&value) = values.iter().find(|value| !value.is_finite()) {
            let (path, sample) = (path.into(), slice.sample.clone());
            return Err(Error::NotFinite {
                path,
                row,
                sample,
                value,
            });
        }
    }
    Ok(())
}

pub(crate) fn targets(
    path: &Path,
    slices: &[SliceMeta],
    rows: &[usize],
    task: Task,
    classes: usize,
) -> Result<Targets, Error> {
    let misfit = |row: usize| Error::Label {
        path: path.into(),
        row,
        sample: slices[row].sample.clone(),
        found: format!("{:?}", slices[row].labels),
        classes,
    };
    if task == Task::SingleLabel {
        let label = |&row: &usize| match slices[row].labels {
            Labels::Single(Some(label)) if (label as usize) < classes => Ok(label),
            _ => Err(misfit(row)),
        };
        return Ok(Targets::Single(
            rows.iter().map(label).collect::<Result<_, _>>()?,
        ));
    }
    let mut present = Array2::from_elem((rows.len(), classes), false);
    for (&row, mut present) in rows.iter().zip(present.rows_mut()) {
        match &slices[row].labels {
            Labels::Multi(labels) if labels.len() == classes => {
                present
                    .iter_mut()
                    .zip(labels)
                    .for_each(|(is, &label)| *is = label == Some(1));
            }
            _ => return Err(misfit(row)),
        }
    }
    Ok(Targets::Multi(present))
}

fn normalise(x: &mut Array2<f32>) {
    Zip::from(x.rows_mut()).par_for_each(|mut row| {
        let length = length(row.view()).max(SHORTEST);
        row /= length;
    });
}

fn length(row: ArrayView1<f32>) -> f32 {
    let squares = row.iter().map(|&value| f64::from(value) * f64::from(value));
    squares.sum::<f64>().sqrt() as f32
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    fn slice(labels: Labels, split: Option<Split>) -> SliceMeta {
        SliceMeta {
            sample: "s".into(),
            image: "s.png".into(),
            patient: None,
            slice: 0,
            view: 0,
            split,
            labels,
            height: 1,
            width: 1,
            spacing_mm: None,
        }
    }

    fn single(labels: &[Option<u32>], x: Array2<f32>) -> Result<Features, Error> {
        let with_split = |&label: &Option<u32>| slice(Labels::Single(label), Some(Split::Val));
        let slices: Vec<SliceMeta> = labels.iter().map(with_split).collect();
        Features::new(Path::new("c"), &slices, x, Task::SingleLabel, 2)
    }

    #[test]
    fn rows_have_length_one_and_blank_labels_are_left_out() {
        let x = array![[3.0, 4.0], [1.0, 1.0], [0.0, 0.0]];
        let features = single(&[Some(1), None, Some(0)], x).unwrap();
        assert_eq!(features.x, array![[0.6, 0.8], [0.0, 0.0]]);
        assert_eq!(features.targets, Targets::Single(vec![1, 0]));
    }

    #[test]
    fn slices_of_which_nothing_is_known_are_left_out() {
        let known = slice(Labels::Multi(vec![None, Some(0)]), None);
        let unknown = slice(Labels::Multi(vec![None, None]), None);
        let (x, task) = (array![[1.0], [2.0]], Task::MultiLabel);
        let features = Features::new(Path::new("c"), &[known, unknown], x, task, 2).unwrap();
        assert_eq!(features.targets, Targets::Multi(array![[false, false]]));
    }

    #[test]
    fn views_are_left_out() {
        let mut slices = vec![slice(Labels::Single(Some(0)), None); 2];
        slices[1].view = 1;
        let x = array![[1.0], [2.0]];
        let features = Features::new(Path::new("c"), &slices, x, Task::SingleLabel, 1).unwrap();
        assert_eq!(features.x.nrows(), 1);
    }

    #[test]
    fn uncertain_and_blank_labels_count_as_absent() {
        let labels = Labels::Multi(vec![Some(1), Some(0), Some(-1), None]);
        let slices = [slice(labels, None)];
        let task = Task::MultiLabel;
        let features = Features::new(Path::new("c"), &slices, array![[1.0]], task, 4).unwrap();
        assert_eq!(
            features.targets,
            Targets::Multi(array![[true, false, false, false]])
        );
    }

    #[test]
    fn values_that_are_not_finite_name_row_and_sample() {
        let error = single(&[Some(0), Some(1)], array![[0.0], [f32::NAN]]).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("`c`: row 1 (`s`) holds the feature `NaN`")
        );
    }

    #[test]
    fn labels_beyond_the_classes_are_an_error() {
        assert!(matches!(
            single(&[Some(2)], array![[0.0]]),
            Err(Error::Label { row: 0, .. })
        ));
    }

    #[test]
    fn an_empty_split_says_where_the_slices_are() {
        let features = single(&[Some(0), Some(1)], array![[1.0], [2.0]]).unwrap();
        assert_eq!(features.part(&[Split::Val]).unwrap().0.nrows(), 2);
        let text = features
            .part(&[Split::Train, Split::Test])
            .unwrap_err()
            .to_string();
        assert!(text.contains("`train+test`"), "{text}");
        assert!(
            text.contains("0 in `train`, 2 in `val`, 0 in `test`, 0 in none"),
            "{text}"
        );
    }
}
