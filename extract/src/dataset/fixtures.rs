//! Folders of tiny files for tests.

use std::fs;
use std::path::Path;

/// A folder of files, each with its content.
pub(super) fn folder<T: AsRef<[u8]>>(files: &[(&str, T)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (name, content) in files {
        write(root.path(), name, content);
    }
    root
}

/// The same, where only names count.
pub(super) fn empty(files: &[&str]) -> tempfile::TempDir {
    let files: Vec<_> = files.iter().map(|name| (*name, "x")).collect();
    folder(&files)
}

/// Writes a file, and creates its folders.
pub(super) fn write(root: &Path, name: &str, content: impl AsRef<[u8]>) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}
