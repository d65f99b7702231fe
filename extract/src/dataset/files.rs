//! Files below a root.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use common::FileError;
use unicode_normalization::UnicodeNormalization;
use walkdir::{DirEntry, WalkDir};

use super::examples::examples;
use crate::Error;

/// Levels below the given folder that are searched for the dataset's own folder: a copy of a web site has
/// the levels of its URLs.
const MAX_DEPTH: usize = 6;

/// Number of folders that are searched for it.
const MAX_FOLDERS: usize = 20_000;

/// Bytes that are read to detect the kind of a file.
const SNIFFED_BYTES: u64 = 512;

/// Longest list of names that is read: 256 MiB.
const MAX_TEXT: u64 = 256 << 20;

/// The files under a root, from one walk.
///
/// Files that unpacking and browsing leave behind are skipped: names that begin with a dot, `__MACOSX`,
/// `Thumbs.db`, `desktop.ini`. A folder named like a NIfTI file (`scan.nii.gz/scan.nii`) counts as
/// a file.
pub(super) struct Tree {
    pub(super) root: PathBuf,
    /// Relative to the root, sorted by the bytes of their paths.
    pub(super) files: Vec<PathBuf>,
    /// Folders that cannot be listed and links that lead out of the root, none of them needed;
    /// relative to the root.
    pub(super) left_out: Vec<String>,
}

/// Kind of a path.
enum Found {
    File,
    /// A folder to walk.
    Folder,
    Nothing,
}

impl Tree {
    /// Walks `root`, all of which is needed.
    ///
    /// # Errors
    ///
    /// [`FileError::Io`] if a folder cannot be listed, and [`Error::LinkOutside`] for a link that leads
    /// out of `root`.
    pub(super) fn walk(root: &Path) -> Result<Tree, Error> {
        Tree::walk_for(root, |_| true)
    }

    /// Walks `root`, of which some paths, relative to it, are needed.
    ///
    /// # Errors
    ///
    /// As [`walk`](Self::walk), for what is needed.
    pub(super) fn walk_for(root: &Path, is_needed: impl Fn(&Path) -> bool) -> Result<Tree, Error> {
        let real = root.canonicalize().map_err(Error::io(root))?;
        let (mut files, mut left_out) = (Vec::new(), Vec::new());
        let mut linked = HashSet::new();
        let mut walk = WalkDir::new(root).follow_links(true).into_iter();
        while let Some(entry) = walk.next() {
            let path = match &entry {
                Ok(entry) => entry.path(),
                Err(error) => error.path().unwrap_or(root),
            };
            let path = path.strip_prefix(root).unwrap_or(path).to_path_buf();
            let is_folder = entry.as_ref().is_ok_and(|e| e.file_type().is_dir());
            match look_at(root, &real, &path, entry, &mut linked) {
                Ok(Found::Folder) => continue,
                Ok(Found::File) => files.push(path),
                Ok(Found::Nothing) => {}
                Err(error) if path == Path::new("") || is_needed(&path) => return Err(error),
                Err(_) => left_out.push(path.display().to_string()),
            }
            if is_folder {
                walk.skip_current_dir();
            }
        }
        files.sort_by(|a, b| a.as_os_str().cmp(b.as_os_str()));
        left_out.sort();
        Ok(Tree {
            root: root.to_path_buf(),
            files,
            left_out,
        })
    }

    /// A warning of [`left_out`](Self::left_out).
    pub(super) fn warning(&self) -> Option<String> {
        let (count, names) = (self.left_out.len(), examples(&self.left_out));
        (count > 0).then(|| {
            format!("skipped folders and links (unreadable, or leading out of the folder): {count} ({names})")
        })
    }

    /// The file at `path`, relative to the root.
    pub(super) fn get(&self, path: &Path) -> Option<&PathBuf> {
        let found = self
            .files
            .binary_search_by(|file| file.as_os_str().cmp(path.as_os_str()));
        self.files.get(found.ok()?)
    }

    /// The files directly in the folder `folder` (relative to the root).
    pub(super) fn in_folder(&self, folder: &Path) -> impl Iterator<Item = &PathBuf> {
        let files = self.files.iter();
        files.filter(move |file| file.parent() == Some(folder))
    }

    /// The files by their names without folders; of several of one name, the last.
    pub(super) fn by_name(&self) -> HashMap<String, &PathBuf> {
        let files = self.files.iter();
        files.map(|file| (name(file), file)).collect()
    }
}

