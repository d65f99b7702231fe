//! Draws from a seeded generator, the same on every machine.

use std::collections::BTreeSet;

use common::draw::shuffle;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// `count` of the items, drawn at random; equal for equal seeds and streams.
pub(crate) fn sample<T: Ord>(
    items: BTreeSet<T>,
    count: usize,
    seed: u64,
    stream: u64,
) -> impl Iterator<Item = T> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    let mut items: Vec<T> = items.into_iter().collect();
    shuffle(&mut items, &mut rng);
    items.into_iter().take(count)
}

/// A number from the standard normal distribution (Box and Muller).
pub(crate) fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let mut uniform = || (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
    let (radius, angle) = (1.0 - uniform(), uniform());
    (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
}
