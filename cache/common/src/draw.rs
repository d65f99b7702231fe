//! Draws that are the same on every machine: equidistant ones, and random ones from a seeded generator.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;

/// `count` of the indices `0..of` at equal distances: `i * (of / count)`, halves rounded to even, as NumPy's
/// `arange(0, of, of / count).round()`. All indices if `count` exceeds `of`.
pub fn equidistant(of: usize, count: usize) -> Vec<usize> {
    let count = count.min(of);
    let step = of as f64 / count as f64;
    let index = |i: usize| ((i as f64 * step).round_ties_even() as usize).min(of - 1);
    (0..count).map(index).collect()
}

/// Shuffles items without bias, by Fisher and Yates from the end.
pub fn shuffle<T>(items: &mut [T], rng: &mut ChaCha8Rng) {
    for last in (1..items.len()).rev() {
        items.swap(last, below(rng, last as u64 + 1) as usize);
    }
}

/// A number below `end`, all equally probable: numbers beyond the last whole multiple of `end` are drawn
/// again.
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
    use rand_chacha::rand_core::SeedableRng;

    use super::*;

    #[test]
    fn equidistant_indices_equal_those_of_numpy() {
        assert_eq!(equidistant(92, 1), [0]);
        assert_eq!(equidistant(92, 2), [0, 46]);
        assert_eq!(equidistant(92, 4), [0, 23, 46, 69]);
        assert_eq!(equidistant(92, 8), [0, 12, 23, 34, 46, 58, 69, 80]);
        // Halves: 2.5 and 3.5.
        assert_eq!(equidistant(5, 2), [0, 2]);
        assert_eq!(equidistant(7, 2), [0, 4]);
        assert_eq!(equidistant(3, 8), [0, 1, 2]);
        assert!(equidistant(0, 3).is_empty());
        for (of, count) in (1..300).flat_map(|of| [1, of / 2 + 1, of].map(|count| (of, count))) {
            let picked = equidistant(of, count);
            assert_eq!(picked.len(), count);
            assert!(picked[0] == 0 && picked.windows(2).all(|pair| pair[0] < pair[1]));
        }
    }

    #[test]
    fn a_shuffle_keeps_all_items_and_depends_on_the_generator_alone() {
        let shuffled = |seed| {
            let mut items: Vec<usize> = (0..500).collect();
            shuffle(&mut items, &mut ChaCha8Rng::seed_from_u64(seed));
            items
        };
        assert_eq!(shuffled(1), shuffled(1));
        assert_ne!(shuffled(1), shuffled(2));
        let mut sorted = shuffled(1);
        sorted.sort_unstable();
        assert_eq!(sorted, (0..500).collect::<Vec<_>>());
    }
}
