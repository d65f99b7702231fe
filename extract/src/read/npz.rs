//! Arrays of images in `.npz` archives, read from front to back.

use std::collections::VecDeque;
use std::fmt::Display;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use flate2::read::DeflateDecoder;
use ndarray::Array;
use zip::{CompressionMethod, ZipArchive};

use super::volume::{Block, Geometry, Volume};
use super::voxels::Voxel;
use super::{MAX_SIDE, MAX_UNPACKED};
use crate::Error;

/// Images kept behind the newest one: readers do not ask in strict order.
const KEPT: usize = 256;

/// Longest header of an array that is read.
const MAX_HEADER: usize = 1 << 16;

/// What an array in the archive is: `[N, …]` of 8-bit integers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// `[N, H, W]`, `[N, H, W, 3]`, `[N, D, H, W]` or whatever else the file says.
    pub(crate) shape: Vec<usize>,
}

/// One array of an archive, unpacked as far as it was asked for.
///
/// Entries are compressed, so there is no way to an image but through all before it. The newest
/// few are kept, so that several readers can share one pass.
pub(crate) struct NpzArray {
    path: PathBuf,
    name: String,
    header: Header,
    stream: Box<dyn Read + Send>,
    /// The index of the next image of the stream.
    next: usize,
    kept: VecDeque<Vec<u8>>,
}

impl NpzArray {
    /// Opens the array `name` (without `.npy`) of the archive `path`.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] if there is no such array, or it is of another type or order.
    pub(crate) fn open(path: &Path, name: &str) -> Result<NpzArray, Error> {
        let mut stream = entry(path, name)?;
        let header = header(path, name, &mut stream)?;
        Ok(NpzArray {
            path: path.to_path_buf(),
            name: name.to_owned(),
            header,
            stream,
            next: 0,
            kept: VecDeque::new(),
        })
    }

    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    /// Image `index` as a volume: one slice, or `D` of them.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] if the archive ends early or its checksum is wrong.
    pub(crate) fn image(&mut self, index: usize) -> Result<Volume, Error> {
        if index + self.kept.len() < self.next {
            *self = NpzArray::open(&self.path, &self.name)?;
        }
        while self.next <= index {
            let bytes = self.read_next()?;
            if self.kept.len() == KEPT {
                self.kept.pop_front();
            }
            self.kept.push_back(bytes);
            self.next += 1;
        }
        let bytes = self.kept[index + self.kept.len() - self.next].clone();
        let [slices, height, width, channels] = match self.header.shape[1..] {
            [height, width] => [1, height, width, 1],
            [height, width, 3] => [1, height, width, 3],
            [slices, height, width] => [slices, height, width, 1],
            _ => return Err(self.odd_shape()),
        };
        let array = Array::from_shape_vec((slices, height, width, channels), bytes);
        let array = array.map_err(|_| self.odd_shape())?;
        let block = Block {
            path: self.path.clone(),
            voxels: u8::wrap(array.permuted_axes([0, 3, 1, 2])),
            scale: None,
            window: None,
        };
        Ok(Volume::of_block(block, Geometry::Unknown))
    }

    /// All numbers of a small array, such as labels.
    ///
    /// # Errors
    ///
    /// As [`image`](Self::image).
    pub(crate) fn all(mut self) -> Result<Vec<u8>, Error> {
        let count = self.header.shape.iter().product();
        read_exactly(&self.path, &mut self.stream, count)
    }

    fn read_next(&mut self) -> Result<Vec<u8>, Error> {
        if self.next >= self.header.shape[0] {
            return Err(damaged(
                &self.path,
                format!("`{}` has no image {}", self.name, self.next),
            ));
        }
        let count = self.header.shape[1..].iter().product();
        read_exactly(&self.path, &mut self.stream, count)
    }

    fn odd_shape(&self) -> Error {
        let shape = &self.header.shape;
        damaged(
            &self.path,
            format!("`{}` has the shape {shape:?}", self.name),
        )
    }
}

/// The arrays in an archive, with their headers.
///
/// # Errors
///
/// [`Error::Damaged`] if it is no archive.
pub(crate) fn names(path: &Path) -> Result<Vec<String>, Error> {
    let archive = archive(path)?;
    let names = archive.file_names().flatten();
    let names = names.filter_map(|name| Some(name.strip_suffix(".npy")?.to_owned()));
    Ok(names.collect())
}