/// The text of a small file: a card, a list of names.
///
/// # Errors
///
/// [`FileError::NotRegular`], [`FileError::TooLarge`] and [`FileError::Io`].
pub(super) fn read_text(path: &Path) -> Result<String, Error> {
    let metadata = fs::metadata(path).map_err(Error::io(path))?;
    if !metadata.is_file() {
        let path = path.to_path_buf();
        return Err(FileError::NotRegular { path }.into());
    }
    if metadata.len() > MAX_TEXT {
        return Err(Error::too_large(
            path,
            format!("{} bytes of text", metadata.len()),
            format!("{MAX_TEXT} bytes"),
        ));
    }
    fs::read_to_string(path).map_err(Error::io(path))
}

/// The first bytes of a file, enough to tell what it is.
///
/// # Errors
///
/// [`FileError::NotRegular`] and [`FileError::Io`].
pub(super) fn first_bytes(path: &Path) -> Result<Vec<u8>, Error> {
    let mut start = Vec::new();
    // Reading a pipe could block forever.
    if !fs::metadata(path).map_err(Error::io(path))?.is_file() {
        let path = path.to_path_buf();
        return Err(FileError::NotRegular { path }.into());
    }
    let file = File::open(path).map_err(Error::io(path))?;
    let read = file.take(SNIFFED_BYTES).read_to_end(&mut start);
    read.map_err(Error::io(path))?;
    Ok(start)
}

/// Refuses files of failed downloads; `start` is the start of the file.
///
/// # Errors
///
/// [`FileError::Empty`] and [`FileError::WebPage`].
pub(super) fn refuse_failed_download(path: &Path, start: &[u8]) -> Result<(), Error> {
    let path = path.to_path_buf();
    let sniffed = &start[..start.len().min(SNIFFED_BYTES as usize)];
    let text = String::from_utf8_lossy(sniffed).to_ascii_lowercase();
    let is_page = |page| text.trim_start().starts_with(page);
    if start.is_empty() {
        Err(FileError::Empty { path }.into())
    } else if is_page("<!doctype") || is_page("<html") {
        Err(FileError::WebPage { path }.into())
    } else {
        Ok(())
    }
}

/// The name of the folder `depth` levels below the root that `file` is in.
pub(super) fn layer(file: &Path, depth: usize) -> Option<String> {
    let folder = file.parent()?.components().nth(depth)?;
    Some(name(folder.as_ref()))
}

/// The deepest folder that contains all files.
pub(super) fn common_folder<'a>(files: impl Iterator<Item = &'a Path>) -> PathBuf {
    let folders = files.map(|file| file.parent().unwrap_or(Path::new("")));
    let common = folders.map(Path::to_path_buf).reduce(|common, folder| {
        let pairs = common.components().zip(folder.components());
        let equal = pairs.take_while(|(a, b)| a == b);
        equal.map(|(a, _)| a).collect()
    });
    common.unwrap_or_default()
}

/// The file name, or a blank.
pub(crate) fn name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// The text in Unicode normalisation form C, in which letters and accents are one character. macOS writes
/// form D.
pub(crate) fn composed(text: &str) -> String {
    text.nfc().collect()
}

/// True if `path` ends like a readable image, in any case. The voxels of a pair (`.img`)
/// are those of its header's image.
pub(super) fn is_image(path: &Path) -> bool {
    super::image_extension(&name(path)).is_some() && !is_voxels(path)
}

/// True if `path` is named like the voxels that a header beside them describes.
pub(super) fn is_voxels(path: &Path) -> bool {
    let name = name(path).to_ascii_lowercase();
    name.ends_with(".img") || name.ends_with(".img.gz")
}

/// True if `path` is named like a NIfTI image, in any case.
pub(super) fn is_nifti(path: &Path) -> bool {
    super::image_extension(&name(path)).is_some_and(|ending| super::NIFTI.contains(&ending))
}

/// The path without `.`, or `None` if it is absolute or has `..` in it.
pub(crate) fn inner_path(value: &str) -> Option<PathBuf> {
    let parts = Path::new(value)
        .components()
        .filter(|part| *part != Component::CurDir);
    parts
        .map(|part| matches!(part, Component::Normal(_)).then_some(part))
        .collect()
}

