//! MedMNIST: one `.npz` archive with images and labels of all splits.

mod classes;

use std::path::{Path, PathBuf};

use cache::{Labels, Split, Task};
use common::FileError;
use imaging::read::Source;
use imaging::read::npz::{self, NpzArray};

use self::classes::CLASSES;
use super::files::{Tree, first_bytes, name, refuse_failed_download};
use super::{Dataset, DatasetCard, Sample};
use crate::Error;

/// Most images in a split that are listed.
const MAX_IMAGES: usize = 1 << 22;

const NO_PATIENTS: &str = "MedMNIST has no patient ids; its splits are used as they are";

/// The labels of one split, `[N, L]`.
struct LabelTable {
    split: Split,
    /// `L`.
    width: usize,
    values: Vec<u8>,
}

/// Lists the images in the archive `root`, or in the only one below the folder `root`: train, val,
/// test, each in the order of the archive.
///
/// One label per image is a class, several are classes that are present (1) or absent (0). Ids are
/// `train/00000` and on. Archives of other names have numbers for class names, and
/// the card may give the classes other names.
pub(super) fn open(root: &Path, card: &DatasetCard) -> Result<Dataset, Error> {
    let path = archive_in(root)?;
    let folder = path.parent().filter(|f| !f.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let tables = tables(&path)?;
    let width = tables[0].width;
    let classes = class_names(&path, &tables, card)?;
    let mut samples = Vec::new();
    for table in &tables {
        let split = table.split.name();
        for (k, values) in (0..).zip(table.values.chunks_exact(width)) {
            let file = PathBuf::from(name(&path));
            let labels = labels(values, classes.len());
            let labels = labels.ok_or_else(|| odd_label(&path, split, k, values, &classes))?;
            samples.push(Sample {
                id: format!("{split}/{k:05}"),
                split: Some(table.split),
                labels,
                ..Sample::of_image(Source::Item(file, format!("{split}_images"), k))
            });
        }
    }
    let task = match width {
        1 => Task::SingleLabel,
        _ => Task::MultiLabel,
    };
    Ok(Dataset {
        name: name(&path.with_extension("")),
        warnings: vec![NO_PATIENTS.to_owned()],
        ..Dataset::new(folder, task, classes, samples)
    })
}

fn archive_in(root: &Path) -> Result<PathBuf, Error> {
    if root.is_file() {
        return Ok(root.to_path_buf());
    }
    let tree = Tree::walk(root)?;
    let is_archive = |file: &&PathBuf| file.extension().is_some_and(|ext| ext == "npz");
    let found: Vec<&PathBuf> = tree.files.iter().filter(is_archive).collect();
    if let [only] = found[..] {
        return Ok(root.join(only));
    }
    let names: Vec<String> = found
        .iter()
        .take(8)
        .map(|f| f.display().to_string())
        .collect();
    Err(Error::Layout {
        path: root.to_path_buf(),
        found: match found.len() {
            0 => "no `.npz` file".to_owned(),
            count => format!("{count} archives, `{}`", names.join("`, `")),
        },
        expected: "one archive of MedMNIST, for instance `pneumoniamnist.npz`".to_owned(),
        hint: "pass the archive itself as `--root`".to_owned(),
    })
}

/// Reads the labels of all splits, which says how many images there are.
fn tables(path: &Path) -> Result<Vec<LabelTable>, Error> {
    let arrays = names_in(path)?;
    let mut tables = Vec::new();
    for split in [Split::Train, Split::Val, Split::Test] {
        let images = format!("{}_images", split.name());
        if arrays.contains(&images) {
            tables.push(table(path, split, &images)?);
        }
    }
    let odd = |found: String, expected: &str| Error::Layout {
        path: path.to_path_buf(),
        found,
        expected: expected.to_owned(),
        hint: "download the archive again from MedMNIST's page".to_owned(),
    };
    if tables.iter().all(|table| table.values.is_empty()) {
        let found = format!("the arrays `{}`", arrays.join("`, `"));
        let expected = "images in `train_images`, `val_images` or `test_images`, and `…_labels`";
        return Err(odd(found, expected));
    }
    if tables.iter().all(|table| table.width == tables[0].width) {
        Ok(tables)
    } else {
        Err(odd(
            "splits with different numbers of labels".to_owned(),
            "the same number for each image",
        ))
    }
}

/// The names of the arrays, if it is an archive.
fn names_in(path: &Path) -> Result<Vec<String>, Error> {
    let start = first_bytes(path)?;
    refuse_failed_download(path, &start)?;
    npz::names(path).map_err(|error| match error {
        imaging::Error::File(FileError::Damaged { path, reason }) => {
            let what = if start.starts_with(b"PK") {
                "the download is not whole"
            } else {
                "it is no archive of arrays"
            };
            Error::damaged(&path, format!("{what}: {reason}"))
        }
        other => other.into(),
    })
}

fn table(path: &Path, split: Split, images: &str) -> Result<LabelTable, Error> {
    let labels = format!("{}_labels", split.name());
    let array = NpzArray::open(path, &labels)?;
    let images = NpzArray::open(path, images)?.header().shape.clone();
    let shape = array.header().shape.clone();
    let width = match shape[1..] {
        [] => 1,
        [width] => width,
        _ => 0,
    };
    if width == 0 || shape[0] != images[0] || !(3..=4).contains(&images.len()) {
        return Err(Error::Layout {
            path: path.to_path_buf(),
            found: format!(
                "{} images of the shape {images:?}, labels {shape:?}",
                split.name()
            ),
            expected: "`[N, H, W]`, `[N, H, W, 3]` or `[N, D, H, W]`, and `[N, L]`".to_owned(),
            hint: "download the archive again from MedMNIST's page".to_owned(),
        });
    }
    if shape[0] > MAX_IMAGES {
        return Err(Error::too_large(
            path,
            format!("{} images in `{}`", shape[0], split.name()),
            MAX_IMAGES,
        ));
    }
    Ok(LabelTable {
        split,
        width,
        values: array.all()?,
    })
}

/// The classes that go with the name of the archive (`bloodmnist_64.npz`), else numbers; under the
/// names that the card has for them.
fn class_names(
    path: &Path,
    tables: &[LabelTable],
    card: &DatasetCard,
) -> Result<Vec<String>, Error> {
    let file = name(path).to_ascii_lowercase();
    let flag = file.split(|c: char| !c.is_ascii_alphanumeric()).next();
    let known = CLASSES.iter().find(|(known, _)| Some(*known) == flag);
    if let Some((_, names)) = known {
        return card.names_for(path, names);
    }
    let largest = tables.iter().flat_map(|table| &table.values).max();
    let count = match tables[0].width {
        // A class of which there is no image has no number that tells of it.
        1 => (usize::from(largest.copied().unwrap_or_default()) + 1).max(card.classes.len()),
        width => width,
    };
    let numbers: Vec<String> = (0..count).map(|class| class.to_string()).collect();
    let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
    card.names_for(path, &numbers)
}

/// The labels of an image; `None` if they do not fit the classes.
fn labels(values: &[u8], classes: usize) -> Option<Labels> {
    match values {
        [class] => (usize::from(*class) < classes).then(|| Labels::Single(Some((*class).into()))),
        states => {
            let are_states = states.len() == classes && states.iter().all(|state| *state <= 1);
            are_states.then(|| Labels::Multi(states.iter().map(|s| Some(*s as i8)).collect()))
        }
    }
}

fn odd_label(path: &Path, split: &str, k: u32, values: &[u8], classes: &[String]) -> Error {
    Error::Layout {
        path: path.to_path_buf(),
        found: format!("the labels {values:?} of image {k} in `{split}_labels`"),
        expected: match values.len() {
            1 => format!(
                "one of the {} classes `{}`",
                classes.len(),
                classes.join("`, `")
            ),
            _ => format!("0 or 1 for each of the {} classes", classes.len()),
        },
        hint: "give the archive its original name, which says what its classes are".to_owned(),
    }
}

#[cfg(test)]
mod tests;
