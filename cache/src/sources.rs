//! The source files that tokens were computed from: `sources/NNNNN.parquet`, in the shard in which the first
//! slice of each file lies.

use std::collections::HashSet;
use std::path::{Component, Path};
use std::sync::Arc;
use std::time::SystemTime;

use arrow::array::{Array, AsArray, Int64Array, RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, UInt64Type};
use arrow::error::ArrowError;
use common::hex;
use common::text::printable;
use parquet::file::metadata::KeyValue;
use sha2::{Digest, Sha256};

use crate::folder::shard_file;
use crate::table_reader::read_whole;
use crate::{CacheMeta, CacheReader, Error, beside, store};

/// Folder of the records in a cache.
pub(crate) const FOLDER: &str = crate::folder::SOURCES;

/// A file of the dataset as it was when it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Its path relative to the dataset's root, `/` between folders; hashed as the paths in `slices` are.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Time of its last change in nanoseconds since 1970; `None` if the file system has none.
    pub modified_ns: Option<i64>,
    /// SHA-256 of its content, in hex.
    pub sha256: String,
    /// The first sample that was read from it.
    pub sample: String,
}

/// The files that were first read for slices of one shard.
#[derive(Clone, Debug, Default)]
pub struct ShardSources {
    /// The files, in the order of the samples.
    pub files: Vec<SourceFile>,
    /// Time at which the records were written. A file that changed about then or later may have the recorded
    /// time of change and another content.
    pub written: Option<SystemTime>,
}

impl ShardSources {
    /// Reads the records of all shards, one after the other, and those of rows since the last shard, but for
    /// damaged ones: such rows are computed again.
    pub fn all(dir: &Path, meta: &CacheMeta) -> impl Iterator<Item = Result<ShardSources, Error>> {
        let shards = 0..meta.shards.len();
        let shards = shards.map(move |shard| ShardSources::read(dir, meta, shard));
        let pending = CacheReader::of_pending(dir, meta, meta.pending.clone());
        let parts = 0..meta.pending.len();
        let parts = parts.map(move |part| ShardSources::read(pending.dir(), pending.meta(), part));
        shards.chain(parts.filter(Result::is_ok))
    }

    /// Reads the records of a shard of the cache `dir`; there are none in caches of earlier versions, and if
    /// all files of the shard are in earlier shards too.
    ///
    /// # Errors
    ///
    /// [`Error::Shard`], [`Error::Parquet`] and [`Error::Io`] if they are damaged.
    pub fn read(dir: &Path, meta: &CacheMeta, shard: usize) -> Result<ShardSources, Error> {
        let expected = meta
            .shards
            .get(shard)
            .and_then(|s| s.sources_sha256.as_ref());
        let Some(expected) = expected else {
            return Ok(ShardSources::default());
        };
        let file = beside::open(dir, FOLDER, &shard_file(shard))?;
        let path = &*file.path;
        let (rows, _) = read_whole(&file)?;
        let damaged = |what, found: String, expected: String| Error::Shard {
            path: path.into(),
            what,
            found,
            expected,
        };
        if rows.schema().fields() != schema().fields() {
            let names: Vec<_> = rows
                .schema()
                .fields()
                .iter()
                .map(|f| f.name().clone())
                .collect();
            let expected = "`path`, `bytes`, `modified_ns`, `sha256`, `sample`".to_owned();
            return Err(damaged("columns", names.join(", "), expected));
        }
        let files = decode(&rows);
        if let Some(file) = files.iter().find(|file| !is_inside(&file.path)) {
            let found = format!("`{}`", printable(&file.path));
            return Err(damaged(
                "a path",
                found,
                "one below the dataset's folder".into(),
            ));
        }
        let found = sha256_of(&files);
        if found != *expected {
            return Err(damaged("hash of the records", found, expected.clone()));
        }
        let written = store::stat(path).ok().and_then(|file| file.modified);
        Ok(ShardSources { files, written })
    }
}

