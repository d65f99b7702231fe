//! Tokens of single positions for a finished cache that has none.
//!
//! They are written as a cache of their own in the folder `extension` of the finished cache, which stays as it
//! is meanwhile. At the end, the new tables are moved, and `meta.json` is replaced. The files that were there
//! are not changed.

use std::fs;
use std::path::{Path, PathBuf};

use common::files::sync_dir;
use ndarray::ArrayView1;

use crate::error::io_error;
use crate::folder::EXTENSION;
use crate::schema::Table;
use crate::{Added, CacheLock, CacheMeta, CacheReader, CacheWriter, Error, History};

/// A finished cache without tokens of single positions, locked, to which they are added.
pub struct Extension {
    finished: CacheReader,
    /// Locked until the cache has its new tables.
    lock: CacheLock,
}

impl Extension {
    /// Opens the finished cache that is locked to add what `run` has besides: tokens of patches or of all positions, and pictures.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] and [`Error::OtherSamples`] if another run wrote the cache, and those of [`CacheReader::open`].
    pub fn open(lock: CacheLock, run: &CacheMeta) -> Result<Extension, Error> {
        lock.refuse_bucket()?;
        let dir = lock.dir();
        let finished = CacheReader::open(dir)?;
        let same = CacheMeta {
            tokens: finished.meta().tokens,
            first_tokens: finished.meta().first_tokens,
            patch_dtype: finished.meta().patch_dtype,
            has_pictures: finished.meta().has_pictures,
            ..run.clone()
        };
        finished
            .meta()
            .check_same(&same.without_plain_shapes(), dir)?;
        let extension = Extension { finished, lock };
        extension.undo_moves()?;
        Ok(extension)
    }

    /// The writer of the new tables, which goes on where the last one stopped.
    ///
    /// # Errors
    ///
    /// Those of [`CacheWriter::open`].
    pub fn writer(&self, run: CacheMeta) -> Result<CacheWriter, Error> {
        CacheWriter::open(&self.folder(), run)
    }

    /// Moves the new tables into the cache; its description is the result.
    ///
    /// # Errors
    ///
    /// [`Error::OtherSamples`] if the rows differ, [`Error::Mismatch`] if the cosine of a CLS token with that
    /// in the cache is below `bound`, and [`Error::Io`]. The cache stays as it was then.
    pub fn finish(self, bound: f64) -> Result<CacheMeta, Error> {
        let added = CacheReader::open(&self.folder())?;
        self.check_rows(&added)?;
        self.check_tokens(&added, bound)?;
        self.lock.check()?;
        let dir = self.finished.dir();
        for (from, to) in self.moves(added.meta()) {
            if let Some(folder) = to.parent() {
                fs::create_dir_all(folder).map_err(io_error(folder, "create the folder"))?;
            }
            rename(&from, &to)?;
        }
        let old = self.finished.meta();
        let tables = new_tables(old, added.meta());
        let made = Added::of(&tables, added.meta());
        let mut meta = CacheMeta {
            tokens: added.meta().tokens,
            first_tokens: added.meta().first_tokens,
            patch_dtype: added.meta().patch_dtype,
            has_pictures: added.meta().has_pictures,
            added: Some(made).filter(|made| !made.is_same(old)),
            ..old.clone()
        };
        for (shard, added) in meta.shards.iter_mut().zip(&added.meta().shards) {
            let files = tables.iter().filter_map(|table| {
                let file = added.tables.get(table.name())?;
                Some((table.name().to_owned(), file.clone()))
            });
            shard.tables.extend(files);
        }
        History::add(dir, History::usable(&self.folder()).sessions)?;
        meta.write(dir)?;
        fs::remove_dir_all(self.folder()).map_err(io_error(&self.folder(), "delete"))?;
        Ok(meta)
    }

    fn folder(&self) -> PathBuf {
        self.finished.dir().join(EXTENSION)
    }

