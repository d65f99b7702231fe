//! Reader of one table of a shard. All offsets and sizes in the file are checked against its length before
//! anything is allocated or read by them.

use std::any::Any;
use std::io;
use std::iter;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::RecordBatch;
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, KeyValue, ParquetMetaData};
use parquet::file::reader::{ChunkReader, Length};

use crate::checked_file::CheckedFile;
use crate::checksums::Checksums;
use crate::error::{io_error, parquet_error};
use crate::footer;
use crate::header_reader::{HEADER_BYTES, HeaderReader};
use crate::page_header::{PageHeader, PageLimits};
use crate::rows::NAME_BYTES;
use crate::store::Spool;
use crate::{Error, store};

/// Number of rows that are decoded at once, and greatest size of a column of them in bytes.
const BATCH_ROWS: usize = 64;
const BATCH_BYTES: usize = 64 << 20;

/// Greatest size of the header of a page.
const MOST_HEADER_BYTES: u64 = 64 << 10;

/// A reader of rows whose values take at most `value_bytes` each.
pub(crate) type RowsBuilder = ParquetRecordBatchReaderBuilder<Source>;

/// A Parquet file with its checksums, if it has any.
#[derive(Clone, Debug)]
pub(crate) struct ParquetFile {
    pub(crate) path: Arc<Path>,
    pub(crate) checksums: Option<Arc<Checksums>>,
    /// Its size, if a description says it.
    pub(crate) bytes: Option<u64>,
}

impl ParquetFile {
    /// A file without checksums.
    pub(crate) fn bare(path: &Path) -> ParquetFile {
        ParquetFile {
            path: path.into(),
            checksums: None,
            bytes: None,
        }
    }

    fn open(&self) -> Result<CheckedFile, Error> {
        CheckedFile::open(&self.path, self.checksums.clone(), self.bytes)
    }

    /// Metadata of the file, after a check that every column is within the file.
    pub(crate) fn metadata(&self) -> Result<ArrowReaderMetadata, Error> {
        self.metadata_in(&self.open()?)
    }

    fn metadata_in(&self, file: &CheckedFile) -> Result<ArrowReaderMetadata, Error> {
        contained(&self.path, || {
            let metadata = footer::read(file.len(), |start, bytes| file.read(start, bytes))?;
            check(metadata.metadata(), file.len())?;
            Ok(metadata)
        })
    }

    /// Rows of the file, whose values take at most `value_bytes` each.
    pub(crate) fn rows(&self, value_bytes: usize) -> Result<RowsBuilder, Error> {
        // What is read of the end of an object is often all of it.
        let file = Arc::new(self.open()?);
        let metadata = self.metadata_in(&file)?;
        let source = Source::of(file, &metadata, value_bytes, Arc::default());
        let rows = (BATCH_BYTES / value_bytes.max(1)).clamp(1, BATCH_ROWS);
        Ok(RowsBuilder::new_with_metadata(source, metadata).with_batch_size(rows))
    }
}

/// The batches of a reader; nothing comes after an error.
pub(crate) fn batches(
    path: &Path,
    builder: RowsBuilder,
) -> Result<impl Iterator<Item = Result<RecordBatch, Error>> + use<>, Error> {
    let mut reader = Some(contained(path, || builder.build())?);
    let path = path.to_path_buf();
    Ok(iter::from_fn(move || {
        let rows = reader.as_mut()?;
        let batch = contained(&path, || Ok(rows.next().transpose()?)).transpose();
        reader = reader.take().filter(|_| matches!(batch, Some(Ok(_))));
        batch
    }))
}

/// All rows of a table beside a cache, and the file's metadata, with the checks of a cache's tables. Different
/// rows take some bytes, so more than sixteen rows a byte are refused.
///
/// # Errors
///
/// [`Error::Io`] and [`Error::Parquet`] if it cannot be read.
pub fn read_table(path: &Path) -> Result<(RecordBatch, Vec<KeyValue>), Error> {
    read_whole(&ParquetFile::bare(path))
}

/// As [`read_table`], of a file that may have checksums.
pub(crate) fn read_whole(file: &ParquetFile) -> Result<(RecordBatch, Vec<KeyValue>), Error> {
    let path = &*file.path;
    let builder = file.rows(NAME_BYTES)?;
    let file = builder.metadata().file_metadata();
    let bytes = store::stat(path).map_err(io_error(path, "read"))?.bytes;
    let rows = file.num_rows() as u64;
    let pairs = file.key_value_metadata().cloned().unwrap_or_default();
    let schema = Arc::clone(builder.schema());
    if rows > bytes.saturating_mul(16) {
        return Err(Error::Parquet {
            path: path.into(),
            source: ParquetError::General(format!("{rows} rows in {bytes} bytes")),
        });
    }
    let batches = batches(path, builder)?.collect::<Result<Vec<_>, Error>>()?;
    let all = contained(path, || {
        Ok(arrow::compute::concat_batches(&schema, &batches)?)
    })?;
    Ok((all, pairs))
}

