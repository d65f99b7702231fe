//! Entries of `.npz` archives as streams, and the headers of NumPy's arrays.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use common::counted;
use flate2::Crc;
use flate2::read::DeflateDecoder;
use zip::{CompressionMethod, ZipArchive};

use crate::Error;
use crate::read::bytes::numbers;
use crate::read::limits::MAX_RATIO;

/// Longest header of an array in bytes.
const MAX_HEADER: usize = 1 << 16;

/// Names of the arrays in an archive.
///
/// # Errors
///
/// [`FileError::Damaged`](common::FileError::Damaged) if it is no archive.
pub fn names(path: &Path) -> Result<Vec<String>, Error> {
    let archive = archive(path)?;
    let names = archive.file_names().flatten();
    Ok(names
        .filter_map(|name| Some(name.strip_suffix(".npy")?.to_owned()))
        .collect())
}

fn archive(path: &Path) -> Result<ZipArchive<BufReader<File>>, Error> {
    let file = BufReader::new(File::open(path).map_err(Error::io(path))?);
    ZipArchive::new(file).map_err(|error| Error::damaged(path, error))
}

/// Unpacked bytes of an entry, with the checksum of those read so far.
pub struct Entry {
    bytes: Box<dyn Read + Send>,
    sum: Crc,
    expected_sum: u32,
    /// Packed and unpacked bytes by the archive's index.
    packed: u64,
    unpacked: u64,
}

impl Entry {
    /// Opens the array `name` (without `.npy`) of the archive `path`.
    ///
    /// # Errors
    ///
    /// [`FileError::Damaged`](common::FileError::Damaged) if there is no such array, or it is packed in an unknown
    /// way.
    pub fn open(path: &Path, name: &str) -> Result<Entry, Error> {
        let mut archive = archive(path)?;
        let file_name = format!("{name}.npy");
        let entry = archive
            .by_name(&file_name)
            .map_err(|error| Error::damaged(path, format!("`{file_name}`: {error}")))?;
        let (packed, unpacked) = (entry.compressed_size(), entry.size());
        let (method, expected_sum) = (entry.compression(), entry.crc32());
        let start = entry.data_start();
        let start =
            start.ok_or_else(|| Error::damaged(path, format!("`{file_name}` has no place")))?;
        drop(entry);
        let mut file = File::open(path).map_err(Error::io(path))?;
        file.seek(SeekFrom::Start(start)).map_err(Error::io(path))?;
        let size = file.metadata().map_err(Error::io(path))?.len();
        let bytes = BufReader::with_capacity(1 << 16, file).take(packed);
        let bytes: Box<dyn Read + Send> = match method {
            CompressionMethod::Stored => Box::new(bytes),
            CompressionMethod::Deflated => Box::new(DeflateDecoder::new(bytes)),
            other => {
                let reason = format!("`{file_name}` is packed by {other}, expected deflate");
                return Err(Error::damaged(path, reason));
            }
        };
        Ok(Entry {
            bytes,
            sum: Crc::new(),
            expected_sum,
            packed: packed.min(size),
            unpacked,
        })
    }

    /// Checks that an array of this shape and number of bytes is as large as the entry, and can be; called when its
    /// header is read.
    ///
    /// # Errors
    ///
    /// [`FileError::Damaged`](common::FileError::Damaged).
    pub fn check_size(
        &self,
        path: &Path,
        name: &str,
        (shape, bytes): (&[usize], u64),
    ) -> Result<(), Error> {
        let found = u64::from(self.sum.amount()).saturating_add(bytes);
        if found == self.unpacked && found <= self.packed.saturating_mul(MAX_RATIO) {
            return Ok(());
        }
        let unpacked = self.unpacked;
        let reason = format!(
            "`{name}` says that its shape is {shape:?}, the archive that it has {}, {} of them in the file",
            counted(unpacked, "byte"),
            self.packed
        );
        Err(Error::damaged(path, reason))
    }

    /// The next `count` bytes.
    pub(super) fn next_bytes(&mut self, count: usize) -> Result<Vec<u8>, String> {
        next_bytes(self, count)
    }

    /// Checks the checksum, and that no bytes are left.
    ///
    /// # Errors
    ///
    /// The fault.
    pub fn finish(&mut self) -> Result<(), String> {
        match self.read(&mut [0]) {
            Ok(0) if self.sum.sum() == self.expected_sum => Ok(()),
            Ok(0) => Err("its checksum is wrong, so any image in it may be".to_owned()),
            Ok(_) => Err("it goes on after its last image".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Read for Entry {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.bytes.read(buffer)?;
        self.sum.update(&buffer[..count]);
        Ok(count)
    }
}

/// The next `count` bytes of a stream.
fn next_bytes(stream: &mut impl Read, count: usize) -> Result<Vec<u8>, String> {
    numbers(stream, count).map_err(|short| match short.error.kind() {
        io::ErrorKind::UnexpectedEof => "it ends too early".to_owned(),
        _ => short.error.to_string(),
    })
}

/// Reads the header of a NumPy array (format 1 to 3): a Python dictionary as text.
///
/// # Errors
///
/// The fault.
pub fn header_text(stream: &mut impl Read) -> Result<String, String> {
    let start = next_bytes(stream, 8)?;
    if start[..6] != *b"\x93NUMPY" {
        return Err("it is no NumPy array".to_owned());
    }
    let size = next_bytes(stream, if start[6] == 1 { 2 } else { 4 })?
        .iter()
        .rev()
        .fold(0, |size, byte| size << 8 | usize::from(*byte));
    if size > MAX_HEADER {
        return Err(format!("it has a header of {}", counted(size, "byte")));
    }
    let text = next_bytes(stream, size)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Numbers in the brackets after `'shape':` in the header of an array.
pub fn shape(text: &str) -> Option<Vec<usize>> {
    let after = text.split_once("'shape':")?.1;
    let inner = after.split_once('(')?.1.split_once(')')?.0;
    let sides = inner
        .split(',')
        .map(str::trim)
        .filter(|side| !side.is_empty());
    sides.map(|side| side.parse().ok()).collect()
}
