//! Arrays in HDF5 files, as MATLAB 7.3 writes them.

mod rows;

use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use common::FileError;
use hdf5_pure::{Chunk, DType, Dataset, File, FormatError, H5Element, ReadSeekSource, Source};
use ndarray::Array;

pub use self::rows::FloatRows;
use super::budget::SampleBudget;
use super::limits::{MAX_RATIO, MAX_SIDE, MAX_UNPACKED};
use super::volume::{Block, Volume};
use super::voxels::{Voxel, Voxels};
use crate::Error;
use crate::orient::Geometry;

/// Greatest ratio of bytes read to bytes in the file; beyond it, the index is taken to lead in circles.
const MAX_READS: u64 = 16;

/// Bytes that may be read of any file, however short: pages of the index are read several times.
const FREE_BYTES: u64 = 16 << 20;

/// An opened file.
pub struct MatFile<'a> {
    path: &'a Path,
    file: File,
    bytes: u64,
}

impl<'a> MatFile<'a> {
    /// Opens an HDF5 file, with or without MATLAB's 512 bytes of text in front.
    ///
    /// # Errors
    ///
    /// [`Error::OldMat`] for MATLAB files before 7.3, which are not HDF5, and
    /// [`FileError::Damaged`] for others.
    pub fn open(path: &'a Path) -> Result<MatFile<'a>, Error> {
        let wrong = |error| Error::damaged(path, error);
        let mut file = fs::File::open(path).map_err(Error::io(path))?;
        if !file.metadata().map_err(Error::io(path))?.is_file() {
            let path = path.to_path_buf();
            return Err(FileError::NotRegular { path }.into());
        }
        let mut start = Vec::new();
        file.by_ref()
            .take(10)
            .read_to_end(&mut start)
            .map_err(Error::io(path))?;
        refuse_other(path, &start)?;
        let source = ReadSeekSource::new(file).map_err(|error| Error::damaged(path, error))?;
        let bytes = source.len();
        let source = Metered {
            source,
            left: AtomicU64::new(FREE_BYTES.saturating_add(bytes.saturating_mul(MAX_READS))),
        };
        let file = File::from_source(source).map_err(wrong)?;
        Ok(MatFile { path, file, bytes })
    }

    /// The two-dimensional array `name` as an image of one slice, with rows and columns as in h5py.
    ///
    /// # Errors
    ///
    /// [`FileError::Damaged`] if there is no such array or it cannot be read, [`FileError::TooLarge`].
    pub fn image(&self, name: &str, budget: &SampleBudget) -> Result<Volume, Error> {
        let array = self.array(name)?;
        let wrong = |error| Error::damaged(self.path, error);
        let shape = array.shape().map_err(wrong)?;
        let element = array.element_size().map_err(wrong)?;
        // Twice: it is unpacked to bytes, and these are copied to numbers.
        let bytes = shape.iter().fold(2 * element, |bytes, side| bytes * side);
        budget.take(self.path, "pixels", bytes)?.keep();
        let voxels = match array.dtype().map_err(wrong)? {
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
                Err(Error::damaged(self.path, reason))
            }
        }?;
        let block = Block {
            path: self.path.to_path_buf(),
            voxels,
            scale: None,
            shown: None,
        };
        Ok(Volume::of_block(block, Geometry::Transposed))
    }

    /// The numbers in the array `name`, whatever their type.
    ///
    /// # Errors
    ///
    /// As [`image`](Self::image).
    pub fn numbers(&self, name: &str) -> Result<Vec<f64>, Error> {
        self.read(&self.array(name)?)
    }

    /// The text in the array `name` of UTF-16 code units, without zeros and blanks at its ends.
    ///
    /// # Errors
    ///
    /// As [`image`](Self::image).
    pub fn text(&self, name: &str) -> Result<String, Error> {
        let units: Vec<u16> = self.read(&self.array(name)?)?;
        let text = String::from_utf16_lossy(&units);
        Ok(text.trim_matches(['\0', ' ']).to_owned())
    }

