//! Arrays in HDF5 files, as MATLAB 7.3 writes them.

use std::fmt::Display;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use hdf5_pure::{Chunk, DType, Dataset, File, FormatError, H5Element, ReadSeekSource, Source};
use ndarray::Array;

use super::volume::{Block, Geometry, Volume};
use super::voxels::{Voxel, Voxels};
use super::{MAX_SIDE, MAX_UNPACKED};
use crate::Error;

/// How many times longer than the file its content can be: deflate's limit.
const MAX_RATIO: u64 = 1100;

/// How often the bytes of a file may be read before it is taken for one that leads in circles.
const MAX_READS: u64 = 16;

/// Bytes that may be read of any file, however short: a page of the index is read more often.
const FREE_BYTES: u64 = 16 << 20;

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
        let wrong = |error| damaged(path, error);
        let mut file = fs::File::open(path).map_err(Error::io(path))?;
        if !file.metadata().map_err(Error::io(path))?.is_file() {
            let path = path.to_path_buf();
            return Err(Error::NotRegular { path });
        }
        let mut start = Vec::new();
        file.by_ref()
            .take(10)
            .read_to_end(&mut start)
            .map_err(Error::io(path))?;
        refuse_other(path, &start)?;
        let source = ReadSeekSource::new(file).map_err(|error| damaged(path, error))?;
        let bytes = source.len();
        let source = Metered {
            source,
            left: AtomicU64::new(FREE_BYTES.saturating_add(bytes.saturating_mul(MAX_READS))),
        };
        let file = File::from_source(source).map_err(wrong)?;
        Ok(MatFile { path, file, bytes })
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
            DType::U8 => self.plane::<u8>(name, &array),
            DType::I8 => self.plane::<i8>(name, &array),
            DType::U16 => self.plane::<u16>(name, &array),
            DType::I16 => self.plane::<i16>(name, &array),
            DType::U32 => self.plane::<u32>(name, &array),
            DType::I32 => self.plane::<i32>(name, &array),
            DType::U64 => self.plane::<u64>(name, &array),
            DType::I64 => self.plane::<i64>(name, &array),
            DType::F32 => self.plane::<f32>(name, &array),
            DType::F64 => self.plane::<f64>(name, &array),
            other => {
                let reason = format!("`{name}` holds {other}, expected numbers");
                Err(damaged(self.path, reason))
            }
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
        self.read(&self.array(name)?)
    }

    /// The text in the array `name` of UTF-16 code units; zeros and blanks at its ends are left
    /// out.
    ///
    /// # Errors
    ///
    /// As [`image`](Self::image).
    pub(crate) fn text(&self, name: &str) -> Result<String, Error> {
        let units: Vec<u16> = self.read(&self.array(name)?)?;
        let text = String::from_utf16_lossy(&units);
        Ok(text.trim_matches(['\0', ' ']).to_owned())
    }

    /// The array, found to be of a size that the file can hold.
    fn array(&self, name: &str) -> Result<Dataset, Error> {
        let wrong = |error| damaged(self.path, error);
        let array = self.file.dataset(name).map_err(wrong)?;
        let shape = array.shape().map_err(wrong)?;
        let chunk = array.chunk_shape().map_err(wrong)?.unwrap_or_default();
        let element = array.element_size().map_err(wrong)?;
        let bytes = |sides: &[u64]| sides.iter().copied().fold(element, u64::saturating_mul);
        let limit = MAX_UNPACKED.min(self.bytes.saturating_mul(MAX_RATIO));
        let too_long = shape.iter().any(|&side| side > MAX_SIDE.into());
        if too_long || bytes(&shape).max(bytes(&chunk)) > limit {
            return Err(Error::TooLarge {
                path: self.path.to_path_buf(),
                found: format!("an array `{name}` of the shape {shape:?}"),
                limit: format!("{MAX_SIDE} a side and {limit} bytes"),
            });
        }
        self.check_chunks(&array, &shape, &chunk)?;
        Ok(array)
    }

    /// Refuses chunks that lie outside the file or are more than the array has: memory is taken by
    /// what the index says of them.
    fn check_chunks(&self, array: &Dataset, shape: &[u64], chunk: &[u64]) -> Result<(), Error> {
        if !array.is_chunked() {
            return Ok(());
        }
        let chunks = array.chunks().map_err(|error| damaged(self.path, error))?;
        let sides = shape.iter().zip(chunk);
        let most = sides.map(|(&side, &step)| side.div_ceil(step.max(1)));
        let is_inside = |chunk: &Chunk| {
            let end = chunk.address.checked_add(chunk.storage_size);
            end.is_some_and(|end| end <= self.bytes)
        };
        match chunks.len() as u64 <= most.product() && chunks.iter().all(is_inside) {
            true => Ok(()),
            false => Err(damaged(
                self.path,
                "its index names chunks that it cannot hold",
            )),
        }
    }

    fn plane<T: Voxel + H5Element>(&self, name: &str, array: &Dataset) -> Result<Voxels, Error> {
        let shape = array.shape().map_err(|error| damaged(self.path, error))?;
        let [height, width] = shape[..] else {
            let reason = format!("`{name}` has the shape {shape:?}, expected rows and columns");
            return Err(damaged(self.path, reason));
        };
        let values = self.read(array)?;
        let array = Array::from_shape_vec((1, 1, height as usize, width as usize), values);
        array
            .map(T::wrap)
            .map_err(|_| damaged(self.path, format!("`{name}` is cut short")))
    }

    fn read<T: H5Element>(&self, array: &Dataset) -> Result<Vec<T>, Error> {
        array.read::<T>().map_err(|error| damaged(self.path, error))
    }
}

/// A file that can be read for so long and no longer: pointers in a damaged index may lead back to
/// where they came from.
struct Metered {
    source: ReadSeekSource<fs::File>,
    left: AtomicU64,
}

impl Source for Metered {
    fn len(&self) -> u64 {
        self.source.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), FormatError> {
        let wanted = buffer.len() as u64 + 1;
        let spend = |left: u64| left.checked_sub(wanted);
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend)
            .map_err(|_| FormatError::Source("its index leads in circles".to_owned()))?;
        self.source.read_at(offset, buffer)
    }
}

/// What is no HDF5 file and can be told by its first bytes.
fn refuse_other(path: &Path, start: &[u8]) -> Result<(), Error> {
    let path = path.to_path_buf();
    match start {
        [] => Err(Error::EmptyFile { path }),
        b"MATLAB 5.0" => Err(Error::OldMat { path }),
        _ => Ok(()),
    }
}

fn damaged(path: &Path, reason: impl Display) -> Error {
    Error::Damaged {
        path: path.to_path_buf(),
        reason: reason.to_string(),
    }
}
