//! An import: from files of embeddings and a table to a finished cache.

use std::path::{Path, PathBuf};

use cache::{CacheMeta, CacheReader, CacheWriter, Session};

use super::description::{self, RowsMeta};
use super::listed_rows::ListedRows;
use super::source::{Format, Opened, Request};
use super::source_files::SourceFiles;
use super::tokens::TokenReader;
use super::write;
use crate::Error;
use crate::dataset::TokenTableOptions;

/// What to import, and how.
#[derive(Clone, Copy, Debug)]
pub struct Import<'a> {
    /// File of embeddings, or the folder that the format has.
    pub source: &'a Path,
    /// Format; `None` for that of the file's ending.
    pub format: Option<Format>,
    /// Table of the rows: samples, labels, patients, splits.
    pub table: Option<&'a Path>,
    /// Columns of the table with one class each: 1, 0, -1 or blank.
    pub label_columns: &'a [String],
    /// Column of the table with the number of each line's row in the array, from 0.
    pub row_column: Option<&'a str>,
    /// Name of the array of embeddings in the file.
    pub array: Option<&'a str>,
    /// File of patch tokens, or the name of their array in the file.
    pub patches: Option<&'a str>,
    /// Rows and columns of the patches, if they are not a square.
    pub grid: Option<[u32; 2]>,
    /// Factor by which all numbers are multiplied.
    pub scale: f64,
    /// Name of the model that computed the embeddings.
    pub model: &'a str,
    /// Name of the dataset.
    pub dataset: &'a str,
    /// Side of the model's input in pixels.
    pub image_size: u32,
    /// Folder of caches.
    pub caches: &'a Path,
    /// Whether a patient may be in several splits.
    pub allow_patient_overlap: bool,
}

/// News of a running import.
#[derive(Clone, Debug)]
pub enum Note {
    /// A warning for the user.
    Warning(String),
    /// The cache in this folder is about to be locked.
    Opening(PathBuf),
    /// Number of rows that are written, and of all.
    Rows(u64, u64),
}

/// Result of an import.
#[derive(Debug)]
pub struct Imported {
    /// Folder of the cache.
    pub dir: PathBuf,
    /// Its description.
    pub meta: CacheMeta,
    /// Whether an earlier import of the same files had finished it.
    pub was_there: bool,
}

impl Import<'_> {
    /// Writes the cache, or goes on with one that an import of the same files began.
    ///
    /// # Errors
    ///
    /// Errors of the files; [`Error::Layout`] if files and table do not fit, or numbers cannot be held by a cache;
    /// [`Error::PatientOverlap`]; [`cache::Error::Mismatch`] and [`cache::Error::OtherSamples`] if a cache of
    /// this name was made of other files.
    pub fn run(&self, report: &mut dyn FnMut(Note)) -> Result<Imported, Error> {
        let dir = description::dir(self)?;
        self.check_scale()?;
        let opened = Opened::open(Request {
            path: self.source,
            format: self.format,
            table: self.table,
            array: self.array,
            patches: self.patches,
        })?;
        let (format, table) = (opened.format, opened.table);
        let mut tokens = TokenReader::of(opened.tokens, opened.patches, self.grid, self.scale)?;
        let options = TokenTableOptions {
            label_columns: self.label_columns,
            row_column: self.row_column,
            left_out: &opened.left_out,
            file_column: opened.file_column,
            numbered_classes: format == Format::Eva,
        };
        let rows = ListedRows::of(table.as_deref(), options, (&tokens, opened.naming))?;
        let mut files = opened.files;
        files.extend(table.clone());
        files.sort();
        files.dedup();
        let checked = rows.check(self.allow_patient_overlap)?;
        for warning in rows.warnings().chain(checked.warnings) {
            report(Note::Warning(warning));
        }
        let files = SourceFiles::hash(&files)?;
        let imported = cache::Imported {
            format: format.name().to_owned(),
            files: files.len() as u64,
            sha256: files.sha256.clone(),
            scale: (self.scale.to_bits() != 1.0_f64.to_bits()).then_some(self.scale),
            tokens: tokens.content(),
        };
        let rows_meta = RowsMeta {
            task: rows.task(),
            classes: rows.classes(),
            split: description::split_of(table.as_deref().filter(|_| rows.has_splits())),
            samples: checked.samples,
            sha256: checked.sha256,
        };
        let run = description::describe(self, &tokens, rows_meta, imported);
        if CacheMeta::read(&dir).is_ok_and(|meta| meta.complete) {
            let meta = CacheReader::open_same(&dir, &run)?.meta().clone();
            return Ok(Imported {
                dir,
                meta,
                was_there: true,
            });
        }
        report(Note::Opening(dir.clone()));
        let mut writer = CacheWriter::open(&dir, run)?;
        writer.record(session());
        let rows = rows.described(&checked.slices, self.image_size);
        let meta = write::write(writer, &mut tokens, rows, files, report);
        // After a stop an import goes on; after an error the files are others.
        let meta = meta.inspect_err(|_| {
            let _ = std::fs::remove_dir_all(&dir);
        })?;
        if tokens.tiny > 0 {
            report(Note::Warning(format!(
                "{} of {} rows have no number above 6.1e-5, below which half precision keeps fewer digits: `--scale` \
                 multiplies all numbers",
                tokens.tiny, meta.rows
            )));
        }
        Ok(Imported {
            dir,
            meta,
            was_there: false,
        })
    }

    fn check_scale(&self) -> Result<(), Error> {
        if self.scale.is_finite() && self.scale > 0.0 {
            return Ok(());
        }
        Err(Error::Options {
            found: format!("`--scale {}`", self.scale),
            hint: "give a positive number".to_owned(),
        })
    }
}

fn session() -> Session {
    Session {
        action: "import".to_owned(),
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        ..Session::default()
    }
}
