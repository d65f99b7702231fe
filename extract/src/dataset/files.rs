//! Which files lie under a root.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs;
use std::path::{Component, Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use crate::Error;

/// How far below the folder that the user gave a dataset's own folder is looked for.
const MAX_DEPTH: usize = 3;

/// Longest list of names that is read: 256 MiB.
const MAX_TEXT: u64 = 256 << 20;

/// The files under a root, from one walk.
///
/// Left out is what unpacking and browsing leave behind: names that begin with a dot, `__MACOSX`,
/// `Thumbs.db`, `desktop.ini`. A folder named like a NIfTI file (`scan.nii.gz/scan.nii`) counts as
/// a file.
pub(super) struct Tree {
    pub(super) root: PathBuf,
    /// Relative to the root, sorted by the bytes of their paths.
    pub(super) files: Vec<PathBuf>,
}

impl Tree {
    /// Walks `root`.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if a folder cannot be listed, and [`Error::LinkOutside`] for a link that leads
    /// out of `root`.
    pub(super) fn walk(root: &Path) -> Result<Tree, Error> {
        let real = root.canonicalize().map_err(Error::io(root))?;
        let mut files = Vec::new();
        let mut linked = HashSet::new();
        let mut walk = WalkDir::new(root).follow_links(true).into_iter();
        while let Some(entry) = walk.next() {
            let entry = match entry {
                // A link to one of its own parents.
                Err(error) if error.loop_ancestor().is_some() => continue,
                // A link to nowhere is listed, and then skipped like any file that cannot be read.
                Err(error) if error.path().is_some_and(Path::is_symlink) => {
                    let path = error.path().unwrap_or(root);
                    files.push(path.strip_prefix(root).unwrap_or(path).to_path_buf());
                    continue;
                }
                entry => entry.map_err(|error| walk_error(root, error))?,
            };
            if entry.depth() == 0 {
                continue;
            }
            let is_folder = entry.file_type().is_dir();
            if is_junk(&entry) {
                if is_folder {
                    walk.skip_current_dir();
                }
                continue;
            }
            if entry.path_is_symlink() {
                let target = refuse_outside(entry.path(), &real)?;
                // Links to links could otherwise stand for any number of files.
                if is_folder && !linked.insert(target) {
                    walk.skip_current_dir();
                    continue;
                }
            }
            if is_folder && !is_nifti(entry.path()) {
                continue;
            }
            if is_folder {
                walk.skip_current_dir();
            }
            let path = entry.path().strip_prefix(root).unwrap_or(entry.path());
            files.push(path.to_path_buf());
        }
        files.sort_by(|a, b| a.as_os_str().cmp(b.as_os_str()));
        Ok(Tree {
            root: root.to_path_buf(),
            files,
        })
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
/// [`Error::NotRegular`], [`Error::TooLarge`] and [`Error::Io`].
pub(super) fn read_text(path: &Path) -> Result<String, Error> {
    let metadata = fs::metadata(path).map_err(Error::io(path))?;
    let path_buf = || path.to_path_buf();
    if !metadata.is_file() {
        return Err(Error::NotRegular { path: path_buf() });
    }
    if metadata.len() > MAX_TEXT {
        return Err(Error::TooLarge {
            path: path_buf(),
            found: format!("{} bytes of text", metadata.len()),
            limit: format!("{MAX_TEXT} bytes"),
        });
    }
    fs::read_to_string(path).map_err(Error::io(path))
}

/// The name of the folder `depth` levels below the root that `file` lies in.
pub(super) fn layer(file: &Path, depth: usize) -> Option<String> {
    let folder = file.parent()?.components().nth(depth)?;
    Some(name(folder.as_ref()))
}

/// The deepest folder that all files lie in.
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
pub(super) fn name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// Whether `name` ends like an image that can be read, in whatever case.
pub(super) fn is_image(path: &Path) -> bool {
    super::image_extension(&name(path)).is_some()
}

/// The path without `.`, or `None` if it is absolute or has `..` in it.
pub(super) fn inner_path(value: &str) -> Option<PathBuf> {
    let parts = Path::new(value)
        .components()
        .filter(|part| *part != Component::CurDir);
    parts
        .map(|part| matches!(part, Component::Normal(_)).then_some(part))
        .collect()
}

/// The folder that `is_it` recognises: `root`, or one at most three levels below it.
///
/// # Errors
///
/// [`Error::Layout`] if there is none, or more than one at the same depth; `expected` says what it
/// looks like.
pub(super) fn find_root(
    root: &Path,
    expected: &str,
    is_it: impl Fn(&Path) -> bool,
) -> Result<PathBuf, Error> {
    fs::read_dir(root).map_err(Error::io(root))?;
    let mut level = VecDeque::from([root.to_path_buf()]);
    for _ in 0..=MAX_DEPTH {
        let mut found: Vec<&PathBuf> = level.iter().filter(|folder| is_it(folder)).collect();
        found.sort();
        match found[..] {
            [] => {}
            [only] => return Ok(only.clone()),
            _ => return Err(several(root, &found, expected)),
        }
        level = level.iter().flat_map(|folder| folders_in(folder)).collect();
    }
    let mut names: Vec<String> = folders_in(root).iter().map(|folder| name(folder)).collect();
    names.sort();
    names.truncate(8);
    Err(Error::Layout {
        path: root.to_path_buf(),
        found: match names.is_empty() {
            true => "no folders".to_owned(),
            false => format!("the folders `{}`", names.join("`, `")),
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
        hint: "pass the one that is meant".to_owned(),
    }
}

/// The folders in a folder that are not junk and no links; none if it cannot be listed.
fn folders_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let names = folders.map(|entry| entry.path());
    names.filter(|path| !is_junk_name(&name(path))).collect()
}

fn is_junk(entry: &DirEntry) -> bool {
    is_junk_name(&entry.file_name().to_string_lossy())
}

pub(super) fn is_junk_name(name: &str) -> bool {
    name.starts_with('.') || ["__MACOSX", "Thumbs.db", "desktop.ini"].contains(&name)
}

/// Whether `path` is named like a NIfTI file, in whatever case.
pub(super) fn is_nifti(path: &Path) -> bool {
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
    if path.is_symlink() {
        refuse_outside(&path, &root.canonicalize().map_err(Error::io(root))?)?;
    }
    Ok(path.is_file().then_some(path))
}

/// Where the link leads.
fn refuse_outside(link: &Path, real_root: &Path) -> Result<PathBuf, Error> {
    let target = link.canonicalize().map_err(Error::io(link))?;
    match target.starts_with(real_root) {
        true => Ok(target),
        false => Err(Error::LinkOutside {
            path: link.to_path_buf(),
            target,
        }),
    }
}

fn walk_error(root: &Path, error: walkdir::Error) -> Error {
    let path = error.path().unwrap_or(root).to_path_buf();
    Error::Io {
        path,
        source: error.into(),
    }
}
