//! Arrays of floating-point numbers in HDF5 files, some rows at a time.

use std::path::PathBuf;

use hdf5_pure::{Dataset, Datatype, DatatypeByteOrder, FloatingPointLayout};

use super::{MatFile, check_chunks};
use crate::Error;
use crate::read::limits::{MAX_RATIO, MAX_UNPACKED};

/// An array `[N, …]` of floating-point numbers.
pub struct FloatRows {
    path: PathBuf,
    name: String,
    array: Dataset,
    shape: Vec<u64>,
    /// Bytes of a number: 2, 4 or 8, as IEEE 754 has them.
    pub bytes: usize,
    /// Order of the bytes of a number.
    pub is_big_endian: bool,
}

impl MatFile<'_> {
    /// Paths of the arrays in the root group, and in the groups below it.
    ///
    /// # Errors
    ///
    /// [`FileError::Damaged`](common::FileError::Damaged).
    pub fn names(&self) -> Result<Vec<String>, Error> {
        let wrong = |error| Error::damaged(self.path, error);
        let root = self.file.root();
        let mut names = root.datasets().map_err(wrong)?;
        for group in root.groups().map_err(wrong)? {
            let inner = root.group(&group).and_then(|of| of.datasets());
            let inner = inner.map_err(wrong)?.into_iter();
            names.extend(inner.map(|name| format!("{group}/{name}")));
        }
        Ok(names)
    }

    /// The array `name`, after a check that the file can hold it.
    ///
    /// # Errors
    ///
    /// [`FileError::Damaged`](common::FileError::Damaged) if there is no such array, it holds anything but
    /// floating-point numbers, or it cannot be in the file.
    pub fn float_rows(&self, name: &str) -> Result<FloatRows, Error> {
        let wrong = |error| Error::damaged(self.path, error);
        let array = self.file.dataset(name).map_err(wrong)?;
        let shape = array.shape().map_err(wrong)?;
        let (bytes, is_big_endian) = match array.datatype().map_err(wrong)? {
            Datatype::FloatingPoint {
                size: size @ (2 | 4 | 8),
                byte_order,
                layout,
            } if is_ieee(size, &layout) => {
                (size as usize, byte_order == DatatypeByteOrder::BigEndian)
            }
            _ => {
                let reason = format!("`{name}` does not hold floating-point numbers");
                return Err(Error::damaged(self.path, reason));
            }
        };
        let chunk = array.chunk_shape().map_err(wrong)?.unwrap_or_default();
        let size = |sides: &[u64]| {
            let sides = sides.iter().copied();
            sides.fold(bytes as u64, u64::saturating_mul)
        };
        let most = if array.is_chunked() {
            self.bytes.saturating_mul(MAX_RATIO)
        } else {
            self.bytes
        };
        let needed = size(&shape).max(size(&chunk));
        if needed > most {
            let file = self.bytes;
            let reason = format!(
                "the array `{name}` of the shape {shape:?} has {needed} bytes, more than a file of {file} can hold"
            );
            return Err(Error::damaged(self.path, reason));
        }
        if size(&chunk) > MAX_UNPACKED {
            return Err(Error::too_large(
                self.path,
                format!("chunks of the shape {chunk:?} in `{name}`"),
                format!("{MAX_UNPACKED} bytes"),
            ));
        }
        check_chunks(self.path, self.bytes, &array, &shape, &chunk)?;
        Ok(FloatRows {
            path: self.path.to_path_buf(),
            name: name.to_owned(),
            array,
            shape,
            bytes,
            is_big_endian,
        })
    }
}

impl FloatRows {
    /// Shape, `[N, …]`.
    pub fn shape(&self) -> &[u64] {
        &self.shape
    }

    /// Bytes of the rows from `start` on, `count` of them, as they are in the file.
    ///
    /// # Errors
    ///
    /// [`FileError::Damaged`](common::FileError::Damaged) if they cannot be read.
    pub fn read(&self, start: u64, count: u64) -> Result<Vec<u8>, Error> {
        let damaged = |reason: String| {
            let reason = format!("`{}`: {reason}", self.name);
            Error::damaged(&self.path, reason)
        };
        let bytes = self.array.read_raw_rows(start, count);
        let bytes = bytes.map_err(|error| damaged(error.to_string()))?;
        let row = self.shape[1..].iter().product::<u64>() * self.bytes as u64;
        if bytes.len() as u64 == row * count {
            Ok(bytes)
        } else {
            Err(damaged("it is cut short".to_owned()))
        }
    }
}

/// Whether numbers of this size are those of IEEE 754.
fn is_ieee(size: u32, layout: &FloatingPointLayout) -> bool {
    let (exponent, mantissa) = match size {
        2 => (5, 10),
        4 => (8, 23),
        _ => (11, 52),
    };
    layout.exponent_size == exponent && layout.mantissa_size == mantissa
}
