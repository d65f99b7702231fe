//! Approximate search for the most similar keys, in a hierarchy of graphs (Malkov and Yashunin,
//! doi:10.1109/TPAMI.2018.2889473).
//!
//! `hnsw_rs` builds the graphs. They are then copied to flat lists, in which a search is faster.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use hnsw_rs::anndists::dist::Distance;
use hnsw_rs::hnsw::Hnsw;
use ndarray::{Array2, ArrayView2, Axis};
use rayon::prelude::*;
use serde::Serialize;

use super::kernel::{self, Dot};
use super::search::{self, Neighbours, decode, encode};

/// Maximum number of layers.
const LAYERS: usize = 16;

/// Settings for building and searching a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct HnswOptions {
    /// Links of a row, twice as many in the lowest layer; from 2 to 256.
    pub m: usize,
    /// Number of rows among which the links of a new row are chosen, at least 1.
    pub ef_construction: usize,
    /// Number of rows that a search keeps, at least that of the requested neighbours.
    pub ef: usize,
}

impl Default for HnswOptions {
    fn default() -> HnswOptions {
        HnswOptions {
            m: 16,
            ef_construction: 200,
            ef: 200,
        }
    }
}

/// Keys and their graphs.
pub struct HnswIndex {
    keys: Array2<f32>,
    /// From the lowest, which has all keys.
    layers: Vec<Links>,
    /// A key of the uppermost layer.
    entry: u32,
    ef: usize,
    dot: Dot,
}

impl HnswIndex {
    /// Links `keys [N, D]`, rows of length 1 or 0, one after the other on one thread: the same keys
    /// give the same graphs.
    pub fn new(keys: ArrayView2<f32>, options: HnswOptions) -> HnswIndex {
        let HnswOptions {
            m,
            ef_construction,
            ef,
        } = options;
        let (keys, dot) = (keys.as_standard_layout().into_owned(), kernel::dot());
        let graph = Hnsw::new(m, keys.nrows(), LAYERS, ef_construction, Cosine(dot));
        let rows = keys.as_slice().unwrap_or_default();
        let rows = rows.chunks_exact(keys.ncols().max(1)).enumerate();
        rows.for_each(|(row, key)| graph.insert_slice((key, row)));
        let (layers, entry) = flat(&graph, keys.nrows());
        HnswIndex {
            keys,
            layers,
            entry,
            ef,
            dot,
        }
    }

    /// Approximate [`search::neighbours`]: some may be missed. A query that reaches fewer than `k` keys is
    /// searched exactly.
    ///
    /// # Panics
    ///
    /// If the widths of keys and queries differ.
    pub fn neighbours(&self, queries: ArrayView2<f32>, k: usize) -> Neighbours {
        assert_eq!(
            self.keys.ncols(),
            queries.ncols(),
            "widths of keys and queries"
        );
        let k = k.min(self.keys.nrows());
        let queries = queries.as_standard_layout();
        let rows = queries.axis_iter(Axis(0)).into_par_iter();
        let found: Vec<Vec<u64>> = rows
            .map(|query| self.nearest(query.as_slice().unwrap_or_default(), k))
            .collect();
        let failed = |&row: &usize| found[row].len() < k;
        let failed: Vec<usize> = (0..found.len()).filter(failed).collect();
        let value = |(row, i): (usize, usize)| found[row].get(i).map_or((0, 0.0), |&c| decode(c));
        let shape = (found.len(), k);
        let mut all = Neighbours {
            index: Array2::from_shape_fn(shape, |at| value(at).0),
            similarity: Array2::from_shape_fn(shape, |at| value(at).1),
        };
        if !failed.is_empty() {
            let exact = queries.select(Axis(0), &failed);
            let exact = search::neighbours(self.keys.view(), exact.view(), k);
            for (from, &to) in failed.iter().enumerate() {
                all.index.row_mut(to).assign(&exact.index.row(from));
                all.similarity
                    .row_mut(to)
                    .assign(&exact.similarity.row(from));
            }
        }
        all
    }

