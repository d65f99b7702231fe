//! Folders that mean splits and classes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use cache::Split;

use super::notes::Notes;
use crate::dataset::files::layer;

/// The folders at the top of a path that mean a split or a class.
pub(super) struct Layers<'a> {
    has_splits: bool,
    classes: &'a [String],
}

impl<'a> Layers<'a> {
    /// There is a layer of splits if all files are in folders with names of splits; if only some are, a note
    /// says so.
    pub(super) fn of<'p>(
        files: impl Iterator<Item = &'p PathBuf>,
        classes: &'a [String],
        notes: &mut Notes,
    ) -> Layers<'a> {
        let is_split = |name: &String| Split::parse(name).is_some();
        let first: BTreeSet<Option<String>> = files.map(|file| layer(file, 0)).collect();
        let splits: Vec<&String> = first
            .iter()
            .flatten()
            .filter(|name| is_split(name))
            .collect();
        let has_splits = !splits.is_empty() && splits.len() == first.len();
        if !has_splits {
            let what = "folders named like splits beside other folders, ignored as splits";
            splits
                .into_iter()
                .for_each(|name| notes.add(what, name.as_str()));
        }
        Layers {
            has_splits,
            classes,
        }
    }

    /// The names of the classes, in order; blank if folders mean none.
    pub(super) fn classes(&self) -> &'a [String] {
        self.classes
    }

    pub(super) fn split(&self, file: &Path) -> Option<Split> {
        let name = layer(file, 0).filter(|_| self.has_splits);
        Split::parse(&name?)
    }

    /// The index of the class, if the file is in the folder of one.
    pub(super) fn class(&self, file: &Path) -> Option<u32> {
        let name = layer(file, usize::from(self.has_splits))?;
        let index = self.classes.iter().position(|class| *class == name)?;
        u32::try_from(index).ok()
    }

    /// The folders that are layers.
    pub(super) fn in_front_of(&self, file: &Path) -> PathBuf {
        file.components().take(self.depth(file)).collect()
    }

    /// The first folder below the layers, with that of the class in front, if the file does not lie
    /// directly in them: archives number the cases of each class separately. Without the split, so that a
    /// patient in two splits is found.
    pub(super) fn patient_folder(&self, file: &Path) -> Option<String> {
        let below = layer(file, self.depth(file))?;
        Some(match self.class(file) {
            Some(class) => format!("{}/{below}", self.classes[class as usize]),
            None => below,
        })
    }

    fn depth(&self, file: &Path) -> usize {
        usize::from(self.has_splits) + usize::from(self.class(file).is_some())
    }
}
