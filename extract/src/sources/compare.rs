//! Comparison of files with the records of a cache.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use cache::{CacheMeta, ShardSources, SourceFile};
use common::text::{shown, slashed};
use imaging::read::files_behind;
use rayon::prelude::*;
use walkdir::WalkDir;

use super::{hash, nanoseconds, recorded_path, state};
use crate::Error;
use crate::dataset::{Dataset, Sample};
use crate::pseudonyms::{self, Pseudonyms};

/// Time in which a file may change twice without another time of change: the coarsest of common file
/// systems, FAT.
const COARSEST_NS: i64 = 2_000_000_000;

/// Levels below a given folder that are searched for the dataset's own folder.
const MAX_DEPTH: usize = 6;

/// Number of changed files in a message.
const EXAMPLES: usize = 5;

/// Result of [`compare_all`].
#[derive(Debug, Default)]
pub(crate) struct Compared {
    /// Number of files that were compared.
    pub(crate) files: usize,
    /// A line for each file that is missing or differs.
    pub(crate) faults: Vec<String>,
}

/// Compares sizes and times of a dataset's files with the records of its cache `dir`, and where they differ
/// or are no proof, the contents.
///
/// # Errors
///
/// [`Error::SourcesChanged`], and errors of [`ShardSources::read`].
pub(crate) fn compare(dir: &Path, meta: &CacheMeta, dataset: &Dataset) -> Result<(), Error> {
    let hidden = dataset
        .pseudonyms
        .is_some()
        .then(|| files_by_record(dataset));
    let mut changed = Vec::new();
    for sources in ShardSources::all(dir, meta) {
        let sources = sources?;
        let written = sources.written.and_then(nanoseconds);
        let found = sources.files.par_iter().filter_map(|record| {
            let file = match &hidden {
                Some(files) => files.get(&record.path)?.clone(),
                None => dataset.root.join(&record.path),
            };
            let name = || slashed(file.strip_prefix(&dataset.root).unwrap_or(&file));
            is_changed(&file, record, written).then(name)
        });
        changed.extend(found.collect::<Vec<String>>());
    }
    refuse(dir, changed)
}

/// Refuses files that have changed.
fn refuse(dir: &Path, mut changed: Vec<String>) -> Result<(), Error> {
    if changed.is_empty() {
        return Ok(());
    }
    let count = changed.len();
    changed.truncate(EXAMPLES);
    Err(Error::SourcesChanged {
        path: dir.to_path_buf(),
        count,
        examples: changed.join("`, `"),
    })
}

/// Compares the images of samples with the records of their cache `dir`, as [`compare`] does. Masks may be
/// others.
///
/// # Errors
///
/// As [`compare`].
pub(crate) fn compare_images<'a>(
    dir: &Path,
    meta: &CacheMeta,
    dataset: &Dataset,
    samples: impl Iterator<Item = &'a Sample>,
) -> Result<(), Error> {
    let mut images = HashMap::new();
    for sample in samples {
        for image in sample.image.files() {
            let files = files_behind(&dataset.root.join(image)).into_iter();
            images.extend(files.map(|file| (recorded_path(dataset, &file), file)));
        }
    }
    let mut changed = Vec::new();
    for sources in ShardSources::all(dir, meta) {
        let sources = sources?;
        let written = sources.written.and_then(nanoseconds);
        let found = sources.files.par_iter().filter_map(|record| {
            let file = images.get(&record.path)?;
            let name = || slashed(file.strip_prefix(&dataset.root).unwrap_or(file));
            is_changed(file, record, written).then(name)
        });
        changed.extend(found.collect::<Vec<String>>());
    }
    refuse(dir, changed)
}

/// Whether a file that is there differs from its record. Missing files are found when they are listed or read.
fn is_changed(file: &Path, record: &SourceFile, written: Option<i64>) -> bool {
    let Some(of) = fs::metadata(file).ok().filter(fs::Metadata::is_file) else {
        return false;
    };
    let (bytes, modified) = state(&of);
    let is_proof = |time: i64| written.is_some_and(|written| time < written - COARSEST_NS);
    let is_same = modified == record.modified_ns && modified.is_some_and(is_proof);
    bytes != record.bytes || !is_same && hash(file).is_ok_and(|(found, _)| found != record.sha256)
}

