//! Parquet files of other programs.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

use crate::footer;
use crate::header_reader::HeaderReader;

/// Greatest size of the header of a page: it may have the smallest and the greatest value of the page.
const MOST_HEADER_BYTES: u64 = 64 << 20;

/// A Parquet file of any program. Metadata and page headers that would take a decoder more steps than they have bytes
/// are refused.
#[derive(Clone, Debug)]
pub struct ForeignParquet {
    file: Arc<Mutex<File>>,
    length: u64,
}

impl ForeignParquet {
    /// Reads the metadata of a file, whose columns may have any types.
    ///
    /// # Errors
    ///
    /// If it cannot be read or is no Parquet file.
    pub fn rows(file: File) -> Result<ParquetRecordBatchReaderBuilder<ForeignParquet>> {
        let length = file.metadata()?.len();
        let file = ForeignParquet {
            file: Arc::new(Mutex::new(file)),
            length,
        };
        let metadata = footer::read(length, |start, bytes| file.fill(start, bytes))?;
        Ok(ParquetRecordBatchReaderBuilder::new_with_metadata(
            file, metadata,
        ))
    }

    fn fill(&self, start: u64, bytes: &mut [u8]) -> io::Result<()> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(bytes)
    }
}

impl Length for ForeignParquet {
    fn len(&self) -> u64 {
        self.length
    }
}

impl ChunkReader for ForeignParquet {
    type T = HeaderReader;

    fn get_read(&self, start: u64) -> Result<HeaderReader> {
        let left = self.length.saturating_sub(start);
        let file = self.clone();
        let read = move |bytes: &mut [u8]| file.fill(start, bytes);
        Ok(HeaderReader::new(
            start,
            left.min(MOST_HEADER_BYTES),
            read,
            |_| true,
        ))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let end = start.checked_add(length as u64);
        if end.is_none_or(|end| end > self.length) {
            return Err(ParquetError::EOF("a page ends behind the file".into()));
        }
        let mut bytes = vec![0; length];
        self.fill(start, &mut bytes)?;
        Ok(bytes.into())
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, RecordBatch, StringArray};
    use parquet::arrow::ArrowWriter;
    use parquet::file::properties::WriterProperties;

    use super::*;

    #[test]
    fn long_values_in_page_headers_are_read_and_no_header_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.parquet");
        let (short, long) = ("a".to_owned(), "b".repeat(300_000));
        let column = StringArray::from(vec![&*short, &*long]);
        let batch = RecordBatch::try_from_iter([("text", Arc::new(column) as _)]).unwrap();
        let properties = WriterProperties::builder()
            .set_write_page_header_statistics(true)
            .set_statistics_truncate_length(None)
            .build();
        let file = File::create(&path).unwrap();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();

        let rows = || ForeignParquet::rows(File::open(&path).unwrap()).unwrap();
        let builder = rows();
        let column = builder.metadata().row_group(0).column(0);
        let page = column.data_page_offset() as usize;
        let found = builder.build().unwrap().next().unwrap().unwrap();
        assert_eq!(found.column(0).as_string::<i32>().value(1), long);

        let mut bytes = std::fs::read(&path).unwrap();
        // An unknown list of booleans, in place of the header.
        bytes[page..page + 7].copy_from_slice(&[0xe9, 0xf1, 0xff, 0xff, 0xff, 0xff, 0x07]);
        std::fs::write(&path, bytes).unwrap();
        let error = rows().build().unwrap().next().unwrap().unwrap_err();
        assert!(error.to_string().contains("no page of a table"), "{error}");
    }
}
