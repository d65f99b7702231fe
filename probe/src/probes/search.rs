//! Exact search for the most similar keys.
//!
//! Keys and queries are first rounded to 16-bit integers, of which a processor multiplies and adds twice as many
//! per instruction as of floats. The errors of their inner products are below a known margin. Keys that are
//! behind `k` others by more than the margin are dropped; the rest, hardly more than `k`, is ranked by the
//! inner products of the rows themselves.

use std::cmp::Reverse;
use std::ops::Range;

use ndarray::{Array2, ArrayView2, Axis, CowArray, Ix2};
use rayon::prelude::*;

use self::fixed::{Packed, Stretch};
use self::nearest::Nearest;
use super::kernel::{self, Dot, Kernel, Kernels, Lanes, ROWS};

mod fixed;
mod nearest;
mod ranking;

pub use self::ranking::rankings;

/// Bytes of a panel of keys, which stay in the first-level cache.
const BLOCK_BYTES: usize = 24 << 10;

/// Bytes of packed queries, which stay in the second-level cache.
const TILE_BYTES: usize = 192 << 10;

/// The nearest keys of `Q` queries, most similar first; of equally similar keys the one with the
/// lower index comes first.
#[derive(Clone, Debug, PartialEq)]
pub struct Neighbours {
    /// Row numbers of the keys `[Q, k]`.
    pub index: Array2<u32>,
    /// Inner products of query and key `[Q, k]`.
    pub similarity: Array2<f32>,
}

impl Neighbours {
    /// Removes the key `first + q` from row `q`, or the last neighbour if that key is not among them: `[Q, k]`
    /// becomes `[Q, k - 1]`.
    #[must_use]
    pub fn without_self(&self, first: usize) -> Neighbours {
        let (rows, k) = self.index.dim();
        let position = |row: usize| {
            let own = |&key: &u32| key as usize == first + row;
            self.index.row(row).iter().position(own).unwrap_or(k)
        };
        let skips: Vec<usize> = (0..rows).map(position).collect();
        let source = |row: usize, i: usize| (row, i + usize::from(i >= skips[row]));
        let shape = (rows, k.saturating_sub(1));
        Neighbours {
            index: Array2::from_shape_fn(shape, |(row, i)| self.index[source(row, i)]),
            similarity: Array2::from_shape_fn(shape, |(row, i)| self.similarity[source(row, i)]),
        }
    }
}

/// The `k` keys with the largest inner product with each query, by exhaustive search.
///
/// `keys` is `[N, D]`, `queries` `[Q, D]`, all values and inner products finite; with rows of length 1 the inner
/// product is the cosine. `k` is at most `N`. The result does not depend on the number of threads.
///
/// # Panics
///
/// If the widths of keys and queries differ.
pub fn neighbours(keys: ArrayView2<f32>, queries: ArrayView2<f32>, k: usize) -> Neighbours {
    Index::new(keys).neighbours(queries, k)
}

/// Keys, and their integers in the order in which a search reads them.
pub struct Index<'a> {
    keys: CowArray<'a, f32, Ix2>,
    stretch: Stretch,
    panels: Panels,
    dot: Dot,
}

enum Panels {
    Columns16(Packed<Lanes<16>>, Kernel<16>),
    Columns32(Packed<Lanes<32>>, Kernel<32>),
}

