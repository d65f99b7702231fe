//! New labels, patients and masks for finished caches, without the backbone.

mod by_dataset;
mod by_table;
mod patients;

use std::path::Path;

use cache::{CacheReader, Labels, NewLabels, Task};
use common::counted;

pub use self::by_dataset::by_dataset;
pub use self::by_table::by_table;
use crate::Error;
use crate::dataset::examples;

/// Name of a label set, and what may be done to write it.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Name of the set.
    pub name: &'a str,
    /// Whether a set of this name is replaced.
    pub replace: bool,
    /// Whether a patient may be in several splits.
    pub allow_patient_overlap: bool,
    /// Folder in which labels of a cache in a bucket are written first.
    pub staging: &'a Path,
}

/// What was written to a cache.
#[derive(Debug)]
pub struct Written {
    /// Kind of the labels.
    pub task: Task,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Number of slices.
    pub slices: usize,
    /// Number of slices with a known label.
    pub labelled: usize,
    /// Number of slices whose labels differ from those of the extraction; `None` if the classes differ.
    pub changed: Option<usize>,
    /// Whether masks were replaced.
    pub has_masks: bool,
    /// Warnings for the user.
    pub warnings: Vec<String>,
}

impl Written {
    fn new(new: &NewLabels) -> Written {
        Written {
            task: new.task,
            classes: new.classes.clone(),
            slices: 0,
            labelled: 0,
            changed: None,
            has_masks: new.masks.is_some(),
            warnings: Vec::new(),
        }
    }

    /// Counts the labels of a row, which were `before`.
    fn count(&mut self, before: &Labels, after: &Labels) {
        self.slices += 1;
        self.labelled += usize::from(is_labelled(after));
        if let Some(changed) = &mut self.changed {
            *changed += usize::from(before != after);
        }
    }
}

fn is_labelled(labels: &Labels) -> bool {
    match labels {
        Labels::Unlabelled => false,
        Labels::Single(class) => class.is_some(),
        Labels::Multi(states) => states.iter().any(Option::is_some),
    }
}

/// Zero if labels of the cache can be compared with new ones.
fn comparable(reader: &CacheReader, new: &NewLabels) -> Option<usize> {
    let meta = reader.meta();
    (meta.task == new.task && meta.classes == new.classes).then_some(0)
}

/// An error about samples of a table or dataset that are not those of a cache. `found` is what one of them is,
/// and what several are.
fn other_samples(path: &Path, found: (&str, &str), names: &[String], hint: &str) -> Error {
    let (one, several) = found;
    let found = if names.len() == 1 { one } else { several };
    Error::Layout {
        path: path.to_path_buf(),
        found: format!(
            "{} that {found}: {}",
            counted(names.len(), "sample"),
            examples(names)
        ),
        expected: "the samples of the cache".to_owned(),
        hint: hint.to_owned(),
    }
}
