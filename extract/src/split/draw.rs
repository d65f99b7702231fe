//! Picking some of many: evenly, or at random from a seed.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// `count` of the indices `0..of`, evenly spread: `i * (of / count)`, halves rounded to even.
///
/// These are the indices that NumPy's `arange(0, of, of / count).round()` gives. `count` is at most
/// `of`.
pub(crate) fn spread(of: usize, count: usize) -> Vec<usize> {
    let step = of as f64 / count as f64;
    let index = |i: usize| (i as f64 * step).round_ties_even() as usize;
    (0..count).map(index).collect()
}

/// `0..of` in an order that depends on `seed` alone, and is the same for ever: Fisher-Yates from
/// the end, with numbers from the ChaCha8 stream whose key is the seed, little-endian, and zeros.
pub(super) fn shuffled(of: usize, seed: u64) -> Vec<usize> {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    let mut rng = ChaCha8Rng::from_seed(key);
    let mut order: Vec<usize> = (0..of).collect();
    for last in (1..of).rev() {
        order.swap(last, below(&mut rng, last as u64 + 1) as usize);
    }
    order
}

/// A number below `end`, each as probable: numbers beyond the last whole multiple of `end` are
/// drawn again.
fn below(rng: &mut ChaCha8Rng, end: u64) -> u64 {
    let beyond = u64::MAX - u64::MAX % end;
    loop {
        let drawn = rng.next_u64();
        if drawn < beyond {
            return drawn % end;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn halves_are_rounded_to_even() {
        // 5 of 2: 0, 2.5; 7 of 2: 0, 3.5.
        assert_eq!(spread(5, 2), [0, 2]);
        assert_eq!(spread(7, 2), [0, 4]);
    }

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
        fn what_is_spread_rises_and_stays_below(of in 1usize..3000, part in 0.0f64..=1.0) {
            let count = ((of as f64 * part) as usize).max(1);
            let picked = spread(of, count);
            prop_assert_eq!(picked.len(), count);
            prop_assert!(picked.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert!(picked[0] == 0 && picked[count - 1] < of);
        }

        #[test]
        fn a_shuffle_keeps_everything(of in 0usize..500, seed: u64) {
            let mut order = shuffled(of, seed);
            prop_assert_eq!(&order, &shuffled(of, seed));
            order.sort_unstable();
            prop_assert_eq!(order, (0..of).collect::<Vec<_>>());
        }
    }
}
