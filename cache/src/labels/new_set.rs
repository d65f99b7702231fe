//! The files of a label set that is being written, beside those of a finished set of the same name or, for a cache
//! in a bucket, in a local folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use common::files::sync_dir;

use super::{FOLDER, description_of, folder_of};
use crate::error::io_error;
use crate::schema::Table;
use crate::store::REQUESTS;
use crate::{Error, is_in_bucket, local_path, parallel, store};

/// Start of the folder's name; no set has such a name.
const PREFIX: &str = ".new-";

/// The folder `labels/.new-NAME` and its checksums. Dropping it deletes both.
pub(super) struct NewSet {
    /// Folder of the cache.
    to: PathBuf,
    /// The same, or a local one below `staging` for a cache in a bucket.
    dir: PathBuf,
    staging: PathBuf,
    name: String,
}

impl NewSet {
    /// Creates the folders of tables, without what a stopped writer left in them. For a cache `to` in a bucket they
    /// are below `staging`.
    pub(super) fn create(
        to: &Path,
        staging: &Path,
        name: &str,
        tables: &[Table],
    ) -> Result<NewSet, Error> {
        let new = NewSet {
            dir: local_path(to, staging),
            staging: staging.into(),
            to: to.into(),
            name: name.into(),
        };
        for parent in parents(&new.dir) {
            delete(&parent.join(new.temporary()))?;
        }
        for &table in tables {
            let path = new.dir.join(new.folder(table));
            fs::create_dir_all(&path).map_err(io_error(&path, "create the folder"))?;
        }
        Ok(new)
    }

    /// The folder that it is written to, laid out like that of the cache.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Folder of a table, relative to [`dir`](NewSet::dir).
    pub(super) fn folder(&self, table: Table) -> String {
        format!("{}/{}", folder_of(&self.temporary()), table.name())
    }

    /// File of the description.
    pub(super) fn description(&self) -> PathBuf {
        description_of(&self.dir, &self.temporary())
    }

    /// Makes all files those of the set. The old description is deleted before the first table is replaced, and the
    /// new one comes last, so that no reader finds a set that is mixed.
    pub(super) fn take_place(&self) -> Result<(), Error> {
        let description = description_of(&self.to, &self.name);
        let old = std::slice::from_ref(&description);
        store::delete(old).map_err(io_error(&description, "delete"))?;
        if is_in_bucket(&self.to) {
            return self.upload(&description);
        }
        for parent in parents(&self.dir) {
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

    /// Uploads the tables and the description to a bucket.
    fn upload(&self, description: &Path) -> Result<(), Error> {
        let mut files = Vec::new();
        for (here, there) in parents(&self.dir).into_iter().zip(parents(&self.to)) {
            let (new, set) = (here.join(self.temporary()), there.join(&self.name));
            store::delete_all(&set).map_err(io_error(&set, "delete"))?;
            for file in store::below(&new).map_err(io_error(&new, "list"))? {
                let name = file.strip_prefix(&new).unwrap_or(&file).to_path_buf();
                let to = set.join(name);
                if to != description {
                    files.push((file, to));
                }
            }
        }
        let last = (self.description(), description.to_path_buf());
        let upload = |(file, to): &(PathBuf, PathBuf)| {
            let uploaded = store::upload(file, to, &self.temporary());
            uploaded.map_err(io_error(to, "write"))
        };
        parallel::map(REQUESTS, files.len(), |index| upload(&files[index]))?;
        upload(&last)
    }

    fn temporary(&self) -> String {
        format!("{PREFIX}{}", self.name)
    }
}

/// Folders of sets in a cache: of their files and of the checksums.
fn parents(dir: &Path) -> [PathBuf; 2] {
    [dir.join(FOLDER), dir.join("checksums").join(FOLDER)]
}

impl Drop for NewSet {
    fn drop(&mut self) {
        for parent in parents(&self.dir) {
            // What cannot be deleted now is deleted by the next writer of the name.
            let _ = fs::remove_dir_all(parent.join(self.temporary()));
            if is_in_bucket(&self.to) {
                // Those with other files in them stay.
                let folders = parent.ancestors();
                let mut folders = folders.take_while(|folder| *folder != self.staging);
                folders.all(|folder| fs::remove_dir(folder).is_ok());
            }
        }
    }
}

/// True if the folder of a set is that of one that is being written.
pub(crate) fn is_new(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// Folder in that of the new set for a table that it replaces.
fn replaced(table: Table) -> String {
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
