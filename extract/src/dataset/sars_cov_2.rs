//! SARS-CoV-2 CT: slices of lung CT as colour images, in two distributions. One has a folder for
//! each of 210 patients; the other has 2,482 slices and does not say whose they are.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use cache::{Labels, Task};
use common::counted;
use common::text::slashed;
use imaging::read::Source;

use super::examples::examples;
use super::files::{Tree, find_root, is_image, is_junk_name, name};
use super::missing::Gap;
use super::{Dataset, DatasetCard, Sample, natural_order};
use crate::Error;

const EXPECTED: &str = "`Covid/Patient (1)/1.png` with `Healthy` and `Others` beside `Covid`, or \
                        `COVID/Covid (1).png` with `non-COVID` beside `COVID`";

/// The folders of the distribution by patient.
const BY_PATIENT: [&str; 3] = ["Covid", "Healthy", "Others"];

/// The folders of the distribution by slice.
const BY_SLICE: [&str; 2] = ["COVID", "non-COVID"];

/// Lists the patients, class by class and sorted by the bytes of their folders' names, each a stack
/// of slices in the order of their numbers; or, where patients are not known, the slices.
///
/// With `options.binary`, the classes are all others (0) and COVID (1); else there are three. The
/// card's `classes` are their names. Uses `options.allow_missing`.
pub(super) fn open(root: &Path, card: &DatasetCard) -> Result<Dataset, Error> {
    let is_it = |folder: &Path| has_all(folder, &BY_PATIENT) || has_all(folder, &BY_SLICE);
    let root = &find_root(root, EXPECTED, is_it)?;
    let tree = Tree::walk(root)?;
    if has_all(root, &BY_PATIENT) {
        by_patient(&tree, card)
    } else {
        by_slice(&tree, card)
    }
}

/// True if a folder holds all of these folders, in just this spelling: some systems do not tell
/// `Covid` from `COVID`.
fn has_all(folder: &Path, wanted: &[&str]) -> bool {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let folders = entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir());
    let names: Vec<String> = folders.map(|path| name(&path)).collect();
    wanted
        .iter()
        .all(|wanted| names.iter().any(|name| name == wanted))
}

/// The classes with COVID last, if there are two.
const BINARY: [&str; 2] = ["other", "covid"];

/// The names of the classes: the card's, which may differ in case only, since the folders decide
/// which image is of which.
fn classes(root: &Path, card: &DatasetCard) -> Result<Vec<String>, Error> {
    let names: &[&str] = if card.options.binary {
        &BINARY
    } else {
        &BY_PATIENT
    };
    let same = |given: &[String]| {
        let mut pairs = given.iter().zip(names);
        given.len() == names.len() && pairs.all(|(a, b)| a.eq_ignore_ascii_case(b))
    };
    match &card.classes[..] {
        [] => Ok(names.iter().map(|name| (*name).to_owned()).collect()),
        given if same(given) => Ok(given.to_vec()),
        given => Err(Error::Layout {
            path: root.to_path_buf(),
            found: format!(
                "the `classes` `{}` in the dataset's card",
                given.join("`, `")
            ),
            expected: format!("`{}`, in this order", names.join("`, `")),
            hint: "correct `classes` in the card; with `binary = true` among its options there \
                   are two, else three"
                .to_owned(),
        }),
    }
}

