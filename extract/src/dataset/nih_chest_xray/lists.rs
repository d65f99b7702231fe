//! The text files that say which images are for train and which for test.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use cache::Split;
use common::counted;

use super::super::Sample;
use super::super::examples::examples;
use super::super::files::read_text;
use crate::Error;

/// The official lists.
const TRAIN_VAL: (&str, Split) = ("train_val_list.txt", Split::Train);
const TEST: (&str, Split) = ("test_list.txt", Split::Test);

/// The lists in which the study's code wants the official list of train divided.
const DIVIDED: [(&str, Split); 2] = [
    ("train_list.txt", Split::Train),
    ("val_list.txt", Split::Val),
];

/// The images in the lists.
pub(super) struct Lists {
    /// The names of the lists that are there.
    names: Vec<&'static str>,
    /// For each image its place in all lists, one after the other, and its split.
    places: HashMap<String, (usize, Split)>,
}

impl Lists {
    /// Reads the lists in the folder `root`: those of train, then that of test.
    ///
    /// # Errors
    ///
    /// [`FileError::Io`](common::FileError::Io), and [`Error::Layout`] if an image is in two lists.
    pub(super) fn read(root: &Path) -> Result<Lists, Error> {
        let is_there = |list: &&(&str, Split)| root.join(list.0).is_file();
        let mut found: Vec<_> = [TRAIN_VAL].iter().filter(is_there).copied().collect();
        if found.is_empty() {
            found.extend(DIVIDED.iter().filter(is_there));
        }
        found.extend([TEST].iter().filter(is_there));
        let mut lists = Lists {
            names: found.iter().map(|(name, _)| *name).collect(),
            places: HashMap::new(),
        };
        for (name, split) in found {
            lists.append(root, name, split)?;
        }
        Ok(lists)
    }

    fn append(&mut self, root: &Path, name: &str, split: Split) -> Result<(), Error> {
        let path = root.join(name);
        let text = read_text(&path)?;
        let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
        for line in lines.filter(|line| !line.is_empty()) {
            let image = line.rsplit('/').next().unwrap_or(line);
            let next = (self.places.len(), split);
            let (_, listed) = *self.places.entry(image.to_owned()).or_insert(next);
            if listed != split {
                return Err(Error::Layout {
                    path,
                    found: format!("`{image}`, which is in the list of {} too", listed.name()),
                    expected: "each image in one list only".to_owned(),
                    hint: "download the lists again".to_owned(),
                });
            }
        }
        Ok(())
    }

    /// The place of an image in all lists, one after the other, and the split of its list.
    pub(super) fn place(&self, image: &str) -> Option<(usize, Split)> {
        self.places.get(image).copied()
    }

    /// Warnings; `named` are the images in the table.
    pub(super) fn warnings(&self, named: &HashSet<&str>, samples: &[Sample]) -> Vec<String> {
        let mut warnings = Vec::new();
        let unsplit = samples.iter().filter(|sample| sample.split.is_none());
        let unsplit: Vec<String> = unsplit.map(|sample| sample.id.clone()).collect();
        if !unsplit.is_empty() {
            let (count, names) = (counted(unsplit.len(), "image"), examples(&unsplit));
            warnings.push(format!(
                "in no official split: {count} ({names}); lists: {}",
                if self.names.is_empty() {
                    format!("none, expected `{}` and `{}`", TRAIN_VAL.0, TEST.0)
                } else {
                    format!("`{}`", self.names.join("`, `"))
                }
            ));
        }
        let unknown = self
            .places
            .keys()
            .filter(|image| !named.contains(image.as_str()));
        let mut unknown: Vec<String> = unknown.cloned().collect();
        if !unknown.is_empty() {
            unknown.sort();
            let (count, names) = (counted(unknown.len(), "image"), examples(&unknown));
            let lists = self.names.join("` and `");
            warnings.push(format!("not in the table: {count} of `{lists}` ({names})"));
        }
        warnings
    }
}