impl<'a> Index<'a> {
    /// Index of `keys [N, D]`.
    pub fn new(keys: ArrayView2<'a, f32>) -> Index<'a> {
        let keys = if keys.is_standard_layout() {
            CowArray::from(keys)
        } else {
            CowArray::from(keys.as_standard_layout().into_owned())
        };
        let dot = kernel::dot();
        let stretch = Stretch::of(keys.view(), dot);
        let stretched = |key: &[f32], values: &mut [f32]| stretch.key(key, values);
        let panels = match kernel::best() {
            Kernels::Columns16(kernel) => {
                Panels::Columns16(Packed::new(keys.view(), Lanes::ZEROS, stretched), kernel)
            }
            Kernels::Columns32(kernel) => {
                Panels::Columns32(Packed::new(keys.view(), Lanes::ZEROS, stretched), kernel)
            }
        };
        Index {
            keys,
            stretch,
            panels,
            dot,
        }
    }

    /// As [`neighbours`].
    ///
    /// # Panics
    ///
    /// If the widths of keys and queries differ.
    pub fn neighbours(&self, queries: ArrayView2<f32>, k: usize) -> Neighbours {
        let width = self.keys.ncols();
        assert_eq!(width, queries.ncols(), "widths of keys and queries");
        let k = k.min(self.keys.nrows());
        let mut index = Array2::zeros((queries.nrows(), k));
        let mut similarity = Array2::zeros((queries.nrows(), k));
        if k > 0 {
            let tile = tile_rows(width);
            queries
                .axis_chunks_iter(Axis(0), tile)
                .into_par_iter()
                .zip(index.axis_chunks_iter_mut(Axis(0), tile))
                .zip(similarity.axis_chunks_iter_mut(Axis(0), tile))
                .for_each(|((queries, mut index), mut similarity)| {
                    let nearest = match &self.panels {
                        Panels::Columns16(keys, kernel) => self.search(keys, *kernel, queries, k),
                        Panels::Columns32(keys, kernel) => self.search(keys, *kernel, queries, k),
                    };
                    for (row, nearest) in nearest.into_iter().enumerate() {
                        for (i, code) in nearest.into_iter().enumerate() {
                            (index[[row, i]], similarity[[row, i]]) = decode(code);
                        }
                    }
                });
        }
        Neighbours { index, similarity }
    }

    /// The codes of the `k` nearest keys of a tile of queries, in order.
    fn search<const C: usize>(
        &self,
        keys: &Packed<Lanes<C>>,
        kernel: Kernel<C>,
        queries: ArrayView2<f32>,
        k: usize,
    ) -> Vec<Vec<u64>> {
        let rows = queries.as_standard_layout();
        let margin = self.stretch.margin();
        let nearest = rows.outer_iter().map(|query| {
            let query = query.to_slice().unwrap_or_default();
            Nearest::new(k, margin, |key| self.code(query, key))
        });
        let mut nearest: Vec<_> = nearest.collect();
        let stretched = |query: &[f32], values: &mut [f32]| self.stretch.query(query, values);
        let queries = Packed::new(rows.view(), [[0; 2]; ROWS], stretched);
        let mut tiles = vec![[[0; C]; ROWS]; nearest.len().div_ceil(ROWS)];
        for (first_key, key_panel) in keys.panels() {
            tiles.fill([[0; C]; ROWS]);
            for pairs in blocks(keys.pairs(), BLOCK_BYTES / size_of::<Lanes<C>>()) {
                let key_block = &key_panel[pairs.clone()];
                for ((_, query_panel), tile) in queries.panels().zip(&mut tiles) {
                    kernel(&query_panel[pairs.clone()], key_block, tile);
                }
            }
            let columns = C.min(keys.rows() - first_key);
            for (nearest, products) in nearest.iter_mut().zip(tiles.as_flattened()) {
                if kernel::exceeds(products, nearest.threshold()) {
                    nearest.offer(&products[..columns], first_key);
                }
            }
        }
        let candidates = nearest.into_iter().enumerate();
        let candidates =
            candidates.flat_map(|(row, nearest)| nearest.keys().map(move |key| (key, row)));
        let mut candidates: Vec<(u32, usize)> = candidates.collect();
        candidates.sort_unstable();
        let mut codes = vec![Vec::new(); rows.nrows()];
        for (key, row) in candidates {
            codes[row].push(self.code(rows.row(row).to_slice().unwrap_or_default(), key));
        }
        for codes in &mut codes {
            codes.sort_unstable_by_key(|&code| Reverse(code));
            codes.truncate(k);
        }
        codes
    }

    fn code(&self, query: &[f32], key: u32) -> u64 {
        let key_row = self.keys.row(key as usize);
        let similarity = (self.dot)(query, key_row.to_slice().unwrap_or_default());
        encode(similarity, key)
    }
}

/// Queries that a thread searches together.
fn tile_rows(width: usize) -> usize {
    let fitting = TILE_BYTES / (2 * ROWS * width.max(1));
    ROWS * fitting.clamp(1, 32)
}

/// Ranges of at most this number of pairs of dimensions, of nearly equal length, in order.
fn blocks(pairs: usize, most: usize) -> impl Iterator<Item = Range<usize>> {
    let length = pairs.div_ceil(pairs.div_ceil(most).max(1)).max(1);
    (0..pairs)
        .step_by(length)
        .map(move |start| start..pairs.min(start + length))
}

/// A key and its similarity as an integer that grows with the similarity and, where that is equal,
/// falls with the key.
pub(super) fn encode(similarity: f32, key: u32) -> u64 {
    let bits = (similarity + 0.0).to_bits(); // makes -0 equal to 0
    let ordered = if bits >> 31 == 0 {
        bits | 1 << 31
    } else {
        !bits
    };
    u64::from(ordered) << 32 | u64::from(!key)
}

pub(super) fn decode(code: u64) -> (u32, f32) {
    let ordered = (code >> 32) as u32;
    let bits = if ordered >> 31 == 1 {
        ordered & !(1 << 31)
    } else {
        !ordered
    };
    (!(code as u32), f32::from_bits(bits))
}

#[cfg(test)]
mod tests;