/// The folder that `is_it` recognises: `root`, or a folder at most six levels below it.
///
/// # Errors
///
/// [`Error::Layout`] if there is none, or more than one at the same depth; `expected` describes the folder.
pub(super) fn find_root(
    root: &Path,
    expected: &str,
    is_it: impl Fn(&Path) -> bool,
) -> Result<PathBuf, Error> {
    fs::read_dir(root).map_err(Error::io(root))?;
    let (mut level, mut seen) = (vec![root.to_path_buf()], 0);
    for _ in 0..=MAX_DEPTH {
        let mut found: Vec<&PathBuf> = level.iter().filter(|folder| is_it(folder)).collect();
        found.sort();
        match found[..] {
            [] => {}
            [only] => return Ok(only.clone()),
            _ => return Err(several(root, &found, expected)),
        }
        seen += level.len();
        let below = level.iter().flat_map(|folder| folders_in(folder));
        level = below.take(MAX_FOLDERS.saturating_sub(seen)).collect();
    }
    let mut names: Vec<String> = folders_in(root).iter().map(|folder| name(folder)).collect();
    names.sort();
    names.truncate(8);
    Err(Error::Layout {
        path: root.to_path_buf(),
        found: if names.is_empty() {
            "no folders".to_owned()
        } else {
            format!("the folders `{}`", names.join("`, `"))
        },
        expected: expected.to_owned(),
        hint: match parent_of(root).filter(|parent| is_it(parent)) {
            Some(parent) => format!("pass the folder above it, `{}`", parent.display()),
            None => "pass the folder that the download was unpacked to".to_owned(),
        },
    })
}

fn parent_of(root: &Path) -> Option<PathBuf> {
    let real = root.canonicalize().ok()?;
    real.parent().map(Path::to_path_buf)
}

fn several(root: &Path, found: &[&PathBuf], expected: &str) -> Error {
    let found: Vec<String> = found.iter().map(|f| f.display().to_string()).collect();
    Error::Layout {
        path: root.to_path_buf(),
        found: format!("`{}`", found.join("`, `")),
        expected: format!("only one folder with {expected}"),
        hint: "pass one of them".to_owned(),
    }
}

/// The folders in a folder that are not junk and no links; none if it cannot be listed.
fn folders_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let names = folders.map(|entry| entry.path());
    names.filter(|path| !is_junk_name(&name(path))).collect()
}

/// The kind of `path`, relative to the root; `linked` are the targets of links so far.
fn look_at(
    root: &Path,
    real_root: &Path,
    path: &Path,
    entry: walkdir::Result<DirEntry>,
    linked: &mut HashSet<PathBuf>,
) -> Result<Found, Error> {
    if is_junk_name(&name(path)) {
        return Ok(Found::Nothing);
    }
    let entry = match entry {
        // A link to one of its own parents.
        Err(error) if error.loop_ancestor().is_some() => return Ok(Found::Nothing),
        // A broken link is listed, and skipped later like any unreadable file.
        Err(error) if error.path().is_some_and(Path::is_symlink) => return Ok(Found::File),
        entry => entry.map_err(|error| walk_error(root, error))?,
    };
    let is_folder = entry.file_type().is_dir();
    if entry.depth() > 0 && entry.path_is_symlink() {
        let target = refuse_outside(entry.path(), real_root)?;
        // Links to links could otherwise multiply files without end.
        if is_folder && !linked.insert(target) {
            return Ok(Found::Nothing);
        }
    }
    Ok(
        if entry.depth() == 0 || is_folder && !is_folder_of_file(path) {
            Found::Folder
        } else {
            Found::File
        },
    )
}

pub(super) fn is_junk_name(name: &str) -> bool {
    name.starts_with('.') || ["__MACOSX", "Thumbs.db", "desktop.ini"].contains(&name)
}

/// True if `path` is named as some unpackers name a folder with a NIfTI file in it.
fn is_folder_of_file(path: &Path) -> bool {
    let name = name(path).to_ascii_lowercase();
    name.ends_with(".nii") || name.ends_with(".nii.gz")
}

/// The file `name` in the folder `root`, if it is there.
///
/// # Errors
///
/// [`Error::LinkOutside`] if it is a link that leads out of `root`.
pub(super) fn file_in(root: &Path, name: &str) -> Result<Option<PathBuf>, Error> {
    let path = root.join(name);
    refuse_link_out(root, &path)?;
    Ok(path.is_file().then_some(path))
}

/// # Errors
///
/// [`Error::LinkOutside`] if `path` is a link that leads out of `root`.
pub(super) fn refuse_link_out(root: &Path, path: &Path) -> Result<(), Error> {
    if path.is_symlink() {
        refuse_outside(path, &root.canonicalize().map_err(Error::io(root))?)?;
    }
    Ok(())
}

/// The target of a link.
fn refuse_outside(link: &Path, real_root: &Path) -> Result<PathBuf, Error> {
    let target = link.canonicalize().map_err(Error::io(link))?;
    if target.starts_with(real_root) {
        Ok(target)
    } else {
        Err(Error::LinkOutside {
            path: link.to_path_buf(),
            target,
        })
    }
}

fn walk_error(root: &Path, error: walkdir::Error) -> Error {
    let path = error.path().unwrap_or(root).to_path_buf();
    Error::io(&path)(error.into())
}

#[cfg(test)]
#[cfg(unix)]
mod tests;
