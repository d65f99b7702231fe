//! DICOM files in folders: a sample for each series, or for each radiograph.

mod labels;
mod layers;
mod notes;
mod patients;
mod series;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::counted;
use common::text::slashed;
use imaging::read::dicom::{self, Header};
use rayon::prelude::*;

use self::labels::Labeller;
use self::layers::Layers;
use self::notes::Notes;
use self::patients::Patients;
use self::series::Entry;
use super::files::{Tree, name};
use super::{Dataset, DatasetCard, Sample};
use crate::Error;

/// A DICOM image among the files.
struct Found {
    path: PathBuf,
    header: Header,
}

/// Lists the series under `root`, in the order of their ids.
///
/// DICOM is detected by content, whatever the file names; only the header is read. Files of one patient, study, SeriesInstanceUID and modality are one sample; its slices are
/// ordered by position. A radiograph and a file of several frames are a sample
/// each. Labels are the names of folders, `CLASS/**` or `{train,val,test}/CLASS/**`, if the card
/// has `classes`; with the option `manifest`, they are in that table.
///
/// # Errors
///
/// [`Error::Layout`] if there is no DICOM image, and errors of the table of labels.
pub(super) fn open(root: &Path, card: &DatasetCard) -> Result<Dataset, Error> {
    if card.options.manifest.is_none() && !card.options.label_columns.is_empty() {
        return Err(Error::Layout {
            path: root.to_path_buf(),
            found: "`label_columns` (`--label-columns`) without a table".to_owned(),
            expected: "`manifest` too, which names the table that has the columns".to_owned(),
            hint: "write a dataset card with `[options]` `manifest = \"labels.csv\"`, or leave \
                   the columns out"
                .to_owned(),
        });
    }
    let tree = Tree::walk(root)?;
    let mut notes = Notes::default();
    let (files, unreadable) = images(&tree, &mut notes);
    let identifiers = files.iter().flat_map(|file| &file.header.identifiers);
    let identifiers = identifiers.cloned().collect();
    let paths = files.iter().map(|file| &file.path).chain(&unreadable);
    let layers = Layers::of(paths, &card.classes, &mut notes);
    let mut groups: BTreeMap<_, Vec<Found>> = BTreeMap::new();
    for file in files {
        let key = (layers.in_front_of(&file.path), series::key(&file));
        groups.entry(key).or_default().push(file);
    }
    let groups = groups.into_values();
    let mut entries: Vec<Entry> = groups
        .flat_map(|files| series::entries(files, &mut notes))
        .collect();
    series::take_in(&mut entries, unreadable);
    if entries.is_empty() {
        return Err(no_images(root, tree.files.len()));
    }
    series::tell_apart(&mut entries);
    entries.sort_by(|a, b| a.id.cmp(&b.id));
    let patients = Patients::of(&entries, &layers, &mut notes);
    let mut labeller = Labeller::of(root, card, &layers)?;
    let mut samples = Vec::with_capacity(entries.len());
    for entry in entries {
        samples.push(Sample {
            patient: patients.patient(&entry, &layers),
            split: layers.split(entry.path()),
            labels: labeller.labels(&entry, &mut notes),
            id: entry.id,
            ..Sample::of_image(entry.image)
        });
    }
    let mut warnings = labeller.warnings();
    let (task, classes) = labeller.finish(&mut notes);
    warnings.extend(notes.into_warnings());
    Ok(Dataset {
        warnings,
        dicom_ids: Some(identifiers),
        ..Dataset::new(root, task, classes, samples)
    })
}

/// The images among the files, and those that are damaged, empty or cannot be opened.
fn images(tree: &Tree, notes: &mut Notes) -> (Vec<Found>, Vec<PathBuf>) {
    let headers = tree.files.par_iter();
    let headers: Vec<_> = headers
        .map(|file| dicom::header(&tree.root.join(file)))
        .collect();
    let (mut images, mut unreadable) = (Vec::new(), Vec::new());
    for (path, header) in tree.files.iter().zip(headers) {
        let path = path.clone();
        match header {
            Ok(Some(header)) if header.is_derived_object => notes.add(
                "skipped DICOM objects that are not images (doses, segmentations, reports)",
                slashed(&path),
            ),
            Ok(Some(header)) if header.is_image => images.push(Found { path, header }),
            // A table of contents.
            _ if name(&path).eq_ignore_ascii_case("DICOMDIR") => {}
            Ok(Some(_)) => notes.add("skipped DICOM files without pixels", slashed(&path)),
            Ok(None) if !is_broken(&tree.root.join(&path)) => {
                notes.add("skipped files that are not DICOM", slashed(&path));
            }
            Ok(None) | Err(_) => unreadable.push(path),
        }
    }
    (images, unreadable)
}

/// True if a file without DICOM content is empty or named like DICOM.
fn is_broken(file: &Path) -> bool {
    let name = name(file).to_ascii_lowercase();
    let is_empty = std::fs::metadata(file).is_ok_and(|metadata| metadata.len() == 0);
    is_empty || name.ends_with(".dcm") || name.ends_with(".dicom")
}

fn no_images(root: &Path, files: usize) -> Error {
    Error::Layout {
        path: root.to_path_buf(),
        found: format!("{} and no DICOM image among them", counted(files, "file")),
        expected: "DICOM files, in folders of any depth".to_owned(),
        hint: "pass the folder that holds the series; unpack archives first".to_owned(),
    }
}
