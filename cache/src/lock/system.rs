//! File systems: their locks, and disks that are full.

use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Returns whether the file system has no locks.
pub(super) fn is_without_locks(error: &io::Error) -> bool {
    /// `ENOLCK` of Linux: no lock service answers.
    const NO_LOCKS: i32 = 37;
    error.kind() == io::ErrorKind::Unsupported || error.raw_os_error() == Some(NO_LOCKS)
}

/// Returns whether a disk or a quota is full.
pub(super) fn is_without_room(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    [FileTooLarge, QuotaExceeded, StorageFull].contains(&error.kind())
}

/// Returns whether `path` still leads to the open file.
#[cfg(unix)]
pub(super) fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let found = (file.metadata().ok()).zip(fs::symlink_metadata(path).ok());
    found.is_some_and(|(a, b)| (a.dev(), a.ino()) == (b.dev(), b.ino()))
}

/// An open file cannot be deleted.
#[cfg(not(unix))]
pub(super) fn is_at(_: &File, _: &Path) -> bool {
    true
}
