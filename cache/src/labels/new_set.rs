//! The files of a label set that is being written, beside those of a finished set of the same name.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use common::files::sync_dir;

use super::{FOLDER, description_of, folder_of};
use crate::Error;
use crate::error::io_error;
use crate::schema::Table;

/// Start of the folder's name; no set has such a name.
const PREFIX: &str = ".new-";

/// The folder `labels/.new-NAME` and its checksums. Dropping it deletes both.
pub(super) struct NewSet {
    dir: PathBuf,
    name: String,
}

impl NewSet {
    /// Creates the folders of tables, without what a stopped writer left in them.
    pub(super) fn create(dir: &Path, name: &str, tables: &[Table]) -> Result<NewSet, Error> {
        let new = NewSet {
            dir: dir.into(),
            name: name.into(),
        };
        for parent in new.parents() {
            delete(&parent.join(new.temporary()))?;
        }
        for &table in tables {
            let path = dir.join(new.folder(table));
            fs::create_dir_all(&path).map_err(io_error(&path, "create the folder"))?;
        }
        Ok(new)
    }

    /// Folder of a table, relative to that of the cache.
    pub(super) fn folder(&self, table: Table) -> String {
        format!("{}/{}", folder_of(&self.temporary()), table.name())
    }

    /// File of the description.
    pub(super) fn description(&self) -> PathBuf {
        description_of(&self.dir, &self.temporary())
    }

    /// Renames all files to those of the set. The old description is deleted before the first table is renamed,
    /// and the new one is renamed last, so that no reader finds a set that is mixed.
    pub(super) fn take_place(&self) -> Result<(), Error> {
        let description = description_of(&self.dir, &self.name);
        match fs::remove_file(&description) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_error(&description, "delete")(error));
            }
            _ => {}
        }
        for parent in self.parents() {
            let (new, set) = (parent.join(self.temporary()), parent.join(&self.name));
            fs::create_dir_all(&set).map_err(io_error(&set, "create the folder"))?;
            for table in Table::ALL {
                let place = set.join(table.name());
                rename(&place, &new.join(replaced(table)))?;
                rename(&new.join(table.name()), &place)?;
            }
            sync_dir(&set).map_err(io_error(&set, "sync"))?;
        }
        rename(&self.description(), &description)?;
        let folder = self.dir.join(folder_of(&self.name));
        sync_dir(&folder).map_err(io_error(&folder, "sync"))
    }

    fn temporary(&self) -> String {
        format!("{PREFIX}{}", self.name)
    }

    /// Folders of sets: of their files and of the checksums.
    fn parents(&self) -> [PathBuf; 2] {
        let sums = self.dir.join("checksums");
        [self.dir.join(FOLDER), sums.join(FOLDER)]
    }
}

impl Drop for NewSet {
    fn drop(&mut self) {
        for parent in self.parents() {
            // What cannot be deleted now is deleted by the next writer of the name.
            let _ = fs::remove_dir_all(parent.join(self.temporary()));
        }
    }
}

/// Whether a folder of sets is that of a set that is being written.
pub(super) fn is_new(folder: &Path) -> bool {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with(PREFIX)
}

/// Folder in that of the new set for a table that it replaces.
pub(super) fn replaced(table: Table) -> String {
    format!("old-{}", table.name())
}

fn delete(folder: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(io_error(folder, "delete")(error))
        }
        _ => Ok(()),
    }
}

/// Renames a file or folder, if it is there.
fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    match fs::rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error(to, "rename")(error)),
        _ => Ok(()),
    }
}
