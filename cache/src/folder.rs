//! Names of the files in a cache's folder.

use std::path::{Path, PathBuf};

/// The file of the checksums of a table's file.
pub(crate) fn checksums_of(dir: &Path, table: &str, file: &str) -> PathBuf {
    let name = Path::new(file).with_extension("crc32");
    dir.join("checksums").join(table).join(name)
}

/// The folder of rows that were saved since the last finished shard. It is laid out like a cache.
pub(crate) fn pending(dir: &Path) -> PathBuf {
    dir.join("pending")
}

/// The folder of shards that are computed again.
pub(crate) fn repair(dir: &Path) -> PathBuf {
    dir.join("repair")
}

pub(crate) fn shard_file(index: usize) -> String {
    format!("{index:05}.parquet")
}