/// The files of a dataset by their paths in the records.
fn files_by_record(dataset: &Dataset) -> HashMap<String, PathBuf> {
    let files = dataset.samples.iter().flat_map(Sample::files);
    let files = files.flat_map(|file| files_behind(&dataset.root.join(file)));
    files
        .map(|file| (recorded_path(dataset, &file), file))
        .collect()
}

/// Compares the contents of all files below `root` that the cache `dir` records.
///
/// # Errors
///
/// Errors of [`ShardSources::read`].
pub(crate) fn compare_all(dir: &Path, meta: &CacheMeta, root: &Path) -> Result<Compared, Error> {
    let mut compared = Compared::default();
    let first =
        ShardSources::all(dir, meta).find_map(|sources| sources.ok()?.files.into_iter().next());
    let folder = first.and_then(|first| folder_with(root, &first.path));
    let hashed = match (&folder, Pseudonyms::made()) {
        (None, Some(pseudonyms)) => hashed_files(dir, meta, root, &pseudonyms)?,
        _ => HashMap::new(),
    };
    let folder = folder.unwrap_or_else(|| root.to_path_buf());
    for sources in ShardSources::all(dir, meta) {
        let sources = sources?.files;
        let faults = sources.par_iter().filter_map(|record| {
            let plain = || folder.join(&record.path);
            let file = hashed.get(&record.path).cloned().unwrap_or_else(plain);
            fault(&file, record)
        });
        compared.faults.extend(faults.collect::<Vec<_>>());
        compared.files += sources.len();
    }
    Ok(compared)
}

/// The folder of a dataset, `root` or one below it, in which a file of the dataset is.
fn folder_with(root: &Path, file: &str) -> Option<PathBuf> {
    let folders = WalkDir::new(root).max_depth(MAX_DEPTH).into_iter();
    let folders = folders.filter_entry(|entry| entry.file_type().is_dir());
    let mut folders = folders.flatten().map(walkdir::DirEntry::into_path);
    folders.find(|folder| folder.join(file).is_file())
}

/// The files below `root` by their paths in the cache, in which parts are hashed.
fn hashed_files(
    dir: &Path,
    meta: &CacheMeta,
    root: &Path,
    pseudonyms: &Pseudonyms,
) -> Result<HashMap<String, PathBuf>, Error> {
    let (mut recorded, mut found) = (HashSet::new(), HashMap::new());
    for sources in ShardSources::all(dir, meta) {
        for record in sources?.files {
            recorded.extend(pseudonyms::starts(&record.path));
        }
    }
    let files = WalkDir::new(root).into_iter().flatten();
    for file in files.filter(|entry| entry.file_type().is_file()) {
        let path = file.path();
        let relative = slashed(path.strip_prefix(root).unwrap_or(path));
        // The dataset's folder may lie below `root`.
        let inner = relative.match_indices('/').take(MAX_DEPTH);
        let mut starts = [0].into_iter().chain(inner.map(|(place, _)| place + 1));
        if let Some(name) = starts.find_map(|at| pseudonyms.find(&relative[at..], &recorded)) {
            found.insert(name, path.to_path_buf());
        }
    }
    Ok(found)
}

/// What is wrong with a file, if it is missing or has another content than recorded.
fn fault(file: &Path, record: &SourceFile) -> Option<String> {
    let shown = shown(file);
    let Some(of) = fs::metadata(file).ok().filter(fs::Metadata::is_file) else {
        return Some(format!("`{shown}`: missing, or not a file"));
    };
    if of.len() != record.bytes {
        let (found, expected) = (of.len(), record.bytes);
        return Some(format!(
            "`{shown}`: {found} bytes, {expected} when it was extracted"
        ));
    }
    match hash(file) {
        Ok((found, _)) if found == record.sha256 => None,
        Ok(_) => Some(format!(
            "`{shown}`: another content than when it was extracted"
        )),
        Err(error) => Some(format!("`{shown}`: {error}")),
    }
}