    /// The array, after a check that the file can hold it.
    fn array(&self, name: &str) -> Result<Dataset, Error> {
        let wrong = |error| Error::damaged(self.path, error);
        let array = self.file.dataset(name).map_err(wrong)?;
        let shape = array.shape().map_err(wrong)?;
        let chunk = array.chunk_shape().map_err(wrong)?.unwrap_or_default();
        let element = array.element_size().map_err(wrong)?;
        let bytes = |sides: &[u64]| sides.iter().copied().fold(element, u64::saturating_mul);
        let limit = MAX_UNPACKED.min(self.bytes.saturating_mul(MAX_RATIO));
        let too_long = shape.iter().any(|&side| side > MAX_SIDE.into());
        if too_long || bytes(&shape).max(bytes(&chunk)) > limit {
            return Err(Error::too_large(
                self.path,
                format!("an array `{name}` of the shape {shape:?}"),
                format!("{MAX_SIDE} a side and {limit} bytes"),
            ));
        }
        check_chunks(self.path, self.bytes, &array, &shape, &chunk)?;
        Ok(array)
    }

    fn plane<T: Voxel + H5Element>(&self, name: &str, array: &Dataset) -> Result<Voxels, Error> {
        let shape = array
            .shape()
            .map_err(|error| Error::damaged(self.path, error))?;
        let [height, width] = shape[..] else {
            let reason = format!("`{name}` has the shape {shape:?}, expected rows and columns");
            return Err(Error::damaged(self.path, reason));
        };
        if height * width == 0 {
            let reason = format!("`{name}` has the shape {shape:?}, and no pixels");
            return Err(Error::damaged(self.path, reason));
        }
        let values = self.read(array)?;
        let array = Array::from_shape_vec((1, 1, height as usize, width as usize), values);
        array
            .map(T::wrap)
            .map_err(|_| Error::damaged(self.path, format!("`{name}` is cut short")))
    }

    fn read<T: H5Element>(&self, array: &Dataset) -> Result<Vec<T>, Error> {
        array
            .read::<T>()
            .map_err(|error| Error::damaged(self.path, error))
    }
}

/// Refuses chunks outside of the file, which has `bytes` bytes, and more chunks than the array has: memory is
/// allocated by the sizes in the index.
fn check_chunks(
    path: &Path,
    bytes: u64,
    array: &Dataset,
    shape: &[u64],
    chunk: &[u64],
) -> Result<(), Error> {
    if !array.is_chunked() {
        return Ok(());
    }
    let chunks = array
        .chunks()
        .map_err(|error| Error::damaged(path, error))?;
    let sides = shape.iter().zip(chunk);
    let most = sides.map(|(&side, &step)| side.div_ceil(step.max(1)));
    let is_inside = |chunk: &Chunk| {
        let end = chunk.address.checked_add(chunk.storage_size);
        end.is_some_and(|end| end <= bytes)
    };
    if chunks.len() as u64 <= most.product() && chunks.iter().all(is_inside) {
        Ok(())
    } else {
        Err(Error::damaged(
            path,
            "its index names chunks that it cannot hold",
        ))
    }
}

/// A file of which a limited number of bytes can be read: pointers in a damaged index may lead in circles.
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

