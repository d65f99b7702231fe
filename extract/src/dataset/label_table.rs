//! Tables of labels as a card describes them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cache::{Split, Task};
use serde::Deserialize;

use super::files::file_in;
use super::table::Table;
use crate::Error;

/// A table of labels, as a card describes it in `[[table]]`.
///
/// Classes are those of the card. Without `label` and `labels`, each class is a column of the table
/// that holds 1, 0, -1 or a blank.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelTable {
    /// Path of the table below the root; `FILE.gz` is read if there is no `FILE`.
    pub file: String,
    /// Path of a row's image below the root, with columns in braces: `train/{image_id}.dicom`. An image
    /// in any folder is `**/{image_id}.png`.
    pub image: String,
    /// Split of all images of the table.
    pub split: Option<Split>,
    /// Column of patients.
    pub patient: Option<String>,
    /// Column that names one class.
    pub label: Option<String>,
    /// Column that names any number of classes: `a|b`, or `['a', 'b']`.
    pub labels: Option<String>,
    /// Classes (or 1, 0, -1) for values of label columns; other values stay as they are.
    #[serde(default)]
    pub values: BTreeMap<String, String>,
    /// True if `labels` may name what is not a class of the card.
    #[serde(default)]
    pub ignore_other_labels: bool,
    /// New names of columns.
    #[serde(default)]
    pub rename: BTreeMap<String, String>,
    /// Columns of which no warning says that they are not used; `*` for all.
    #[serde(default)]
    pub ignore: Vec<String>,
    /// Columns with the values of the rows to keep; other rows are left out.
    #[serde(default)]
    pub keep: BTreeMap<String, Vec<String>>,
    /// Column of readers; each reader has one row per image.
    pub reader: Option<String>,
    /// Rule by which several rows of an image become one label.
    pub merge: Option<Merge>,
}

impl LabelTable {
    pub(super) fn task(&self) -> Task {
        if self.label.is_some() {
            Task::SingleLabel
        } else {
            Task::MultiLabel
        }
    }

    /// The table's file in `root`, if it is there.
    pub(super) fn path(&self, root: &Path) -> Result<Option<PathBuf>, Error> {
        match file_in(root, &self.file)? {
            None => file_in(root, &format!("{}.gz", self.file)),
            found => Ok(found),
        }
    }

    pub(super) fn read(&self, root: &Path) -> Result<Table, Error> {
        let path = self.path(root)?.unwrap_or_else(|| root.join(&self.file));
        let mut table = Table::read(&path)?;
        for header in &mut table.headers {
            if let Some(new) = self.rename.get(header) {
                header.clone_from(new);
            }
        }
        Ok(table)
    }
}

/// Rule by which the labels of several rows become one. Rows that do not know a label do not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Merge {
    /// The label of more than half of the rows. Without one, a state is -1 (uncertain) and a class is
    /// not known.
    Majority,
    /// The highest label: 1 before -1 before 0, and the last of the classes.
    Max,
}

/// The texts of a pattern, each with the column in braces that follows it, and the text after the last
/// one; `None` if braces do not match.
pub(super) fn braces(pattern: &str) -> Option<(Vec<(&str, &str)>, &str)> {
    let (mut parts, mut rest) = (Vec::new(), pattern);
    while let Some((text, after)) = rest.split_once('{') {
        let (column, after) = after.split_once('}')?;
        parts.push((text, column));
        rest = after;
    }
    Some((parts, rest))
}
