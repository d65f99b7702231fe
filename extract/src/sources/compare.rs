//! Comparison of files with the records of a cache.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use cache::{CacheMeta, ShardSources, SourceFile};
use common::counted;
use common::text::{shown, slashed};
use imaging::read::files_behind;
use rayon::prelude::*;
use walkdir::WalkDir;

use super::{hash, nanoseconds, recorded_path, state};
use crate::Error;
use crate::dataset::{Dataset, Sample, examples};
use crate::pseudonyms::{self, Pseudonyms};

/// Time in which a file may change twice without another time of change: the coarsest of common file
/// systems, FAT.
const COARSEST_NS: i64 = 2_000_000_000;

/// Levels below a given folder that are searched for the dataset's own folder.
const MAX_DEPTH: usize = 6;

/// Number of files that are looked for in each folder below a given one.
const TRIED: usize = 100;

/// Number of changed files in a message.
const EXAMPLES: usize = 5;

/// Result of [`compare_all`].
#[derive(Debug, Default)]
pub(crate) struct Compared {
    /// Number of files that were compared.
    pub(crate) files: usize,
    /// A line for each file that is missing or differs.
    pub(crate) faults: Vec<String>,
    /// Folder in which the files were looked for.
    pub(crate) folder: PathBuf,
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

/// Compares the contents of all files that the cache `dir` records. They lie in `root`; if none of them does, in
/// a folder below it.
///
/// # Errors
///
/// [`Error::Layout`] if files are in several folders below `root`, and errors of [`ShardSources::read`].
pub(crate) fn compare_all(dir: &Path, meta: &CacheMeta, root: &Path) -> Result<Compared, Error> {
    let plain = folder_with(dir, meta, root)?;
    let is_plain = plain.is_some();
    let (folder, hashed) = match (plain, Pseudonyms::made()) {
        (Some(folder), _) => (folder, HashMap::new()),
        (None, Some(pseudonyms)) => hashed_files(dir, meta, root, &pseudonyms)?,
        (None, None) => (root.to_path_buf(), HashMap::new()),
    };
    let (is_nowhere, mut are_hashes) = (!is_plain && hashed.is_empty(), true);
    let mut compared = Compared {
        folder,
        ..Compared::default()
    };
    for sources in ShardSources::all(dir, meta) {
        let sources = sources?.files;
        let faults = sources.par_iter().filter_map(|record| {
            let plain = || compared.folder.join(&record.path);
            let file = hashed.get(&record.path).cloned().unwrap_or_else(plain);
            fault(&file, record)
        });
        let faults: Vec<String> = faults.collect();
        compared.faults.extend(faults);
        compared.files += sources.len();
        are_hashes &= sources
            .iter()
            .all(|record| pseudonyms::has_hash(&record.path));
    }
    if is_nowhere && are_hashes && compared.files > 0 {
        compared.faults = vec![format!(
            "`{}`: none of {} was found in `{}`: their names are hashes by another key (give that of the extraction: SLICEBANK_ID_KEY), or this is another dataset",
            shown(dir),
            counted(compared.files, "source file"),
            shown(root)
        )];
    }
    Ok(compared)
}

/// The folder with files of the dataset: `root` if one of them is there, else the only one below it.
fn folder_with(dir: &Path, meta: &CacheMeta, root: &Path) -> Result<Option<PathBuf>, Error> {
    let mut first = Vec::new();
    for sources in ShardSources::all(dir, meta) {
        for record in sources?.files {
            if root.join(&record.path).is_file() {
                return Ok(Some(root.to_path_buf()));
            }
            if first.len() < TRIED {
                first.push(record.path);
            }
        }
    }
    let folders = WalkDir::new(root).min_depth(1).max_depth(MAX_DEPTH);
    let folders = folders.sort_by_file_name().into_iter();
    let folders = folders.filter_entry(|entry| entry.file_type().is_dir());
    let folders = folders.flatten().map(walkdir::DirEntry::into_path);
    let found = folders.filter(|folder| first.iter().any(|file| folder.join(file).is_file()));
    only(root, found.collect())
}

/// The only folder of a list, if there is one.
fn only(root: &Path, mut folders: Vec<PathBuf>) -> Result<Option<PathBuf>, Error> {
    if folders.len() < 2 {
        return Ok(folders.pop());
    }
    let names = folders.iter().map(|folder| folder.to_string_lossy());
    let names: Vec<String> = names.map(std::borrow::Cow::into_owned).collect();
    Err(Error::Layout {
        path: root.to_path_buf(),
        found: format!(
            "files of the cache in {} folders: {}",
            folders.len(),
            examples(&names)
        ),
        expected: "the dataset's folder".to_owned(),
        hint: "name one of them as `--root`".to_owned(),
    })
}

/// The folder of the dataset, and the files in it by their paths in the cache, in which parts are hashed.
fn hashed_files(
    dir: &Path,
    meta: &CacheMeta,
    root: &Path,
    pseudonyms: &Pseudonyms,
) -> Result<(PathBuf, HashMap<String, PathBuf>), Error> {
    let mut recorded = HashSet::new();
    for sources in ShardSources::all(dir, meta) {
        for record in sources?.files {
            recorded.extend(pseudonyms::starts(&record.path));
        }
    }
    let mut by_folder: BTreeMap<PathBuf, HashMap<String, PathBuf>> = BTreeMap::new();
    let files = WalkDir::new(root).into_iter().flatten();
    for file in files.filter(|entry| entry.file_type().is_file()) {
        let path = file.path();
        let relative = slashed(path.strip_prefix(root).unwrap_or(path));
        // The dataset's folder may lie below `root`.
        let inner = relative.match_indices('/').take(MAX_DEPTH);
        let starts = [0].into_iter().chain(inner.map(|(place, _)| place + 1));
        for at in starts {
            if let Some(name) = pseudonyms.find(&relative[at..], &recorded) {
                let folder = by_folder.entry(root.join(&relative[..at])).or_default();
                folder.insert(name, path.to_path_buf());
            }
        }
    }
    let itself = by_folder.remove(&root.join(""));
    if let Some(files) = itself {
        return Ok((root.to_path_buf(), files));
    }
    let folder = only(root, by_folder.keys().cloned().collect())?;
    let folder = folder.unwrap_or_else(|| root.to_path_buf());
    let files = by_folder.remove(&folder).unwrap_or_default();
    Ok((folder, files))
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