fn by_patient(tree: &Tree, card: &DatasetCard) -> Result<Dataset, Error> {
    let mut patients = patient_folders(&tree.root)?;
    for image in images_in(tree, &BY_PATIENT) {
        let folder: PathBuf = image.iter().take(2).collect();
        if folder == *image {
            return Err(Error::Layout {
                path: tree.root.join(image),
                found: "an image outside the folders of patients".to_owned(),
                expected: EXPECTED.to_owned(),
                hint: "move it to its patient's folder, or away".to_owned(),
            });
        }
        patients.entry(folder).or_default().push(image.clone());
    }
    let empty = patients.extract_if(.., |_, slices| slices.is_empty());
    let empty: Vec<String> = empty.map(|(folder, _)| slashed(&folder)).collect();
    let samples = patients.into_iter().map(|(folder, slices)| {
        let class = class_of(&folder, &BY_PATIENT);
        let class = if card.options.binary {
            u32::from(class == 0)
        } else {
            class
        };
        stack(&folder, slices, class)
    });
    let samples: Vec<Sample> = samples.collect();
    let mut warnings = Vec::new();
    if !empty.is_empty() {
        let (count, names) = (empty.len(), examples(&empty));
        let gap = Gap {
            found: format!("no image of {} ({names})", counted(count, "patient")),
            expected: "images in each".to_owned(),
            hint: "unpack the download again".to_owned(),
        };
        warnings.push(gap.settle(&tree.root, card.options.allow_missing, samples.len())?);
    }
    let classes = classes(&tree.root, card)?;
    Ok(Dataset {
        warnings,
        ..Dataset::new(&tree.root, Task::SingleLabel, classes, samples)
    })
}

/// The folders of all patients, still without images.
fn patient_folders(root: &Path) -> Result<BTreeMap<PathBuf, Vec<PathBuf>>, Error> {
    let mut folders = BTreeMap::new();
    for class in BY_PATIENT {
        let path = root.join(class);
        for entry in fs::read_dir(&path).map_err(Error::io(&path))?.flatten() {
            let patient = entry.file_name();
            if entry.path().is_dir() && !is_junk_name(&patient.to_string_lossy()) {
                folders.insert(Path::new(class).join(patient), Vec::new());
            }
        }
    }
    Ok(folders)
}

fn stack(folder: &Path, mut slices: Vec<PathBuf>, class: u32) -> Sample {
    slices.sort_by(|a, b| natural_order(&slashed(a), &slashed(b)));
    let patient = slashed(folder);
    Sample {
        id: patient.clone(),
        patient: Some(patient),
        labels: Labels::Single(Some(class)),
        ..Sample::of_image(Source::Stack(slices))
    }
}

fn by_slice(tree: &Tree, card: &DatasetCard) -> Result<Dataset, Error> {
    if !card.options.binary {
        return Err(Error::Layout {
            path: tree.root.clone(),
            found: format!("the folders `{}`", BY_SLICE.join("`, `")),
            expected: format!("`{}` for three classes", BY_PATIENT.join("`, `")),
            hint: "set `binary = true` among the card's options, or get the distribution by \
                   patient"
                .to_owned(),
        });
    }
    let images = images_in(tree, &BY_SLICE);
    let samples: Vec<Sample> = images
        .map(|image| Sample {
            labels: Labels::Single(Some(1 - class_of(image, &BY_SLICE))),
            ..Sample::of_image(Source::File(image.clone()))
        })
        .collect();
    if samples.is_empty() {
        return Err(Error::Layout {
            path: tree.root.clone(),
            found: "no image".to_owned(),
            expected: "`COVID/Covid (1).png` and so on".to_owned(),
            hint: "unpack the download again".to_owned(),
        });
    }
    let warning = "this distribution has no patient ids: with any split, slices of one patient are in \
                   several parts, and scores are too good";
    Ok(Dataset {
        warnings: vec![warning.to_owned()],
        ..Dataset::new(
            &tree.root,
            Task::SingleLabel,
            classes(&tree.root, card)?,
            samples,
        )
    })
}

/// The images in some folders.
fn images_in<'a>(tree: &'a Tree, folders: &'a [&str]) -> impl Iterator<Item = &'a PathBuf> {
    let is_in = |file: &PathBuf| folders.iter().any(|folder| file.starts_with(folder));
    let files = tree.files.iter().filter(move |file| is_in(file));
    files.filter(|file| is_image(file))
}

/// The place of a file's first folder among `folders`, which has it.
fn class_of(file: &Path, folders: &[&str]) -> u32 {
    let place = folders.iter().position(|folder| file.starts_with(folder));
    place
        .and_then(|place| u32::try_from(place).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
