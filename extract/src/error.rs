//! Errors of stage one.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

use common::disk::size;
use common::text::{printable_part, shown};
use common::{FileError, counted, did_you_mean};

use crate::ModelError;
use crate::prepare::SampleError;

/// An error of stage one. The message names the file; a second line, `hint:`, says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read, whatever its format.
    #[error(transparent)]
    File(#[from] FileError),
    /// An image or a label map cannot be read or cut.
    #[error(transparent)]
    Image(#[from] imaging::Error),
    /// An image and its masks do not fit, or cannot be used.
    #[error(transparent)]
    Sample(#[from] SampleError),
    /// The key of the hashes that stand for patients cannot be read or made.
    #[error("`{}`: the key of the hashes for patients: {reason}\nhint: set the variable SLICEBANK_ID_KEY to a writable file, or keep the identifiers: `--keep-ids`", shown(path), reason = shown(reason))]
    IdKey {
        /// The file.
        path: PathBuf,
        /// The cause.
        reason: String,
    },
    /// A split rule cannot be parsed.
    #[error(
        "`{word}`: expected {expected}\nhint: for instance `random:0.7:0.1:0.2`, `systematic:test=70,val=50` or `official`", word = shown(word), expected = shown(expected)
    )]
    BadSplitRule {
        /// The text that was given.
        word: String,
        /// The expected form.
        expected: String,
    },
    /// A card has no recipe of this name.
    #[error(
        "`{name}`: no such recipe of `{dataset}`{}, expected one of `{}`\nhint: leave `--recipe` out, or give `--intensity` and `--slicing` yourself",
        did_you_mean(name, known), shown(&known.join("`, `")), name = shown(name), dataset = shown(dataset)
    )]
    UnknownRecipe {
        /// The dataset.
        dataset: String,
        /// The name that was given.
        name: String,
        /// All names.
        known: Vec<String>,
    },
    /// A link leads out of the dataset's folder.
    #[error(
        "`{}`: the link leads to `{}`, outside the dataset's folder\nhint: pass the folder that the files are really in, or copy them",
        shown(path),
        shown(target)
    )]
    LinkOutside {
        /// The link.
        path: PathBuf,
        /// Its target.
        target: PathBuf,
    },
    /// No dataset has this name.
    #[error(
        "`{name}`: no such dataset{}, expected one of `{}`\nhint: use `manifest` or `folder` for your own images, or name a TOML file that describes them; `extract datasets` lists what is built in",
        did_you_mean(name, known), shown(&known.join("`, `")), name = shown(name)
    )]
    UnknownDataset {
        /// The name that was given.
        name: String,
        /// All names.
        known: Vec<String>,
    },
    /// No sample has this name.
    #[error(
        "`{name}`: no such sample{}, expected one of `{}`\nhint: `extract sample` lists them",
        did_you_mean(name, known), shown(&known.join("`, `")), name = shown(name)
    )]
    UnknownSampleSet {
        /// The name that was given.
        name: String,
        /// All names.
        known: Vec<String>,
    },
    /// A card names an unknown layout.
    #[error(
        "`{dataset}`: unknown layout `{name}`{}, expected one of `{}`\nhint: correct `layout` in the dataset's card",
        did_you_mean(name, known), shown(&known.join("`, `")), dataset = shown(dataset), name = shown(name)
    )]
    UnknownLayout {
        /// The card.
        dataset: String,
        /// Its layout.
        name: String,
        /// All layouts.
        known: Vec<String>,
    },
    /// The folder of a dataset has an unexpected layout.
    #[error("`{}`: found {found}, expected {expected}\nhint: {hint}", shown(path), found = shown(found), expected = shown(expected), hint = shown(hint))]
    Layout {
        /// The folder.
        path: PathBuf,
        /// The content.
        found: String,
        /// The expected content.
        expected: String,
        /// The hint.
        hint: String,
    },
    /// A table cannot be read as CSV.
    #[error("`{}`: line {line}: {found}\nhint: {hint}", shown(path), found = shown(found))]
    Csv {
        /// The table.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The fault.
        found: String,
        /// The hint.
        hint: &'static str,
    },
    /// A table cannot be read as Parquet.
    #[error("`{}`: {source}\nhint: write the table again, compressed by zstd or snappy or not at all, or as CSV", shown(path), source = shown(&source.to_string()))]
    Parquet {
        /// The table.
        path: PathBuf,
        /// The parser's error.
        source: parquet::errors::ParquetError,
    },
    /// A table lacks a column.
    #[error("`{}`: found the columns `{}`, expected one named `{column}`{}\nhint: rename the column that is meant", shown(path), shown(&found.join("`, `")), did_you_mean(column, found), column = shown(column))]
    MissingColumn {
        /// The table.
        path: PathBuf,
        /// The column.
        column: String,
        /// All columns.
        found: Vec<String>,
    },
    /// A line of a CSV file has more or fewer fields than the header.
    #[error("`{}`: line {line}: found {}, expected {expected}\nhint: put quotes around fields that contain the separator", shown(path), counted(*found, "field"))]
    RaggedRow {
        /// The table.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// Its number of fields.
        found: usize,
        /// The number of fields of the header.
        expected: usize,
    },
    /// A cell of a table has an invalid value.
    #[error("`{}`: line {line}: found `{value}` as the {column}, expected {expected}\nhint: correct the cell, or leave it blank where that is allowed", shown(path), column = shown(column), value = shown(value), expected = shown(expected))]
    BadCell {
        /// The table.
        path: PathBuf,
        /// The line (CSV) or row (Parquet), counted from 1 with the header.
        line: usize,
        /// The column.
        column: String,
        /// The value.
        value: String,
        /// The expected values.
        expected: String,
    },
    /// A table names a file outside its own folder.
    #[error("`{}`: line {line}: `{value}` is outside `{}`\nhint: move or copy the files, or give the folder that contains all of them as `--image-root`", shown(path), shown(root), value = shown(value))]
    OutsideRoot {
        /// The table.
        path: PathBuf,
        /// The folder that contains the dataset's files.
        root: PathBuf,
        /// The line (CSV) or row (Parquet), counted from 1 with the header.
        line: usize,
        /// The path in the cell.
        value: String,
    },
    /// No sample of a dataset could be read.
    #[error(
        "no sample of {samples} could be read\nhint: the warnings above say why; correct that and run the same command again"
    )]
    NothingRead {
        /// Number of samples.
        samples: u64,
    },
    /// A card cannot be parsed.
    #[error("`{}`: {source}hint: compare it with the cards beside it", shown(path), source = printable_part(&source.to_string(), source.message()))]
    Card {
        /// The card.
        path: PathBuf,
        /// The parser's error.
        source: Box<toml::de::Error>,
    },
    /// The model cannot be loaded or run.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Options contradict each other or the dataset.
    #[error("{found}\nhint: {hint}")]
    Options {
        /// The options.
        found: String,
        /// How to correct them.
        hint: String,
    },
    /// No execution provider can run the model; one reason per provider.
    #[error("{0}")]
    NoDevice(String),
    /// A description cannot be written as JSON.
    #[error("internal error: {0}\nhint: please report it with the command")]
    Json(#[from] serde_json::Error),
    /// The cache cannot be written.
    #[error(transparent)]
    Cache(#[from] cache::Error),
    /// A sample that has slices in the cache became unreadable.
    #[error(
        "{source}\nhint: slices of `{sample}` are in the cache already: restore the file, or delete the cache and extract again", sample = shown(sample)
    )]
    HalfSample {
        /// The sample.
        sample: String,
        /// The cause.
        source: Box<Error>,
    },
    /// Source files are not those that a cache was made of.
    #[error(
        "`{}`: {} changed since the tokens were computed, for instance `{examples}`\nhint: restore these files; to extract the new ones, give another --cache folder, or delete this cache first: `extract rm`", shown(path), counted(*count, "source file"), examples = shown(examples)
    )]
    SourcesChanged {
        /// The cache's folder.
        path: PathBuf,
        /// Number of such files.
        count: usize,
        /// Some of them.
        examples: String,
    },
    /// The disk has too little space for the cache.
    #[error("`{}`: the tokens of {} need about {} more, and {} are free\nhint: {hint}", shown(path), counted(*slices, "slice"), size(*needed), size(*free))]
    Space {
        /// The cache's folder.
        path: PathBuf,
        /// Bytes to write.
        needed: u64,
        /// Bytes that can be written.
        free: u64,
        /// Number of slices.
        slices: u64,
        /// How to need less.
        hint: String,
    },
    /// A worker thread panicked.
    #[error(
        "internal error: a worker thread panicked; the cache is incomplete\nhint: please report this with the command and the messages above"
    )]
    Broken,
    /// Two classes have the same name.
    #[error("`{}`: two classes have the name `{name}`\nhint: give each class its own name", shown(path), name = shown(name))]
    DuplicateClass {
        /// The table or the folder.
        path: PathBuf,
        /// The name.
        name: String,
    },
    /// Two samples have the same id.
    #[error("`{}`: two samples have the id `{id}`\nhint: rename one file, or give each line of a manifest its own `id`", shown(path), id = shown(id))]
    DuplicateId {
        /// The table or the folder.
        path: PathBuf,
        /// The id.
        id: String,
    },
    /// Patients have samples in several splits.
    #[error(
        "patients in several splits: {count}, {examples}\nhint: {hint}, or allow it with `--allow-patient-overlap`", examples = shown(examples)
    )]
    PatientOverlap {
        /// Number of such patients.
        count: usize,
        /// Up to five of them, with their splits.
        examples: String,
        /// Advice.
        hint: &'static str,
    },
    /// A split rule does not apply to these samples.
    #[error("`{rule}`: found {found}, expected {expected}\nhint: {hint}", rule = shown(rule), found = shown(found), expected = shown(expected), hint = shown(hint))]
    Unsplittable {
        /// The rule.
        rule: String,
        /// The samples that were found.
        found: String,
        /// The samples that the rule needs.
        expected: String,
        /// The hint.
        hint: String,
    },
}

