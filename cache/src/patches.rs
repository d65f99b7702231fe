//! Patch tokens of single rows, in any order, a row group at a time.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::mem;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use half::f16;
use half::slice::HalfFloatSliceExt;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::column::reader::{get_column_reader, get_typed_column_reader};
use parquet::data_type::{FixedLenByteArray, FixedLenByteArrayType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::serialized_reader::SerializedPageReader;

use crate::meta::io_error;
use crate::read::{parquet_error, wrong_row};
use crate::schema::Table;
use crate::{CacheReader, Error};

/// Bytes that are fetched to read the header of a page.
const HEADER_BYTES: usize = 256;

/// The exponent of what is infinite or NaN.
const INFINITY: u16 = f16::INFINITY.to_bits();

/// Reads the patch tokens of chosen layers. Memory does not depend on the size of the cache.
#[derive(Debug)]
pub struct PatchReader {
    shards: Vec<(Arc<Path>, ArrowReaderMetadata)>,
    /// Their names, and the values of a row in each.
    columns: Vec<(String, usize)>,
    groups: Vec<Group>,
    buffers: Arc<Buffers>,
}

/// Rows that lie together in a file and are read together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    shard: usize,
    group: usize,
    /// Their numbers in the cache.
    pub rows: Range<usize>,
}

impl CacheReader {
    /// A reader of the patch tokens of `layers`; layer 1 is the last block.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] if the cache keeps no patch tokens or has no such layer, and
    /// [`Error::Io`] or [`Error::Parquet`] if a shard cannot be read.
    pub fn patches(&self, layers: &[u32]) -> Result<PatchReader, Error> {
        for &layer in layers {
            self.check_layer(Table::Patch, layer)?;
        }
        let (mut shards, mut groups, mut first) = (Vec::new(), Vec::new(), 0);
        for shard in 0..self.meta().shards.len() {
            let path = self.path(Table::Patch, shard);
            let file = File::open(&path).map_err(io_error(&path, "open"))?;
            let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new());
            let metadata = metadata.map_err(parquet_error(&path))?;
            for (group, of) in metadata.metadata().row_groups().iter().enumerate() {
                let rows = first..first + of.num_rows() as usize;
                first = rows.end;
                groups.push(Group { shard, group, rows });
            }
            shards.push((path.into(), metadata));
        }
        let column = |layer| {
            let values = Table::Patch.tensor_values(self.meta().shape(layer));
            (Table::Patch.column(layer), values.unwrap_or_default())
        };
        Ok(PatchReader {
            shards,
            columns: layers.iter().map(|&layer| column(layer)).collect(),
            groups,
            buffers: Arc::default(),
        })
    }
}

impl PatchReader {
    /// All groups, in the order of their rows.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The wanted rows of a group; of the others nothing is read.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::Parquet`] or [`Error::Shard`] if the shard cannot be read or holds other
    /// rows.
    pub fn read(
        &self,
        group: &Group,
        is_wanted: impl Fn(usize) -> bool,
    ) -> Result<Vec<PatchRow>, Error> {
        let (path, metadata) = &self.shards[group.shard];
        let file = Source {
            file: Arc::new(File::open(path).map_err(io_error(path, "open"))?),
            buffers: Arc::clone(&self.buffers),
        };
        let file = Arc::new(file);
        let metadata = metadata.metadata().row_group(group.group);
        let column = |name: &str| {
            let mut columns = metadata.columns().iter();
            let found = columns.find(|column| column.column_path().string() == name);
            let missing = || ParquetError::General(format!("no column `{name}`"));
            let found = found.ok_or_else(missing).map_err(parquet_error(path))?;
            let pages = SerializedPageReader::new(Arc::clone(&file), found, group.rows.len(), None);
            let pages = Box::new(pages.map_err(parquet_error(path))?);
            Ok(get_column_reader(found.column_descr_ptr(), pages))
        };
        let mut numbers = Vec::new();
        get_typed_column_reader::<Int64Type>(column("row")?)
            .read_records(group.rows.len(), None, None, &mut numbers)
            .map_err(parquet_error(path))?;
        check_count(path, numbers.len(), group.rows.len())?;
        for (row, &number) in group.rows.clone().zip(&numbers) {
            if number != row as i64 {
                return Err(wrong_row(path, number as u64, row as u64));
            }
        }
        let wanted = group.rows.clone().filter(|&row| is_wanted(row));
        let mut rows: Vec<PatchRow> = wanted
            .map(|number| PatchRow {
                number,
                shard: Arc::clone(path),
                layers: Vec::with_capacity(self.columns.len()),
            })
            .collect();
        for (name, values) in &self.columns {
            let mut reader = get_typed_column_reader::<FixedLenByteArrayType>(column(name)?);
            let (mut found, mut next) = (Vec::with_capacity(rows.len()), group.rows.start);
            for row in &rows {
                reader
                    .skip_records(row.number - next)
                    .and_then(|_| reader.read_records(1, None, None, &mut found))
                    .map_err(parquet_error(path))?;
                next = row.number + 1;
            }
            let bytes = values * size_of::<f16>();
            found.retain(|value| value.len() == bytes);
            check_count(path, found.len(), rows.len())?;
            for (row, value) in rows.iter_mut().zip(found) {
                row.layers.push(value);
            }
        }
        Ok(rows)
    }
}