/// Writes the records of a shard, and returns their hash; nothing is written if there are none.
pub(crate) fn write(
    dir: &Path,
    shard: usize,
    files: &[SourceFile],
    provenance: Vec<KeyValue>,
) -> Result<Option<String>, Error> {
    if files.is_empty() {
        return Ok(None);
    }
    let name = shard_file(shard);
    let rows = encode(files).map_err(|source| Error::Parquet {
        path: beside::path_of(dir, FOLDER, &name),
        source: source.into(),
    })?;
    beside::write(dir, (FOLDER, &name), &rows, provenance)?;
    Ok(Some(sha256_of(files)))
}

/// Paths of files, by 128 bits of their hashes.
#[derive(Debug, Default)]
pub(crate) struct KnownFiles(HashSet<[u8; 16]>);

impl KnownFiles {
    /// The files in all shards of a cache, and in rows since the last one.
    pub(crate) fn of(dir: &Path, meta: &CacheMeta) -> Result<KnownFiles, Error> {
        let mut known = KnownFiles::default();
        for sources in ShardSources::all(dir, meta) {
            for file in sources?.files {
                known.add(&file.path);
            }
        }
        Ok(known)
    }

    /// Adds a path; false if it was there.
    pub(crate) fn add(&mut self, path: &str) -> bool {
        let hash: [u8; 32] = Sha256::digest(path).into();
        let (first, _) = hash.split_at(16);
        self.0.insert(first.try_into().unwrap_or_default())
    }
}

/// SHA-256 over paths and hashes of files. Times are not in it, so that copies of a dataset give equal caches.
fn sha256_of(files: &[SourceFile]) -> String {
    let mut hash = Sha256::new();
    for file in files {
        hash.update(&file.path);
        hash.update([0]);
        hash.update(&file.sha256);
        hash.update([0]);
    }
    hex(&hash.finalize())
}

/// Whether a path of a cache that may be hostile stays in the folder that it is relative to.
fn is_inside(path: &str) -> bool {
    let mut parts = Path::new(path).components();
    !path.is_empty() && parts.all(|part| matches!(part, Component::Normal(_)))
}

fn schema() -> Arc<Schema> {
    Arc::new(Schema::new(vec![
        Field::new("path", DataType::Utf8, false),
        Field::new("bytes", DataType::UInt64, false),
        Field::new("modified_ns", DataType::Int64, true),
        Field::new("sha256", DataType::Utf8, false),
        Field::new("sample", DataType::Utf8, false),
    ]))
}

fn encode(files: &[SourceFile]) -> Result<RecordBatch, ArrowError> {
    let paths = files.iter().map(|file| &file.path);
    let hashes = files.iter().map(|file| &file.sha256);
    let samples = files.iter().map(|file| &file.sample);
    RecordBatch::try_new(
        schema(),
        vec![
            Arc::new(StringArray::from_iter_values(paths)),
            Arc::new(UInt64Array::from_iter_values(
                files.iter().map(|file| file.bytes),
            )),
            Arc::new(Int64Array::from_iter(
                files.iter().map(|file| file.modified_ns),
            )),
            Arc::new(StringArray::from_iter_values(hashes)),
            Arc::new(StringArray::from_iter_values(samples)),
        ],
    )
}

/// The rows of a table with the columns of [`schema`].
fn decode(rows: &RecordBatch) -> Vec<SourceFile> {
    let (paths, hashes) = (
        rows.column(0).as_string::<i32>(),
        rows.column(3).as_string::<i32>(),
    );
    let bytes = rows.column(1).as_primitive::<UInt64Type>();
    let samples = rows.column(4).as_string::<i32>();
    let times = rows.column(2).as_primitive::<Int64Type>();
    let file = |row| SourceFile {
        path: paths.value(row).to_owned(),
        bytes: bytes.value(row),
        modified_ns: times.is_valid(row).then(|| times.value(row)),
        sha256: hashes.value(row).to_owned(),
        sample: samples.value(row).to_owned(),
    };
    (0..rows.num_rows()).map(file).collect()
}
