//! Maps as Parquet, with the columns that Apple's Embedding Atlas reads.

use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, Float32Array, Int64Array, ListArray, RecordBatch, StringArray,
    StructArray, UInt32Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::Field;
use cache::{CacheReader, Split};
use common::Picture;
use common::files::Partial;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use rayon::prelude::*;

use super::Mapped;
use crate::error::FileError;
use crate::error::{Cause, Error};
use crate::explore::page::png;
use crate::picture::grey;

/// Longest side of a picture in pixels.
const LONGEST: u32 = 128;
/// Rows in memory at a time.
const ROWS: usize = 512;

impl Mapped {
    /// Writes a row for each example: `projection_x`, `projection_y`, `neighbors` (numbers of rows from 0, and cosine
    /// distances), `case`, `label`, `patient`, `split`, columns of a given table, and `picture` if the cache has
    /// pictures and `with_pictures` is set. Rows are written in parts.
    ///
    /// # Errors
    ///
    /// [`FileError::Output`] if the file cannot be written, and [`Error::Cache`] if pictures cannot be read.
    pub fn write(
        &self,
        reader: &CacheReader,
        path: &Path,
        with_pictures: bool,
    ) -> Result<(), Error> {
        let failed = |source: Cause| {
            Error::File(FileError::Output {
                path: path.into(),
                source,
            })
        };
        let partial = Partial::create(path).map_err(|error| failed(error.into()))?;
        let mut writer: Option<ArrowWriter<File>> = None;
        let mut pictures = Pictures::new(self, reader, with_pictures);
        for first in (0..self.places.nrows()).step_by(ROWS) {
            let rows = first..self.places.nrows().min(first + ROWS);
            let pictures = pictures.of(rows.clone())?;
            let batch = self.batch(rows, pictures).map_err(failed)?;
            let writer = match &mut writer {
                Some(writer) => writer,
                None => writer.insert(open(partial.path(), &batch).map_err(failed)?),
            };
            writer.write(&batch).map_err(|error| failed(error.into()))?;
        }
        if let Some(writer) = writer {
            writer.close().map_err(|error| failed(error.into()))?;
        }
        partial.persist().map_err(|error| failed(error.into()))
    }

    fn batch(
        &self,
        rows: Range<usize>,
        pictures: Option<Vec<Vec<u8>>>,
    ) -> Result<RecordBatch, Cause> {
        let along = |axis: usize| -> ArrayRef {
            let values = rows.clone().map(|row| self.places[[row, axis]]);
            Arc::new(Float32Array::from_iter_values(values))
        };
        let cases = &self.embedded.examples.cases[rows.clone()];
        let text =
            |values: Vec<Option<String>>| -> ArrayRef { Arc::new(StringArray::from(values)) };
        let known = |value: String| (!value.is_empty()).then_some(value);
        let label = |row: usize| known(self.embedded.label(row));
        let split = |split: Option<Split>| split.map(|split| split.name().to_owned());
        let name = |row: usize| Some(self.embedded.names[row].clone());
        let names = || text(rows.clone().map(name).collect());
        let slices: UInt32Array = cases.iter().map(|case| case.slice).collect();
        let mut columns: Vec<(String, ArrayRef)> = vec![
            ("case".into(), names()),
            (
                "sample".into(),
                text(cases.iter().map(|case| Some(case.sample.clone())).collect()),
            ),
            ("slice".into(), Arc::new(slices)),
            (
                "patient".into(),
                text(cases.iter().map(|case| case.patient.clone()).collect()),
            ),
            (
                "split".into(),
                text(cases.iter().map(|case| split(case.split)).collect()),
            ),
            ("label".into(), text(rows.clone().map(label).collect())),
        ];
        if let Some(pictures) = pictures {
            let bytes: BinaryArray = pictures
                .iter()
                .map(|bytes| Some(bytes.as_slice()))
                .collect();
            let names = names();
            let bytes: ArrayRef = Arc::new(bytes);
            let pictures = structs([("bytes", bytes), ("path", names)])?;
            columns.push(("picture".into(), pictures));
        }
        columns.push(("projection_x".into(), along(0)));
        columns.push(("projection_y".into(), along(1)));
        columns.push(("neighbors".into(), self.neighbours_of(rows.clone())?));
        for column in &self.colours {
            if columns.iter().all(|(name, _)| *name != column.name) {
                let values = column.values[rows.clone()].iter().cloned().map(known);
                columns.push((column.name.clone(), text(values.collect())));
            }
        }
        let nullable = columns
            .into_iter()
            .map(|(name, column)| (name, column, true));
        Ok(RecordBatch::try_from_iter_with_nullable(nullable)?)
    }

