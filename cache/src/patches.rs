//! Reader of the tokens of single positions, of single rows, in any order, by row groups.

use std::io;
use std::iter;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::column::reader::{ColumnReader, get_column_reader, get_typed_column_reader};
use parquet::data_type::{FixedLenByteArray, FixedLenByteArrayType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::serialized_reader::SerializedPageReader;

use crate::encoding::Encoding;
use crate::error::io_error;
use crate::read::wrong_row;
use crate::schema::Table;
use crate::store::Spool;
use crate::table_reader::{Buffers, ParquetFile, Source, contained};
use crate::{CacheReader, Error, parallel, store};

/// Reader of the patch tokens of chosen layers. Its memory does not depend on the size of the cache.
#[derive(Debug)]
pub struct PatchReader {
    shards: Vec<(ParquetFile, ArrowReaderMetadata)>,
    /// Names of the columns, the number of bytes of a row in each, and its encoding.
    columns: Vec<(String, usize, Encoding)>,
    groups: Vec<Group>,
    /// Number of groups that are read at the same time.
    at_once: usize,
    /// What was fetched of objects, since training reads all groups in each epoch.
    spool: Spool,
    buffers: Arc<Buffers>,
}

/// Rows of a row group, which are read together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    shard: usize,
    group: usize,
    /// Numbers of the rows in the cache.
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
        self.shard_patches(Table::Patch, layers, 0..self.meta().shards.len())
    }

    /// A reader of the tokens of all positions before the last LayerNorm, `[positions, D]`: CLS, registers, patches.
    ///
    /// # Errors
    ///
    /// As [`patches`](CacheReader::patches), if the cache has no table `residual`.
    pub fn residuals(&self, layers: &[u32]) -> Result<PatchReader, Error> {
        self.shard_patches(Table::Residual, layers, 0..self.meta().shards.len())
    }

    /// A reader of the tokens of `layers` in some shards of a table of single positions.
    pub(crate) fn shard_patches(
        &self,
        table: Table,
        layers: &[u32],
        of: Range<usize>,
    ) -> Result<PatchReader, Error> {
        for &layer in layers {
            self.check_layer(table, layer)?;
        }
        let (mut shards, mut groups) = (Vec::new(), Vec::new());
        let before = self.meta().shards[..of.start].iter();
        let mut first: usize = before.map(|shard| shard.rows as usize).sum();
        let at_once = store::threads(self.dir());
        let files = parallel::map(at_once, of.len(), |index| {
            let file = self.file(table, of.start + index)?;
            let metadata = file.metadata()?;
            Ok((file, metadata))
        })?;
        for (shard, (file, metadata)) in files.into_iter().enumerate() {
            for (group, found) in metadata.metadata().row_groups().iter().enumerate() {
                let rows = first..first + found.num_rows() as usize;
                first = rows.end;
                groups.push(Group { shard, group, rows });
            }
            shards.push((file, metadata));
        }
        let column = |layer| {
            let bytes = table.tensor_bytes(self.meta(), layer);
            let encoding = table.encoding(self.meta(), layer);
            let name = table.column(layer);
            (name, bytes.unwrap_or_default(), encoding)
        };
        Ok(PatchReader {
            shards,
            columns: layers.iter().map(|&layer| column(layer)).collect(),
            groups,
            at_once,
            spool: Spool::default(),
            buffers: Arc::default(),
        })
    }
}

impl PatchReader {
    /// All groups, in the order of their rows.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The wanted rows of each group, in the order of `groups`. Groups in a bucket are read several at a time.
    pub fn read_all<'a>(
        &'a self,
        groups: &'a [&'a Group],
        is_wanted: impl Fn(usize) -> bool + Sync + 'a,
    ) -> impl Iterator<Item = Result<Vec<PatchRow>, Error>> + 'a {
        groups.chunks(self.at_once).flat_map(move |groups| {
            let read = |index: usize| self.read(groups[index], &is_wanted);
            match parallel::map(groups.len(), groups.len(), read) {
                Ok(rows) => rows.into_iter().map(Ok).collect(),
                Err(error) => vec![Err(error)],
            }
        })
    }

    /// The wanted rows of a group; nothing is read of the others.
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
        let (file, metadata) = &self.shards[group.shard];
        let path = &file.path;
        let most = self.columns.iter().map(|(_, bytes, _)| *bytes).max();
        let most = most.unwrap_or(0);
        let source = Source::open(file, metadata, most, Arc::clone(&self.buffers))?;
        let rows = Rows {
            path,
            source: Arc::new(source),
            metadata: metadata.metadata().row_group(group.group),
            group,
        };
        rows.fetch(&self.columns, &self.spool)
            .map_err(io_error(path, "read"))?;
        rows.check_numbers()?;
        let wanted = group.rows.clone().filter(|&row| is_wanted(row));
        let mut found: Vec<PatchRow> = wanted
            .map(|number| PatchRow {
                number,
                shard: Arc::clone(path),
                layers: Vec::with_capacity(self.columns.len()),
            })
            .collect();
        let numbers: Vec<usize> = found.iter().map(|row| row.number).collect();
        for (name, bytes, encoding) in &self.columns {
            let tokens = rows.tokens(name, *bytes, &numbers)?;
            for (row, value) in found.iter_mut().zip(tokens) {
                row.layers.push((value, *encoding));
            }
        }
        Ok(found)
    }
}

