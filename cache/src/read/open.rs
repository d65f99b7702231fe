//! Opening a cache, whole or not, and finding caches.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use common::sha256_bytes;

use super::{CacheReader, is_cache};
use crate::error::io_error;
use crate::folder::pending;
use crate::schema::Table;
use crate::{
    CacheMeta, Error, LabelSet, NamedLabels, ORIGINAL, Parts, Shard, is_in_bucket, labels, store,
};

impl CacheReader {
    /// Opens the finished cache `dir`.
    ///
    /// # Errors
    ///
    /// [`Error::Incomplete`] or [`Error::Parts`] if `extract` has not finished it, [`Error::Shard`] if a shard is
    /// missing, differs from `meta.json` in size, number of rows or schema, or if a row of `slices` is
    /// invalid, [`Error::Parquet`] if a shard is damaged, and those of [`CacheMeta::read`].
    pub fn open(dir: &Path) -> Result<CacheReader, Error> {
        CacheReader::open_unfinished(dir)?.finished()
    }

    /// Opens the finished cache `dir` without comparing what is read with checksums, now or later: damage may
    /// pass as a value.
    ///
    /// # Errors
    ///
    /// As [`CacheReader::open`].
    pub fn open_unverified(dir: &Path) -> Result<CacheReader, Error> {
        let reader = CacheReader {
            has_checks: false,
            ..CacheReader::of_meta(dir)?
        };
        reader.check_shards()?;
        reader.finished()
    }

    /// The reader with the labels, patients and masks of a label set; [`ORIGINAL`] are those of the
    /// extraction.
    ///
    /// # Errors
    ///
    /// [`Error::NoLabels`], and [`Error::LabelSet`], [`Error::Shard`] and [`Error::Parquet`] if the set is
    /// damaged.
    pub fn with_labels(self, name: &str) -> Result<CacheReader, Error> {
        if name == ORIGINAL {
            return Ok(self);
        }
        let reader = self.of_labels(name)?;
        for shard in 0..reader.meta.shards.len() {
            for table in reader.label_tables() {
                reader.check_table_of(table, shard)?;
            }
        }
        reader.check_rows()?;
        Ok(reader)
    }

    /// The label set that is used; `None` for the labels of the extraction.
    pub fn labels(&self) -> Option<&NamedLabels> {
        self.labels.as_ref()
    }

    /// Sorted names of the label sets.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the folder cannot be listed.
    pub fn label_sets(&self) -> Result<Vec<String>, Error> {
        labels::names(&self.dir)
    }

    /// As [`with_labels`](Self::with_labels), after reading the description only.
    pub(crate) fn of_labels(self, name: &str) -> Result<CacheReader, Error> {
        let (set, sha256) = LabelSet::read(&self.dir, name)?;
        let meta = set.of_cache(&self.dir, name, &self.meta)?;
        meta.check(&self.dir)?;
        Ok(CacheReader {
            meta,
            labels: Some(NamedLabels {
                name: name.to_owned(),
                sha256,
                has_masks: set.has_masks(),
                replaced: set.replaced,
            }),
            ..self
        })
    }

    /// Tables of the label set that is used.
    pub(crate) fn label_tables(&self) -> Vec<Table> {
        let labels = self.labels.as_ref();
        let has = |table: &Table| labels.is_some_and(|labels| labels.folder(*table).is_some());
        Table::ALL.into_iter().filter(has).collect()
    }

    /// Opens a finished cache that the run `run` would write. Unlike
    /// [`CacheWriter::open`](crate::CacheWriter::open) it writes nothing, so the folder may be read-only.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] and [`Error::OtherSamples`] if another run wrote it, and those of
    /// [`CacheReader::open`].
    pub fn open_same(dir: &Path, run: &CacheMeta) -> Result<CacheReader, Error> {
        CacheMeta::read(dir)?.check_same(run, dir)?;
        CacheReader::open(dir)
    }

    /// The reader of a finished cache, after a check of its rows.
    fn finished(self) -> Result<CacheReader, Error> {
        if !self.meta.complete {
            if let Some(parts) = Parts::of(&self.dir)? {
                return Err(parts.unjoined());
            }
            return Err(Error::Incomplete {
                path: self.dir,
                rows: self.meta.saved_rows(),
            });
        }
        self.check_rows()?;
        Ok(self)
    }

    /// Opens the finished shards of the cache `dir`, which may not be complete.
    ///
    /// # Errors
    ///
    /// As [`CacheReader::open`].
    pub fn open_unfinished(dir: &Path) -> Result<CacheReader, Error> {
        let reader = CacheReader::of_meta(dir)?;
        reader.check_shards()?;
        Ok(reader)
    }

    /// Opens a cache after reading `meta.json` only.
    pub(crate) fn of_meta(dir: &Path) -> Result<CacheReader, Error> {
        let text = CacheMeta::read_text(dir)?;
        Ok(CacheReader {
            dir: dir.into(),
            meta: CacheMeta::parse(dir, &text)?,
            sha256: sha256_bytes(&text),
            first: 0,
            labels: None,
            has_checks: true,
            checksums: Mutex::default(),
        })
    }

    /// The same reader, which does not compare what it reads with checksums.
    pub(crate) fn without_checks(&self) -> CacheReader {
        CacheReader {
            dir: self.dir.clone(),
            meta: self.meta.clone(),
            sha256: self.sha256.clone(),
            first: self.first,
            labels: self.labels.clone(),
            has_checks: false,
            checksums: Mutex::default(),
        }
    }

    /// A reader of `parts`, which hold the rows after the shards of the cache `dir`, below `pending/`.
    pub(crate) fn of_pending(dir: &Path, meta: &CacheMeta, parts: Vec<Shard>) -> CacheReader {
        CacheReader {
            dir: pending(dir),
            meta: CacheMeta {
                rows: parts.iter().map(|part| u64::from(part.rows)).sum(),
                shards: parts,
                pending: Vec::new(),
                ..meta.clone()
            },
            sha256: String::new(),
            first: meta.rows,
            labels: None,
            has_checks: true,
            checksums: Mutex::default(),
        }
    }

    /// The folders below `root` that hold a cache, or parts of one, in the order of their paths.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if a folder cannot be listed, and [`Error::NoCache`] if `root` does not exist.
    pub fn find(root: &Path) -> Result<Vec<PathBuf>, Error> {
        if !is_in_bucket(root) && !root.is_dir() {
            return Err(Error::NoCache { path: root.into() });
        }
        let mut found = Vec::new();
        for dataset in folders(root)? {
            let caches = folders(&dataset)?.into_iter();
            found.extend(caches.filter(|dir| is_cache(dir)));
        }
        Ok(found)
    }
}

fn folders(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    store::folders(dir).map_err(io_error(dir, "list"))
}
