//! The files of a label set that is being written, beside those of a finished set of the same name or, for a cache
//! in a bucket, in a local folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use common::files::sync_dir;

use super::{FOLDER, description_of, folder_of, is_table_folder, table_folder};
use crate::clean::is_unnamed;
use crate::error::io_error;
use crate::schema::Table;
use crate::store::{Bucket, Over, REQUESTS, Version, remove_empty};
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
    replaced: u32,
    tables: Vec<Table>,
    /// The description in a bucket that is replaced; `None` if there is none.
    version: Option<Version>,
}

impl NewSet {
    /// Creates the folders of tables, without what a stopped writer left in them. For a cache `to` in a bucket they
    /// are below `staging`. `replaced` is that of the new [`LabelSet`](super::LabelSet).
    pub(super) fn create(
        to: &Path,
        staging: &Path,
        (name, replaced): (&str, u32),
        tables: &[Table],
    ) -> Result<NewSet, Error> {
        let new = NewSet {
            dir: local_path(to, staging),
            staging: staging.into(),
            to: to.into(),
            name: name.into(),
            replaced,
            tables: tables.into(),
            version: version_of(&description_of(to, name))?,
        };
        for parent in parents(&new.dir) {
            delete(&parent.join(new.temporary()))?;
        }
        for &table in tables {
            let path = new.dir.join(new.folder(table));
            store::create_folder(&path).map_err(io_error(&path, "create the folder"))?;
        }
        Ok(new)
    }

    /// The folder that it is written to, laid out like that of the cache.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Folder of a table, relative to [`dir`](NewSet::dir).
    pub(super) fn folder(&self, table: Table) -> String {
        let folder = folder_of(&self.temporary());
        format!("{folder}/{}", table_folder(table, self.replaced))
    }

    /// File of the description.
    pub(super) fn description(&self) -> PathBuf {
        description_of(&self.dir, &self.temporary())
    }

    /// Makes all files those of the set. Tables get names that the old set does not have, and the description is
    /// replaced in one step, so that a stop leaves the old set or the new one. Then the old tables are deleted.
    ///
    /// # Errors
    ///
    /// [`Error::Raced`] if another process has replaced the description in a bucket, and [`Error::Io`].
    pub(super) fn take_place(&self) -> Result<(), Error> {
        if is_in_bucket(&self.to) {
            self.upload()?;
        } else {
            self.rename()?;
        }
        // What cannot be deleted is found by `extract gc`.
        let _ = self.delete_others(true);
        Ok(())
    }

    fn rename(&self) -> Result<(), Error> {
        for parent in parents(&self.dir) {
            let (new, set) = (parent.join(self.temporary()), parent.join(&self.name));
            fs::create_dir_all(&set).map_err(io_error(&set, "create the folder"))?;
            for folder in self.folders() {
                // A stopped writer may have left it.
                delete(&set.join(&folder))?;
                let to = set.join(&folder);
                fs::rename(new.join(&folder), &to).map_err(io_error(&to, "rename"))?;
            }
            sync_dir(&set).map_err(io_error(&set, "sync"))?;
        }
        let description = description_of(&self.to, &self.name);
        fs::rename(self.description(), &description).map_err(io_error(&description, "rename"))?;
        let folder = self.dir.join(folder_of(&self.name));
        sync_dir(&folder).map_err(io_error(&folder, "sync"))
    }

    /// Uploads the tables, and then the description if it is as it was. Until then, a copy of it in the folder of the
    /// new set tells that the tables are those of an unfinished set.
    fn upload(&self) -> Result<(), Error> {
        self.delete_others(false)?;
        let unfinished = description_of(&self.to, &self.temporary());
        let text = self.text()?;
        store::write(&unfinished, &text).map_err(io_error(&unfinished, "write"))?;
        let mut files = Vec::new();
        for (here, there) in parents(&self.dir).into_iter().zip(parents(&self.to)) {
            let (new, set) = (here.join(self.temporary()), there.join(&self.name));
            for file in store::below(&new).map_err(io_error(&new, "list"))? {
                let to = set.join(file.strip_prefix(&new).unwrap_or(&file));
                if file != self.description() {
                    files.push((file, to));
                }
            }
        }
        parallel::map(REQUESTS, files.len(), |index| {
            let (file, to) = &files[index];
            store::upload(file, to, &self.temporary()).map_err(io_error(to, "write"))
        })?;
        self.put_description(text)?;
        // What cannot be deleted is found by `extract gc`.
        let _ = store::delete(&[unfinished]);
        Ok(())
    }