impl Error {
    /// The same error with files under `root` named relative to it.
    #[must_use]
    pub(crate) fn relative_to(self, root: &Path) -> Error {
        self.renamed(|path| path.strip_prefix(root).unwrap_or(path).to_path_buf())
    }

    /// The same error with other names of a sample's files.
    #[must_use]
    pub(crate) fn renamed(mut self, name: impl Fn(&Path) -> PathBuf) -> Error {
        let paths = match &mut self {
            Error::File(error) => vec![error.path_mut()],
            Error::Image(error) => error.paths_mut(),
            Error::Sample(error) => vec![error.path_mut()],
            Error::LinkOutside { path, .. } => vec![path],
            // Not of a sample's files.
            _ => Vec::new(),
        };
        for path in paths {
            *path = name(path);
        }
        self
    }

    /// The content of `path` is damaged.
    pub(crate) fn damaged(path: &Path, reason: impl Display) -> Error {
        FileError::damaged(path, reason).into()
    }

    /// `path` holds more than is read.
    pub(crate) fn too_large(path: &Path, found: impl Display, limit: impl Display) -> Error {
        FileError::too_large(path, found, limit).into()
    }

    /// A closure for `map_err` that names the file which the system failed to read.
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
        let error = FileError::io(path);
        move |source| error(source).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_named_relative_to_the_folder_however_it_is_spelt() {
        for spelt in ["data", "data/", "./data/", "/data//", "."] {
            let (root, file) = (Path::new(spelt), "metadata/data/bad.png");
            let path = root.join(file);
            let image: Error = imaging::Error::AppleDouble { path: path.clone() }.into();
            for error in [FileError::Empty { path }.into(), image] {
                let text = error.relative_to(root).to_string();
                assert!(text.starts_with(&format!("`{file}`: ")), "{text}");
            }
        }
    }
}
