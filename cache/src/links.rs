//! Refusal of links in the folder of a cache, through which a writer would change or delete files elsewhere.

use std::fs;
use std::io;
use std::path::Path;

use crate::Error;
use crate::error::io_error;
use crate::folder::{EXTENSION, LABELS, PARTS, SOURCES, SPLITS, parts_around};
use crate::schema::Table;

/// Folders of a cache that have folders in them.
const WITH_FOLDERS: [&str; 5] = ["checksums", LABELS, "pending", "repair", EXTENSION];

/// Refuses the folder of a cache, or of a part, if a folder in it in which programs write is a link. The folder
/// itself may be one.
///
/// # Errors
///
/// [`Error::Link`], and [`Error::Io`] if a folder cannot be listed.
pub(crate) fn refuse_links(dir: &Path) -> Result<(), Error> {
    if let Some(parts) = parts_around(dir) {
        refuse(parts)?;
        refuse(dir)?;
    }
    for name in Table::ALL.map(Table::name) {
        refuse(&dir.join(name))?;
    }
    for name in [SOURCES, SPLITS] {
        refuse(&dir.join(name))?;
    }
    // What lies in a part is refused when that part is locked.
    refuse_in(&dir.join(PARTS), &|_| false)?;
    for name in WITH_FOLDERS {
        refuse_in(&dir.join(name), &has_folders)?;
    }
    Ok(())
}

/// True if a folder may have folders in it, as those of tables have not. A label set may have the name of one.
fn has_folders(folder: &Path) -> bool {
    let name = folder.file_name().unwrap_or_default();
    let is_table = Table::ALL.iter().any(|table| name == table.name());
    let is_label_set = folder.parent().is_some_and(|of| of.ends_with(LABELS));
    is_label_set || !is_table && name != SOURCES && name != SPLITS
}

/// Refuses a folder if it, or an entry of it, is a link, and likewise all folders in it that are to be entered.
fn refuse_in(folder: &Path, is_entered: &dyn Fn(&Path) -> bool) -> Result<(), Error> {
    refuse(folder)?;
    if !folder.is_dir() {
        return Ok(());
    }
    let error = |error| io_error(folder, "list")(error);
    for entry in fs::read_dir(folder).map_err(error)? {
        let entry = entry.map_err(error)?;
        let (path, kind) = (entry.path(), entry.file_type().map_err(error)?);
        if kind.is_symlink() {
            return Err(Error::Link { path });
        }
        if kind.is_dir() && is_entered(&path) {
            refuse_in(&path, is_entered)?;
        }
    }
    Ok(())
}

fn refuse(path: &Path) -> Result<(), Error> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_symlink() => Err(Error::Link { path: path.into() }),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error(path, "read")(error)),
        _ => Ok(()),
    }
}
