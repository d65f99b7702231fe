//! A Parquet file with a column of lists of numbers, and columns of what is known of each row.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, FixedSizeListArray, Float32Array, Int8Array, RecordBatch, StringArray, UInt32Array,
};
use arrow::datatypes::{DataType, Field, Schema};
use cache::{Labels, SliceMeta, Split, Task};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use super::{Common, Row, Sink};
use crate::Error;

/// Approximate size of the numbers of a row group in bytes.
const GROUP_BYTES: usize = 32 << 20;

/// `tokens.parquet` in the making.
pub(super) struct Lists {
    path: PathBuf,
    writer: ArrowWriter<File>,
    schema: Arc<Schema>,
    task: Task,
    classes: Vec<String>,
    width: usize,
    patch: Option<usize>,
    /// Rows of a batch.
    most: usize,
    slices: Vec<SliceMeta>,
    cls: Vec<f32>,
    patches: Vec<f32>,
}

impl Lists {
    pub(super) fn create(folder: &Path, common: &Common<'_>) -> Result<Lists, Error> {
        let path = folder.join("tokens.parquet");
        let file = File::create(&path).map_err(Error::io(&path))?;
        let patch = common.patch.map(|shape| shape.iter().product::<usize>());
        let schema = Arc::new(schema(common, patch));
        let numbers = common.width + patch.unwrap_or(0);
        let most = (GROUP_BYTES / (4 * numbers.max(1))).clamp(1, 8192);
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(most))
            .build();
        let writer = ArrowWriter::try_new(file, schema.clone(), Some(properties));
        Ok(Lists {
            writer: writer.map_err(|error| refused(&path, error))?,
            path,
            schema,
            task: common.meta.task,
            classes: common.meta.classes.clone(),
            width: common.width,
            patch,
            most,
            slices: Vec::new(),
            cls: Vec::new(),
            patches: Vec::new(),
        })
    }

    /// Writes the rows that were collected.
    fn flush(&mut self) -> Result<(), Error> {
        let slices = std::mem::take(&mut self.slices);
        let text = |of: fn(&SliceMeta) -> Option<&str>| -> ArrayRef {
            Arc::new(slices.iter().map(of).collect::<StringArray>())
        };
        let mut columns: Vec<ArrayRef> = vec![
            text(|slice| Some(&slice.sample)),
            text(|slice| Some(&slice.image)),
            Arc::new(
                slices
                    .iter()
                    .map(|slice| Some(slice.slice))
                    .collect::<UInt32Array>(),
            ),
            text(|slice| slice.patient.as_deref()),
            text(|slice| slice.split.map(Split::name)),
        ];
        columns.extend(self.labels(&slices));
        columns.push(list(std::mem::take(&mut self.cls), self.width)?);
        if let Some(width) = self.patch {
            columns.push(list(std::mem::take(&mut self.patches), width)?);
        }
        let batch = RecordBatch::try_new(self.schema.clone(), columns);
        let batch = batch.map_err(|error| refused(&self.path, error.into()))?;
        let written = self.writer.write(&batch).and_then(|()| self.writer.flush());
        written.map_err(|error| refused(&self.path, error))
    }

    fn labels(&self, slices: &[SliceMeta]) -> Vec<ArrayRef> {
        let states = |class: usize| -> ArrayRef {
            let states = slices.iter().map(|slice| match &slice.labels {
                Labels::Multi(states) => states.get(class).copied().flatten(),
                Labels::Unlabelled | Labels::Single(_) => None,
            });
            Arc::new(states.collect::<Int8Array>())
        };
        match self.task {
            Task::Unlabelled => Vec::new(),
            Task::SingleLabel => {
                let names = slices.iter().map(|slice| match &slice.labels {
                    Labels::Single(Some(class)) => self.classes.get(*class as usize),
                    _ => None,
                });
                vec![Arc::new(names.collect::<StringArray>())]
            }
            Task::MultiLabel => (0..self.classes.len()).map(states).collect(),
        }
    }
}

impl Sink for Lists {
    fn add(&mut self, row: &Row<'_>) -> Result<(), Error> {
        self.slices.push(row.slice.clone());
        self.cls.extend(row.cls);
        self.patches.extend(row.patch.unwrap_or_default());
        if self.slices.len() == self.most {
            self.flush()?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Vec<String>, Error> {
        if !self.slices.is_empty() {
            self.flush()?;
        }
        let path = self.path;
        self.writer.close().map_err(|error| refused(&path, error))?;
        Ok(vec!["tokens.parquet".to_owned()])
    }
}

fn schema(common: &Common<'_>, patch: Option<usize>) -> Schema {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let list = |name: &str, width: usize| {
        let item = Arc::new(Field::new("item", DataType::Float32, false));
        Field::new(name, DataType::FixedSizeList(item, width as i32), false)
    };
    let mut fields = vec![
        text("sample"),
        text("image"),
        Field::new("slice", DataType::UInt32, false),
        text("patient"),
        text("split"),
    ];
    match common.meta.task {
        Task::Unlabelled => {}
        Task::SingleLabel => fields.push(text("label")),
        Task::MultiLabel => {
            let classes = common.meta.classes.iter();
            fields.extend(classes.map(|class| Field::new(class, DataType::Int8, true)));
        }
    }
    fields.push(list("cls", common.width));
    fields.extend(patch.map(|width| list("patch", width)));
    Schema::new(fields)
}

fn list(numbers: Vec<f32>, width: usize) -> Result<ArrayRef, Error> {
    let item = Arc::new(Field::new("item", DataType::Float32, false));
    let numbers = Arc::new(Float32Array::from(numbers));
    let list = FixedSizeListArray::try_new(item, width as i32, numbers, None);
    Ok(Arc::new(list.map_err(|_| Error::Broken)?))
}

fn refused(path: &Path, source: ParquetError) -> Error {
    Error::Parquet {
        path: path.to_path_buf(),
        source,
    }
}
