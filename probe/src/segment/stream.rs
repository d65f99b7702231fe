//! Patch tokens in batches, read ahead, in memory that does not depend on how many there are.

use std::collections::HashSet;
use std::sync::mpsc;
use std::thread;

use cache::{Group, PatchReader, PatchRow};
use half::f16;
use nn::layer_norm;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::{Error, random};

/// Bytes of tokens among which batches are drawn, unless two batches take more.
const WINDOW_BYTES: usize = 256 << 20;

/// Batches that are ready before they are asked for.
const AHEAD: usize = 1;

/// The tokens of `B` slices.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Their rows in the cache.
    pub(super) rows: Vec<usize>,
    /// Each layer `[B, P, D]`.
    pub(super) tokens: Vec<Vec<f32>>,
}

/// In which order rows come.
#[derive(Clone, Copy, Debug)]
pub(super) enum Order {
    /// As in the cache.
    Stored,
    /// At random: groups of rows that lie together are shuffled, and rows are drawn out of a window of
    /// many groups.
    Shuffled {
        /// What the draws begin with.
        seed: u64,
        /// The number of the pass, which has an order of its own.
        pass: u64,
    },
}

/// Patch tokens of a cache.
#[derive(Debug)]
pub(super) struct Stream {
    patches: PatchReader,
    /// Values of a slice in each layer, `P` times `D`.
    layers: Vec<usize>,
    batch: usize,
    /// The width of tokens that go through a LayerNorm.
    norm: Option<usize>,
}

impl Stream {
    /// Batches of up to `batch` slices out of `patches`, whose layers have `layers` values a slice.
    /// With `norm`, tokens of that width go through [`layer_norm`].
    pub(super) fn new(
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

    /// Hands each of `rows` to `consume` once; a thread reads ahead.
    ///
    /// # Errors
    ///
    /// [`Error::Cache`] if tokens cannot be read, and the first error of `consume`, which ends the
    /// pass.
    pub(super) fn pass(
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
            random::shuffle(&mut groups, rng);
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
                    // Whoever has left asks for no error.
                    let _ = sender.send(Err(error));
                }
            });
            receiver.into_iter().try_for_each(|batch| {
                let batch = batch?;
                consume(&batch)?;
                // After the last batch nobody takes it.
                let _ = give_back.send(batch);
                Ok(())
            })
        })
    }

    /// Reads groups in their order, and draws batches, until `send` wants no more.
    fn read(
        &self,
        groups: &[&Group],
        wanted: &HashSet<usize>,
        mut rng: Option<ChaCha8Rng>,
        send: impl Fn(&[PatchRow]) -> bool,
    ) -> Result<(), Error> {
        let row_bytes = self.layers.iter().sum::<usize>() * size_of::<f16>();
        let window = match rng {
            Some(_) => (WINDOW_BYTES / row_bytes.max(1)).max(2 * self.batch),
            None => self.batch,
        };
        let mut waiting: Vec<PatchRow> = Vec::new();
        let mut groups = groups.iter();
        loop {
            let mut is_last = false;
            while waiting.len() < window && !is_last {
                match groups.next() {
                    Some(group) => {
                        waiting.extend(self.patches.read(group, |row| wanted.contains(&row))?);
                    }
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
