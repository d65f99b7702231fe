//! Names of the files in a cache's folder, and its lock.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use crate::Error;
use crate::error::io_error;

/// Locks a cache for writing until the file is dropped.
pub(crate) fn lock(dir: &Path) -> Result<File, Error> {
    let path = dir.join(".lock");
    let file = File::create(&path).map_err(io_error(&path, "create"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(Error::Locked { path: dir.into() }),
        Err(fs::TryLockError::Error(e)) => Err(io_error(&path, "lock")(e)),
    }
}

/// The file of the checksums of a table's file.
pub(crate) fn checksums_of(dir: &Path, table: &str, file: &str) -> PathBuf {
    let name = Path::new(file).with_extension("crc32");
    dir.join("checksums").join(table).join(name)
}

pub(crate) fn shard_file(index: usize) -> String {
    format!("{index:05}.parquet")
}
