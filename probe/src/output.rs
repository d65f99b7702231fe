//! Files that appear under their names only when they are whole.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Writes a file, whole or not at all, and syncs it to disk; makes its folder.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let partial = path.with_extension(format!("partial-{}", std::process::id()));
    let written = File::create(&partial).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&partial, path)
    });
    if written.is_err() {
        // Of two errors the first one tells.
        let _ = fs::remove_file(&partial);
    }
    written
}