/// Runs a decoder over a file that may be damaged. The decoder's own checks are not complete: its panics
/// become errors here, so that a damaged file affects no other.
pub(crate) fn contained<T>(
    path: &Path,
    read: impl FnOnce() -> Result<T, ParquetError>,
) -> Result<T, Error> {
    let result = catch_unwind(AssertUnwindSafe(read));
    let result = result.unwrap_or_else(|panic| Err(ParquetError::General(message(&*panic))));
    result.map_err(parquet_error(path, "read"))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    format!("the decoder gave up: {}", text.unwrap_or("for no reason"))
}

/// Refuses numbers of rows that do not add up, and columns outside of the file.
fn check(metadata: &ParquetMetaData, length: u64) -> Result<(), ParquetError> {
    let mut sum: i64 = 0;
    for group in metadata.row_groups() {
        let rows = group.num_rows();
        if rows < 0 {
            return Err(ParquetError::General(format!("a row group of {rows} rows")));
        }
        sum = sum.saturating_add(rows);
        for column in group.columns() {
            if !lies_within(column, length) {
                return Err(ParquetError::General(format!(
                    "the column `{}` lies outside of the file's {length} bytes",
                    column.column_path().string()
                )));
            }
        }
    }
    let rows = metadata.file_metadata().num_rows();
    if sum == rows {
        Ok(())
    } else {
        Err(ParquetError::General(format!(
            "{rows} rows, but {sum} in row groups"
        )))
    }
}

fn lies_within(column: &ColumnChunkMetaData, length: u64) -> bool {
    let first = column.data_page_offset();
    let start = column.dictionary_page_offset().unwrap_or(first);
    let [start, first, bytes, values] =
        [start, first, column.compressed_size(), column.num_values()]
            .map(|number| u64::try_from(number).ok());
    let end = start
        .zip(bytes)
        .and_then(|(start, bytes)| start.checked_add(bytes));
    let is_in_order = start
        .zip(first)
        .is_some_and(|(start, first)| start <= first);
    values.is_some() && is_in_order && end.is_some_and(|end| end <= length)
}

/// A shard's file, read into reused buffers: fresh memory costs more than reading.
#[derive(Debug)]
pub(crate) struct Source {
    file: Arc<CheckedFile>,
    limits: PageLimits,
    buffers: Arc<Buffers>,
}

impl Source {
    pub(crate) fn open(
        of: &ParquetFile,
        metadata: &ArrowReaderMetadata,
        value_bytes: usize,
        buffers: Arc<Buffers>,
    ) -> Result<Source, Error> {
        let file = Arc::new(of.open()?);
        Ok(Source::of(file, metadata, value_bytes, buffers))
    }

    fn of(
        file: Arc<CheckedFile>,
        metadata: &ArrowReaderMetadata,
        value_bytes: usize,
        buffers: Arc<Buffers>,
    ) -> Source {
        Source {
            file,
            limits: PageLimits::new(metadata.metadata(), value_bytes),
            buffers,
        }
    }
}

impl Source {
    /// Fetches columns that are about to be read, if the file is an object, and keeps them in `spool`.
    pub(crate) fn fetch<'a>(
        &self,
        columns: impl Iterator<Item = &'a ColumnChunkMetaData>,
        spool: &Spool,
    ) -> io::Result<()> {
        let parts = columns.map(|column| {
            let (start, bytes) = column.byte_range();
            // The last header is looked for in more bytes than it has.
            start..start + bytes + HEADER_BYTES as u64
        });
        self.file.fetch(&parts.collect::<Vec<_>>(), spool)
    }
}

impl Length for Source {
    fn len(&self) -> u64 {
        self.file.len()
    }
}

impl ChunkReader for Source {
    type T = HeaderReader;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        let (file, limits) = (Arc::clone(&self.file), self.limits);
        let left = file.len().saturating_sub(start);
        let read = move |bytes: &mut [u8]| file.read(start, bytes);
        let check = move |header: &PageHeader| header.is_within(left, limits);
        Ok(HeaderReader::new(
            start,
            left.min(MOST_HEADER_BYTES),
            read,
            check,
        ))
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        let end = start.checked_add(length as u64);
        if end.is_none_or(|end| end > self.file.len()) {
            return Err(ParquetError::EOF("a page ends behind the file".into()));
        }
        let mut buffer = Buffer {
            bytes: self.buffers.unused().pop().unwrap_or_default(),
            home: Arc::clone(&self.buffers),
        };
        buffer.bytes.resize(length, 0);
        self.file.read(start, &mut buffer.bytes)?;
        Ok(Bytes::from_owner(buffer))
    }
}

/// Unused buffers.
#[derive(Debug, Default)]
pub(crate) struct Buffers(Mutex<Vec<Vec<u8>>>);

/// A buffer in use.
struct Buffer {
    bytes: Vec<u8>,
    home: Arc<Buffers>,
}

impl Buffers {
    fn unused(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.home.unused().push(mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_refuses_is_no_damage_of_the_file() {
        let told = |kind| {
            let read = || Err(io::Error::new(kind, "why").into());
            let result: Result<(), Error> = contained(Path::new("s3://b/cls/00000.parquet"), read);
            result.unwrap_err().to_string()
        };
        let refused = told(io::ErrorKind::PermissionDenied);
        assert!(refused.contains("cannot read: why") && refused.contains("credentials"));
        assert!(told(io::ErrorKind::InvalidData).contains("the file is damaged"));
    }
}