/// Refuses files that are recognised by their first bytes and are not HDF5.
fn refuse_other(path: &Path, start: &[u8]) -> Result<(), Error> {
    let path = path.to_path_buf();
    match start {
        [] => Err(FileError::Empty { path }.into()),
        b"MATLAB 5.0" => Err(Error::OldMat { path }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use ndarray::Array3;

    use super::*;
    use crate::read::budget::MemoryBudget;

    fn golden(file: &str) -> PathBuf {
        Path::new(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/golden/mat"
        ))
        .join(file)
    }

    /// Numbers that `scripts/dev/golden_mat.py` writes: `20 i + j`.
    fn numbered(height: usize, width: usize) -> Array3<f32> {
        Array3::from_shape_fn((1, height, width), |(_, i, j)| (20 * i + j) as f32)
    }

    /// The error for this file's content, which must name it and have a hint.
    fn refusal(bytes: &[u8], array: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("7.mat");
        fs::write(&path, bytes).unwrap();
        let text = match MatFile::open(&path)
            .and_then(|mat| mat.image(array, &MemoryBudget::default().budget(0)))
        {
            Ok(_) => panic!("it was read"),
            Err(error) => error.to_string(),
        };
        assert!(
            text.contains("7.mat") && text.contains("\nhint: "),
            "{text}"
        );
        text
    }

    /// Offsets of the pages of chunk indexes of this level.
    fn pages(bytes: &[u8], level: u8) -> Vec<usize> {
        let is_page = |at: &usize| bytes[*at..].starts_with(&[b'T', b'R', b'E', b'E', 1, level]);
        (0..bytes.len()).filter(is_page).collect()
    }

    #[test]
    fn every_type_of_number_reads_as_itself() {
        let path = golden("types.mat");
        let mat = MatFile::open(&path).unwrap();
        for name in ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"] {
            for name in [name.to_owned(), format!("big_{name}")] {
                let image = mat
                    .image(&name, &MemoryBudget::default().budget(0))
                    .unwrap();
                assert_eq!(image.plane(0), numbered(5, 7), "{name}");
                assert_eq!(mat.numbers(&name).unwrap()[34], 86.0, "{name}");
            }
        }
    }

    #[test]
    fn every_layout_that_matlab_writes_is_read() {
        let path = golden("layouts.mat");
        let mat = MatFile::open(&path).unwrap();
        for name in ["contiguous", "whole", "ragged", "two_levels"] {
            let image = mat
                .image(
                    &format!("cjdata/{name}"),
                    &MemoryBudget::default().budget(0),
                )
                .unwrap();
            assert_eq!(image.plane(0), numbered(12, 16), "{name}");
        }
        assert_eq!(mat.text("cjdata/PID").unwrap(), "MR020260B");
        assert!(
            !pages(&fs::read(&path).unwrap(), 1).is_empty(),
            "an index of two levels"
        );
    }

    #[test]
    fn what_is_not_there_or_no_hdf5_is_told() {
        let bytes = fs::read(golden("layouts.mat")).unwrap();
        assert!(refusal(&bytes, "cjdata/label").contains("cjdata/label"));
        assert!(refusal(&bytes, "cjdata").contains("not a dataset"));
        assert!(refusal(b"", "a").contains("empty"));
        assert!(refusal(b"MATLAB 5.0 MAT-file", "a").contains("version 7.3"));
        assert!(refusal(&[b'x'; 5000], "a").contains("signature"));
        let folder = tempfile::tempdir().unwrap();
        let error = MatFile::open(folder.path()).err().unwrap();
        assert!(matches!(error, Error::File(FileError::NotRegular { .. })));
    }

    #[test]
    fn a_file_cut_anywhere_is_damaged() {
        let bytes = fs::read(golden("layouts.mat")).unwrap();
        for size in (1..bytes.len()).step_by(97) {
            refusal(&bytes[..size], "cjdata/two_levels");
        }
    }

    #[test]
    fn a_chunk_larger_than_the_file_is_refused_before_memory_is_taken() {
        let mut bytes = fs::read(golden("layouts.mat")).unwrap();
        for page in pages(&bytes, 0) {
            bytes[page + 24..][..4].copy_from_slice(&0x7fff_ffffu32.to_le_bytes());
        }
        assert!(refusal(&bytes, "cjdata/whole").contains("cannot hold"));
    }

    /// 40 pages, each of which names the next twice: 2^40 ways to the last.
    #[test]
    fn an_index_that_leads_to_the_same_page_again_and_again_ends() {
        let mut bytes = fs::read(golden("layouts.mat")).unwrap();
        let (key, pointer) = (32, 8);
        let [root] = pages(&bytes, 1)[..] else {
            panic!("one index of two levels");
        };
        let size = bytes.len();
        let mut next = pages(&bytes, 0)[0] - 512;
        for level in 1..=40 {
            let mut page = vec![0; 24 + 2 * (key + pointer) + key];
            page[..8].copy_from_slice(&[b'T', b'R', b'E', b'E', 1, level, 2, 0]);
            page[8..24].fill(0xff);
            for child in 0..2 {
                let at = 24 + key + child * (key + pointer);
                page[at..][..8].copy_from_slice(&(next as u64).to_le_bytes());
            }
            next = bytes.len() - 512;
            bytes.extend(page);
        }
        bytes[root + 24 + key..][..8].copy_from_slice(&(next as u64).to_le_bytes());
        let end = (bytes.len() as u64).to_le_bytes();
        let place = bytes
            .windows(8)
            .position(|eight| eight == (size as u64).to_le_bytes());
        bytes[place.unwrap()..][..8].copy_from_slice(&end);
        assert!(refusal(&bytes, "cjdata/two_levels").contains("leads in circles"));
    }
}
