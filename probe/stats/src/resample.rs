//! Draws with replacement, and percentiles of what they give.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::error::check_share;
use crate::{Error, Interval};

/// The draws of a bootstrap: how many, of which seed, and the level of their intervals.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Draws {
    /// Number of draws.
    pub count: usize,
    /// Random seed.
    pub seed: u64,
    /// Level of intervals, such as 0.95.
    pub level: f64,
}

impl Draws {
    pub(crate) fn check(&self) -> Result<(), Error> {
        check_share(self.level)?;
        if self.count == 0 {
            return Err(Error::Draws);
        }
        Ok(())
    }

    /// A draw of `items` of as many items, with replacement: from the ChaCha8 stream of its number whose key is
    /// the seed, little-endian, and zeros; a 64-bit number `x` draws `x items / 2^64`. These are the draws of
    /// patients of `probe`.
    pub fn draw(&self, number: usize, items: usize) -> Vec<usize> {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&self.seed.to_le_bytes());
        let mut rng = ChaCha8Rng::from_seed(key);
        rng.set_stream(number as u64);
        (0..items).map(|_| below(&mut rng, items)).collect()
    }

    /// The percentile interval of the values of draws, at least one.
    pub(crate) fn interval(&self, mut values: Vec<f64>) -> Interval {
        values.sort_by(f64::total_cmp);
        let half = (1.0 - self.level) / 2.0;
        [half, 1.0 - half].map(|share| quantile(&values, share))
    }
}

/// A number below `end`.
fn below(rng: &mut ChaCha8Rng, end: usize) -> usize {
    ((u128::from(rng.next_u64()) * end as u128) >> 64) as usize
}

/// A quantile of sorted values, at least one, interpolated linearly between neighbours as NumPy's; infinite
/// next to an infinite value.
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = share * (sorted.len() - 1) as f64;
    let (below, above) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    if below == above {
        return below;
    }
    below + (above - below) * at.fract()
}
