//! Checksums of the blocks of a file, so that damage is found where it is read.
//!
//! For each Parquet file of a cache, `checksums/TABLE/NNNNN.crc32` holds the CRC-32 (IEEE 802.3, the one
//! of zlib and gzip) of each block of [`BLOCK`] bytes of that file, the last block being shorter, as
//! little-endian `u32`s, and last the CRC-32 of those numbers themselves. Blocks, not whole files, because
//! a reader of one column or row reads a small part of a file.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::error::io_error;
use crate::store::Reading;
use crate::{Error, store};

/// Bytes of a block.
pub(crate) const BLOCK: usize = 64 << 10;

/// CRC-32 of each block of a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Checksums {
    /// Length of the file in bytes.
    length: u64,
    blocks: Vec<u32>,
}

impl Checksums {
    /// Reads the checksums of a file of `length` bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if `path` cannot be read, and [`Error::Shard`] if it is damaged or belongs to a
    /// file of another length.
    pub(crate) fn read(path: &Path, length: u64) -> Result<Arc<Checksums>, Error> {
        let damaged = |what, found: String, expected: String| Error::Shard {
            path: path.into(),
            what,
            found,
            expected,
        };
        let expected = Checksums::bytes_of(length);
        let size_differs =
            |found: u64| damaged("size in bytes", found.to_string(), expected.to_string());
        // Before the file is read: it may be a link to anything, of any size.
        let mut file = Reading::open(path, Some(expected)).map_err(io_error(path, "open"))?;
        let size = file.len().map_err(io_error(path, "read"))?;
        if size != expected {
            return Err(size_differs(size));
        }
        let mut bytes = vec![0; size as usize];
        file.read(0, &mut bytes).map_err(io_error(path, "read"))?;
        let (blocks, own) = bytes.split_at(bytes.len() - size_of::<u32>());
        let [found, expected] = [
            crc32fast::hash(blocks).to_le_bytes(),
            own.try_into().unwrap_or_default(),
        ];
        if found != expected {
            return Err(damaged(
                "checksum",
                common::hex(&found),
                common::hex(&expected),
            ));
        }
        let blocks = blocks.as_chunks::<4>().0.iter();
        Ok(Arc::new(Checksums {
            length,
            blocks: blocks.map(|&bytes| u32::from_le_bytes(bytes)).collect(),
        }))
    }

    /// Size of the checksums of a file of `length` bytes.
    pub(crate) fn bytes_of(length: u64) -> u64 {
        (length.div_ceil(BLOCK as u64) + 1) * size_of::<u32>() as u64
    }

    /// Length of the file in bytes.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Writes `path` completely or not at all.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        let mut bytes: Vec<u8> = self
            .blocks
            .iter()
            .flat_map(|crc| crc.to_le_bytes())
            .collect();
        bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
        store::write(path, &bytes)
    }

    /// Compares a block, which begins at byte `place` of the file, with its checksum.
    pub(crate) fn check(&self, place: u64, block: &[u8]) -> io::Result<()> {
        let expected = self.blocks.get((place / BLOCK as u64) as usize);
        if expected == Some(&crc32fast::hash(block)) {
            return Ok(());
        }
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!(
                "wrong checksum of bytes {place} to {}",
                place + block.len() as u64
            ),
        ))
    }
}

/// Computes the checksums of bytes that come in pieces.
#[derive(Debug, Default)]
pub(crate) struct Summing {
    length: u64,
    blocks: Vec<u32>,
    /// Checksum of the bytes of the last block so far.
    open: crc32fast::Hasher,
}

impl Summing {
    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let left = BLOCK - (self.length % BLOCK as u64) as usize;
            let (here, rest) = bytes.split_at(left.min(bytes.len()));
            self.open.update(here);
            self.length += here.len() as u64;
            if here.len() == left {
                self.close_block();
            }
            bytes = rest;
        }
    }

    pub(crate) fn finish(mut self) -> Checksums {
        if !self.length.is_multiple_of(BLOCK as u64) {
            self.close_block();
        }
        Checksums {
            length: self.length,
            blocks: self.blocks,
        }
    }

    fn close_block(&mut self) {
        self.blocks.push(std::mem::take(&mut self.open).finalize());
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn pieces_of_any_size_give_the_same_checksums_and_any_change_is_found() {
        let bytes: Vec<u8> = (0..2 * BLOCK + 17).map(|k| (k * k / 7) as u8).collect();
        let sums = |size: usize| {
            let mut summing = Summing::default();
            bytes.chunks(size).for_each(|piece| summing.update(piece));
            summing.finish()
        };
        let whole = sums(bytes.len());
        assert_eq!(whole.blocks.len(), 3);
        for size in [1000, BLOCK, BLOCK + 1] {
            assert_eq!(sums(size), whole);
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.crc32");
        whole.write(&path).unwrap();
        let read = Checksums::read(&path, bytes.len() as u64).unwrap();
        assert_eq!(*read, whole);
        for (k, block) in bytes.chunks(BLOCK).enumerate() {
            let place = (k * BLOCK) as u64;
            read.check(place, block).unwrap();
            let mut changed = block.to_vec();
            changed[block.len() / 2] ^= 4;
            read.check(place, &changed).unwrap_err();
        }
        read.check(3 * BLOCK as u64, &[]).unwrap_err();
        assert!(Checksums::read(&path, 5).is_err());
        let mut file = fs::read(&path).unwrap();
        for k in 0..file.len() {
            file[k] ^= 1;
            fs::write(&path, &file).unwrap();
            assert!(Checksums::read(&path, bytes.len() as u64).is_err());
            file[k] ^= 1;
        }
    }
}
