//! Bytes and numbers of files.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use super::voxels::Voxel;
use crate::Error;

/// Bytes at the start of a file from which its format is detected.
const SNIFFED_BYTES: u64 = 512;

/// Numbers that are read before memory for more is allocated.
const FIRST_NUMBERS: usize = 8 << 20;

/// Bytes at the start of a file, enough to detect its format.
pub(super) fn first_bytes(path: &Path) -> Result<Vec<u8>, Error> {
    let mut start = Vec::new();
    File::open(path)
        .and_then(|file| file.take(SNIFFED_BYTES).read_to_end(&mut start))
        .map_err(Error::io(path))?;
    Ok(start)
}

/// A stream that ended before all numbers were read.
pub(super) struct Short {
    pub(super) error: io::Error,
    /// Bytes that could be read.
    pub(super) found: u64,
}

/// Reads `count` numbers in the byte order of this machine. The memory grows with the bytes that are
/// there, not with `count`.
pub(super) fn numbers<T: Voxel>(reader: &mut impl Read, count: usize) -> Result<Vec<T>, Short> {
    let mut values: Vec<T> = Vec::new();
    while values.len() < count {
        let start = values.len();
        let next = (count - start).min(start.max(FIRST_NUMBERS));
        if values.try_reserve(next).is_err() {
            let (error, found) = (ErrorKind::OutOfMemory.into(), 0);
            return Err(Short { error, found });
        }
        values.resize(start + next, T::zeroed());
        let mut rest: &mut [u8] = bytemuck::cast_slice_mut(&mut values[start..]);
        while !rest.is_empty() {
            let error = match reader.read(rest) {
                Ok(0) => ErrorKind::UnexpectedEof.into(),
                Ok(read) => {
                    rest = &mut rest[read..];
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => error,
            };
            let found = ((start + next) * size_of::<T>() - rest.len()) as u64;
            return Err(Short { error, found });
        }
    }
    Ok(values)
}
