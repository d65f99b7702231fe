//! Tokens, as arrays of single precision.

use std::sync::{Mutex, PoisonError};

use ndarray::{Array2, Array3};

use super::CacheReader;
use crate::schema::{self, Table};
use crate::{Error, Tokens, parallel, store};

impl CacheReader {
    /// CLS tokens of a layer, `[N, D]`, `D` being the layer's; layer 1 is the last block.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] if the cache has no such layer; otherwise as [`slices`](Self::slices).
    pub fn cls(&self, layer: u32) -> Result<Array2<f32>, Error> {
        self.tokens(Table::Cls, layer)
    }

    /// CLS tokens of a layer in one shard, `[rows, D]`.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] if the cache has no such layer or shard; otherwise as [`slices`](Self::slices).
    pub fn shard_cls(&self, layer: u32, shard: usize) -> Result<Array2<f32>, Error> {
        self.check_layer(Table::Cls, layer)?;
        self.shard_tokens(Table::Cls, layer, shard)
    }

    /// Means of the patch tokens of a layer, `[N, D]`.
    ///
    /// # Errors
    ///
    /// As [`cls`](Self::cls).
    pub fn mean(&self, layer: u32) -> Result<Array2<f32>, Error> {
        self.tokens(Table::Mean, layer)
    }

    /// Patch tokens of a layer in one shard, `[rows, P, D]`.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] if the cache keeps no patch tokens or has no such layer or shard;
    /// otherwise as [`slices`](Self::slices).
    pub fn patch(&self, layer: u32, shard: usize) -> Result<Array3<f32>, Error> {
        let rows = self.shard_rows(shard)?;
        self.check_layer(Table::Patch, layer)?;
        let shape = self.meta.shape(layer);
        let shape = (rows, shape.patches(), shape.patch as usize);
        let mut out = self.zeros(shape.0 * shape.1 * shape.2)?;
        self.read_tensor(Table::Patch, layer, shard, &mut out)?;
        Ok(Array3::from_shape_vec(shape, out).expect("as many values as the shape says"))
    }

    fn tokens(&self, table: Table, layer: u32) -> Result<Array2<f32>, Error> {
        self.check_layer(table, layer)?;
        let rows: usize = self.meta.shards.iter().map(|s| s.rows as usize).sum();
        let width = self.row_values(table, layer);
        let mut out = self.zeros(rows * width)?;
        let (mut rest, mut parts) = (&mut out[..], Vec::new());
        for shard in &self.meta.shards {
            let (here, after) = rest.split_at_mut(shard.rows as usize * width);
            parts.push(Mutex::new(here));
            rest = after;
        }
        parallel::map(store::threads(&self.dir), parts.len(), |shard| {
            let mut out = parts[shard].lock().unwrap_or_else(PoisonError::into_inner);
            self.read_tensor(table, layer, shard, &mut out)
        })?;
        drop(parts);
        Ok(Array2::from_shape_vec((rows, width), out).expect("as many values as the shape says"))
    }

    /// CLS tokens of a layer in one shard, or means of its patch tokens, `[rows, D]`.
    pub(crate) fn shard_tokens(
        &self,
        table: Table,
        layer: u32,
        shard: usize,
    ) -> Result<Array2<f32>, Error> {
        let (rows, width) = (self.shard_rows(shard)?, self.row_values(table, layer));
        let mut out = self.zeros(rows * width)?;
        self.read_tensor(table, layer, shard, &mut out)?;
        Ok(Array2::from_shape_vec((rows, width), out).expect("as many values as the shape says"))
    }

    /// Allocates zeros; the number has been checked against the sizes of the files, which hold at least a
    /// quarter of the bytes.
    pub(super) fn zeros(&self, values: usize) -> Result<Vec<f32>, Error> {
        let mut zeros = Vec::new();
        zeros.try_reserve_exact(values).map_err(|_| Error::Memory {
            path: self.dir.clone(),
            bytes: values.saturating_mul(size_of::<f32>()),
        })?;
        zeros.resize(values, 0.0);
        Ok(zeros)
    }

    fn read_tensor(
        &self,
        table: Table,
        layer: u32,
        shard: usize,
        mut out: &mut [f32],
    ) -> Result<(), Error> {
        let values = self.row_values(table, layer);
        let encoding = table.encoding(&self.meta, layer);
        let bytes = encoding.bytes(values);
        for batch in self.batches(table, shard, &table.column(layer), bytes)? {
            let batch = batch?;
            let (here, after) = out.split_at_mut(batch.num_rows() * values);
            schema::decode_tensors(batch.column(1), encoding, here);
            out = after;
        }
        Ok(())
    }

    pub(super) fn row_values(&self, table: Table, layer: u32) -> usize {
        let values = table.tensor_values(&self.meta, layer);
        values.unwrap_or_default()
    }

    pub(crate) fn check_layer(&self, table: Table, layer: u32) -> Result<(), Error> {
        let hint = match (table, self.meta.tokens) {
            (Table::Residual, Tokens::Cls) => "extract again with `--tokens residual`",
            (Table::Residual, _) => {
                "extract with `--tokens residual` into another `--cache`: a cache holds these or patch tokens"
            }
            (_, Tokens::Residual) => {
                "extract with `--tokens all` into another `--cache`: a cache holds patch tokens or residual ones"
            }
            _ => "extract again with `--tokens all`",
        };
        self.check_table(table, hint)?;
        if layer == 0 || layer > self.meta.layers {
            return Err(Error::Missing {
                path: self.dir.clone(),
                what: format!("no layer {layer}, the cache has 1 to {}", self.meta.layers),
                hint: "layer 1 is the last block: ask for fewer blocks, or extract again with more `--layers`",
            });
        }
        Ok(())
    }
}
