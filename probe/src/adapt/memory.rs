//! The memory that a training takes.

use cache::CacheReader;
use common::available_memory;
use common::disk::size;
use nn::transformer::Network;

use super::backbone::Backbone;
use super::options::{Method, Options};
use crate::error::AdaptError;
use crate::{Error, stream};

/// The sizes of a training that its memory depends on.
struct Sizes<'a> {
    backbone: &'a Backbone,
    options: &'a Options,
    /// Numbers of the network and of what is trained of it.
    numbers: usize,
    trained: usize,
    /// Examples.
    rows: usize,
}

/// Checks that a training on `rows` examples fits into the memory that is left.
///
/// # Errors
///
/// [`AdaptError::Memory`]
pub(super) fn check(
    reader: &CacheReader,
    backbone: &Backbone,
    options: &Options,
    network: &Network,
    rows: usize,
) -> Result<(), Error> {
    let sizes = Sizes {
        backbone,
        options,
        numbers: network.numbers(),
        trained: network.trained(),
        rows,
    };
    let (blocks, batch) = (options.blocks, options.batch_size);
    let (needed, available) = (sizes.bytes(blocks, batch), available_memory());
    if needed <= available {
        return Ok(());
    }
    Err(Error::Adapt(AdaptError::Memory {
        path: reader.dir().into(),
        needed,
        available,
        hint: sizes.hint(available),
    }))
}

impl Sizes<'_> {
    /// Bytes that the training of the last `blocks` blocks takes at the least, beside the weights that were read: the
    /// network, the best one and its copy, gradients, momenta, the state as it is written, the rows of images in
    /// computation, and tokens that are read ahead.
    fn bytes(&self, blocks: u32, batch: usize) -> u64 {
        let encoder = &self.backbone.encoder;
        let batch = batch.min(self.rows).max(1);
        let share = f64::from(blocks) / f64::from(self.options.blocks);
        let of = |numbers: usize| (numbers as f64 * share) as usize;
        let method = self.options.method(self.backbone.is_split());
        let (copies, momenta) = (method.copies(batch), self.options.optimiser().momenta());
        // Tensors of both networks and momenta, and the bytes of the file.
        let state = 2 * (2 + momenta);
        let threads = rayon::current_num_threads().min(copies);
        let numbers = 3 * of(self.numbers)
            + (copies + momenta + state) * of(self.trained)
            + threads * encoder.chunk_numbers(blocks as usize);
        let tokens = stream::bytes(encoder.tokens * encoder.width, self.rows, batch);
        (numbers * size_of::<f32>() + tokens) as u64
    }

    /// Options with which the training fits into `available` bytes: a smaller batch, fewer blocks, or both.
    fn hint(&self, available: u64) -> String {
        let (blocks, batch) = (self.options.blocks, self.options.batch_size.min(self.rows));
        let halves = || {
            let halves = std::iter::successors(Some(batch / 2), |batch| Some(batch / 2));
            halves.take_while(|&batch| batch > 0)
        };
        let fits = |(blocks, batch): &(u32, usize)| self.bytes(*blocks, *batch) <= available;
        let smaller = halves().map(|batch| (blocks, batch)).find(fits);
        let fewer = (1..blocks).rev().map(|blocks| (blocks, batch)).find(fits);
        let found: Vec<_> = smaller.into_iter().chain(fewer).collect();
        let both = (1..blocks)
            .rev()
            .flat_map(|blocks| halves().map(move |batch| (blocks, batch)));
        let found = if found.is_empty() {
            both.into_iter().find(fits).into_iter().collect()
        } else {
            found
        };
        let options = found.iter().map(|&(of_blocks, of_batch)| {
            let fewer = (of_blocks < blocks).then(|| format!("--blocks {of_blocks}"));
            let smaller = (of_batch < batch).then(|| format!("--batch-size {of_batch}"));
            let words: Vec<String> = fewer.into_iter().chain(smaller).collect();
            let bytes = size(self.bytes(of_blocks, of_batch));
            format!("`{}` takes {bytes}", words.join(" "))
        });
        let options: Vec<String> = options.collect();
        if !options.is_empty() {
            return options.join(", ");
        }
        let method = match self.options.method {
            Method::Full => ", or train less by `--method bitfit`",
            Method::Lora | Method::Bitfit => "",
        };
        let least = size(self.bytes(1, 1));
        format!(
            "even `--blocks 1 --batch-size 1` takes {least}: free memory, or take a machine with more{method}"
        )
    }
}
