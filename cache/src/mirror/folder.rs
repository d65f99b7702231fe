//! The local folder in which a cache of a bucket grows.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use common::files::open_regular;
use common::text::shown;

use crate::error::io_error;
use crate::links::refuse_links;
use crate::{Error, is_in_bucket};

/// Locks the local folder.
pub(crate) fn lock(from: &Path) -> Result<File, Error> {
    if is_in_bucket(from) {
        let text = "a folder of the local file system is needed";
        let error = io::Error::new(io::ErrorKind::InvalidInput, text);
        return Err(io_error(from, "write shards to")(error));
    }
    refuse_links(from)?;
    fs::create_dir_all(from).map_err(io_error(from, "create the folder"))?;
    let path = from.join(".upload");
    let options = &mut File::options();
    let file = open_regular(&path, options.write(true).create(true).truncate(true));
    let file = file.map_err(io_error(&path, "create"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Locked {
            path: from.into(),
            holder: None,
        }),
        Err(TryLockError::Error(error)) => Err(io_error(&path, "lock")(error)),
    }
}

/// Files of a cache, relative to its folder, without `meta.json`, what is hidden, not whole or pending.
pub(super) fn files(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let path = dir.join(&folder);
        for entry in fs::read_dir(&path).map_err(io_error(&path, "list"))? {
            let entry = entry.map_err(io_error(&path, "list"))?;
            let name = folder.join(entry.file_name());
            let text = shown(&name).to_string();
            let is_left_out = entry.file_name().to_string_lossy().starts_with('.')
                || text.ends_with(".part")
                || ["meta.json", "pending", "parts"].contains(&&*text);
            if is_left_out {
                continue;
            }
            if dir.join(&name).is_dir() {
                folders.push(name);
            } else {
                found.push(name);
            }
        }
    }
    found.sort();
    Ok(found)
}
