//! Files grouped to samples and ordered.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use common::text::slashed;
use imaging::read::Source;
use imaging::read::dicom::{Oddity, oddity};

use super::Found;
use super::notes::Notes;
use crate::dataset::files::{common_folder, name};
use crate::dataset::{id_of, natural_order};

/// Modalities with one image per file: radiographs, ultrasound, photographs.
const FLAT: [&str; 15] = [
    "CR", "DX", "MG", "US", "XA", "RF", "RG", "IO", "PX", "SC", "XC", "ES", "GM", "SM", "OP",
];

/// Modalities whose series are volumes even without positions.
const VOLUMES: [&str; 4] = ["CT", "MR", "PT", "NM"];

/// Largest difference of pixel spacings within a volume, in mm.
const SPACING_MM: f64 = 1e-3;

/// Note about volumes whose files have no SeriesInstanceUID.
const UNNAMED: &str = "series without a SeriesInstanceUID, grouped by folder, frame of reference, modality, orientation, spacing and size";

/// A future sample.
pub(super) struct Entry {
    pub(super) id: String,
    pub(super) image: Source,
    pub(super) patient: Option<String>,
    pub(super) study: Option<String>,
    pub(super) series: Option<String>,
}

impl Entry {
    /// An unreadable file.
    pub(super) fn unreadable(path: PathBuf) -> Entry {
        Entry {
            id: id_of(&path),
            image: Source::File(path),
            patient: None,
            study: None,
            series: None,
        }
    }

    /// Its first file.
    pub(super) fn path(&self) -> &Path {
        self.image.file()
    }

    fn single(file: Found) -> Entry {
        Entry {
            patient: file.header.patient,
            study: file.header.study,
            series: file.header.series,
            ..Entry::unreadable(file.path)
        }
    }

    /// Several files in order; the id is their folder and the UID of the series, or without a UID the id
    /// of the first file.
    fn stack(files: Vec<Found>) -> Entry {
        let paths: Vec<PathBuf> = files.iter().map(|file| file.path.clone()).collect();
        let folder = slashed(&common_folder(paths.iter().map(PathBuf::as_path)));
        let first = files.into_iter().next().map(Entry::single);
        let entry = first.unwrap_or_else(|| Entry::unreadable(PathBuf::new()));
        let id = match (&entry.series, folder.rsplit('/').next()) {
            (None, _) => entry.id,
            (Some(uid), Some("") | None) => uid.clone(),
            // Some archives name the folder after the series.
            (Some(uid), Some(last)) if last == uid => folder,
            (Some(uid), Some(_)) => format!("{folder}/{uid}"),
        };
        Entry {
            id,
            image: Source::Stack(paths),
            ..entry
        }
    }

    /// The folder of a volume.
    pub(super) fn folder(&self) -> Option<String> {
        let folder = self.path().parent().map(slashed)?;
        let is_volume = matches!(self.image, Source::Stack(_));
        (is_volume && !folder.is_empty()).then_some(folder)
    }
}

/// Key that files of one series share. UIDs alone are not enough: some anonymisers write the same UID for
/// all patients, or for the CT and PET of one examination; others blank them. Without a SeriesInstanceUID,
/// the folder and the frame of reference replace it.
pub(super) fn key(file: &Found) -> [Option<String>; 6] {
    let header = &file.header;
    let (folder, frame) = match header.series {
        Some(_) => (None, None),
        None => (
            file.path.parent().map(slashed),
            header.frame_of_reference.clone(),
        ),
    };
    let [patient, study, series, modality] = [
        &header.patient,
        &header.study,
        &header.series,
        &header.modality,
    ]
    .map(Clone::clone);
    [patient, study, series, folder, frame, modality]
}

/// The samples that the files of a series make.
pub(super) fn entries(files: Vec<Found>, notes: &mut Notes) -> Vec<Entry> {
    let (mut singles, slices): (Vec<_>, Vec<_>) = files.into_iter().partition(is_single);
    let is_named = slices
        .first()
        .is_some_and(|file| file.header.series.is_some());
    let parts = if is_named {
        vec![slices]
    } else {
        alike_groups(slices)
    };
    let mut entries = Vec::new();
    for part in parts {
        let (mut stack, others) = divided(part, notes);
        singles.extend(others);
        if stack.len() < 2 {
            singles.append(&mut stack);
            continue;
        }
        let depths = sort(&mut stack);
        let entry = Entry::stack(stack);
        note_order(&entry, depths.as_deref(), notes);
        if !is_named {
            notes.add(UNNAMED, entry.id.as_str());
        }
        entries.push(entry);
    }
    entries.extend(singles.into_iter().map(Entry::single));
    entries
}