    /// The description as it was written.
    fn text(&self) -> Result<Vec<u8>, Error> {
        let file = self.description();
        fs::read(&file).map_err(io_error(&file, "read"))
    }

    fn put_description(&self, text: Vec<u8>) -> Result<(), Error> {
        let to = description_of(&self.to, &self.name);
        let Some(bucket) = Bucket::of(&to).map_err(io_error(&to, "write"))? else {
            return Ok(());
        };
        let over = self.version.as_ref().map_or(Over::Nothing, Over::Version);
        match bucket.put(text.clone(), over) {
            Ok(_) => Ok(()),
            // The answer to an earlier attempt may have been lost.
            Err(_) if bucket.read().is_ok_and(|(found, _)| found == text) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(Error::Raced {
                path: self.to.clone(),
            }),
            Err(error) => Err(io_error(&to, "write")(error)),
        }
    }

    /// Deletes the files of tables of this name: those of other sets, or those in the places of this one.
    fn delete_others(&self, are_others: bool) -> Result<(), Error> {
        for parent in parents(&self.to) {
            let set = parent.join(&self.name);
            let mut files = store::below(&set).map_err(io_error(&set, "list"))?;
            files.retain(|file| {
                let mut names = file.strip_prefix(&set).unwrap_or(file).iter();
                let folder = names.next().and_then(|name| name.to_str());
                let is_other = |folder: &str| self.folders().all(|own| own != folder) == are_others;
                folder.is_some_and(|folder| is_table_folder(folder) && is_other(folder))
                    && names.count() == 1
                    && is_unnamed(file, 0)
            });
            store::delete(&files).map_err(io_error(&set, "delete files in"))?;
            if !is_in_bucket(&set) {
                remove_empty(&set);
            }
        }
        Ok(())
    }

    /// The folders of tables in that of the set.
    fn folders(&self) -> impl Iterator<Item = String> {
        let tables = self.tables.iter();
        tables.map(|&table| table_folder(table, self.replaced))
    }

    fn temporary(&self) -> String {
        temporary(&self.name)
    }
}

/// Folders of sets in a cache: of their files and of the checksums.
fn parents(dir: &Path) -> [PathBuf; 2] {
    [dir.join(FOLDER), dir.join("checksums").join(FOLDER)]
}

/// Version of an object in a bucket.
fn version_of(path: &Path) -> Result<Option<Version>, Error> {
    let failed = |error| io_error(path, "read")(error);
    let Some(bucket) = Bucket::of(path).map_err(failed)? else {
        return Ok(None);
    };
    match bucket.read() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => Ok(Some(read.map_err(failed)?.1)),
    }
}

impl Drop for NewSet {
    fn drop(&mut self) {
        for parent in parents(&self.dir) {
            // What cannot be deleted now is deleted by the next writer of the name.
            let _ = fs::remove_dir_all(parent.join(self.temporary()));
            let is_last = |folder: &&Path| **folder != *self.dir && **folder != *self.staging;
            let mut folders = parent.ancestors().take_while(is_last);
            // Those with other files in them stay.
            folders.all(|folder| fs::remove_dir(folder).is_ok());
        }
        if is_in_bucket(&self.to) {
            let folders = self.dir.ancestors();
            let mut folders = folders.take_while(|folder| **folder != *self.staging);
            folders.all(|folder| fs::remove_dir(folder).is_ok());
        }
    }
}

/// Name of the folder in which a set is written.
pub(crate) fn temporary(name: &str) -> String {
    format!("{PREFIX}{name}")
}

/// True if the folder of a set is that of one that is being written.
pub(crate) fn is_new(name: &str) -> bool {
    name.starts_with(PREFIX)
}

fn delete(folder: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(io_error(folder, "delete")(error))
        }
        _ => Ok(()),
    }
}