    /// Folders that are moved: of each new table, that of its files and that of its checksums.
    fn moves(&self, added: &CacheMeta) -> Vec<(PathBuf, PathBuf)> {
        let tables = new_tables(self.finished.meta(), added).into_iter();
        let folders = tables.flat_map(|table| {
            let name = PathBuf::from(table.name());
            [Path::new("checksums").join(&name), name]
        });
        let (from, to) = (self.folder(), self.finished.dir());
        let moves = folders.map(|folder| (from.join(&folder), to.join(&folder)));
        moves.collect()
    }

    /// Moves back what a process that was killed in [`finish`](Self::finish) had moved.
    fn undo_moves(&self) -> Result<(), Error> {
        let Ok(added) = CacheMeta::read(&self.folder()) else {
            return Ok(());
        };
        for (from, to) in self.moves(&added) {
            if to.exists() && !from.exists() {
                rename(&to, &from)?;
            }
        }
        Ok(())
    }

    /// Refuses other rows than those of the cache.
    fn check_rows(&self, added: &CacheReader) -> Result<(), Error> {
        let shards = |meta: &CacheMeta| meta.shards.iter().map(|s| s.rows).collect::<Vec<_>>();
        let mut is_same = shards(self.finished.meta()) == shards(added.meta());
        for shard in 0..self.finished.meta().shards.len() {
            if !is_same {
                break;
            }
            let [old, new] = [&self.finished, added].map(|reader| reader.shard_slices(shard));
            let mut pairs = old?.into_iter().zip(new?);
            is_same =
                pairs.all(|(a, b)| (a.sample, a.slice, a.view) == (b.sample, b.slice, b.view));
        }
        if is_same {
            Ok(())
        } else {
            let path = self.finished.dir().into();
            Err(Error::OtherSamples { path })
        }
    }

    /// Refuses other CLS tokens than those of the cache.
    fn check_tokens(&self, added: &CacheReader, bound: f64) -> Result<(), Error> {
        let meta = self.finished.meta();
        let mut least = 1.0_f64;
        for shard in 0..meta.shards.len() {
            for layer in 1..=meta.layers {
                let [old, new] =
                    [&self.finished, added].map(|r| r.shard_tokens(Table::Cls, layer, shard));
                let (old, new) = (old?, new?);
                let pairs = old.rows().into_iter().zip(new.rows());
                least = pairs.map(|(a, b)| cosine(a, b)).fold(least, f64::min);
            }
        }
        if least >= bound {
            return Ok(());
        }
        Err(Error::Mismatch {
            path: self.finished.dir().into(),
            field: "CLS tokens".to_owned(),
            found: format!("tokens with a cosine of {least:.6} to those of this run"),
            expected: format!("at least {bound}"),
        })
    }
}

/// Tables that `added` has and `finished` has not.
fn new_tables(finished: &CacheMeta, added: &CacheMeta) -> Vec<Table> {
    let there = Table::of(finished);
    let mut tables = Table::of(added);
    tables.retain(|table| !there.contains(table));
    tables
}

/// Moves a folder and syncs both parents.
fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    fs::rename(from, to).map_err(io_error(from, "move"))?;
    for folder in [from, to].into_iter().filter_map(Path::parent) {
        sync_dir(folder).map_err(io_error(folder, "sync"))?;
    }
    Ok(())
}

/// Cosine of two tokens; 1 if they are equal, also if both are zero.
fn cosine(a: ArrayView1<'_, f32>, b: ArrayView1<'_, f32>) -> f64 {
    if a == b {
        return 1.0;
    }
    let dot = |a: ArrayView1<'_, f32>, b: ArrayView1<'_, f32>| -> f64 {
        let products = a.iter().zip(b).map(|(&x, &y)| f64::from(x) * f64::from(y));
        products.sum()
    };
    let cosine = dot(a, b) / (dot(a, a) * dot(b, b)).sqrt();
    if cosine.is_nan() { -1.0 } else { cosine }
}
