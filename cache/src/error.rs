//! Errors of caches.

mod hints;

use std::io;
use std::path::{Path, PathBuf};

use common::counted;
use common::text::{argument, shown};
use parquet::errors::ParquetError;

use self::hints::{
    anew, cause, did_you_mean, hint, known_names, named, of_splits, parts_left, split_command,
};
use crate::Holder;

/// An error of the cache.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder could not be read or written.
    #[error("`{path}`: cannot {action}: {source}{}", hint(.path, .source), path = shown(path))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The action that failed, as a verb phrase.
        action: &'static str,
        /// The cause.
        source: std::io::Error,
    },
    /// A shard could not be decoded or encoded.
    #[error("`{path}`: {}\nhint: the file is damaged; {}", shown(cause(&source.to_string())), anew(path), path = shown(path))]
    Parquet {
        /// The shard's file.
        path: PathBuf,
        /// The cause.
        source: ParquetError,
    },
    /// `meta.json` is not what a cache has.
    #[error(
        "`{path}`: not a cache description: {source}\nhint: {}", anew(path), path = shown(path), source = shown(&source.to_string())
    )]
    Meta {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: serde_json::Error,
    },
    /// The history of a cache is damaged.
    #[error("`{path}`: {}\nhint: only `extract show` reads it; delete it", shown(what), path = shown(path))]
    History {
        /// The file.
        path: PathBuf,
        /// The damage.
        what: String,
    },
    /// The folder has no `meta.json`.
    #[error("`{path}`: no cache here (`meta.json` is missing)\nhint: run `extract` first", path = shown(path))]
    NoCache {
        /// The folder.
        path: PathBuf,
    },
    /// The cache was written by an incompatible version.
    #[error(
        "`{path}`: cache format {found}, this program reads {expected}\nhint: extract again, or use the version that wrote it", path = shown(path)
    )]
    Version {
        /// The cache's folder.
        path: PathBuf,
        /// The version in the file.
        found: u32,
        /// The version that this library reads.
        expected: u32,
    },
    /// `extract` was stopped before it had done all samples.
    #[error(
        "`{path}`: the cache is not finished ({} so far)\nhint: run the same `extract` command again; it goes on where it stopped",
        counted(*rows, "slice"), path = shown(path)
    )]
    Incomplete {
        /// The cache's folder.
        path: PathBuf,
        /// Slices that were saved.
        rows: u64,
    },
    /// The cache is extracted in parts, and not all of them are done and joined.
    #[error(
        "`{path}`: {} of {}{}",
        of - missing.len() as u32, counted(*of, "part"), parts_left(path, missing), path = shown(path)
    )]
    Parts {
        /// The cache's folder.
        path: PathBuf,
        /// Number of parts.
        of: u32,
        /// Numbers of the parts that are not done.
        missing: Vec<u32>,
    },
    /// No part of a cache has a row.
    #[error(
        "`{path}`: no part has a slice: none of {} could be read\nhint: correct the dataset, delete `parts` in that folder, and extract again",
        counted(*samples, "sample"), path = shown(path)
    )]
    EmptyParts {
        /// The cache's folder.
        path: PathBuf,
        /// Number of samples of the dataset.
        samples: u64,
    },
    /// A cache exists that was made in another way.
    #[error(
        "`{path}`: made with another `{field}`: the cache has {found}, this run has {expected}\nhint: repeat the run with the cache's value, give another --cache folder, or delete this one{}",
        of_splits(field), path = shown(path), field = shown(field), found = shown(found), expected = shown(expected)
    )]
    Mismatch {
        /// The cache's folder.
        path: PathBuf,
        /// The field of `meta.json` that differs.
        field: String,
        /// The cache's value.
        found: String,
        /// This run's value.
        expected: String,
    },
    /// A cache exists that was made of other samples.
    #[error(
        "`{path}`: made of other samples than this run's: files were added, removed or replaced, labels or splits changed, or `--limit` is another\nhint: give another --cache folder, or delete this one to make it anew; a finished cache gets another split from `extract split`", path = shown(path)
    )]
    OtherSamples {
        /// The cache's folder.
        path: PathBuf,
    },
    /// A folder in the cache's folder is a link.
    #[error(
        "`{path}`: a link, through which files outside of the cache would be changed\nhint: delete the link; if you moved the folder, move it back", path = shown(path)
    )]
    Link {
        /// The link.
        path: PathBuf,
    },
    /// Another process writes to the cache.
    #[error("`{path}`: {} is writing this cache\nhint: wait until it has finished, or stop it", named(holder.as_ref()), path = shown(path))]
    Locked {
        /// The cache's folder.
        path: PathBuf,
        /// The process, if it is known.
        holder: Option<Holder>,
    },
    /// Another process has taken over the cache that this one was writing.
    #[error("`{path}`: another process has taken over this cache, and this one has stopped writing it\nhint: `.lock` in that folder names it; run `extract verify` when it has finished", path = shown(path))]
    LockLost {
        /// The cache's folder.
        path: PathBuf,
    },
    /// Another process has replaced `meta.json` in a bucket.
    #[error(
        "`{path}`: another process has written this cache\nhint: wait until it has finished; the same command continues what it has left", path = shown(path)
    )]
    Raced {
        /// The cache's location.
        path: PathBuf,
    },
    /// A command changes files in place, which buckets do not allow.
    #[error(
        "`{path}`: this works on caches in folders only, not in buckets\nhint: copy the cache to a folder with the tools of the object store, change it there, and copy it back", path = shown(path)
    )]
    InBucket {
        /// The cache's location.
        path: PathBuf,
    },
    /// A shard is not what `meta.json` says of it, or `meta.json` says what no cache can be.
    #[error(
        "`{path}`: {what} is {found}, expected {expected}\nhint: the file was damaged or replaced; {}", anew(path), path = shown(path), found = shown(found), expected = shown(expected)
    )]
    Shard {
        /// The shard's file, or `meta.json`.
        path: PathBuf,
        /// What was compared.
        what: &'static str,
        /// The file's value.
        found: String,
        /// The value that it should have.
        expected: String,
    },
    /// A row is appended that no cache may hold.
    #[error("`{path}`: row {row} to be written: {what} is {found}, expected {expected}", path = shown(path), found = shown(found), expected = shown(expected))]
    Row {
        /// The cache's folder.
        path: PathBuf,
        /// The row, from 0.
        row: u64,
        /// Name of the value.
        what: &'static str,
        /// The row's value.
        found: String,
        /// The values that it may have.
        expected: String,
    },
    /// Not enough memory.
    #[error(
        "`{path}`: reading it takes {bytes} bytes of memory, which are not available\nhint: use a machine with more memory", path = shown(path)
    )]
    Memory {
        /// The cache's folder.
        path: PathBuf,
        /// Bytes of memory.
        bytes: usize,
    },
    /// A batch is not of the shapes that the cache has.
    #[error("`{path}`: a batch's {what} is {found}, the cache has {expected}", path = shown(path), found = shown(found), expected = shown(expected))]
    Shape {
        /// The cache's folder.
        path: PathBuf,
        /// What was compared.
        what: &'static str,
        /// The batch's value.
        found: String,
        /// The cache's value.
        expected: String,
    },
    /// A token is NaN, infinite or beyond the range of f16.
    #[error(
        "{}, slice {slice}: `{column}` holds a value that f16 cannot keep ({value})\nhint: the model computes NaN or overflows on this image",
        shown(sample), column = shown(column)
    )]
    NotFinite {
        /// The sample.
        sample: String,
        /// The slice in it.
        slice: u32,
        /// The column.
        column: String,
        /// The value.
        value: f32,
    },
    /// The requested table, layer, shard or row does not exist.
    #[error("`{path}`: {what}\nhint: {hint}", path = shown(path), what = shown(what))]
    Missing {
        /// The cache's folder.
        path: PathBuf,
        /// The missing part.
        what: String,
        /// Advice.
        hint: &'static str,
    },
    /// A split cannot have this name.
    #[error(
        "`{name}`: not a name for a split, expected 1 to 100 letters, digits, `-`, `_`, `.` or `+`, and no `.` in front\nhint: for instance `random-1` or `fold0`", name = shown(name)
    )]
    SplitName {
        /// The name.
        name: String,
    },
    /// The cache has no split of this name.
    #[error(
        "`{path}`: the cache has no split `{name}`{}{}\nhint: make it with `{} --name {name} --rule RULE`",
        known_names(known, "that"),
        did_you_mean(name, known), split_command(path), path = shown(path), name = shown(name)
    )]
    NoSplit {
        /// The cache's folder.
        path: PathBuf,
        /// The name.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// A named split is not one of the cache's samples.
    #[error("`{path}`: {what}\nhint: make the split again with `extract split`", path = shown(path), what = shown(what))]
    SplitTable {
        /// The split's file.
        path: PathBuf,
        /// Description of the fault.
        what: String,
    },
    /// A shard that was computed again has other bytes than the damaged one had.
    #[error(
        "`{path}`: what was computed again is not what was there: files of the dataset, the options or the version of the runtime, or the processor are others\nhint: repair it where it was extracted, or delete the cache and extract again", path = shown(path)
    )]
    OtherTokens {
        /// The file.
        path: PathBuf,
    },
    /// A label set cannot have this name.
    #[error(
        "`{name}`: not a name for labels, expected 1 to 100 letters, digits, `-`, `_`, `.` or `+`, no `.` in front, and not `original`\nhint: for instance `corrected` or `two-readers`", name = shown(name)
    )]
    LabelsName {
        /// The name.
        name: String,
    },
    /// The cache has no label set of this name.
    #[error(
        "`{path}`: the cache has no labels `{name}`{}{}\nhint: make them with `extract relabel {cache} --name {name} --labels TABLE`, or leave `--labels` out", known_names(known, "those"), did_you_mean(name, known), path = shown(path), cache = argument(path), name = shown(name)
    )]
    NoLabels {
        /// The cache's folder.
        path: PathBuf,
        /// The name.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// The cache has a label set of this name already.
    #[error(
        "`{path}`: the cache has labels `{name}` already\nhint: give another --name, or --force to replace them", path = shown(path), name = shown(name)
    )]
    LabelsExist {
        /// The cache's folder.
        path: PathBuf,
        /// The name.
        name: String,
    },
    /// New labels are what no cache can have.
    #[error("`{path}`: labels for this cache: {what}\nhint: correct the table or the dataset that the labels are from", path = shown(path), what = shown(what))]
    NewLabels {
        /// The cache's folder.
        path: PathBuf,
        /// Description of the fault.
        what: String,
    },
    /// Labels or splits of a part of a cache, which would be lost when the parts are joined.
    #[error("`{path}`: this is a part of a cache, and joining the parts keeps no labels or splits that were added to one\nhint: join the parts with `extract merge`, and add them to the whole cache", path = shown(path))]
    LabelsOfPart {
        /// The part's folder.
        path: PathBuf,
    },
    /// A label set is not one of the cache's slices.
    #[error("`{path}`: {what}\nhint: make the labels again with `extract relabel`", path = shown(path), what = shown(what))]
    LabelSet {
        /// The description of the set, or one of its tables.
        path: PathBuf,
        /// Description of the fault.
        what: String,
    },
}

/// A closure for `map_err` of what Parquet's encoder and decoder do with a file. The error of a full disk or a server that
/// refuses, however deeply it is wrapped, is no damage of the file.
pub(crate) fn parquet_error(
    path: &Path,
    action: &'static str,
) -> impl FnOnce(ParquetError) -> Error {
    let path = path.to_path_buf();
    let is_damage = |error: &io::Error| {
        [io::ErrorKind::InvalidData, io::ErrorKind::UnexpectedEof].contains(&error.kind())
    };
    move |source| match source {
        ParquetError::External(cause) => match cause.downcast::<io::Error>() {
            Ok(cause) if !is_damage(&cause) => io_error(&path, action)(*cause),
            Ok(cause) => Error::Parquet {
                path,
                source: ParquetError::External(cause),
            },
            Err(cause) => Error::Parquet {
                path,
                source: ParquetError::External(cause),
            },
        },
        source => Error::Parquet { path, source },
    }
}

/// A closure for `map_err` with the file and the action that failed.
pub(crate) fn io_error(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_path_buf();
    move |source| Error::Io {
        path,
        action,
        source,
    }
}
