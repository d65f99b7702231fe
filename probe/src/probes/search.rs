//! Exact search for the most similar keys.

use std::cmp::Reverse;
use std::ops::Range;

use ndarray::{Array2, ArrayView2, Axis, s};
use rayon::prelude::*;

use super::kernel::{self, Kernel, Kernels, Lanes, ROWS};

/// Dimensions of which a panel of keys stays in a core's first-level cache.
const BLOCK: usize = 384;

/// Dimensions that are packed together, so that what is written stays in the first-level cache.
const PACKED: usize = 64;

/// Bytes of packed queries that stay in a core's second-level cache.
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
    /// Drops from row `q` the key `first + q`, or the last neighbour where that key is not among
    /// them: `[Q, k]` becomes `[Q, k - 1]`.
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
/// `keys` is `[N, D]`, `queries` `[Q, D]`, all values finite; with rows of length 1 the inner
/// product is the cosine. `k` is cut to `N`. The result does not depend on the number of threads.
///
/// # Panics
///
/// If the widths of keys and queries differ.
pub fn neighbours(keys: ArrayView2<f32>, queries: ArrayView2<f32>, k: usize) -> Neighbours {
    Index::new(keys).neighbours(queries, k)
}

/// Keys, copied once in the order in which a search reads them.
pub struct Index(Panels);

enum Panels {
    Columns16(Packed<Lanes<16>>, Kernel<16>),
    Columns32(Packed<Lanes<32>>, Kernel<32>),
}

impl Index {
    /// Copies `keys [N, D]`.
    pub fn new(keys: ArrayView2<f32>) -> Index {
        Index(match kernel::best() {
            Kernels::Columns16(kernel) => {
                Panels::Columns16(Packed::new(keys, Lanes::ZEROS), kernel)
            }
            Kernels::Columns32(kernel) => {
                Panels::Columns32(Packed::new(keys, Lanes::ZEROS), kernel)
            }
        })
    }

    /// As [`neighbours`].
    ///
    /// # Panics
    ///
    /// If the widths of keys and queries differ.
    pub fn neighbours(&self, queries: ArrayView2<f32>, k: usize) -> Neighbours {
        match &self.0 {
            Panels::Columns16(keys, kernel) => search(keys, *kernel, queries, k),
            Panels::Columns32(keys, kernel) => search(keys, *kernel, queries, k),
        }
    }
}

/// Rows in panels of as many as `V` has values, each panel stored dimension by dimension, the last
/// filled with zeros.
struct Packed<V> {
    rows: usize,
    width: usize,
    lanes: usize,
    values: Vec<V>,
}

impl<V: AsMut<[f32]> + Copy + Send + Sync> Packed<V> {
    fn new(rows: ArrayView2<f32>, mut zeros: V) -> Packed<V> {
        let ((count, width), lanes) = (rows.dim(), zeros.as_mut().len());
        let mut values = vec![zeros; count.div_ceil(lanes) * width];
        let panels = values.par_chunks_mut(width.max(1)).enumerate();
        panels.for_each(|(panel, values)| {
            let last = count.min((panel + 1) * lanes);
            let rows = rows.slice(s![panel * lanes..last, ..]);
            for (values, rows) in values
                .chunks_mut(PACKED)
                .zip(rows.axis_chunks_iter(Axis(1), PACKED))
            {
                for (lane, row) in rows.axis_iter(Axis(0)).enumerate() {
                    let targets = values.iter_mut().zip(row);
                    targets.for_each(|(value, &x)| value.as_mut()[lane] = x);
                }
            }
        });
        Packed {
            rows: count,
            width,
            lanes,
            values,
        }
    }

    /// Panels, each with the number of its first row.
    fn panels(&self) -> impl Iterator<Item = (usize, &[V])> {
        let starts = (0..self.rows).step_by(self.lanes);
        starts.zip(self.values.chunks_exact(self.width.max(1)))
    }
}

