//! Refusal of links in the folder of a cache, through which a writer would change or delete files elsewhere.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::io_error;
use crate::folder::{EXTENSION, LABELS, PARTS, SOURCES, SPLITS, parts_around};
use crate::schema::Table;
use crate::{Error, is_in_bucket};

/// Folders of a cache that have folders in them.
const WITH_FOLDERS: [&str; 5] = ["checksums", LABELS, "pending", "repair", EXTENSION];

/// Refuses the folder of a cache, or of a part, if a folder in it in which programs write is a link. The folder
/// itself may be one.
///
/// # Errors
///
/// [`Error::Link`], and [`Error::Io`] if a folder cannot be listed.
pub(crate) fn refuse_links(dir: &Path) -> Result<(), Error> {
    let first = links(dir)?.into_iter().next();
    first.map_or(Ok(()), |path| Err(Error::Link { path }))
}

/// The links that [`refuse_links`] refuses; none in a bucket.
///
/// # Errors
///
/// [`Error::Io`] if a folder cannot be listed.
pub(crate) fn links(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    if is_in_bucket(dir) {
        return Ok(found);
    }
    if let Some(parts) = parts_around(dir) {
        look(parts, &mut found)?;
        look(dir, &mut found)?;
    }
    for name in Table::ALL.map(Table::name) {
        look(&dir.join(name), &mut found)?;
    }
    for name in [SOURCES, SPLITS] {
        look(&dir.join(name), &mut found)?;
    }
    // What lies in a part is looked at when that part is locked.
    look_in(&dir.join(PARTS), &|_| false, &mut found)?;
    for name in WITH_FOLDERS {
        look_in(&dir.join(name), &has_folders, &mut found)?;
    }
    Ok(found)
}

/// True if a folder may have folders in it, as those of tables have not. A label set may have the name of one.
fn has_folders(folder: &Path) -> bool {
    let name = folder.file_name().unwrap_or_default();
    let is_table = Table::ALL.iter().any(|table| name == table.name());
    let is_label_set = folder.parent().is_some_and(|of| of.ends_with(LABELS));
    is_label_set || !is_table && name != SOURCES && name != SPLITS
}

/// Adds a folder to `found` if it is a link, and else the links in it, and in all folders in it that are to be entered.
fn look_in(
    folder: &Path,
    is_entered: &dyn Fn(&Path) -> bool,
    found: &mut Vec<PathBuf>,
) -> Result<(), Error> {
    if look(folder, found)? || !folder.is_dir() {
        return Ok(());
    }
    let error = |error| io_error(folder, "list")(error);
    for entry in fs::read_dir(folder).map_err(error)? {
        let entry = entry.map_err(error)?;
        let (path, kind) = (entry.path(), entry.file_type().map_err(error)?);
        if kind.is_symlink() {
            found.push(path);
        } else if kind.is_dir() && is_entered(&path) {
            look_in(&path, is_entered, found)?;
        }
    }
    Ok(())
}

/// Adds a path to `found` if it is a link, and returns whether it is one.
fn look(path: &Path, found: &mut Vec<PathBuf>) -> Result<bool, Error> {
    let is_link = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        of => of.map_err(io_error(path, "read"))?.is_symlink(),
    };
    if is_link {
        found.push(path.into());
    }
    Ok(is_link)
}
