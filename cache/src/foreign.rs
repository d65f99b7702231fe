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
        Ok(HeaderReader::new(start, left, read, |_| true))
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
