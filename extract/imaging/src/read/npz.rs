//! Arrays of images in `.npz` archives, read from front to back.

mod entry;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use common::text::clipped;
use ndarray::Array;

pub use self::entry::{Entry, header_text, names, shape};
use super::limits::{MAX_SIDE, MAX_UNPACKED};
use super::volume::{Block, Volume};
use super::voxels::Voxel;
use crate::Error;
use crate::orient::Geometry;

/// Greatest number of images that are kept, since readers do not ask in strict order.
const KEPT: usize = 256;

/// Greatest size of all kept images in bytes, unless one image alone is larger.
const KEPT_BYTES: usize = 64 << 20;

/// Header of an array `[N, …]` of 8-bit integers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// `[N, H, W]`, `[N, H, W, 3]` or `[N, D, H, W]` of images; any other shape is not an array of images.
    pub shape: Vec<usize>,
}

impl Header {
    /// Bytes of the whole array.
    fn bytes(&self) -> u64 {
        let sides = self.shape.iter();
        sides.fold(1, |bytes, &side| bytes.saturating_mul(side as u64))
    }
}

/// One array of an archive, unpacked up to the last image that was read.
///
/// Entries are compressed, so an image can be reached only through all images before it. The newest are
/// kept, so that several readers can share one pass. The checksum covers the whole entry, so a wrong one
/// is found at the last image only.
pub struct NpzArray {
    path: PathBuf,
    name: String,
    header: Header,
    stream: Entry,
    /// Index of the next image of the stream.
    next: usize,
    kept: VecDeque<Vec<u8>>,
    /// Error of the stream; no image can be read after it.
    broken: Option<String>,
}

impl NpzArray {
    /// Opens the array `name` (without `.npy`) of the archive `path`.
    ///
    /// # Errors
    ///
    /// [`FileError::Damaged`](common::FileError::Damaged) if there is no such array, or it is of another type or order.
    pub fn open(path: &Path, name: &str) -> Result<NpzArray, Error> {
        let mut stream = Entry::open(path, name)?;
        let header = header(path, name, &mut stream)?;
        stream.check_size(path, name, (&header.shape, header.bytes()))?;
        Ok(NpzArray {
            path: path.to_path_buf(),
            name: name.to_owned(),
            header,
            stream,
            next: 0,
            kept: VecDeque::new(),
            broken: None,
        })
    }

    /// Shape of the array.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Image `index` as a volume: one slice, or `D` of them.
    ///
    /// # Errors
    ///
    /// [`FileError::Damaged`](common::FileError::Damaged) if the archive ends early or its checksum is wrong.
    pub fn image(&mut self, index: usize) -> Result<Volume, Error> {
        if index + self.kept.len() < self.next {
            *self = NpzArray::open(&self.path, &self.name)?;
        }
        while self.next <= index {
            let bytes = self.read_next()?;
            if self.kept.len() == (KEPT_BYTES / bytes.len()).clamp(1, KEPT) {
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
        let array = Array::from_shape_vec((slices, height, width, channels), bytes)
            .map_err(|_| self.odd_shape())?;
        let block = Block {
            path: self.path.clone(),
            voxels: u8::wrap(array.permuted_axes([0, 3, 1, 2])),
            scale: None,
            shown: None,
        };
        Ok(Volume::of_block(block, Geometry::Unknown))
    }

    /// All numbers of a small array, such as labels.
    ///
    /// # Errors
    ///
    /// As [`image`](Self::image), and [`FileError::TooLarge`](common::FileError::TooLarge).
    pub fn all(mut self) -> Result<Vec<u8>, Error> {
        let count = self.header.bytes();
        if count > MAX_UNPACKED {
            return Err(Error::too_large(
                &self.path,
                format!("`{}` of the shape {:?}", self.name, self.header.shape),
                format!("{MAX_UNPACKED} bytes"),
            ));
        }
        self.read_exactly(count as usize, true)
    }

    fn read_next(&mut self) -> Result<Vec<u8>, Error> {
        let [images, sides @ ..] = &self.header.shape[..] else {
            return Err(self.odd_shape());
        };
        if self.next >= *images {
            let reason = format!("`{}` has no image {}", self.name, self.next);
            return Err(Error::damaged(&self.path, reason));
        }
        let is_last = self.next + 1 == *images;
        self.read_exactly(sides.iter().product(), is_last)
    }

    /// Reads the next `count` bytes. After an error nothing can be read, since the start of the next image
    /// is unknown.
    fn read_exactly(&mut self, count: usize, is_last: bool) -> Result<Vec<u8>, Error> {
        let read = match &self.broken {
            Some(reason) => Err(reason.clone()),
            None => self.stream.next_bytes(count).and_then(|bytes| {
                if is_last {
                    self.stream.finish()?;
                }
                Ok(bytes)
            }),
        };
        read.map_err(|reason| {
            self.broken = Some(reason.clone());
            Error::damaged(&self.path, format!("`{}`: {reason}", self.name))
        })
    }

    fn odd_shape(&self) -> Error {
        let shape = &self.header.shape;
        Error::damaged(
            &self.path,
            format!("`{}` has the shape {shape:?}", self.name),
        )
    }
}

/// Reads NumPy's header (format 1 to 3): a Python dictionary as text.
fn header(path: &Path, name: &str, stream: &mut Entry) -> Result<Header, Error> {
    let text = header_text(stream)
        .map_err(|reason| Error::damaged(path, format!("`{name}`: {reason}")))?;
    let shape = shape(&text)
        .filter(|shape| !shape.is_empty())
        .ok_or_else(|| {
            Error::damaged(
                path,
                format!("`{name}` has the header `{}`", clipped(text.trim())),
            )
        })?;
    let is_bytes = ["|u1", "|b1", "u1"]
        .iter()
        .any(|kind| text.contains(&format!("'{kind}'")));
    if !is_bytes || !text.contains("'fortran_order': False") {
        let reason = format!(
            "`{name}` is `{}`, expected 8-bit numbers in C order",
            clipped(text.trim())
        );
        return Err(Error::damaged(path, reason));
    }
    let sides = &shape[1..];
    if sides.contains(&0) {
        return Err(Error::damaged(
            path,
            format!("`{name}` has the shape {shape:?}"),
        ));
    }
    let item = sides
        .iter()
        .fold(1u64, |n, &side| n.saturating_mul(side as u64));
    if item > MAX_UNPACKED || sides.iter().any(|&side| side > MAX_SIDE as usize) {
        return Err(Error::too_large(
            path,
            format!("images of the shape {sides:?}"),
            format!("{MAX_SIDE} a side and {MAX_UNPACKED} bytes"),
        ));
    }
    Ok(Header { shape })
}

#[cfg(test)]
mod made;
#[cfg(test)]
mod tests;
