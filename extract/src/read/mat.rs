//! Arrays in HDF5 files, as MATLAB 7.3 writes them.

use std::fmt::Display;
use std::fs;
use std::path::Path;

use hdf5_pure::{DType, Dataset, File};
use ndarray::Array;

use super::volume::{Block, Geometry, Volume};
use super::voxels::{Voxel, Voxels};
use super::{MAX_SIDE, MAX_UNPACKED};
use crate::Error;

/// How many times longer than the file its content can be: deflate's limit.
const MAX_RATIO: u64 = 1100;

/// An opened file.
pub(crate) struct MatFile<'a> {
    path: &'a Path,
    file: File,
    bytes: u64,
}

impl<'a> MatFile<'a> {
    /// Opens an HDF5 file, with or without MATLAB's 512 bytes of text in front.
    ///
    /// # Errors
    ///
    /// [`Error::OldMat`] for MATLAB files before 7.3, which are not HDF5, and [`Error::Damaged`].
    pub(crate) fn open(path: &'a Path) -> Result<MatFile<'a>, Error> {
        let bytes = fs::read(path).map_err(Error::io(path))?;
        if bytes.is_empty() {
            let path = path.to_path_buf();
            return Err(Error::EmptyFile { path });
        }
        if bytes.starts_with(b"MATLAB 5.0") {
            let path = path.to_path_buf();
            return Err(Error::OldMat { path });
        }
        let length = bytes.len() as u64;
        let file = File::from_bytes(bytes).map_err(|error| damaged(path, error))?;
        Ok(MatFile {
            path,
            file,
            bytes: length,
        })
    }

    /// The two-dimensional array `name` as an image of one slice, rows and columns as h5py gives
    /// them.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] if there is no such array or it cannot be read, [`Error::TooLarge`].
    pub(crate) fn image(&self, name: &str) -> Result<Volume, Error> {
        let array = self.array(name)?;
        let voxels = match array.dtype().map_err(|error| damaged(self.path, error))? {
            DType::U8 => self.plane(name, &array, Dataset::read_u8),
            DType::I8 => self.plane(name, &array, Dataset::read_i8),
            DType::U16 => self.plane(name, &array, Dataset::read_u16),
            DType::I16 => self.plane(name, &array, Dataset::read_i16),
            DType::U32 => self.plane(name, &array, Dataset::read_u32),
            DType::I32 => self.plane(name, &array, Dataset::read_i32),
            DType::F32 => self.plane(name, &array, Dataset::read_f32),
            DType::F64 => self.plane(name, &array, Dataset::read_f64),
            other => Err(damaged(self.path, format!("`{name}` holds {other:?}"))),
        }?;
        let block = Block {
            path: self.path.to_path_buf(),
            voxels,
            scale: None,
            window: None,
        };
        Ok(Volume::of_block(block, Geometry::Transposed))
    }

    /// The numbers in the array `name`, whatever their type.
    ///
    /// # Errors
    ///
    /// As [`image`](Self::image).
    pub(crate) fn numbers(&self, name: &str) -> Result<Vec<f64>, Error> {
        let array = self.array(name)?;
        array.read_f64().map_err(|error| damaged(self.path, error))
    }

    /// The text in the array `name` of UTF-16 code units; zeros and blanks at its ends are left
    /// out.
    ///
    /// # Errors
    ///
    /// As [`image`](Self::image).
    pub(crate) fn text(&self, name: &str) -> Result<String, Error> {
        let array = self.array(name)?;
        let units = array
            .read_u16()
            .map_err(|error| damaged(self.path, error))?;
        let text = String::from_utf16_lossy(&units);
        Ok(text.trim_matches(['\0', ' ']).to_owned())
    }

    /// The array, found to be of a size that the file can hold.
    fn array(&self, name: &str) -> Result<Dataset, Error> {
        let wrong = |error| damaged(self.path, error);
        let array = self.file.dataset(name).map_err(wrong)?;
        let shape = array.shape().map_err(wrong)?;
        let element = array.element_size().map_err(wrong)?;
        let sizes = shape.iter().copied().chain([element]);
        let bytes = sizes.fold(1, u64::saturating_mul);
        let limit = MAX_UNPACKED.min(self.bytes.saturating_mul(MAX_RATIO));
        if bytes > limit || shape.iter().any(|&side| side > MAX_SIDE.into()) {
            return Err(Error::TooLarge {
                path: self.path.to_path_buf(),
                found: format!("an array `{name}` of the shape {shape:?}"),
                limit: format!("{MAX_SIDE} a side and {limit} bytes"),
            });
        }
        Ok(array)
    }

    fn plane<T: Voxel>(
        &self,
        name: &str,
        array: &Dataset,
        read: fn(&Dataset) -> Result<Vec<T>, hdf5_pure::Error>,
    ) -> Result<Voxels, Error> {
        let wrong = |error| damaged(self.path, error);
        let shape = array.shape().map_err(wrong)?;
        let [height, width] = shape[..] else {
            let reason = format!("`{name}` has the shape {shape:?}, expected rows and columns");
            return Err(damaged(self.path, reason));
        };
        let values = read(array).map_err(wrong)?;
        let array = Array::from_shape_vec((1, 1, height as usize, width as usize), values);
        array
            .map(T::wrap)
            .map_err(|_| damaged(self.path, format!("`{name}` is cut short")))
    }
}

fn damaged(path: &Path, reason: impl Display) -> Error {
    Error::Damaged {
        path: path.to_path_buf(),
        reason: reason.to_string(),
    }
}
