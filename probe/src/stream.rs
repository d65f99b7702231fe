//! Patch tokens in batches, read ahead, in bounded memory.

use std::collections::HashSet;
use std::sync::mpsc;
use std::thread;

use cache::{Group, PatchReader, PatchRow};
use common::draw::shuffle;
use half::f16;
use nn::layer_norm;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::Error;

/// Bytes of the window from which batches are drawn; at least two batches.
const WINDOW_BYTES: usize = 256 << 20;

/// Batches that are read ahead.
const AHEAD: usize = 1;

/// The tokens of `B` slices.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Their rows in the cache.
    pub(crate) rows: Vec<usize>,
    /// Each layer `[B, P, D]`.
    pub(crate) tokens: Vec<Vec<f32>>,
}

/// The order of rows.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    /// As in the cache.
    Stored,
    /// Random: groups of adjacent rows are shuffled, and rows are drawn from a window of many groups.
    Shuffled {
        /// Random seed.
        seed: u64,
        /// The number of the pass; each has an order of its own.
        pass: u64,
    },
}

/// Bytes that a shuffled pass over `rows` slices of `values` values holds: the window, and batches as f32.
pub(crate) fn bytes(values: usize, rows: usize, batch: usize) -> usize {
    let row_bytes = values * size_of::<f16>();
    let window = window(row_bytes, batch).min(rows);
    // One is consumed, and one filled.
    let batches = (AHEAD + 2) * batch.min(rows);
    window * row_bytes + batches * values * size_of::<f32>()
}

/// Slices of `row_bytes` bytes in the window.
fn window(row_bytes: usize, batch: usize) -> usize {
    (WINDOW_BYTES / row_bytes.max(1)).max(2 * batch)
}

/// Patch tokens of a cache.
#[derive(Debug)]
pub(crate) struct Stream {
    patches: PatchReader,
    /// Values of a slice in each layer, `P` times `D`.
    layers: Vec<usize>,
    batch: usize,
    /// The width of tokens, if they go through a LayerNorm.
    norm: Option<usize>,
}

impl Stream {
    /// A stream of batches of up to `batch` slices of `patches`, whose layers have `layers` values per
    /// slice. If `norm` is set, tokens of that width go through [`layer_norm`].
    pub(crate) fn new(
        patches: PatchReader,
        layers: Vec<usize>,
        batch: usize,
        norm: Option<usize>,
    ) -> Stream {
        Stream {
            patches,
            layers,
            batch,
            norm,
        }
    }

    /// Calls `consume` with batches that hold each of `rows` once; a thread reads ahead.
    ///
    /// # Errors
    ///
    /// [`Error::Cache`] if tokens cannot be read, and the first error of `consume`, which ends the
    /// pass.
    pub(crate) fn pass(
        &self,
        rows: &[usize],
        order: Order,
        mut consume: impl FnMut(&Batch) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let wanted: HashSet<usize> = rows.iter().copied().collect();
        let has_wanted = |group: &&Group| group.rows.clone().any(|row| wanted.contains(&row));
        let mut groups: Vec<&Group> = self.patches.groups().iter().filter(has_wanted).collect();
        let mut rng = None;
        if let Order::Shuffled { seed, pass } = order {
            let rng = rng.insert(ChaCha8Rng::seed_from_u64(seed));
            rng.set_stream(pass);
            shuffle(&mut groups, rng);
        }
        let (sender, receiver) = mpsc::sync_channel(AHEAD);
        let (give_back, consumed) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn(move || {
                let failed = self.read(&groups, &wanted, rng, |drawn| {
                    let mut batch: Batch = consumed.try_recv().unwrap_or_default();
                    let filled = self.fill(&mut batch, drawn).map(|()| batch);
                    let is_filled = filled.is_ok();
                    sender.send(filled).is_ok() && is_filled
                });
                if let Err(error) = failed {
                    // The receiver is gone if `consume` failed; its error is returned.
                    let _ = sender.send(Err(error));
                }
            });
            receiver.into_iter().try_for_each(|batch| {
                let batch = batch?;
                consume(&batch)?;
                // The reader is gone after the last batch.
                let _ = give_back.send(batch);
                Ok(())
            })
        })
    }

    /// Reads groups in their order, and draws batches, until `send` returns `false`.
    fn read(
        &self,
        groups: &[&Group],
        wanted: &HashSet<usize>,
        mut rng: Option<ChaCha8Rng>,
        send: impl Fn(&[PatchRow]) -> bool,
    ) -> Result<(), Error> {
        let row_bytes = self.layers.iter().sum::<usize>() * size_of::<f16>();
        let window = match rng {
            Some(_) => window(row_bytes, self.batch),
            None => self.batch,
        };
        let mut waiting: Vec<PatchRow> = Vec::new();
        let mut groups = self.patches.read_all(groups, |row| wanted.contains(&row));
        loop {
            let mut is_last = false;
            while waiting.len() < window && !is_last {
                match groups.next() {
                    Some(rows) => waiting.extend(rows?),
                    None => is_last = true,
                }
            }
            if waiting.is_empty() {
                return Ok(());
            }
            let count = self.batch.min(waiting.len());
            let drawn: Vec<_> = match &mut rng {
                Some(rng) => (0..count)
                    .map(|_| {
                        let at = rng.next_u64() % waiting.len() as u64;
                        waiting.swap_remove(at as usize)
                    })
                    .collect(),
                None => waiting.drain(..count).collect(),
            };
            if !send(&drawn) {
                return Ok(());
            }
        }
    }

    /// Converts the tokens of the rows `drawn` to f32.
    fn fill(&self, batch: &mut Batch, drawn: &[PatchRow]) -> Result<(), Error> {
        batch.rows.clear();
        batch.rows.extend(drawn.iter().map(|row| row.number));
        batch.tokens.resize_with(self.layers.len(), Vec::new);
        for (layer, (tokens, &values)) in batch.tokens.iter_mut().zip(&self.layers).enumerate() {
            tokens.resize(drawn.len() * values, 0.0);
            for (row, out) in drawn.iter().zip(tokens.chunks_exact_mut(values)) {
                row.copy_to(layer, out)?;
            }
            if let Some(width) = self.norm {
                layer_norm(tokens, width);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
