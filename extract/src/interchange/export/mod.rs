//! Exports of a finished cache to files of other programs.

mod eva;
mod folder;
mod hdf5;
mod npy;
mod parquet;
mod pt;
mod read;
mod table;
mod unicorn;
mod webdataset;

use std::path::{Path, PathBuf};

use cache::{CacheMeta, CacheReader, SliceMeta, Task};
use clap::ValueEnum;
use common::Picture;
use serde_json::json;

use self::folder::Folder;
pub(crate) use self::npy::header as npy_header;
use self::read::Reading;
use crate::Error;

/// Format of the files that are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Target {
    /// An archive of arrays of NumPy: tokens, labels, splits
    Npz,
    /// Arrays of NumPy
    Npy,
    /// A Parquet file with a column of lists of numbers
    Parquet,
    /// An HDF5 file
    Hdf5,
    /// Archives of a `.cls.npy`, a `.json` and maybe a `.png` for each row, for
    /// WebDataset
    Webdataset,
    /// A `.pt` file for each row, and `manifest.csv`, for eva
    Eva,
    /// An HDF5 file for each sample, as TRIDENT writes them
    Trident,
    /// The folders that the evaluation of UNICORN reads
    Unicorn,
}

impl Target {
    /// Name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Target::Npz => "npz",
            Target::Npy => "npy",
            Target::Parquet => "parquet",
            Target::Webdataset => "webdataset",
            Target::Eva => "eva",
            Target::Hdf5 => "hdf5",
            Target::Trident => "trident",
            Target::Unicorn => "unicorn",
        }
    }
}

/// What to export, and how.
#[derive(Clone, Copy, Debug)]
pub struct Export<'a> {
    /// The finished cache, maybe with other labels.
    pub reader: &'a CacheReader,
    /// Format.
    pub to: Target,
    /// Folder of the files.
    pub out: &'a Path,
    /// Layer; 1 is the last block.
    pub layer: u32,
    /// Whether patch tokens are written too.
    pub patches: bool,
    /// Name of a split other than that of the extraction.
    pub split: Option<&'a str>,
    /// Whether an export in the folder is replaced.
    pub force: bool,
}

/// Result of an export.
#[derive(Debug)]
pub struct Exported {
    /// Number of rows.
    pub rows: u64,
    /// The files that tell what the folder holds: tokens first, then the table.
    pub files: Vec<PathBuf>,
    /// Warnings for the user.
    pub warnings: Vec<String>,
}

/// A row of the cache.
struct Row<'a> {
    /// Number among those that are exported.
    number: u64,
    slice: &'a SliceMeta,
    cls: &'a [f32],
    /// `P · D` numbers, if patch tokens are exported.
    patch: Option<&'a [f32]>,
    /// The picture, if the cache has pictures.
    picture: Option<&'a Picture>,
}

/// What all rows have in common.
struct Common<'a> {
    meta: &'a CacheMeta,
    rows: u64,
    width: usize,
    /// Rows and columns of patches, and their width, if they are exported.
    patch: Option<[usize; 3]>,
}

/// Writer of rows in one format.
trait Sink {
    /// Adds a row.
    fn add(&mut self, row: &Row<'_>) -> Result<(), Error>;

    /// Ends the files, and returns the names of those that hold tokens.
    fn finish(self: Box<Self>) -> Result<Vec<String>, Error>;
}

impl Export<'_> {
    /// Writes the files. The folder is there when all of them are finished, and not before.
    ///
    /// # Errors
    ///
    /// [`Error::Options`] if the folder holds anything but an export that may be replaced, or the format has no
    /// place for the labels; [`Error::Cache`] if the cache has no such layer or no patch tokens, or cannot be
    /// read; and [`Error::File`].
    pub fn run(&self) -> Result<Exported, Error> {
        let meta = self.reader.meta();
        let folder = Folder::create(self.out, self.force)?;
        let mut reading = Reading::begin(self)?;
        let common = Common {
            meta,
            rows: reading.rows(),
            width: meta.shape(self.layer).cls as usize,
            patch: self.patches.then(|| {
                let shape = meta.shape(self.layer);
                [shape.grid[0], shape.grid[1], shape.patch].map(|side| side as usize)
            }),
        };
        let mut sink = self.sink(folder.path(), &common)?;
        let mut table = table::Table::create(folder.path(), meta)?;
        while let Some(row) = reading.next()? {
            sink.add(&row.as_row())?;
            table.add(&row.slice)?;
        }
        let mut files = sink.finish()?;
        files.push(table.finish(meta)?);
        folder.write("slicebank.json", self.about().to_string().as_bytes())?;
        folder.finish()?;
        Ok(Exported {
            rows: common.rows,
            files: files.iter().map(|file| self.out.join(file)).collect(),
            warnings: reading.warnings(),
        })
    }

    fn sink(&self, folder: &Path, common: &Common<'_>) -> Result<Box<dyn Sink>, Error> {
        Ok(match self.to {
            Target::Npy => Box::new(npy::Arrays::create(folder, common)?),
            Target::Npz => Box::new(npy::Archive::create(folder, common)?),
            Target::Parquet => Box::new(parquet::Lists::create(folder, common)?),
            Target::Webdataset => Box::new(webdataset::Shards::create(folder, common)?),
            Target::Eva => Box::new(eva::Files::create(folder, common)?),
            Target::Hdf5 => Box::new(hdf5::OneFile::create(folder, common)?),
            Target::Trident => Box::new(hdf5::Slides::create(folder, common)?),
            Target::Unicorn => Box::new(unicorn::Cases::create(folder, common)?),
        })
    }

    /// What the files were made of.
    fn about(&self) -> serde_json::Value {
        let meta = self.reader.meta();
        json!({
            "format": self.to.name(),
            "tool_version": env!("CARGO_PKG_VERSION"),
            "cache_sha256": self.reader.sha256(),
            "dataset": meta.dataset,
            "task": meta.task,
            "classes": meta.classes,
            "model": meta.model,
            "image_size": meta.image_size,
            "preprocess": meta.preprocess,
            "provider": meta.provider,
            "precision": meta.precision,
            "imported": meta.imported,
            "layer": self.layer,
            "split": self.split,
            "labels": self.reader.labels().map(|set| set.name.clone()),
        })
    }
}

/// The index of a row's class; `None` if it is not known.
///
/// # Errors
///
/// [`Error::Options`] for labels of other kinds.
fn class_of(slice: &SliceMeta, task: Task, format: &str) -> Result<Option<u32>, Error> {
    match (&slice.labels, task) {
        (cache::Labels::Single(class), Task::SingleLabel) => Ok(*class),
        _ => Err(Error::Options {
            found: format!("`--to {format}` of a cache whose rows do not have one class each"),
            hint: "choose another format, or labels with one class: `extract relabel`, then `--labels NAME`".to_owned(),
        }),
    }
}
