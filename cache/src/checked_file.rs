//! A file of which every byte that is read is compared with its checksum.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use crate::Error;
use crate::checksums::{BLOCK, Checksums};
use crate::error::io_error;
use crate::store::{Reading, Spool};

/// A file and the checksums of its blocks, if it has any.
#[derive(Debug)]
pub(crate) struct CheckedFile {
    length: u64,
    checksums: Option<Arc<Checksums>>,
    state: Mutex<State>,
}

/// The file, whose place readers change, and the block that was read in part last. Pages follow each
/// other within blocks, so that without it most blocks would be read and summed twice.
#[derive(Debug)]
struct State {
    file: Reading,
    /// Where the block begins.
    place: u64,
    block: Vec<u8>,
}

impl CheckedFile {
    /// Opens a file. An object is not asked for its size if that is `known` or its checksums say it.
    ///
    /// # Errors
    ///
    /// [`Error::Io`].
    pub(crate) fn open(
        path: &Path,
        checksums: Option<Arc<Checksums>>,
        known: Option<u64>,
    ) -> Result<CheckedFile, Error> {
        let known = known.or(checksums.as_ref().map(|checksums| checksums.length()));
        let file = Reading::open(path, known).map_err(io_error(path, "open"))?;
        let length = file.len().map_err(io_error(path, "read"))?;
        Ok(CheckedFile {
            length,
            checksums,
            state: Mutex::new(State {
                file,
                place: 0,
                block: Vec::new(),
            }),
        })
    }

    pub(crate) fn len(&self) -> u64 {
        self.length
    }

    /// Fetches parts of an object, whole blocks of it, that are about to be read, and keeps them in `spool`.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub(crate) fn fetch(&self, parts: &[Range<u64>], spool: &Spool) -> io::Result<()> {
        let block = BLOCK as u64;
        let parts = parts.iter().map(|part| {
            let end = part.end.next_multiple_of(block).min(self.length);
            part.start / block * block..end
        });
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.file.fetch(&parts.collect::<Vec<_>>(), spool)
    }

    /// Fills `out` with the bytes of the file from `start` on.
    ///
    /// Whole blocks are read into `out` and summed there; of blocks that `out` holds in part, all is
    /// read, summed and kept for the next call.
    ///
    /// # Errors
    ///
    /// If the file ends before, cannot be read, or a block has another checksum.
    pub(crate) fn read(&self, mut start: u64, mut out: &mut [u8]) -> io::Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(checksums) = &self.checksums else {
            return state.file.read(start, out);
        };
        let block = BLOCK as u64;
        while !out.is_empty() {
            let place = start / block * block;
            let length = self.length.saturating_sub(place).min(block) as usize;
            let before = (start - place) as usize;
            if before >= length {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let count = if before == 0 && out.len() >= length {
                let whole = (out.len() / BLOCK * BLOCK).max(length);
                state.file.read(place, &mut out[..whole])?;
                for (k, bytes) in out[..whole].chunks(BLOCK).enumerate() {
                    checksums.check(place + (k * BLOCK) as u64, bytes)?;
                }
                whole
            } else {
                state.fetch(checksums, place, length)?;
                let count = out.len().min(length - before);
                out[..count].copy_from_slice(&state.block[before..before + count]);
                count
            };
            (start, out) = (start + count as u64, &mut out[count..]);
        }
        Ok(())
    }
}

impl State {
    /// Makes `block` the bytes of the block at `place`.
    fn fetch(&mut self, checksums: &Checksums, place: u64, length: usize) -> io::Result<()> {
        if self.place == place && self.block.len() == length {
            return Ok(());
        }
        let mut block = std::mem::take(&mut self.block);
        block.resize(length, 0);
        self.file.read(place, &mut block)?;
        checksums.check(place, &block)?;
        (self.place, self.block) = (place, block);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::checksums::Summing;

    #[test]
    fn any_range_is_read_as_it_is_and_a_changed_byte_is_found_by_those_that_hold_its_block() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let mut bytes: Vec<u8> = (0..5 * BLOCK + 100).map(|k| (k * k / 11) as u8).collect();
        fs::write(&path, &bytes).unwrap();
        let mut summing = Summing::default();
        summing.update(&bytes);
        let sums = Arc::new(summing.finish());
        let ranges = |length: usize| {
            let edges = [
                0,
                1,
                BLOCK - 1,
                BLOCK,
                BLOCK + 1,
                3 * BLOCK,
                5 * BLOCK,
                length,
            ];
            edges
                .into_iter()
                .flat_map(move |start| edges.map(|end| start..end))
        };
        let file = CheckedFile::open(&path, Some(Arc::clone(&sums)), None).unwrap();
        let bare = CheckedFile::open(&path, None, None).unwrap();
        for range in ranges(bytes.len()).filter(|range| !range.is_empty()) {
            for file in [&file, &bare] {
                let mut out = vec![0; range.len()];
                file.read(range.start as u64, &mut out).unwrap();
                assert!(out == bytes[range.clone()], "{range:?}");
            }
        }
        let mut out = [0; 8];
        file.read(bytes.len() as u64 - 7, &mut out).unwrap_err();

        let at = 3 * BLOCK + 5;
        bytes[at] ^= 1;
        fs::write(&path, &bytes).unwrap();
        for range in ranges(bytes.len()).filter(|range| !range.is_empty()) {
            let file = CheckedFile::open(&path, Some(Arc::clone(&sums)), None).unwrap();
            let holds = range.start < 4 * BLOCK && range.end > 3 * BLOCK;
            let read = file.read(range.start as u64, &mut vec![0; range.len()]);
            assert_eq!(read.is_err(), holds, "{range:?}");
        }
    }
}
