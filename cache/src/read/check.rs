//! Checks of a cache when it is opened.

use std::fs;
use std::io;
use std::path::Path;

use common::sha256_file;

use super::CacheReader;
use super::batches::located;
use crate::error::io_error;
use crate::rows::{Invalid, Known};
use crate::schema::Table;
use crate::table_reader::load;
use crate::{Error, Shard};

impl CacheReader {
    /// Compares every file with its hash in `meta.json`.
    ///
    /// # Errors
    ///
    /// [`Error::Shard`] for the first file that differs.
    pub fn verify(&self) -> Result<(), Error> {
        for (index, shard) in self.meta.shards.iter().enumerate() {
            for table in Table::of(&self.meta) {
                let path = self.path(table, index);
                let expected = shard.tables.get(table.name()).map(|f| &*f.sha256);
                let found = sha256_file(&path).map_err(io_error(&path, "read"))?;
                self.same(&path, "sha256", &*found, expected.unwrap_or_default())?;
            }
        }
        Ok(())
    }

    /// Compares the rows of `slices` with each other.
    pub(super) fn check_rows(&self) -> Result<(), Error> {
        let slices = self.slices()?;
        let mut known = Known::default();
        let mut added = slices.iter().map(|slice| known.add(slice)).enumerate();
        let Some((row, Err(invalid))) = added.find(|(_, added)| added.is_err()) else {
            return Ok(());
        };
        let shards = self.meta.shards.iter().map(|shard| shard.rows as usize);
        let (shard, _) = located(row, shards).unwrap_or_default();
        Err(self.invalid(shard, row, invalid))
    }

    pub(super) fn invalid(&self, shard: usize, row: usize, invalid: Invalid) -> Error {
        Error::Shard {
            path: self.path(Table::Slices, shard),
            what: invalid.what,
            found: format!("{} in row {row}", invalid.found),
            expected: invalid.expected,
        }
    }

    pub(super) fn check_shards(&self) -> Result<(), Error> {
        let total: u64 = self.meta.shards.iter().map(|s| u64::from(s.rows)).sum();
        let meta_path = self.dir.join("meta.json");
        self.same(&meta_path, "sum of the shards' rows", total, self.meta.rows)?;
        if self.meta.complete && total == 0 {
            return Err(Error::Shard {
                path: meta_path,
                what: "number of rows of a complete cache",
                found: "0".to_string(),
                expected: "at least 1".to_string(),
            });
        }
        for (index, shard) in self.meta.shards.iter().enumerate() {
            for table in Table::of(&self.meta) {
                self.check_table_of(table, index, shard)?;
            }
        }
        Ok(())
    }

    fn check_table_of(&self, table: Table, index: usize, shard: &Shard) -> Result<(), Error> {
        let path = self.path(table, index);
        let expected = shard.tables.get(table.name()).map_or(0, |f| f.bytes);
        check_place(&self.dir, &path, || format!("{expected} bytes"))?;
        let bytes = fs::metadata(&path).map_err(io_error(&path, "read"))?.len();
        self.same(&path, "size in bytes", bytes, expected)?;
        let layers = 1..=self.meta.layers;
        let tensors = layers.filter_map(|layer| table.tensor_bytes(self.meta.shape(layer)));
        let least = u64::from(shard.rows).saturating_mul(tensors.sum::<usize>() as u64);
        if bytes < least {
            return Err(Error::Shard {
                path,
                what: "size in bytes",
                found: bytes.to_string(),
                expected: format!("at least {least}, as tokens are not compressed"),
            });
        }
        let metadata = load(&path)?;
        let rows = metadata.metadata().file_metadata().num_rows();
        self.same(&path, "number of rows", rows, i64::from(shard.rows))?;
        let (found, expected) = (metadata.schema(), table.schema(&self.meta));
        self.same(&path, "schema", found.fields(), expected.fields())
    }

    fn same<T: PartialEq + std::fmt::Debug>(
        &self,
        path: &Path,
        what: &'static str,
        found: T,
        expected: T,
    ) -> Result<(), Error> {
        if found == expected {
            return Ok(());
        }
        Err(Error::Shard {
            path: path.into(),
            what,
            found: format!("{found:?}"),
            expected: format!("{expected:?}"),
        })
    }
}

/// Refuses a path that is not a file in the cache's folder, after links are followed.
pub(crate) fn check_place(
    dir: &Path,
    path: &Path,
    expected: impl FnOnce() -> String,
) -> Result<(), Error> {
    let found = match (fs::canonicalize(dir), fs::canonicalize(path)) {
        (Ok(dir), Ok(real)) if real.starts_with(&dir) && real.is_file() => return Ok(()),
        (Ok(_), Ok(real)) if real.is_file() => "a link that leads out of the cache",
        (_, Err(error)) if error.kind() != io::ErrorKind::NotFound => "not readable",
        (_, Err(_)) => "missing",
        _ => "no file",
    };
    Err(Error::Shard {
        path: path.into(),
        what: "the file",
        found: found.into(),
        expected: expected(),
    })
}