fn search<const C: usize>(
    keys: &Packed<Lanes<C>>,
    kernel: Kernel<C>,
    queries: ArrayView2<f32>,
    k: usize,
) -> Neighbours {
    assert_eq!(keys.width, queries.ncols(), "widths of keys and queries");
    let k = k.min(keys.rows);
    let mut index = Array2::zeros((queries.nrows(), k));
    let mut similarity = Array2::zeros((queries.nrows(), k));
    if k > 0 {
        let tile = tile_rows(queries.ncols());
        queries
            .axis_chunks_iter(Axis(0), tile)
            .into_par_iter()
            .zip(index.axis_chunks_iter_mut(Axis(0), tile))
            .zip(similarity.axis_chunks_iter_mut(Axis(0), tile))
            .for_each(|((queries, mut index), mut similarity)| {
                let nearest = search_tile(keys, kernel, queries, k);
                for (row, nearest) in nearest.into_iter().enumerate() {
                    for (i, (key, value)) in nearest.sorted().enumerate() {
                        index[[row, i]] = key;
                        similarity[[row, i]] = value;
                    }
                }
            });
    }
    Neighbours { index, similarity }
}

/// Queries searched together by one thread.
fn tile_rows(width: usize) -> usize {
    let fitting = TILE_BYTES / (4 * ROWS * width.max(1));
    ROWS * fitting.clamp(1, 32)
}

fn search_tile<const C: usize>(
    keys: &Packed<Lanes<C>>,
    kernel: Kernel<C>,
    queries: ArrayView2<f32>,
    k: usize,
) -> Vec<Nearest> {
    let mut nearest: Vec<Nearest> = (0..queries.nrows()).map(|_| Nearest::new(k)).collect();
    let queries = Packed::new(queries, [0.0; ROWS]);
    let mut tiles = vec![[[0.0; C]; ROWS]; nearest.len().div_ceil(ROWS)];
    for (first_key, key_panel) in keys.panels() {
        tiles.fill([[0.0; C]; ROWS]);
        for dimensions in blocks(keys.width) {
            let key_block = &key_panel[dimensions.clone()];
            for ((_, query_panel), tile) in queries.panels().zip(&mut tiles) {
                kernel(&query_panel[dimensions.clone()], key_block, tile);
            }
        }
        let columns = C.min(keys.rows - first_key);
        for (nearest, similarities) in nearest.iter_mut().zip(tiles.as_flattened()) {
            if kernel::exceeds(similarities, nearest.threshold) {
                nearest.offer(&similarities[..columns], first_key);
            }
        }
    }
    nearest
}

/// Runs of dimensions of nearly the same length, in order.
fn blocks(width: usize) -> impl Iterator<Item = Range<usize>> {
    let length = width.div_ceil(width.div_ceil(BLOCK).max(1)).max(1);
    (0..width)
        .step_by(length)
        .map(move |start| start..width.min(start + length))
}

/// The `k` best keys of one query so far, and up to as many candidates again.
struct Nearest {
    k: usize,
    /// The `k`-th similarity when candidates were last thrown out.
    threshold: f32,
    candidates: Vec<u64>,
}

impl Nearest {
    fn new(k: usize) -> Nearest {
        let candidates = Vec::with_capacity(Nearest::capacity(k));
        Nearest {
            k,
            threshold: f32::NEG_INFINITY,
            candidates,
        }
    }

    fn capacity(k: usize) -> usize {
        k + k.max(32)
    }

    fn offer(&mut self, similarities: &[f32], first_key: usize) {
        for (lane, &similarity) in similarities.iter().enumerate() {
            if similarity > self.threshold {
                self.candidates
                    .push(encode(similarity, (first_key + lane) as u32));
                if self.candidates.len() == Nearest::capacity(self.k) {
                    self.shrink();
                }
            }
        }
    }

    fn shrink(&mut self) {
        let by_rank = |&code: &u64| Reverse(code);
        self.candidates
            .select_nth_unstable_by_key(self.k - 1, by_rank);
        self.candidates.truncate(self.k);
        self.threshold = decode(self.candidates[self.k - 1]).1;
    }

    fn sorted(mut self) -> impl Iterator<Item = (u32, f32)> {
        if self.candidates.len() > self.k {
            self.shrink();
        }
        self.candidates.sort_unstable_by_key(|&code| Reverse(code));
        self.candidates.into_iter().map(decode)
    }
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
