//! Named splits, made after extraction: `splits/NAME.parquet`.

use std::borrow::Borrow;
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::hash::Hash;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use common::text::printable;
use common::{counted, sha256_bytes};
use parquet::file::metadata::KeyValue;

use crate::beside;
use crate::error::io_error;
use crate::rows::NAME_BYTES;
use crate::table_reader::{ParquetFile, batches};
use crate::{CacheLock, CacheReader, Error, SliceMeta, Split, store};

/// Folder of named splits in a cache.
pub(crate) const FOLDER: &str = crate::folder::SPLITS;

/// Key of the rule in a file's metadata.
const RULE: &str = "rule";

/// A split of a cache's samples beside that of its `slices` table.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedSplit {
    /// Rule that made it.
    pub rule: String,
    /// SHA-256 of its file, in hex.
    pub sha256: String,
    /// Split of each sample.
    pub of: HashMap<String, Option<Split>>,
}

/// Writes, or replaces in one step, a named split of the finished cache `dir`.
///
/// # Errors
///
/// [`Error::SplitName`], [`Error::SplitTable`] if `splits` does not name each sample of the cache
/// exactly once, [`Error::LabelsOfPart`], [`Error::Locked`] if another process writes to the cache,
/// [`Error::Io`], and those of [`CacheReader::open`].
pub fn write_split(
    dir: &Path,
    name: &str,
    rule: &str,
    splits: &[(String, Option<Split>)],
) -> Result<(), Error> {
    let path = split_path(dir, name)?;
    let samples = splits.iter().map(|(sample, _)| sample.as_str());
    let reader = CacheReader::open(dir)?;
    if reader.meta().part.is_some() {
        return Err(Error::LabelsOfPart { path: dir.into() });
    }
    check_samples(&path, samples, sample_names(&reader)?)?;
    let _lock = CacheLock::of(dir)?;
    let rows = encode(splits).map_err(|source| Error::Parquet {
        path,
        source: source.into(),
    })?;
    let rule = KeyValue::new(RULE.to_owned(), rule.to_owned());
    let file = format!("{name}.parquet");
    beside::write(dir, (FOLDER, &file), &rows, vec![rule])
}

impl CacheReader {
    /// Sorted names of the named splits.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the folder cannot be listed.
    pub fn splits(&self) -> Result<Vec<String>, Error> {
        names(self.dir())
    }

    /// A named split.
    ///
    /// # Errors
    ///
    /// [`Error::SplitName`], [`Error::NoSplit`], and [`Error::SplitTable`] if the file is not that
    /// of a split; [`Error::Parquet`] and [`Error::Io`] if it cannot be read.
    pub fn named_split(&self, name: &str) -> Result<NamedSplit, Error> {
        let path = split_path(self.dir(), name)?;
        if !store::is_file(&path) {
            return Err(Error::NoSplit {
                path: self.dir().into(),
                name: name.to_owned(),
                known: self.splits()?,
            });
        }
        let file = beside::open(self.dir(), FOLDER, &format!("{name}.parquet"))?;
        let bytes = store::read(&path).map_err(io_error(&path, "read"))?;
        let sha256 = sha256_bytes(&bytes);
        let (rule, of) = decode(&file, self.meta().rows)?;
        Ok(NamedSplit { rule, sha256, of })
    }

    /// Rows of the `slices` table with the splits of a named split, and that split.
    ///
    /// # Errors
    ///
    /// As [`named_split`](Self::named_split) and [`slices`](Self::slices), and
    /// [`Error::SplitTable`] if the split is not one of exactly this cache's samples.
    pub fn slices_with_split(&self, name: &str) -> Result<(Vec<SliceMeta>, NamedSplit), Error> {
        let mut slices = self.slices()?;
        let rows = slices.iter().map(|slice| slice.sample.as_str());
        let split = self.checked_split(name, rows)?;
        for slice in &mut slices {
            slice.split = split.of.get(&slice.sample).copied().flatten();
        }
        Ok((slices, split))
    }
}

impl CacheReader {
    /// Checks a named split of a cache with these samples.
    ///
    /// # Errors
    ///
    /// As [`slices_with_split`](Self::slices_with_split).
    pub(crate) fn check_split(&self, name: &str, samples: &HashSet<Box<str>>) -> Result<(), Error> {
        let samples = samples.iter().map(|sample| &**sample);
        self.checked_split(name, samples).map(drop)
    }

    /// A named split, if it is one of exactly these samples.
    fn checked_split<'a>(
        &self,
        name: &str,
        samples: impl Iterator<Item = &'a str>,
    ) -> Result<NamedSplit, Error> {
        let split = self.named_split(name)?;
        let path = split_path(self.dir(), name)?;
        let seen: HashMap<&str, bool> = samples.map(|sample| (sample, false)).collect();
        check_samples(&path, split.of.keys().map(String::as_str), seen)?;
        Ok(split)
    }
}

