//! Tables of a cache as Polars frames.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use half::f16;
use polars::prelude::{Column, DataFrame, ParquetReader, SerReader};

/// A table of the cache, `slices` or `cls` for instance: its shards, one below the other.
pub(crate) fn read(cache: &Path, table: &str) -> anyhow::Result<DataFrame> {
    let files = fs::read_dir(cache.join(table))?.map(|entry| Ok(entry?.path()));
    let mut files: Vec<PathBuf> = files.collect::<std::io::Result<_>>()?;
    files.sort();
    let mut frame = DataFrame::empty();
    for file in files {
        let shard = ParquetReader::new(File::open(file)?).finish()?;
        frame = if frame.width() == 0 {
            shard
        } else {
            frame.vstack(&shard)?
        };
    }
    Ok(frame)
}

/// The vectors in a column of tokens, `[N][D]`; half floats in the file, little-endian.
#[allow(dead_code, reason = "not every example reads tokens")]
pub(crate) fn vectors(column: &Column) -> anyhow::Result<Vec<Vec<f32>>> {
    let rows = column.binary()?.iter().map(Option::unwrap_or_default);
    let vector = |bytes: &[u8]| {
        let halves = bytes.as_chunks::<2>().0.iter();
        halves
            .map(|half| f16::from_le_bytes(*half).to_f32())
            .collect()
    };
    Ok(rows.map(vector).collect())
}
