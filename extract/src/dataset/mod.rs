//! Datasets: which files there are, and what is known of each before its pixels are read.

mod folder;
mod manifest;
mod table;

use std::cmp::Ordering;
use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use cache::{Labels, Split, Task};

use crate::Error;

/// One source file, or a range of its slices.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Its name, unique in the dataset.
    pub id: String,
    /// The image or volume, relative to the dataset's root.
    pub image: PathBuf,
    /// The label map of the same shape, relative to the dataset's root.
    pub mask: Option<PathBuf>,
    /// The slices to take, counted from 0; `None` for all.
    pub slices: Option<RangeInclusive<u32>>,
    /// The patient, where known.
    pub patient: Option<String>,
    /// The split, where the dataset has one.
    pub split: Option<Split>,
    /// The labels, which hold for each of the slices; all unknown if
    /// [`Dataset::labels_from_mask`].
    pub labels: Labels,
}

/// A dataset as listed: no pixel has been read.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// Its name in the cache.
    pub name: String,
    /// The folder that paths are relative to.
    pub root: PathBuf,
    /// What is to be predicted.
    pub task: Task,
    /// The names of the classes, in the order of the labels.
    pub classes: Vec<String>,
    /// What the values in masks mean; background (0) is not among them.
    pub mask_classes: Vec<(u16, String)>,
    /// Whether a slice's labels are the values in its mask: class `c` is present if
    /// `mask_classes[c].0` is.
    pub labels_from_mask: bool,
    /// The samples, in the order in which they are extracted.
    pub samples: Vec<Sample>,
}

/// What a user may say about a dataset.
#[derive(Clone, Debug, Default)]
pub struct DatasetOptions {
    /// Its name in the cache; without one, that of its folder.
    pub name: Option<String>,
    /// Columns of a manifest that each hold one class as 1, 0, -1 or blank.
    pub label_columns: Vec<String>,
}

/// A layout of files that can be opened.
#[derive(Clone, Copy, Debug)]
pub struct DatasetKind {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is, in one line.
    pub summary: &'static str,
    /// Lists the files under a root.
    pub open: fn(&Path, &DatasetOptions) -> Result<Dataset, Error>,
}

/// Every layout that can be opened.
pub const DATASETS: &[DatasetKind] = &[
    DatasetKind {
        name: "manifest",
        summary: "your own images, listed in a CSV or Parquet file",
        open: manifest::open,
    },
    DatasetKind {
        name: "folder",
        summary: "your own images, one folder per class",
        open: folder::open,
    },
];

/// Lists the dataset of the kind `name` under `root`.
///
/// # Errors
///
/// [`Error::UnknownDataset`], [`Error::DuplicateId`], [`Error::DuplicateClass`], and what the dataset's own layout can lack.
pub fn open(name: &str, root: &Path, options: &DatasetOptions) -> Result<Dataset, Error> {
    let kind = DATASETS.iter().find(|kind| kind.name == name);
    let kind = kind.ok_or_else(|| Error::UnknownDataset {
        name: name.to_owned(),
        known: DATASETS
            .iter()
            .map(|kind| kind.name)
            .collect::<Vec<_>>()
            .join("`, `"),
    })?;
    let dataset = (kind.open)(root, options)?;
    let path = || root.to_path_buf();
    if let Some(name) = first_twice(&dataset.classes) {
        return Err(Error::DuplicateClass { path: path(), name });
    }
    match first_twice(dataset.samples.iter().map(|sample| &sample.id)) {
        Some(id) => Err(Error::DuplicateId { path: path(), id }),
        None => Ok(dataset),
    }
}

fn first_twice<'a>(names: impl IntoIterator<Item = &'a String>) -> Option<String> {
    let mut seen = HashSet::new();
    let mut names = names.into_iter();
    names.find(|name| !seen.insert(*name)).cloned()
}

/// The name given by the user, else that of the folder.
fn name_of(root: &Path, options: &DatasetOptions) -> String {
    let folder = || {
        let absolute = root.canonicalize().unwrap_or_else(|_| root.to_path_buf());
        let name = absolute.file_name().unwrap_or("dataset".as_ref());
        name.to_string_lossy().into_owned()
    };
    options.name.clone().unwrap_or_else(folder)
}

/// The path without the extension of an image, with `/` between folders.
fn id_of(image: &Path) -> String {
    let parts: Vec<_> = image.iter().map(|part| part.to_string_lossy()).collect();
    let path = parts.join("/");
    let end = image_extension(&path).map_or(path.len(), |ext| path.len() - ext.len());
    path[..end].to_owned()
}

/// The ending that marks `name` as an image, with its dot, in whatever case.
fn image_extension(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    [".png", ".jpg", ".jpeg", ".nii.gz", ".nii"]
        .into_iter()
        .find(|ext| name.ends_with(ext))
}

/// Orders text as people do: runs of digits by their value, so `p2` before `p10`; equal values and
/// all else by bytes.
fn natural_order(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a.as_bytes(), b.as_bytes());
    while let (Some(x), Some(y)) = (left.first(), right.first()) {
        let order = if x.is_ascii_digit() && y.is_ascii_digit() {
            let (m, n) = (take_number(&mut left), take_number(&mut right));
            m.len().cmp(&n.len()).then_with(|| m.cmp(n))
        } else {
            (left, right) = (&left[1..], &right[1..]);
            x.cmp(y)
        };
        if order.is_ne() {
            return order;
        }
    }
    left.len().cmp(&right.len()).then_with(|| a.cmp(b))
}

/// Takes the digits at the front of `text` and returns them without leading zeros.
fn take_number<'a>(text: &mut &'a [u8]) -> &'a [u8] {
    let length = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at(length);
    *text = rest;
    let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
    &digits[zeros..]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_sort_by_value() {
        let mut names = ["p10", "p2", "p02", "a", "10", "9", "p", "p2b"];
        names.sort_by(|a, b| natural_order(a, b));
        assert_eq!(names, ["9", "10", "a", "p", "p02", "p2", "p2b", "p10"]);
    }

    #[test]
    fn ids_lose_the_whole_extension() {
        for name in ["a/b.c.nii.gz", "a/b.c.PNG", "a/b.c.nii", "a/b.c"] {
            assert_eq!(id_of(Path::new(name)), "a/b.c");
        }
    }

    #[test]
    fn an_unknown_kind_is_answered_with_the_known_ones() {
        let error = open("imagenet", Path::new("."), &DatasetOptions::default()).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("`imagenet`") && text.contains("`manifest`, `folder`"),
            "{text}"
        );
    }

    proptest! {
        #[test]
        fn natural_order_is_total(a in "[a0-2]{0,6}", b in "[a0-2]{0,6}", c in "[a0-2]{0,6}") {
            prop_assert_eq!(natural_order(&a, &b), natural_order(&b, &a).reverse());
            prop_assert_eq!(natural_order(&a, &b).is_eq(), a == b);
            let mut sorted = [&a, &b, &c];
            sorted.sort_by(|x, y| natural_order(x, y));
            prop_assert!(natural_order(sorted[0], sorted[2]).is_le());
        }
    }
}