/// Adds unreadable files, so that reading them gives the error: to the only series in their folder, which
/// is then incomplete, else as samples of their own.
pub(super) fn take_in(entries: &mut Vec<Entry>, unreadable: Vec<PathBuf>) {
    for path in unreadable {
        let is_beside = |entry: &&mut Entry| {
            let is_stack = matches!(entry.image, Source::Stack(_));
            is_stack && entry.path().parent() == path.parent()
        };
        let mut beside: Vec<&mut Entry> = entries.iter_mut().filter(is_beside).collect();
        match &mut beside[..] {
            [
                Entry {
                    image: Source::Stack(files),
                    ..
                },
            ] => files.push(path),
            _ => entries.push(Entry::unreadable(path)),
        }
    }
}

/// Adds the name of the first file to ids that several series have: some anonymisers write one UID for
/// several patients.
pub(super) fn tell_apart(entries: &mut [Entry]) {
    let mut counts: HashMap<String, usize> = HashMap::new();
    for entry in entries.iter() {
        *counts.entry(entry.id.clone()).or_default() += 1;
    }
    for entry in entries.iter_mut().filter(|entry| counts[&entry.id] > 1) {
        entry.id = format!("{}/{}", entry.id, name(entry.path()));
    }
}

/// True if a file is an image of its own, whatever else is in its series.
fn is_single(file: &Found) -> bool {
    file.header.frames > 1 || is_of(file, &FLAT)
}

fn is_of(file: &Found, modalities: &[&str]) -> bool {
    let modality = file.header.modality.as_deref();
    modality.is_some_and(|modality| modalities.contains(&modality))
}

/// The slices that make a volume, and the others.
fn divided(slices: Vec<Found>, notes: &mut Notes) -> (Vec<Found>, Vec<Found>) {
    let is_placed = |file: &Found| file.header.placement.is_some();
    let (placed, unplaced): (Vec<_>, Vec<_>) = slices.into_iter().partition(is_placed);
    if placed.is_empty() && !unplaced.iter().any(|file| is_of(file, &VOLUMES)) {
        return (Vec::new(), unplaced);
    }
    let (stack, mut others) = if placed.is_empty() {
        (largest_alike(unplaced), Vec::new())
    } else {
        (largest_alike(placed), unplaced)
    };
    let mut note = |what, files: &[Found]| {
        files
            .iter()
            .for_each(|file| notes.add(what, slashed(&file.path)));
    };
    note(
        "files without a position in a series with positions, each a sample of its own",
        &others,
    );
    let (stack, unlike) = stack;
    note(
        "files of another size, spacing or direction than their series, each a sample of its own",
        &unlike,
    );
    others.extend(unlike);
    (stack, others)
}

/// The largest group of parallel slices of one size and spacing, and the rest.
fn largest_alike(files: Vec<Found>) -> (Vec<Found>, Vec<Found>) {
    let mut groups = alike_groups(files);
    // The first of equally large groups.
    let largest = (0..groups.len()).rev().max_by_key(|&k| groups[k].len());
    let largest = largest.map(|k| groups.remove(k)).unwrap_or_default();
    (largest, groups.into_iter().flatten().collect())
}

/// The slices by size, spacing and direction, in order of first appearance.
fn alike_groups(files: Vec<Found>) -> Vec<Vec<Found>> {
    let mut groups: Vec<Vec<Found>> = Vec::new();
    for file in files {
        match groups.iter_mut().find(|group| alike(&group[0], &file)) {
            Some(group) => group.push(file),
            None => groups.push(vec![file]),
        }
    }
    groups
}

fn alike(a: &Found, b: &Found) -> bool {
    let parallel = match (&a.header.placement, &b.header.placement) {
        (Some(a), Some(b)) => a.is_parallel_to(b),
        (a, b) => a.is_none() && b.is_none(),
    };
    let close = |a: [f64; 2], b: [f64; 2]| (0..2).all(|k| (a[k] - b[k]).abs() < SPACING_MM);
    let spaced = match (a.header.spacing, b.header.spacing) {
        (Some(a), Some(b)) => close(a, b),
        (a, b) => a.is_none() && b.is_none(),
    };
    parallel && spaced && a.header.size == b.header.size
}

/// Orders slices by position along their normal, else by InstanceNumber, else by name; returns the
/// positions in mm.
fn sort(stack: &mut [Found]) -> Option<Vec<f64>> {
    let first = stack.first()?.header.placement;
    let depth = |file: &Found| Some(file.header.placement?.depth_along(&first?));
    stack.sort_by(|a, b| {
        let by_depth = match (depth(a), depth(b)) {
            (Some(a), Some(b)) => a.total_cmp(&b),
            _ => Ordering::Equal,
        };
        let by_number = by_depth.then(a.header.instance.cmp(&b.header.instance));
        by_number.then_with(|| natural_order(&slashed(&a.path), &slashed(&b.path)))
    });
    stack.iter().map(depth).collect()
}

fn note_order(entry: &Entry, depths: Option<&[f64]>, notes: &mut Notes) {
    let what = match depths.map(oddity) {
        None => "series without positions, ordered by InstanceNumber and name",
        Some(Some(Oddity::Duplicate)) => "series with several slices at one position",
        Some(Some(Oddity::Gap)) => "series with uneven gaps between slices",
        Some(None) => return,
    };
    notes.add(what, entry.id.as_str());
}