/// The names of the splits in a cache's folder, sorted.
pub(crate) fn names(dir: &Path) -> Result<Vec<String>, Error> {
    let folder = dir.join(FOLDER);
    let mut names = Vec::new();
    for file in store::files(&folder).map_err(io_error(&folder, "list"))? {
        let name = file.file_name().and_then(OsStr::to_str);
        let name = name.and_then(|name| name.strip_suffix(".parquet"));
        names.extend(name.filter(|name| is_plain(name)).map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

fn split_path(dir: &Path, name: &str) -> Result<PathBuf, Error> {
    if is_plain(name) {
        Ok(dir.join(FOLDER).join(format!("{name}.parquet")))
    } else {
        Err(Error::SplitName { name: name.into() })
    }
}

/// Whether a name is valid as a file name on every system: letters, digits, `-`, `_`, `.` and `+`.
pub(crate) fn is_plain(name: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-_.+".contains(c);
    (1..=100).contains(&name.len()) && !name.starts_with('.') && name.chars().all(is_allowed)
}

/// The samples of a cache, none of them seen.
fn sample_names(reader: &CacheReader) -> Result<HashMap<Box<str>, bool>, Error> {
    let mut names: HashMap<Box<str>, bool> = HashMap::new();
    for slices in reader.slices_by_shard() {
        for slice in slices? {
            if !names.contains_key(&*slice.sample) {
                names.insert(slice.sample.into(), false);
            }
        }
    }
    Ok(names)
}

/// Refuses names that are not exactly the cache's samples, each once. `seen` has all samples.
fn check_samples<'a, K: Borrow<str> + Eq + Hash>(
    path: &Path,
    named: impl Iterator<Item = &'a str>,
    mut seen: HashMap<K, bool>,
) -> Result<(), Error> {
    for sample in named {
        match seen.get_mut(sample) {
            Some(seen) if !*seen => *seen = true,
            Some(_) => {
                let sample = printable(sample);
                return Err(wrong(path, format!("the sample `{sample}` is named twice")));
            }
            None => {
                let sample = printable(sample);
                return Err(wrong(path, format!("the cache has no sample `{sample}`")));
            }
        }
    }
    let mut missing: Vec<&str> = seen
        .iter()
        .filter(|(_, is)| !**is)
        .map(|(sample, _)| sample.borrow())
        .collect();
    missing.sort_unstable();
    match missing.first() {
        None => Ok(()),
        Some(first) => Err(wrong(
            path,
            format!(
                "{} of the cache not named, for instance `{}`",
                counted(missing.len(), "sample"),
                printable(first)
            ),
        )),
    }
}

fn wrong(path: &Path, what: String) -> Error {
    Error::SplitTable {
        path: path.into(),
        what,
    }
}

fn schema() -> Arc<Schema> {
    Arc::new(Schema::new(vec![
        Field::new("sample", DataType::Utf8, false),
        Field::new("split", DataType::Utf8, true),
    ]))
}

fn encode(splits: &[(String, Option<Split>)]) -> Result<RecordBatch, ArrowError> {
    let samples = splits.iter().map(|(sample, _)| sample);
    let names = splits.iter().map(|(_, split)| split.map(Split::name));
    RecordBatch::try_new(
        schema(),
        vec![
            Arc::new(StringArray::from_iter_values(samples)),
            Arc::new(StringArray::from_iter(names)),
        ],
    )
}

/// The rule and the split of each sample in a file of at most `most` samples.
fn decode(
    file: &ParquetFile,
    most: u64,
) -> Result<(String, HashMap<String, Option<Split>>), Error> {
    let builder = file.rows(NAME_BYTES)?;
    let path = &*file.path;
    if builder.schema().fields() != schema().fields() {
        let found = builder.schema().fields();
        let found: Vec<String> = found
            .iter()
            .map(|f| format!("{} {}", f.name(), f.data_type()))
            .collect();
        let what = format!(
            "the columns are `{}`, expected `sample Utf8`, `split Utf8`",
            found.join("`, `")
        );
        return Err(wrong(path, what));
    }
    let file = builder.metadata().file_metadata();
    if file.num_rows() as u64 > most {
        let (samples, rows) = (file.num_rows(), counted(most, "row"));
        return Err(wrong(
            path,
            format!("{samples} samples, but the cache has {rows}"),
        ));
    }
    let pairs = file.key_value_metadata();
    let rule = pairs.into_iter().flatten().find(|pair| pair.key == RULE);
    let rule = rule.and_then(|pair| pair.value.clone()).unwrap_or_default();
    let mut of = HashMap::new();
    for batch in batches(path, builder)? {
        let batch = batch?;
        let (samples, splits) = (
            batch.column(0).as_string::<i32>(),
            batch.column(1).as_string::<i32>(),
        );
        for k in 0..batch.num_rows() {
            let (sample, split) = (samples.value(k), split_of(path, splits, k)?);
            if of.insert(sample.to_owned(), split).is_some() {
                let sample = printable(sample);
                return Err(wrong(path, format!("the sample `{sample}` is named twice")));
            }
        }
    }
    Ok((rule, of))
}

fn split_of(path: &Path, splits: &StringArray, k: usize) -> Result<Option<Split>, Error> {
    if splits.is_null(k) {
        return Ok(None);
    }
    let word = splits.value(k);
    let split = Split::ALL.into_iter().find(|split| split.name() == word);
    let unknown = || {
        wrong(
            path,
            format!(
                "`{}` is no split, expected `train`, `val`, `test` or null",
                printable(word)
            ),
        )
    };
    split.map(Some).ok_or_else(unknown)
}