fn check_count(path: &Path, found: usize, expected: usize) -> Result<(), Error> {
    match found == expected {
        true => Ok(()),
        false => Err(Error::Shard {
            path: path.into(),
            what: "number of rows of a column",
            found: found.to_string(),
            expected: expected.to_string(),
        }),
    }
}

/// Patch tokens of a row, as they lie in the file.
#[derive(Debug)]
pub struct PatchRow {
    /// The row's number in the cache.
    pub number: usize,
    shard: Arc<Path>,
    layers: Vec<FixedLenByteArray>,
}

impl PatchRow {
    /// Writes the tokens of a layer, `[P, D]`, into `out`, which has as many values; layers count in the
    /// order in which they were asked for.
    ///
    /// # Errors
    ///
    /// [`Error::Shard`] if a value is NaN or infinite, which no cache was written with.
    pub fn copy_to(&self, layer: usize, out: &mut [f32]) -> Result<(), Error> {
        // A page's bytes may lie at an odd address.
        let mut aligned = [f16::ZERO; 512];
        let bytes = self.layers[layer].data().chunks(size_of_val(&aligned));
        let mut is_finite = true;
        for (bytes, out) in bytes.zip(out.chunks_mut(aligned.len())) {
            let halves = &mut aligned[..out.len()];
            for (half, pair) in halves.iter_mut().zip(bytes.as_chunks::<2>().0) {
                *half = f16::from_le_bytes(*pair);
            }
            let is_finite_bits = |half: &f16| half.to_bits() & INFINITY != INFINITY;
            is_finite &= halves
                .iter()
                .fold(true, |all, half| all & is_finite_bits(half));
            halves.convert_to_f32_slice(out);
        }
        match is_finite {
            true => Ok(()),
            false => Err(Error::Shard {
                path: self.shard.to_path_buf(),
                what: "a patch token",
                found: format!("NaN or infinite in row {}", self.number),
                expected: "finite numbers".into(),
            }),
        }
    }
}

/// A shard's file, read into buffers that are used again: fresh memory costs more than reading does.
struct Source {
    file: Arc<File>,
    buffers: Arc<Buffers>,
}

/// The file from a place on.
struct Rest {
    file: Arc<File>,
    place: u64,
}

impl Read for Rest {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut file = &*self.file;
        file.seek(SeekFrom::Start(self.place))?;
        let count = file.read(bytes)?;
        self.place += count as u64;
        Ok(count)
    }
}

/// Buffers that nobody uses.
#[derive(Debug, Default)]
struct Buffers(Mutex<Vec<Vec<u8>>>);

/// A buffer in use.
struct Buffer {
    bytes: Vec<u8>,
    home: Arc<Buffers>,
}

impl Buffers {
    fn unused(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.home.unused().push(mem::take(&mut self.bytes));
    }
}

impl Length for Source {
    fn len(&self) -> u64 {
        Length::len(&*self.file)
    }
}

impl ChunkReader for Source {
    type T = BufReader<Rest>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        let rest = Rest {
            file: Arc::clone(&self.file),
            place: start,
        };
        Ok(BufReader::with_capacity(HEADER_BYTES, rest))
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        let mut buffer = Buffer {
            bytes: self.buffers.unused().pop().unwrap_or_default(),
            home: Arc::clone(&self.buffers),
        };
        buffer.bytes.resize(length, 0);
        let mut file = &*self.file;
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut buffer.bytes)?;
        Ok(Bytes::from_owner(buffer))
    }
}
