//! Missing files, and files without a row in a table.

use std::collections::BTreeSet;
use std::path::Path;

use common::counted;

use super::examples::examples;
use super::files::{Tree, is_image, name};
use crate::Error;

/// A difference between the lists and the files of a dataset.
pub(super) struct Gap {
    /// Found or missing files.
    pub(super) found: String,
    /// Expected files.
    pub(super) expected: String,
    /// Hint for the user.
    pub(super) hint: String,
}

impl Gap {
    /// The difference between the lines of tables and the images in `tree`: `absent` are named in
    /// a line and not there, `unnamed` are there without a line. `None` if both are empty.
    pub(super) fn of_tables(
        tables: &[&Path],
        absent: &[String],
        unnamed: &[String],
        tree: &Tree,
    ) -> Option<Gap> {
        let mut parts = Vec::new();
        if !absent.is_empty() {
            let (lines, names) = (counted(absent.len(), "line"), examples(absent));
            parts.push(format!("no image for {lines} ({names})"));
        }
        if !unnamed.is_empty() {
            let (images, names) = (counted(unnamed.len(), "image"), examples(unnamed));
            parts.push(format!("{images} without a line ({names})"));
        }
        let tables: Vec<String> = tables.iter().map(|table| name(table)).collect();
        (!parts.is_empty()).then(|| Gap {
            found: format!("{} in {}", parts.join(" and "), searched(tree)),
            expected: format!(
                "an image for each line of `{}`, and a line for each image",
                tables.join("`, `")
            ),
            hint: "unpack all of the download's archives, and pass the folder with both tables \
                   and images"
                .to_owned(),
        })
    }

    /// A warning, if the user allows that something is missing and `left` samples, more than none,
    /// remain.
    ///
    /// # Errors
    ///
    /// Else [`Error::Layout`].
    pub(super) fn settle(
        self,
        root: &Path,
        allow_missing: bool,
        left: usize,
    ) -> Result<String, Error> {
        if allow_missing && left > 0 {
            return Ok(format!(
                "found {}, expected {}; skipped",
                self.found, self.expected
            ));
        }
        let hint = match left {
            0 => self.hint,
            _ => format!("{}; `--allow-missing` skips what is missing", self.hint),
        };
        Err(Error::Layout {
            path: root.to_path_buf(),
            found: self.found,
            expected: self.expected,
            hint,
        })
    }
}

/// The folders directly below the root that hold images, and the folders that were skipped.
fn searched(tree: &Tree) -> String {
    let images = tree.files.iter().filter(|file| is_image(file));
    let folders = images.filter_map(|image| match image.iter().count() {
        0 | 1 => None,
        _ => image.iter().next(),
    });
    let folders: BTreeSet<_> = folders.collect();
    let folders: Vec<String> = folders
        .into_iter()
        .map(|folder| folder.to_string_lossy().into_owned())
        .collect();
    let mut text = if folders.is_empty() {
        "this folder, and none below it has images".to_owned()
    } else {
        format!("the folders {}", examples(&folders))
    };
    if let Some(left_out) = tree.warning() {
        text = format!("{text}; {left_out}");
    }
    text
}