    /// Structs of `ids` and `distances`.
    fn neighbours_of(&self, rows: Range<usize>) -> Result<ArrayRef, Cause> {
        let k = self.neighbours.index.ncols();
        let part = ndarray::s![rows.clone(), ..];
        let ids = self.neighbours.index.slice(part);
        let ids = Int64Array::from_iter_values(ids.iter().map(|&id| i64::from(id)));
        let similarities = self.neighbours.similarity.slice(part);
        let distances = similarities
            .iter()
            .map(|similarity| (1.0 - similarity).max(0.0));
        let distances = Float32Array::from_iter_values(distances);
        let list = |values: ArrayRef| -> Result<ArrayRef, Cause> {
            let item = Arc::new(Field::new("item", values.data_type().clone(), true));
            let offsets = OffsetBuffer::from_lengths(rows.clone().map(|_| k));
            Ok(Arc::new(ListArray::try_new(item, offsets, values, None)?))
        };
        structs([
            ("ids", list(Arc::new(ids))?),
            ("distances", list(Arc::new(distances))?),
        ])
    }
}

fn structs<const N: usize>(fields: [(&str, ArrayRef); N]) -> Result<ArrayRef, Cause> {
    let field = |(name, column): (&str, ArrayRef)| {
        (
            Arc::new(Field::new(name, column.data_type().clone(), true)),
            column,
        )
    };
    let (fields, columns): (Vec<_>, Vec<_>) = fields.map(field).into_iter().unzip();
    Ok(Arc::new(StructArray::try_new(
        fields.into(),
        columns,
        None,
    )?))
}

fn open(path: &Path, batch: &RecordBatch) -> Result<ArrowWriter<File>, Cause> {
    let compression = Compression::ZSTD(ZstdLevel::default());
    let properties = WriterProperties::builder()
        .set_compression(compression)
        .build();
    let file = File::options().write(true).truncate(true).open(path)?;
    Ok(ArrowWriter::try_new(
        file,
        batch.schema(),
        Some(properties),
    )?)
}

/// Items that are read one after the other.
type Stored<'a, T = Picture> = Box<dyn Iterator<Item = Result<T, cache::Error>> + 'a>;

/// The pictures of a shard, or the error that they cannot be read.
fn pictures_of(reader: &CacheReader, shard: usize) -> Stored<'_> {
    let parts = match reader.pictures(shard) {
        Ok(parts) => parts,
        Err(error) => return Box::new(std::iter::once(Err(error))),
    };
    Box::new(parts.flat_map(|part| -> Stored<'_> {
        match part {
            Ok(pictures) => Box::new(pictures.into_iter().map(Ok)),
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
    }))
}

/// The pictures of the examples, read in the order of the cache's rows.
struct Pictures<'a> {
    map: &'a Mapped,
    /// Pictures with the numbers of their rows; none if they are not wanted.
    stored: Option<Stored<'a, (usize, Picture)>>,
}

impl<'a> Pictures<'a> {
    fn new(map: &'a Mapped, reader: &'a CacheReader, are_wanted: bool) -> Pictures<'a> {
        let shards = 0..reader.meta().shards.len();
        let pictures = shards.flat_map(move |shard| pictures_of(reader, shard));
        let numbered = pictures.enumerate();
        let numbered = numbered.map(|(row, picture)| picture.map(|picture| (row, picture)));
        let is_wanted = are_wanted && reader.meta().has_pictures && map.embedded.rows.is_sorted();
        Pictures {
            map,
            stored: is_wanted.then(|| Box::new(numbered) as Stored<'_, _>),
        }
    }

    /// PNG files of those of some examples, which follow on the last ones.
    fn of(&mut self, examples: Range<usize>) -> Result<Option<Vec<Vec<u8>>>, Error> {
        let Some(stored) = &mut self.stored else {
            return Ok(None);
        };
        let embedded = &self.map.embedded;
        let mut found = Vec::with_capacity(examples.len());
        for &row in &embedded.rows[examples] {
            let picture = stored.find(|one| one.as_ref().map_or(true, |(at, _)| *at == row));
            found.extend(picture.transpose()?);
        }
        let encode = |(row, picture): &(usize, Picture)| {
            png(&grey(picture, &embedded.slices[*row], LONGEST))
        };
        Ok(Some(found.par_iter().map(encode).collect()))
    }
}
