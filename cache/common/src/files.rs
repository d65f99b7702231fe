//! Files that appear under their names only when they are complete.
//!
//! A file is written beside its target as `.slicebank-PID-NAME`, locked, synced and renamed. Such a
//! file without a lock was left by a process that was killed; the next process that writes into the
//! folder removes it.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

const PREFIX: &str = ".slicebank-";

/// Folders whose abandoned files this process has removed.
static TIDY: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Writes a file completely or not at all, and syncs it to disk; creates its folder.
///
/// # Errors
///
/// If the file cannot be written; a file that was there before stays as it was.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let partial = Partial::create(path)?;
    fs::write(partial.path(), bytes)?;
    partial.persist()
}

/// The paths in a folder, sorted; none if the folder cannot be read.
pub fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// Renames a finished file and syncs both the file and its folder to disk.
///
/// # Errors
///
/// If the file cannot be synced or renamed.
pub fn persist(from: &Path, to: &Path) -> io::Result<()> {
    File::open(from)?.sync_all()?;
    fs::rename(from, to)?;
    sync_dir(folder_of(to))
}

/// Opens a regular file as `options` say, but follows no link and waits for no other end of a pipe.
///
/// # Errors
///
/// If the path is a link or no regular file, or cannot be opened.
pub fn open_regular(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    if fs::symlink_metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(no_file());
    }
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        use std::os::unix::fs::OpenOptionsExt;
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        options.custom_flags(flags.bits() as i32);
    }
    let file = options.open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(no_file())
    }
}

fn no_file() -> io::Error {
    let text = "it is a link, a pipe or a folder, expected a file";
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

/// Syncs a folder, so that renames and new files in it survive a power cut.
///
/// # Errors
///
/// If the folder cannot be opened or synced.
pub fn sync_dir(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// A file in the making. Dropping it without [`Partial::persist`] removes it.
#[derive(Debug)]
pub struct Partial {
    target: PathBuf,
    path: PathBuf,
    _lock: File,
}

impl Partial {
    /// Creates the folder of `target` and an empty, locked file in it.
    ///
    /// # Errors
    ///
    /// If the folder or the file cannot be created.
    pub fn create(target: &Path) -> io::Result<Partial> {
        let folder = folder_of(target);
        fs::create_dir_all(folder)?;
        remove_abandoned(folder);
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let path = target.with_file_name(format!("{PREFIX}{}-{name}", std::process::id()));
        Ok(Partial {
            target: target.into(),
            _lock: locked(&path)?,
            path,
        })
    }

    /// Path to write to; its extension is that of the target.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Syncs the file and renames it to its target.
    ///
    /// # Errors
    ///
    /// If the file cannot be synced or renamed.
    pub fn persist(self) -> io::Result<()> {
        persist(&self.path, &self.target)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // After `persist` there is nothing left to remove.
        let _ = fs::remove_file(&self.path);
    }
}

/// Folder of a file; `.` if the path has none.
fn folder_of(path: &Path) -> &Path {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// Creates a file and locks it.
fn locked(path: &Path) -> io::Result<File> {
    loop {
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(true);
        let file = open_regular(path, options)?;
        match file.lock() {
            Err(error) if error.kind() != io::ErrorKind::Unsupported => return Err(error),
            // Another process may have removed it as abandoned before it was locked.
            _ if path.exists() => return Ok(file),
            _ => {}
        }
    }
}

/// Removes the files that killed processes left in a folder.
fn remove_abandoned(folder: &Path) {
    let mut tidy = TIDY.lock().unwrap_or_else(PoisonError::into_inner);
    if !tidy.insert(folder.into()) {
        return;
    }
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    for path in files
        .map(|file| file.path())
        .filter(|path| is_partial(path))
    {
        let file = open_regular(&path, OpenOptions::new().read(true));
        if file.is_ok_and(|file| file.try_lock().is_ok()) {
            // A file that cannot be removed does no harm.
            let _ = fs::remove_file(&path);
        }
    }
}

fn is_partial(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    target_of(&name).is_some()
}

/// The name of the target of the unfinished file `.slicebank-PID-NAME`; `None` for other files.
pub fn target_of(name: &str) -> Option<&str> {
    let (id, target) = name.strip_prefix(PREFIX)?.split_once('-')?;
    id.parse::<u32>().ok().map(|_| target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn links_and_pipes_are_neither_followed_nor_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("other"), "content").unwrap();
        let name = format!(".slicebank-{}-a", std::process::id());
        std::os::unix::fs::symlink(path("other"), path(&name)).unwrap();
        let pipe = std::process::Command::new("mkfifo")
            .arg(path(".slicebank-1-b"))
            .status();
        assert!(pipe.unwrap().success());
        let error = write_whole(&path("a"), b"new").unwrap_err();
        assert!(error.to_string().contains("a link"), "{error}");
        assert_eq!(fs::read(path("other")).unwrap(), b"content");
    }

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
    fn a_dropped_partial_file_leaves_the_file_that_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/a.txt");
        write_whole(&path, b"first").unwrap();
        let partial = Partial::create(&path).unwrap();
        fs::write(partial.path(), "second").unwrap();
        drop(partial);
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert_eq!(files(path.parent().unwrap()), ["a.txt"]);
    }
}