    /// The share of the `k` nearest keys of `queries [Q, D]` that [`HnswIndex::neighbours`] finds; 1
    /// where there are no queries.
    ///
    /// # Panics
    ///
    /// If the widths of keys and queries differ.
    pub fn recall(&self, queries: ArrayView2<f32>, k: usize) -> f64 {
        let found = self.neighbours(queries, k).index;
        let exact = search::neighbours(self.keys.view(), queries, k).index;
        let both = found.outer_iter().zip(exact.outer_iter());
        let hits = both.map(|(found, exact)| {
            let exact: Vec<u32> = exact.to_vec();
            found.iter().filter(|key| exact.contains(key)).count()
        });
        let hits: usize = hits.sum();
        match exact.len() {
            0 => 1.0,
            all => hits as f64 / all as f64,
        }
    }

    /// The codes of at most `k` keys, most similar first.
    fn nearest(&self, query: &[f32], k: usize) -> Vec<u64> {
        let Some((base, upper)) = self.layers.split_first().filter(|_| k > 0) else {
            return Vec::new();
        };
        let mut entry = self.code(query, self.entry);
        for layer in upper.iter().rev() {
            entry = self.walk(query, entry, 1, layer)[0];
        }
        let mut found = self.walk(query, entry, self.ef.max(k), base);
        found.truncate(k);
        found
    }

    /// The codes of at most `ef` keys near the query, most similar first: links are followed from
    /// the most similar key whose links were not, until it is less similar than the `ef`-th.
    fn walk(&self, query: &[f32], entry: u64, ef: usize, layer: &Links) -> Vec<u64> {
        let mut seen = Seen::new(self.keys.nrows());
        seen.insert(decode(entry).0);
        let mut open = BinaryHeap::from([entry]);
        let mut found = BinaryHeap::from([Reverse(entry)]);
        let mut worst = entry;
        while let Some(code) = open.pop().filter(|&code| code >= worst || found.len() < ef) {
            for &key in layer.of(decode(code).0) {
                if !seen.insert(key) {
                    continue;
                }
                let code = self.code(query, key);
                if code > worst || found.len() < ef {
                    open.push(code);
                    found.push(Reverse(code));
                    if found.len() > ef {
                        found.pop();
                    }
                    worst = found.peek().map_or(code, |worst| worst.0);
                }
            }
        }
        let found = found.into_sorted_vec();
        found.into_iter().map(|Reverse(code)| code).collect()
    }

    fn code(&self, query: &[f32], key: u32) -> u64 {
        let width = self.keys.ncols();
        let keys = self.keys.as_slice().unwrap_or_default();
        let start = key as usize * width;
        encode((self.dot)(query, &keys[start..start + width]), key)
    }
}

/// `1 - similarity`, at least 0 as `hnsw_rs` requires.
#[derive(Clone)]
struct Cosine(Dot);

impl Distance<f32> for Cosine {
    fn eval(&self, a: &[f32], b: &[f32]) -> f32 {
        (1.0 - (self.0)(a, b)).max(0.0)
    }
}

/// The links of all keys in a layer, those of key `i` at `starts[i]..starts[i + 1]`.
struct Links {
    starts: Vec<usize>,
    keys: Vec<u32>,
}

impl Links {
    fn of(&self, key: u32) -> &[u32] {
        let at = key as usize;
        &self.keys[self.starts[at]..self.starts[at + 1]]
    }

    fn new(links: &[Vec<u32>]) -> Links {
        let ends = links.iter().scan(0, |end, links| {
            *end += links.len();
            Some(*end)
        });
        Links {
            starts: [0].into_iter().chain(ends).collect(),
            keys: links.concat(),
        }
    }
}

/// The links of each layer, and the key at which a search starts.
fn flat(graph: &Hnsw<'_, f32, Cosine>, rows: usize) -> (Vec<Links>, u32) {
    let points = graph.get_point_indexation();
    let top = usize::from(graph.get_max_level_observed());
    let mut links = vec![vec![Vec::new(); rows]; top + 1];
    for point in (0..=top).flat_map(|layer| points.get_layer_iterator(layer)) {
        let layers = point.get_neighborhood_id().into_iter().zip(&mut links);
        for (near, layer) in layers {
            let near = near.iter().map(|near| near.d_id as u32);
            layer[point.get_origin_id()] = near.collect();
        }
    }
    let entry = points.get_layer_iterator(top).next();
    let entry = entry.map_or(0, |point| point.get_origin_id() as u32);
    (links.iter().map(|layer| Links::new(layer)).collect(), entry)
}

/// Visited rows.
struct Seen(Vec<u64>);