/// A row group that is being read.
struct Rows<'a> {
    path: &'a Path,
    source: Arc<Source>,
    metadata: &'a RowGroupMetaData,
    group: &'a Group,
}

impl Rows<'_> {
    fn column(&self, name: &str) -> Result<ColumnReader, ParquetError> {
        let mut columns = self.metadata.columns().iter();
        let found = columns.find(|column| column.column_path().string() == name);
        let missing = || ParquetError::General(format!("no column `{name}`"));
        let (found, rows) = (found.ok_or_else(missing)?, self.group.rows.len());
        let pages = SerializedPageReader::new(Arc::clone(&self.source), found, rows, None)?;
        Ok(get_column_reader(found.column_descr_ptr(), Box::new(pages)))
    }

    /// Fetches what is going to be read from a bucket.
    fn fetch(&self, columns: &[(String, usize, Encoding)], spool: &Spool) -> io::Result<()> {
        let columns = columns.iter().map(|(name, _, _)| name.as_str());
        let names: Vec<&str> = iter::once("row").chain(columns).collect();
        let all = self.metadata.columns().iter();
        let all = all.filter(|column| names.contains(&&*column.column_path().string()));
        self.source.fetch(all, spool)
    }

    /// Refuses a group with other row numbers.
    fn check_numbers(&self) -> Result<(), Error> {
        let (path, rows) = (self.path, &self.group.rows);
        let numbers = contained(path, || {
            let mut numbers = Vec::new();
            get_typed_column_reader::<Int64Type>(self.column("row")?).read_records(
                rows.len(),
                None,
                None,
                &mut numbers,
            )?;
            Ok(numbers)
        })?;
        check_count(path, numbers.len(), rows.len())?;
        for (row, &number) in rows.clone().zip(&numbers) {
            if number != row as i64 {
                return Err(wrong_row(path, number as u64, row as u64));
            }
        }
        Ok(())
    }

    /// The values of `bytes` bytes of some rows.
    fn tokens(
        &self,
        name: &str,
        bytes: usize,
        rows: &[usize],
    ) -> Result<Vec<FixedLenByteArray>, Error> {
        let mut found = contained(self.path, || {
            let mut reader = get_typed_column_reader::<FixedLenByteArrayType>(self.column(name)?);
            let (mut found, mut next) = (Vec::with_capacity(rows.len()), self.group.rows.start);
            for &row in rows {
                reader.skip_records(row - next)?;
                reader.read_records(1, None, None, &mut found)?;
                next = row + 1;
            }
            Ok(found)
        })?;
        found.retain(|value| value.len() == bytes);
        check_count(self.path, found.len(), rows.len())?;
        Ok(found)
    }
}

fn check_count(path: &Path, found: usize, expected: usize) -> Result<(), Error> {
    if found == expected {
        Ok(())
    } else {
        Err(Error::Shard {
            path: path.into(),
            what: "number of rows of a column",
            found: found.to_string(),
            expected: expected.to_string(),
        })
    }
}

/// Tokens of a row as in the file.
#[derive(Debug)]
pub struct PatchRow {
    /// The row's number in the cache.
    pub number: usize,
    shard: Arc<Path>,
    layers: Vec<(FixedLenByteArray, Encoding)>,
}

impl PatchRow {
    /// Writes the tokens `[P, D]` of a layer into `out`, which has as many values; `layer` is an index into the
    /// layers that were requested.
    ///
    /// # Errors
    ///
    /// [`Error::Shard`] if a value is NaN or infinite.
    pub fn copy_to(&self, layer: usize, out: &mut [f32]) -> Result<(), Error> {
        let (bytes, encoding) = &self.layers[layer];
        if encoding.decode(bytes.data(), out) {
            Ok(())
        } else {
            Err(Error::Shard {
                path: self.shard.to_path_buf(),
                what: "a patch token",
                found: format!("NaN or infinite in row {}", self.number),
                expected: "finite numbers".into(),
            })
        }
    }
}
