//! The folder of an export, which appears when it is finished.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use common::files::sync_dir;
use common::text::shown;

use crate::Error;

/// File that marks the folder of an export.
const MARK: &str = "slicebank.json";

/// A folder in the making. Dropping it without [`finish`](Folder::finish) removes it.
pub(super) struct Folder {
    to: PathBuf,
    partial: PathBuf,
}

impl Folder {
    /// Creates a folder beside `to`. What a killed export left there is removed.
    ///
    /// # Errors
    ///
    /// [`Error::Options`] if `to` holds anything but an export that may be replaced, and [`Error::File`].
    pub(super) fn create(to: &Path, force: bool) -> Result<Folder, Error> {
        refuse(to, force)?;
        let partial = beside(to, "part")?;
        let folder = Folder {
            to: to.to_path_buf(),
            partial,
        };
        let path = &folder.partial;
        remove(path).map_err(Error::io(path))?;
        fs::create_dir_all(path).map_err(Error::io(path))?;
        Ok(folder)
    }

    /// The folder to write to.
    pub(super) fn path(&self) -> &Path {
        &self.partial
    }

    /// Writes a small file.
    pub(super) fn write(&self, name: &str, content: &[u8]) -> Result<(), Error> {
        let path = self.partial.join(name);
        fs::write(&path, content).map_err(Error::io(&path))
    }

    /// Syncs the files and gives the folder its name.
    ///
    /// # Errors
    ///
    /// [`Error::File`].
    pub(super) fn finish(self) -> Result<(), Error> {
        let (from, to) = (&self.partial, &self.to);
        sync(from).map_err(Error::io(from))?;
        let old = beside(to, "old")?;
        let is_replaced = to.join(MARK).is_file();
        if is_replaced {
            remove(&old).map_err(Error::io(&old))?;
            fs::rename(to, &old).map_err(Error::io(to))?;
        } else if to.is_dir() {
            fs::remove_dir(to).map_err(Error::io(to))?;
        }
        fs::rename(from, to).map_err(Error::io(to))?;
        if is_replaced {
            remove(&old).map_err(Error::io(&old))?;
        }
        let parent = to.parent().filter(|folder| !folder.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        sync_dir(parent).map_err(Error::io(parent))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // After `finish` there is nothing left to remove.
        let _ = remove(&self.partial);
    }
}

/// Refuses a folder with content, but for an export that may be replaced.
fn refuse(to: &Path, force: bool) -> Result<(), Error> {
    let is_empty = match to.read_dir() {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        Err(error) => return Err(Error::io(to)(error)),
    };
    let is_export = to.join(MARK).is_file();
    if is_empty || is_export && force {
        return Ok(());
    }
    Err(Error::Options {
        found: format!("`{}`: there are files already", shown(to)),
        hint: if is_export {
            "give another --out, or replace this export with --force"
        } else {
            "give another --out; only a folder that an export made is replaced"
        }
        .to_owned(),
    })
}

/// The hidden folder `.NAME.ENDING` beside `to`.
fn beside(to: &Path, ending: &str) -> Result<PathBuf, Error> {
    let name = to.file_name().ok_or_else(|| Error::Options {
        found: format!("`{}` is not a folder that can be made", shown(to)),
        hint: "give a folder with a name of its own as --out".to_owned(),
    })?;
    Ok(to.with_file_name(format!(".{}.{ending}", name.to_string_lossy())))
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Syncs all files below a folder.
fn sync(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            sync(&path)?;
        } else {
            fs::File::open(&path)?.sync_all()?;
        }
    }
    sync_dir(folder)
}
