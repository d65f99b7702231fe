//! Datasets whose labels are in tables that the card describes: one row per image, or several rows
//! (one per reader or box) that are merged.

mod merge;
mod rows;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use cache::Task;
use imaging::read::Source;

use self::rows::Rows;
use super::files::{Tree, find_root, is_image};
use super::label_table::braces;
use super::missing::Gap;
use super::{Dataset, DatasetCard, Sample};
use crate::Error;

/// Beginning of the path of an image that may be in any folder.
const ANYWHERE: &str = "**/";

/// Lists the images of all tables, in the order of the tables and of their rows.
///
/// # Errors
///
/// [`Error::Layout`] if the card contradicts itself or images are missing, [`Error::BadCell`],
/// [`Error::MissingColumn`].
pub(super) fn open(root: &Path, card: &DatasetCard) -> Result<Dataset, Error> {
    let task = check(root, card)?;
    let files: Vec<&str> = card.table.iter().map(|table| table.file.as_str()).collect();
    let expected = format!("the tables `{}`", files.join("`, `"));
    let root = &find_root(root, &expected, |folder| {
        let mut tables = card.table.iter();
        tables.any(|table| !matches!(table.path(folder), Ok(None)))
    })?;
    let tree = Tree::walk(root)?;
    let mut images = Images::of(&tree);
    let (mut samples, mut warnings, mut tables) = (Vec::new(), Vec::new(), Vec::new());
    for described in &card.table {
        let table = described.read(root)?;
        let rows = Rows::of(&table, described, &card.classes)?;
        warnings.extend(rows.warnings()?);
        for labelled in rows.by_image()? {
            let found = images.find(&labelled.image, labelled.is_kept);
            samples.extend(found.map(|image| Sample {
                patient: labelled.patient,
                split: described.split,
                labels: labelled.labels,
                ..Sample::of_image(Source::File(image.clone()))
            }));
        }
        tables.push(table.path);
    }
    if samples.is_empty() && images.absent.is_empty() {
        return Err(no_rows(root, &expected));
    }
    let tables: Vec<&Path> = tables.iter().map(PathBuf::as_path).collect();
    if let Some(gap) = Gap::of_tables(&tables, &images.absent, &images.unnamed(), &tree) {
        warnings.push(gap.settle(root, card.options.allow_missing, samples.len())?);
    }
    Ok(Dataset {
        warnings,
        ..Dataset::new(root, task, card.classes.clone(), samples)
    })
}

/// Refuses a card that describes no tables, or not how they give labels; else the task.
fn check(root: &Path, card: &DatasetCard) -> Result<Task, Error> {
    let wrong = |found: &str, expected: &str| Error::Layout {
        path: root.to_path_buf(),
        found: format!("{found} in the card of `{}`", card.name),
        expected: expected.to_owned(),
        hint: "correct the card; `docs/dataset-cards.md` describes `[[table]]`".to_owned(),
    };
    let Some(first) = card.table.first() else {
        return Err(wrong("no `[[table]]`", "one for each table of labels"));
    };
    if card.classes.is_empty() {
        return Err(wrong("no `classes`", "their names, in order"));
    }
    for table in &card.table {
        if table.label.is_some() && table.labels.is_some() {
            return Err(wrong("both `label` and `labels`", "one of them"));
        }
        if table.task() != first.task() {
            let found = "one class per image in one table and several in another";
            return Err(wrong(found, "the same in all tables"));
        }
        if !table.image.contains('{') || braces(&table.image).is_none() {
            let found = format!("`image = \"{}\"`", table.image);
            return Err(wrong(&found, "a path with a column in braces"));
        }
    }
    Ok(first.task())
}

fn no_rows(root: &Path, tables: &str) -> Error {
    Error::Layout {
        path: root.to_path_buf(),
        found: format!("no row to keep in {tables}"),
        expected: "at least one".to_owned(),
        hint: "check that the tables are complete, and `keep` in the card".to_owned(),
    }
}

/// The images below the root, and which of them rows have named.
struct Images<'a> {
    tree: &'a Tree,
    by_name: HashMap<String, &'a PathBuf>,
    named: HashSet<&'a Path>,
    /// Folders of images that rows have named.
    folders: HashSet<&'a Path>,
    /// Paths in rows to keep that are not there.
    absent: Vec<String>,
}

impl<'a> Images<'a> {
    fn of(tree: &'a Tree) -> Images<'a> {
        Images {
            tree,
            by_name: tree.by_name(),
            named: HashSet::new(),
            folders: HashSet::new(),
            absent: Vec::new(),
        }
    }

    /// The image at `path`, or of that name in any folder (`**/NAME`); only if it is to be kept.
    fn find(&mut self, path: &str, is_kept: bool) -> Option<&'a PathBuf> {
        let found = match path.strip_prefix(ANYWHERE) {
            Some(name) => self.by_name.get(name).copied(),
            None => self.tree.get(Path::new(path)),
        };
        if let Some(image) = found {
            self.named.insert(image);
            self.folders.extend(image.parent());
        } else if is_kept {
            self.absent.push(path.to_owned());
        }
        found.filter(|_| is_kept)
    }

    /// The images that no row names, in folders of those that rows name.
    fn unnamed(&self) -> Vec<String> {
        let images = self.tree.files.iter().filter(|file| is_image(file));
        images
            .filter(|image| {
                image
                    .parent()
                    .is_some_and(|folder| self.folders.contains(folder))
            })
            .filter(|image| !self.named.contains(image.as_path()))
            .map(|image| image.display().to_string())
            .collect()
    }
}

#[cfg(test)]
mod tests;