impl Seen {
    fn new(rows: usize) -> Seen {
        Seen(vec![0; rows.div_ceil(64)])
    }

    /// Marks a row; returns whether it is new.
    fn insert(&mut self, row: u32) -> bool {
        let (word, bit) = (&mut self.0[row as usize / 64], 1 << (row % 64));
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }
}

#[cfg(test)]
mod tests {
    use ndarray::s;

    use super::*;

    const OPTIONS: HnswOptions = HnswOptions {
        m: 8,
        ef_construction: 60,
        ef: 40,
    };

    /// Rows of length 1 around 20 centres.
    fn clustered(rows: usize, seed: u32) -> Array2<f32> {
        let noise = |i: u32| {
            i.wrapping_mul(0x9e37_79b9)
                .rotate_left(15)
                .wrapping_mul(0x85eb_ca6b)
        };
        let value = |i: u32| (noise(noise(i) ^ 0x5bd1_e995) >> 8) as f32 / (1 << 23) as f32 - 1.0;
        let mut x = Array2::from_shape_fn((rows, 24), |(i, j)| {
            let (i, j) = (i as u32, j as u32);
            value((i % 20) * 24 + j) + 0.5 * value((seed << 20) + i * 24 + j)
        });
        for mut row in x.rows_mut() {
            let length = row.dot(&row).sqrt();
            row /= length;
        }
        x
    }

    #[test]
    fn the_same_keys_give_the_same_graphs() {
        let keys = clustered(600, 1);
        let [a, b] = [(), ()].map(|()| HnswIndex::new(keys.view(), OPTIONS));
        assert_eq!(a.layers.len(), b.layers.len());
        assert!(a.layers.len() > 1);
        for (a, b) in a.layers.iter().zip(&b.layers) {
            assert_eq!((&a.starts, &a.keys), (&b.starts, &b.keys));
        }
        let queries = clustered(50, 2);
        let found = a.neighbours(queries.view(), 10);
        assert_eq!(found, b.neighbours(queries.view(), 10));
    }

    #[test]
    fn most_neighbours_are_found_and_more_with_a_greater_ef() {
        let (keys, queries) = (clustered(3000, 1), clustered(200, 2));
        let recall = |ef| {
            let index = HnswIndex::new(keys.view(), HnswOptions { ef, ..OPTIONS });
            index.recall(queries.view(), 10)
        };
        let [little, much] = [recall(10), recall(100)];
        assert!(little < much && much > 0.95, "{little} {much}");
        assert!(much <= 1.0);
    }

    #[test]
    fn neighbours_are_in_order_with_the_similarities_of_the_exact_search() {
        let (keys, queries) = (clustered(500, 1), clustered(30, 2));
        let found = HnswIndex::new(keys.view(), OPTIONS).neighbours(queries.view(), 15);
        let similarity = queries.dot(&keys.t());
        for ((row, i), &key) in found.index.indexed_iter() {
            let value = found.similarity[[row, i]];
            assert!((value - similarity[[row, key as usize]]).abs() < 1e-5);
            assert!(i == 0 || found.similarity[[row, i - 1]] >= value);
        }
    }

    #[test]
    fn tiny_sets_are_searched_as_by_the_exact_search() {
        let queries = clustered(9, 2);
        for rows in [1, 2, 5, 30] {
            let keys = clustered(rows, 1);
            let found = HnswIndex::new(keys.view(), OPTIONS).neighbours(queries.view(), 40);
            let exact = search::neighbours(keys.view(), queries.view(), 40);
            assert_eq!(found.index, exact.index, "{rows}");
        }
        let none = clustered(0, 1);
        let found = HnswIndex::new(none.view(), OPTIONS).neighbours(queries.view(), 3);
        assert_eq!(found.index.dim(), (9, 0));
    }

    #[test]
    fn equal_keys_that_links_do_not_reach_are_found_all_the_same() {
        let mut keys = clustered(300, 1);
        let first = keys.row(0).to_owned();
        keys.slice_mut(s![..200, ..]).assign(&first);
        let found = HnswIndex::new(keys.view(), OPTIONS).neighbours(keys.slice(s![..1, ..]), 150);
        assert_eq!(found.index.dim(), (1, 150));
        assert!(found.similarity.iter().all(|&value| value > 0.999));
    }
}
