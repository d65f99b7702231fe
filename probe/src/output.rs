//! Files that appear under their names only when they are whole.
//!
//! A file is written beside its place as `.slicebank-PID-NAME`, locked, and renamed. A file so named
//! that nobody has locked was left by a process that was killed: it is removed when the next one
//! writes into the folder.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::error::Cause;

const PREFIX: &str = ".slicebank-";

/// Folders that have been tidied.
static TIDY: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Writes a file, whole or not at all, and syncs it to disk; makes its folder.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Cause> {
    whole(path, |partial| Ok(fs::write(partial, bytes)?))
}

/// The same of a file that `write` writes under another name in the same folder, with the same
/// extension.
pub(crate) fn whole(
    path: &Path,
    write: impl FnOnce(&Path) -> Result<(), Cause>,
) -> Result<(), Cause> {
    let folder = path.parent().unwrap_or(Path::new(""));
    fs::create_dir_all(folder)?;
    tidy(folder);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let partial = path.with_file_name(format!("{PREFIX}{}-{name}", std::process::id()));
    let _lock = locked(&partial)?;
    let written = write(&partial)
        .and_then(|()| Ok(File::open(&partial)?.sync_all()?))
        .and_then(|()| Ok(fs::rename(&partial, path)?));
    if written.is_err() {
        // Of two errors the first one tells.
        let _ = fs::remove_file(&partial);
    }
    written
}

/// Makes a file and locks it.
fn locked(path: &Path) -> io::Result<File> {
    loop {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)?;
        match file.lock() {
            Err(error) if error.kind() != io::ErrorKind::Unsupported => return Err(error),
            // Another process may have taken it for a left one before it was locked.
            _ if path.exists() => return Ok(file),
            _ => {}
        }
    }
}

/// Removes what killed processes have left in a folder.
fn tidy(folder: &Path) {
    let mut tidy = TIDY.lock().unwrap_or_else(PoisonError::into_inner);
    if !tidy.insert(folder.into()) {
        return;
    }
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    for path in files
        .map(|file| file.path())
        .filter(|path| is_partial(path))
    {
        if File::open(&path).is_ok_and(|file| file.try_lock().is_ok()) {
            // What cannot be removed does no harm.
            let _ = fs::remove_file(&path);
        }
    }
}

fn is_partial(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let rest = name
        .strip_prefix(PREFIX)
        .and_then(|rest| rest.split_once('-'));
    rest.is_some_and(|(id, _)| id.parse::<u32>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(folder: &Path) -> Vec<String> {
        let files = fs::read_dir(folder).unwrap();
        let mut files: Vec<_> = files
            .map(|file| file.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        files.sort();
        files
    }

    #[test]
    fn what_a_killed_process_left_is_removed_and_what_another_writes_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in [
            ".slicebank-1-a.png",
            ".slicebank-x-a.png",
            "partial-1-a.png",
        ] {
            fs::write(path(name), "begun").unwrap();
        }
        let _other = locked(&path(".slicebank-2-b.png")).unwrap();
        write_whole(&path("c.png"), b"whole").unwrap();
        let expected = [
            ".slicebank-2-b.png",
            ".slicebank-x-a.png",
            "c.png",
            "partial-1-a.png",
        ];
        assert_eq!(files(folder.path()), expected);
    }

    #[test]
    fn what_fails_leaves_the_file_that_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/a.txt");
        write_whole(&path, b"first").unwrap();
        let failed = whole(&path, |partial| {
            fs::write(partial, "second")?;
            Err("no".into())
        });
        assert_eq!(failed.unwrap_err().to_string(), "no");
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert_eq!(files(path.parent().unwrap()), ["a.txt"]);
    }
}
