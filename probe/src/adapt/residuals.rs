//! Tokens before the adapted blocks.

use std::collections::HashMap;

use cache::CacheReader;
use ndarray::Array2;
use nn::transformer::{Encoder, Network, Session};

use crate::Error;
use crate::examples::Examples;
use crate::stream::{Batch, Order, Stream};

/// The tokens of the examples of a cache, in batches.
pub(super) struct Residuals {
    stream: Stream,
    /// The row of the examples' features for each row of the cache.
    rows: HashMap<usize, usize>,
    /// The row of the cache for each row of features.
    stored: Vec<usize>,
}

impl Residuals {
    /// Tokens before the last `blocks` blocks in batches of `batch` slices.
    ///
    /// # Errors
    ///
    /// [`Error::Cache`] if the cache has no residual tokens or too few layers.
    pub(super) fn open(
        reader: &CacheReader,
        examples: &Examples,
        encoder: &Encoder,
        (blocks, batch): (u32, usize),
    ) -> Result<Residuals, Error> {
        let patches = reader.residuals(&[blocks + 1])?;
        let stored = examples.stored.clone();
        let rows = stored
            .iter()
            .enumerate()
            .map(|(row, &stored)| (stored, row));
        Ok(Residuals {
            stream: Stream::new(patches, vec![encoder.tokens * encoder.width], batch, None),
            rows: rows.collect(),
            stored,
        })
    }

    /// Calls `consume` with the rows of features and the tokens of each batch.
    pub(super) fn pass(
        &self,
        rows: &[usize],
        order: Order,
        mut consume: impl FnMut(&[usize], &[f32]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let stored: Vec<usize> = rows.iter().map(|&row| self.stored[row]).collect();
        self.stream.pass(&stored, order, |batch: &Batch| {
            let rows: Vec<usize> = batch.rows.iter().map(|row| self.rows[row]).collect();
            consume(&rows, &batch.tokens[0])
        })
    }

    /// Logits `[rows, O]` of the network.
    pub(super) fn logits(
        &self,
        network: &Network,
        session: &Session,
        rows: &[usize],
        outputs: usize,
    ) -> Result<Array2<f64>, Error> {
        let places: HashMap<usize, usize> = rows
            .iter()
            .enumerate()
            .map(|(place, &row)| (row, place))
            .collect();
        let mut all = Array2::zeros((rows.len(), outputs));
        self.pass(rows, Order::Stored, |rows, tokens| {
            let [_, logits] = network.apply(session, tokens)?;
            for (row, logits) in rows.iter().zip(logits.chunks_exact(outputs)) {
                let found = logits.iter().map(|&logit| f64::from(logit));
                all.row_mut(places[row])
                    .iter_mut()
                    .zip(found)
                    .for_each(|(to, x)| *to = x);
            }
            Ok(())
        })?;
        Ok(all)
    }
}
