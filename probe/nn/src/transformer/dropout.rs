//! Dropout of an adapter's inputs (Srivastava et al. 2014), drawn by a hash of the place, so that it need not be kept.

use crate::matrix::vectorised;

/// The dropout of one step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dropout {
    /// Hashes from this number on are kept: `rate · 2^32`.
    least: u32,
    /// `1 / (1 - rate)`
    scale: f32,
    seed: u64,
}

impl Dropout {
    pub(super) fn new(rate: f32, seed: u64, step: u64) -> Dropout {
        Dropout {
            least: (f64::from(rate) * 2f64.powi(32)) as u32,
            scale: 1.0 / (1.0 - rate),
            seed: mixed(seed ^ mixed(step)),
        }
    }

    /// The same for one of several inputs, or for one image.
    pub(super) fn of(self, number: usize) -> Dropout {
        Dropout {
            seed: mixed(self.seed ^ mixed(number as u64)),
            ..self
        }
    }

    /// `out = x` where a number is kept, times `1 / (1 - rate)`, and 0 elsewhere.
    pub(super) fn apply(self, x: &[f32], out: &mut [f32]) {
        self.each(x, out, |x, _| x);
    }

    /// `out += x` likewise.
    pub(super) fn add(self, x: &[f32], out: &mut [f32]) {
        self.each(x, out, |x, out| x + out);
    }

    #[inline(always)]
    fn each(self, x: &[f32], out: &mut [f32], put: impl Fn(f32, f32) -> f32) {
        let key = self.seed as u32;
        vectorised(
            #[inline(always)]
            || {
                for (place, (out, x)) in out.iter_mut().zip(x).enumerate() {
                    let factor = if hash(place as u32, key) >= self.least {
                        self.scale
                    } else {
                        0.0
                    };
                    *out = put(x * factor, *out);
                }
            },
        );
    }
}

/// A hash of a place: the finaliser of MurmurHash3.
#[inline(always)]
fn hash(place: u32, key: u32) -> u32 {
    let mut h = place.wrapping_mul(0x9e37_79b1) ^ key;
    h = (h ^ (h >> 16)).wrapping_mul(0x85eb_ca6b);
    h = (h ^ (h >> 13)).wrapping_mul(0xc2b2_ae35);
    h ^ (h >> 16)
}

/// The finaliser of SplitMix64.
fn mixed(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_is_dropped_and_the_rest_is_scaled_up() {
        let x = vec![1.0; 100_000];
        let (mut one, mut other) = (vec![0.0; x.len()], vec![0.0; x.len()]);
        let dropout = Dropout::new(0.1, 7, 3);
        dropout.of(0).apply(&x, &mut one);
        dropout.of(1).apply(&x, &mut other);
        let dropped = one.iter().filter(|x| **x == 0.0).count();
        assert!((9_700..10_300).contains(&dropped), "{dropped}");
        assert!(
            one.iter()
                .all(|x| *x == 0.0 || (x - 1.0 / 0.9).abs() < 1e-6)
        );
        let both = one
            .iter()
            .zip(&other)
            .filter(|(a, b)| **a == 0.0 && **b == 0.0);
        let both = both.count();
        assert!((850..1_150).contains(&both), "{both}");
    }
}
