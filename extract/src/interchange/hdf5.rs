//! Arrays in HDF5 files, those of TRIDENT among them.

use std::path::{Path, PathBuf};

use imaging::read::contained;
use imaging::read::mat::{FloatRows, MatFile};

use super::npy::one_of;
use super::numbers::{Encoding, Kind};
use super::rows::{Rows, row_numbers};
use crate::Error;

/// Approximate size of the rows that are read at once, in bytes.
const WINDOW: usize = 8 << 20;

/// Rows of an array in an HDF5 file.
pub(super) struct Hdf5 {
    path: PathBuf,
    array: FloatRows,
    /// Shape of a row.
    shape: Vec<usize>,
    count: u64,
    /// An array `[1, N, …]`, whose rows are those of its only element, all of which is read at once.
    is_wrapped: bool,
    encoding: Encoding,
    row_bytes: usize,
    window: Vec<u8>,
    /// First row of the window.
    start: u64,
    next: u64,
}

impl Hdf5 {
    /// Opens the array `wanted` of a file, or one with a usual name, or the only one.
    ///
    /// # Errors
    ///
    /// [`FileError::Damaged`](common::FileError::Damaged), and [`Error::Layout`] if no array is meant.
    pub(super) fn open(path: &Path, wanted: Option<&str>) -> Result<Hdf5, Error> {
        let opened = contained(|| -> Result<(String, FloatRows), Error> {
            let file = MatFile::open(path)?;
            let name = match wanted {
                Some(name) => name.to_owned(),
                None => one_of(path, &file.names()?, None)?,
            };
            let rows = file.float_rows(&name)?;
            Ok((name, rows))
        });
        let (name, array) = opened.unwrap_or_else(|| Err(broken(path)))?;
        let sides = array.shape().iter();
        let sides = sides.map(|side| usize::try_from(*side).unwrap_or(usize::MAX));
        let mut shape: Vec<usize> = sides.collect();
        let is_wrapped = shape.len() == 3 && shape[0] == 1;
        if is_wrapped {
            shape.remove(0);
        }
        // TRIDENT writes `[0]` for a slide without patches.
        if shape.len() < 2 && shape != [0] {
            return Err(Error::Layout {
                path: path.to_path_buf(),
                found: format!("`{name}` of the shape {shape:?}"),
                expected: "an array `[N, D]` or `[N, P, D]`".to_owned(),
                hint: "name the array of embeddings with `--array`".to_owned(),
            });
        }
        let count = shape.remove(0) as u64;
        let kind = match array.bytes {
            2 => Kind::F16,
            4 => Kind::F32,
            _ => Kind::F64,
        };
        let row_bytes = row_numbers(path, Some(&name), &shape)? * kind.bytes();
        Ok(Hdf5 {
            path: path.to_path_buf(),
            encoding: Encoding {
                kind,
                is_big_endian: array.is_big_endian,
            },
            array,
            shape,
            count,
            is_wrapped,
            row_bytes,
            window: Vec::new(),
            start: 0,
            next: 0,
        })
    }

    /// Reads the window that begins with the next row.
    fn fill(&mut self) -> Result<(), Error> {
        let (start, count) = if self.is_wrapped {
            (0, 1)
        } else {
            let rows = (WINDOW / self.row_bytes).max(1) as u64;
            (self.next, rows.min(self.count - self.next))
        };
        self.start = if self.is_wrapped { 0 } else { start };
        let read = contained(|| self.array.read(start, count));
        self.window = read.map_or_else(|| Err(broken(&self.path)), |read| Ok(read?))?;
        Ok(())
    }
}

impl Rows for Hdf5 {
    fn count(&self) -> u64 {
        self.count
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn place(&self) -> (&Path, u64) {
        (&self.path, self.next)
    }

    fn read(&mut self, scale: f64, out: &mut Vec<f32>) -> Result<(), Error> {
        let mut at = (self.next - self.start) as usize * self.row_bytes;
        if at >= self.window.len() {
            self.fill()?;
            at = (self.next - self.start) as usize * self.row_bytes;
        }
        let row = self.window.get(at..at + self.row_bytes);
        let row = row.ok_or_else(|| broken(&self.path))?;
        self.encoding.decode(row, scale, out);
        self.next += 1;
        Ok(())
    }
}

fn broken(path: &Path) -> Error {
    Error::damaged(path, "its parser broke down")
}
