//! Checks of a cache when it is opened.

use std::fs;
use std::io;
use std::path::Path;

use super::CacheReader;
use crate::error::io_error;
use crate::rows::{Invalid, Known};
use crate::schema::{self, Table};
use crate::{Error, is_in_bucket, parallel, store};

impl CacheReader {
    /// Decodes all values of a table in a shard: tokens must be finite, and masks and pictures must have
    /// the sizes of their slices.
    pub(crate) fn check_values(&self, table: Table, shard: usize) -> Result<(), Error> {
        match table {
            Table::Slices => self.shard_slices(shard).map(drop),
            Table::Mask => self.masks(shard)?.try_for_each(|part| part.map(drop)),
            Table::Picture => self.pictures(shard)?.try_for_each(|part| part.map(drop)),
            Table::Cls | Table::Mean | Table::Patch | Table::Residual => (1..=self.meta().layers)
                .try_for_each(|layer| self.check_finite(table, layer, shard)),
        }
    }

    fn check_finite(&self, table: Table, layer: u32, shard: usize) -> Result<(), Error> {
        let values = self.row_values(table, layer);
        let mut rows = self.rows(shard);
        let encoding = table.encoding(&self.meta, layer);
        let bytes = encoding.bytes(values);
        for batch in self.batches(table, shard, &table.column(layer), bytes)? {
            let batch = batch?;
            let mut tokens = self.zeros(batch.num_rows() * values)?;
            schema::decode_tensors(batch.column(1), encoding, &mut tokens);
            for (row, tokens) in rows.by_ref().zip(tokens.chunks(values.max(1))) {
                if tokens.iter().any(|value| !value.is_finite()) {
                    return Err(Error::Shard {
                        path: self.path(table, shard),
                        what: "a token",
                        found: format!("NaN or infinite in row {row}"),
                        expected: "finite numbers".into(),
                    });
                }
            }
        }
        Ok(())
    }

    /// Compares the rows of `slices` with each other.
    pub(crate) fn check_rows(&self) -> Result<(), Error> {
        let (mut known, mut row) = (Known::of(&self.meta), 0);
        for (shard, slices) in self.slices_by_shard().enumerate() {
            for slice in slices? {
                let added = known.add(&slice);
                added.map_err(|invalid| self.invalid(shard, row, invalid))?;
                row += 1;
            }
        }
        Ok(())
    }

    pub(crate) fn invalid(&self, shard: usize, row: usize, invalid: Invalid) -> Error {
        Error::Shard {
            path: self.path(Table::Slices, shard),
            what: invalid.what,
            found: format!("{} in row {row}", invalid.found),
            expected: invalid.expected,
        }
    }

    pub(super) fn check_shards(&self) -> Result<(), Error> {
        self.check_count()?;
        let (tables, shards) = (Table::of(&self.meta), self.meta.shards.len());
        let files = shards * tables.len();
        parallel::map(store::threads(&self.dir), files, |file| {
            self.check_table_of(tables[file % tables.len()], file / tables.len())
        })
        .map(drop)
    }

    /// Compares the number of rows of the cache with those of its shards.
    pub(crate) fn check_count(&self) -> Result<(), Error> {
        let total: u64 = self.meta.shards.iter().map(|s| u64::from(s.rows)).sum();
        let meta_path = self.dir.join("meta.json");
        self.same(&meta_path, "sum of the shards' rows", total, self.meta.rows)?;
        // A part may have no sample that can be read.
        if self.meta.complete && total == 0 && self.meta.part.is_none() {
            return Err(Error::Shard {
                path: meta_path,
                what: "number of rows of a complete cache",
                found: "0".to_string(),
                expected: "at least 1".to_string(),
            });
        }
        Ok(())
    }

    /// Compares a file's size, number of rows and schema with `meta.json`.
    pub(crate) fn check_table_of(&self, table: Table, index: usize) -> Result<(), Error> {
        let shard = &self.meta.shards[index];
        let path = self.path(table, index);
        let known = shard.tables.get(table.name());
        let expected = known.map_or(0, |f| f.bytes);
        check_place(&self.dir, &path, || format!("{expected} bytes"))?;
        // An object with checksums that has another size cannot be read, so a request is saved.
        let is_checked = self.has_checks && known.is_some_and(|file| file.has_checksums);
        let bytes = if is_in_bucket(&self.dir) && is_checked {
            expected
        } else {
            store::stat(&path).map_err(io_error(&path, "read"))?.bytes
        };
        self.same(&path, "size in bytes", bytes, expected)?;
        self.check_end(table, index, bytes)
    }

    /// Compares number of rows and schema of a file of `bytes` bytes with `meta.json`.
    pub(crate) fn check_end(&self, table: Table, index: usize, bytes: u64) -> Result<(), Error> {
        let (path, shard) = (self.path(table, index), &self.meta.shards[index]);
        let layers = 1..=self.meta.layers;
        let tensors = layers.filter_map(|layer| table.tensor_bytes(&self.meta, layer));
        let least = u64::from(shard.rows).saturating_mul(tensors.sum::<usize>() as u64);
        if bytes < least {
            return Err(Error::Shard {
                path,
                what: "size in bytes",
                found: bytes.to_string(),
                expected: format!("at least {least}, as tokens are not compressed"),
            });
        }
        let metadata = self.file(table, index)?.metadata()?;
        let rows = metadata.metadata().file_metadata().num_rows();
        self.same(&path, "number of rows", rows, i64::from(shard.rows))?;
        let (found, expected) = (metadata.schema(), table.schema(&self.meta));
        self.same(&path, "schema", found.fields(), expected.fields())
    }

    pub(super) fn same<T: PartialEq + std::fmt::Debug>(
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

/// Refuses a path that is not a file in the cache's folder, after links are followed. Buckets have no links.
pub(crate) fn check_place(
    dir: &Path,
    path: &Path,
    expected: impl FnOnce() -> String,
) -> Result<(), Error> {
    if is_in_bucket(dir) {
        return Ok(());
    }
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
