//! Parquet files that are no tables: named splits, label sets and sources. Each is written in one step and
//! has checksums.

use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use common::files::sync_dir;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use crate::checksums::{Checksums, Summing};
use crate::error::io_error;
use crate::folder::checksums_of;
use crate::read::check_place;
use crate::table_reader::ParquetFile;
use crate::{Error, is_in_bucket, store};

/// The file `FOLDER/FILE` of a cache.
pub(crate) fn path_of(dir: &Path, folder: &str, file: &str) -> PathBuf {
    dir.join(folder).join(file)
}

/// Writes, or replaces in one step, the file `FOLDER/FILE` of the cache `dir`, and its checksums.
pub(crate) fn write(
    dir: &Path,
    (folder, file): (&str, &str),
    rows: &RecordBatch,
    pairs: Vec<KeyValue>,
) -> Result<(), Error> {
    let path = path_of(dir, folder, file);
    let bytes = encode(rows, pairs).map_err(|source| Error::Parquet {
        path: path.clone(),
        source,
    })?;
    let mut summing = Summing::default();
    summing.update(&bytes);
    let sums = checksums_of(dir, folder, file);
    // A stop between these steps leaves a file without checksums, never one with those of another.
    store::delete(std::slice::from_ref(&sums)).map_err(io_error(&sums, "delete"))?;
    store::write(&path, &bytes).map_err(io_error(&path, "write"))?;
    let written = summing.finish().write(&sums);
    written.map_err(io_error(&sums, "write"))?;
    if is_in_bucket(dir) {
        return Ok(());
    }
    sync_dir(dir).map_err(io_error(dir, "sync"))
}

/// The file `FOLDER/FILE` of the cache `dir`, with its checksums if it has any.
pub(crate) fn open(dir: &Path, folder: &str, file: &str) -> Result<ParquetFile, Error> {
    let path = path_of(dir, folder, file);
    check_place(dir, &path, || "a file in the cache's folder".into())?;
    let sums = checksums_of(dir, folder, file);
    let checksums = if store::is_file(&sums) {
        let length = store::stat(&path).map_err(io_error(&path, "read"))?.bytes;
        Some(Checksums::read(&sums, length)?)
    } else {
        None
    };
    Ok(ParquetFile {
        path: path.into(),
        checksums,
        bytes: None,
    })
}

fn encode(rows: &RecordBatch, pairs: Vec<KeyValue>) -> Result<Vec<u8>, ParquetError> {
    let properties = WriterProperties::builder()
        .set_created_by("slicebank".into())
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_key_value_metadata(Some(pairs))
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), rows.schema(), Some(properties))?;
    writer.write(rows)?;
    writer.into_inner()
}
