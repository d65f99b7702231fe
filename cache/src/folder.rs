//! Names of the files in a cache's folder.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// Folder of the records of source files.
pub(crate) const SOURCES: &str = "sources";

/// Folder of named splits.
pub(crate) const SPLITS: &str = "splits";

/// Folder of label sets.
pub(crate) const LABELS: &str = "labels";

/// Folder in a finished cache with the unfinished one that has all tables.
pub(crate) const EXTENSION: &str = "extension";

/// Folder of the checksums of all files.
pub(crate) const CHECKSUMS: &str = "checksums";

/// Folder of shards that are computed again.
pub(crate) const REPAIR: &str = "repair";

/// Folder of the parts of a cache.
pub(crate) const PARTS: &str = "parts";

/// The folder `parts` in which `dir` is the folder of a part; `None` if it is none.
pub(crate) fn parts_around(dir: &Path) -> Option<&Path> {
    let folder = dir.parent()?;
    let is_part = folder.file_name() == Some(OsStr::new(PARTS)) && part_numbers(dir).is_some();
    is_part.then_some(folder)
}

/// The number of a part and the number of parts, by the name of its folder.
pub(crate) fn part_numbers(dir: &Path) -> Option<(u32, u32)> {
    let name = dir.file_name()?.to_str()?;
    let (index, of) = name.split_once("-of-")?;
    let (index, of) = (index.parse().ok()?, of.parse().ok()?);
    (format!("{index}-of-{of}") == name).then_some((index, of))
}

/// The file of the checksums of a table's file.
pub(crate) fn checksums_of(dir: &Path, table: &str, file: &str) -> PathBuf {
    let name = Path::new(file).with_extension("crc32");
    dir.join(CHECKSUMS).join(table).join(name)
}

/// The folder of rows that were saved since the last finished shard. It is laid out like a cache.
pub(crate) fn pending(dir: &Path) -> PathBuf {
    dir.join("pending")
}

/// The folder of shards that are computed again.
pub(crate) fn repair(dir: &Path) -> PathBuf {
    dir.join(REPAIR)
}

pub(crate) fn shard_file(index: usize) -> String {
    format!("{index:05}.parquet")
}
