//! The images by patient, study and view, wherever they lie.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use common::counted;
use common::text::slashed;

use crate::dataset::examples::examples;
use crate::dataset::files::{Tree, common_folder, is_image};

/// Length of `patient00001`.
const PATIENT: usize = 12;

/// Every image below the root.
pub(super) struct Images {
    /// The deepest folder that holds the images and the tables.
    pub(super) root: PathBuf,
    /// By [`suffix`], relative to `root`.
    by_suffix: BTreeMap<String, PathBuf>,
    /// Images with a suffix that another has.
    doubles: Vec<String>,
}

impl Images {
    /// The images in a tree; of two with the same suffix the one in the folder of a table, which
    /// are relative to the root as well.
    pub(super) fn of(tree: &Tree, tables: &[&Path]) -> Images {
        let images = tree.files.iter().filter(|file| is_image(file));
        let with_suffix = images.filter_map(|image| {
            let path = slashed(image);
            Some((suffix(&path)?.to_owned(), image.as_path()))
        });
        let mut with_suffix: Vec<(String, &Path)> = with_suffix.collect();
        let folders = || tables.iter().filter_map(|table| table.parent());
        with_suffix.sort_by_key(|(_, image)| !folders().any(|folder| image.starts_with(folder)));
        let all = with_suffix.iter().map(|(_, image)| image).chain(tables);
        let folder = common_folder(all.copied());
        let mut images = Images {
            root: tree.root.components().chain(folder.components()).collect(),
            by_suffix: BTreeMap::new(),
            doubles: Vec::new(),
        };
        for (suffix, image) in with_suffix {
            let image = image.strip_prefix(&folder).unwrap_or(image).to_path_buf();
            match images.by_suffix.entry(suffix) {
                Entry::Occupied(_) => images.doubles.push(slashed(&image)),
                Entry::Vacant(entry) => {
                    entry.insert(image);
                }
            }
        }
        images
    }

    /// The image with this suffix.
    pub(super) fn get(&self, suffix: &str) -> Option<(&str, &PathBuf)> {
        let (suffix, image) = self.by_suffix.get_key_value(suffix)?;
        Some((suffix, image))
    }

    /// The images of the study with this suffix.
    pub(super) fn of_study(&self, suffix: &str) -> Vec<(&str, &PathBuf)> {
        let start = format!("{}/", suffix.trim_end_matches('/'));
        let images = self.by_suffix.range(start.clone()..);
        let images = images.take_while(|(suffix, _)| suffix.starts_with(&start));
        images
            .map(|(suffix, image)| (suffix.as_str(), image))
            .collect()
    }

    /// The images whose suffixes are not in `named`.
    pub(super) fn without(&self, named: &HashSet<&str>) -> Vec<String> {
        let suffixes = self.by_suffix.keys();
        let others = suffixes.filter(|suffix| !named.contains(suffix.as_str()));
        others.cloned().collect()
    }

    pub(super) fn warnings(&self) -> Vec<String> {
        if self.doubles.is_empty() {
            return Vec::new();
        }
        let (count, names) = (self.doubles.len(), examples(&self.doubles));
        let images = counted(count, "image");
        vec![format!(
            "skipped {images} of the same patient, study and view as another ({names})"
        )]
    }
}

/// The part of a path from its first folder `patient00001` on.
pub(super) fn suffix(path: &str) -> Option<&str> {
    let places = path.match_indices("patient").map(|(place, _)| place);
    let mut places = places.filter(|&place| place == 0 || path.as_bytes()[place - 1] == b'/');
    places.find_map(|place| {
        let suffix = &path[place..];
        let digits = suffix.as_bytes().get("patient".len()..PATIENT)?;
        let is_patient =
            digits.iter().all(u8::is_ascii_digit) && suffix.as_bytes().get(PATIENT) == Some(&b'/');
        is_patient.then_some(suffix)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_begin_at_the_patient() {
        let long = "my patients/patient123456/patient00001/study1/a.jpg";
        assert_eq!(suffix(long), Some("patient00001/study1/a.jpg"));
        for path in [
            "inpatient00001/a.jpg",
            "patient00001",
            "patient0001é/a.jpg",
            "patient",
            "",
        ] {
            assert_eq!(suffix(path), None, "{path}");
        }
    }
}
