//! All keys in the order of their similarity to queries.

use std::cmp::Reverse;

use ndarray::ArrayView2;

use super::{decode, encode};
use crate::probes::kernel;

/// Bytes of a block of keys, which stays in the second-level cache while it is compared with the queries.
const BLOCK_BYTES: usize = 96 << 10;

/// For each of a few `queries [Q, D]` all `keys [N, D]`, most similar first; of equally similar keys the one with
/// the lower index comes first. As [`neighbours`](super::neighbours) with `k = N`, in less time.
///
/// # Panics
///
/// If the widths of keys and queries differ, or either is not in standard layout.
pub fn rankings(keys: ArrayView2<'_, f32>, queries: ArrayView2<'_, f32>) -> Vec<Vec<u32>> {
    let width = keys.ncols();
    assert_eq!(width, queries.ncols(), "widths of keys and queries");
    let layout = "rows one after the other";
    let (keys, queries_of) = (
        keys.to_slice().expect(layout),
        queries.to_slice().expect(layout),
    );
    let dot = kernel::dot();
    let block = (BLOCK_BYTES / size_of::<f32>() / width.max(1)).max(1);
    let mut codes = vec![Vec::with_capacity(keys.len() / width.max(1)); queries.nrows()];
    for (number, keys) in keys.chunks(block * width.max(1)).enumerate() {
        for (query, codes) in queries_of.chunks_exact(width.max(1)).zip(&mut codes) {
            let keys = keys.chunks_exact(width).zip((number * block) as u32..);
            codes.extend(keys.map(|(row, key)| encode(dot(query, row), key)));
        }
    }
    let sorted = codes.into_iter().map(|mut codes: Vec<u64>| {
        codes.sort_unstable_by_key(|&code| Reverse(code));
        codes.into_iter().map(|code| decode(code).0).collect()
    });
    sorted.collect()
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;
    use crate::probes::search::neighbours;

    #[test]
    fn a_ranking_is_the_search_for_all_keys() {
        let of = |seed: usize| {
            move |(i, j): (usize, usize)| ((i * 31 + j * 17 + seed) % 29) as f32 / 9.0 - 1.0
        };
        // Several blocks; many keys are equal.
        let keys = Array2::from_shape_fn((300, 160), of(0));
        let queries = Array2::from_shape_fn((5, 160), of(7));
        let found = rankings(keys.view(), queries.view());
        let expected = neighbours(keys.view(), queries.view(), 300);
        for (found, expected) in found.iter().zip(expected.index.outer_iter()) {
            assert_eq!(*found, expected.to_vec());
        }
    }
}