fn archive(path: &Path) -> Result<ZipArchive<BufReader<File>>, Error> {
    let file = BufReader::new(File::open(path).map_err(Error::io(path))?);
    ZipArchive::new(file).map_err(|error| damaged(path, error))
}

/// The unpacked bytes of an entry, as a stream of its own.
fn entry(path: &Path, name: &str) -> Result<Box<dyn Read + Send>, Error> {
    let mut archive = archive(path)?;
    let file = format!("{name}.npy");
    let entry = archive
        .by_name(&file)
        .map_err(|error| damaged(path, error))?;
    let (start, packed, method) = (
        entry.data_start(),
        entry.compressed_size(),
        entry.compression(),
    );
    let start = start.ok_or_else(|| damaged(path, format!("`{file}` has no place")))?;
    drop(entry);
    let mut file = File::open(path).map_err(Error::io(path))?;
    file.seek(SeekFrom::Start(start)).map_err(Error::io(path))?;
    let packed = BufReader::with_capacity(1 << 16, file).take(packed);
    match method {
        CompressionMethod::Stored => Ok(Box::new(packed)),
        CompressionMethod::Deflated => Ok(Box::new(BufReader::new(DeflateDecoder::new(packed)))),
        other => Err(damaged(
            path,
            format!("it is packed by {other}, expected deflate"),
        )),
    }
}

/// Reads NumPy's header (format 1 to 3): a Python dictionary as text.
fn header(path: &Path, name: &str, stream: &mut impl Read) -> Result<Header, Error> {
    let start = read_exactly(path, stream, 8)?;
    if start[..6] != *b"\x93NUMPY" {
        return Err(damaged(path, format!("`{name}` is no NumPy array")));
    }
    let size = read_exactly(path, stream, if start[6] == 1 { 2 } else { 4 })?;
    let size = size
        .iter()
        .rev()
        .fold(0, |size, byte| size << 8 | usize::from(*byte));
    if size > MAX_HEADER {
        return Err(damaged(
            path,
            format!("`{name}` has a header of {size} bytes"),
        ));
    }
    let text = String::from_utf8_lossy(&read_exactly(path, stream, size)?).into_owned();
    let shape = shape(&text).filter(|shape| !shape.is_empty());
    let shape = shape.ok_or_else(|| damaged(path, format!("`{name}` has the header `{text}`")))?;
    let is_bytes = ["|u1", "|b1", "u1"]
        .iter()
        .any(|kind| text.contains(&format!("'{kind}'")));
    if !is_bytes || !text.contains("'fortran_order': False") {
        let reason = format!(
            "`{name}` is `{}`, expected 8-bit numbers in C order",
            text.trim()
        );
        return Err(damaged(path, reason));
    }
    let item = shape[1..]
        .iter()
        .fold(1, |item: usize, side| item.saturating_mul(*side));
    if item as u64 > MAX_UNPACKED || shape[1..].iter().any(|&side| side > MAX_SIDE as usize) {
        return Err(Error::TooLarge {
            path: path.to_path_buf(),
            found: format!("images of the shape {:?}", &shape[1..]),
            limit: format!("{MAX_SIDE} a side and {MAX_UNPACKED} bytes"),
        });
    }
    Ok(Header { shape })
}

/// The numbers between the brackets after `'shape':`.
fn shape(text: &str) -> Option<Vec<usize>> {
    let after = text.split_once("'shape':")?.1;
    let inner = after.split_once('(')?.1.split_once(')')?.0;
    let sides = inner
        .split(',')
        .map(str::trim)
        .filter(|side| !side.is_empty());
    sides.map(|side| side.parse().ok()).collect()
}

fn read_exactly(path: &Path, stream: &mut impl Read, count: usize) -> Result<Vec<u8>, Error> {
    super::numbers(stream, count).map_err(|short| {
        let reason = match short.error.kind() {
            io::ErrorKind::UnexpectedEof => "it ends too early".to_owned(),
            _ => short.error.to_string(),
        };
        damaged(path, reason)
    })
}

fn damaged(path: &Path, reason: impl Display) -> Error {
    Error::Damaged {
        path: path.to_path_buf(),
        reason: reason.to_string(),
    }
}
