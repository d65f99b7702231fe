//! The footer of a Parquet file: its metadata.

use std::io;
use std::sync::Arc;

use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::errors::ParquetError;
use parquet::file::FOOTER_SIZE;
use parquet::file::metadata::{FooterTail, ParquetMetaDataReader};

use crate::parquet_structs::FILE;
use crate::thrift::walk;

/// Reads the metadata of a file of `length` bytes; `read` fills a buffer with those from a place on.
///
/// # Errors
///
/// If the file is no Parquet file or encrypted, or its metadata would take a decoder more steps than it has bytes.
pub(crate) fn read(
    length: u64,
    read: impl Fn(u64, &mut [u8]) -> io::Result<()>,
) -> Result<ArrowReaderMetadata, ParquetError> {
    let mut tail = [0; FOOTER_SIZE];
    let end = length
        .checked_sub(FOOTER_SIZE as u64)
        .ok_or_else(|| ParquetError::EOF(format!("{length} bytes are no Parquet file")))?;
    read(end, &mut tail)?;
    let tail = FooterTail::try_new(&tail)?;
    if tail.is_encrypted_footer() {
        return Err(ParquetError::General("the file is encrypted".into()));
    }
    let bytes = tail.metadata_length();
    let start = end.checked_sub(bytes as u64).ok_or_else(|| {
        ParquetError::EOF(format!("metadata of {bytes} bytes in a file of {length}"))
    })?;
    let mut metadata = vec![0; bytes];
    read(start, &mut metadata)?;
    if walk(&metadata, FILE, |_, _| ()).is_none() {
        let text = "a field of its metadata has another type or length than in the format";
        return Err(ParquetError::General(text.into()));
    }
    let metadata = ParquetMetaDataReader::decode_metadata(&metadata)?;
    ArrowReaderMetadata::try_new(Arc::new(metadata), ArrowReaderOptions::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_that_is_long_without_bytes_is_refused_at_once() {
        let read_file = |file: &[u8]| {
            read(file.len() as u64, |start, bytes: &mut [u8]| {
                let start = start as usize;
                let found = file.get(start..start + bytes.len());
                bytes.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
                Ok(())
            })
        };
        // An unknown field 10: 500 lists of 2^31 - 1 booleans each.
        let list = [0xf1, 0xff, 0xff, 0xff, 0xff, 0x07];
        let metadata = [&[0xa9, 0xf9, 0xf4, 0x03][..], &list.repeat(500), &[0]].concat();
        let length = (metadata.len() as u32).to_le_bytes();
        let file = [b"PAR1", &metadata[..], &length, b"PAR1"].concat();
        let text = read_file(&file).unwrap_err().to_string();
        assert!(text.contains("another type or length"), "{text}");
        for file in [
            &b"PAR1"[..],
            b"\xff\xff\xff\xffPAR1",
            b"\0\0\0\0PARE",
            b"12345678",
        ] {
            assert!(read_file(file).is_err());
        }
    }
}
