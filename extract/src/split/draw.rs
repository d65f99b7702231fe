//! Random order from a seed.

use common::draw::shuffle;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// `0..of` in an order that depends on `seed` alone and never changes: [`shuffle`] with numbers from the
/// ChaCha8 stream whose key is the seed, little-endian, and zeros.
pub(super) fn shuffled(of: usize, seed: u64) -> Vec<usize> {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    let mut rng = ChaCha8Rng::from_seed(key);
    let mut order: Vec<usize> = (0..of).collect();
    shuffle(&mut order, &mut rng);
    order
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// From ChaCha8 written anew in Python.
    #[test]
    fn a_seed_means_the_same_for_ever() {
        let first = [
            [9, 7, 3, 4, 10, 5, 8, 0, 1, 11, 2, 6],
            [1, 11, 2, 9, 5, 6, 7, 10, 4, 8, 0, 3],
        ];
        assert_eq!([shuffled(12, 0), shuffled(12, 1)], first);
        let long = shuffled(1000, 7);
        assert_eq!(long[..8], [451, 156, 902, 396, 621, 935, 822, 610]);
    }

    proptest! {
        #[test]
        fn a_shuffle_keeps_everything(of in 0usize..500, seed: u64) {
            let mut order = shuffled(of, seed);
            prop_assert_eq!(&order, &shuffled(of, seed));
            order.sort_unstable();
            prop_assert_eq!(order, (0..of).collect::<Vec<_>>());
        }
    }
}
