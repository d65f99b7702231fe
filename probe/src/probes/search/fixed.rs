//! Rows as 16-bit integers, and a bound on the errors of their inner products.

use ndarray::{ArrayView2, Axis};
use rayon::prelude::*;

use crate::probes::kernel::{Dot, Pair};

/// Length to which rows are scaled. Each rounded value fits 16 bits. By the Cauchy-Schwarz inequality no inner
/// product of two rows, nor a partial sum of it, exceeds the square of the length, which is less than half of
/// the range of 32 bits.
const LENGTH: f32 = 32_000.0;

/// If the longest row is shorter, or its square is infinite, all rows become 0: squares of shorter rows may
/// underflow.
const SHORTEST: f32 = 1e-15;

/// Pairs of dimensions packed together, so that written values stay in the first-level cache.
const PACKED: usize = 64;

/// Minimum number of panels per thread: the few panels of a tile of queries are not worth a second thread.
const PANELS: usize = 64;

/// Conversion of keys to integers: subtraction of the mean and multiplication by a scale.
pub(super) struct Stretch {
    centre: Vec<f32>,
    scale: f32,
    margin: i32,
    dot: Dot,
}

impl Stretch {
    /// Conversion of `keys [N, D]` in standard layout. Subtracting the mean changes all products with a query by
    /// the same amount, and leaves shorter keys, which can be scaled more.
    pub(super) fn of(keys: ArrayView2<'_, f32>, dot: Dot) -> Stretch {
        let width = keys.ncols();
        let centre = keys.mean_axis(Axis(0)).unwrap_or_default().to_vec();
        let moved = Stretch {
            centre,
            scale: 1.0,
            margin: 0,
            dot,
        };
        let rows = keys.as_slice().unwrap_or_default();
        let squares = rows.par_chunks(width.max(1)).map_init(
            || vec![0.0; width],
            |centred, key| {
                moved.key(key, centred);
                dot(centred, centred)
            },
        );
        let scale = scale(squares.reduce(|| 0.0, f32::max));
        Stretch {
            scale,
            margin: margin(&moved.centre, scale),
            ..moved
        }
    }

    /// Centres and scales a key.
    pub(super) fn key(&self, key: &[f32], stretched: &mut [f32]) {
        let values = stretched.iter_mut().zip(key).zip(&self.centre);
        values.for_each(|((value, x), mean)| *value = (x - mean) * self.scale);
    }

    /// Scales a query.
    pub(super) fn query(&self, query: &[f32], stretched: &mut [f32]) {
        let scale = scale((self.dot)(query, query));
        let values = stretched.iter_mut().zip(query);
        values.for_each(|(value, x)| *value = x * scale);
    }

    /// Difference of the integer products of two keys with a query above which the key with the larger product
    /// also has the larger inner product, as summed by [`Dot`].
    pub(super) fn margin(&self) -> i32 {
        self.margin
    }
}

/// For a scaled query `q` and key `k` and their integers `q'` and `k'`,
/// `qk - q'k' = q (k - k') + (q - q') k'`: at most twice the length times that of a row of halves. The error of
/// the sum in f32 is at most a share of the product of the lengths, which grows with the width. A key is at
/// most as long as the mean plus the centred key.
fn margin(centre: &[f32], scale: f32) -> i32 {
    let (width, length) = (centre.len() as f64, f64::from(LENGTH));
    let epsilon = f64::from(f32::EPSILON);
    let rounding = width.sqrt() / 2.0 + 4.0 * epsilon * length;
    let centre: f64 = centre.iter().map(|&x| f64::from(x).powi(2)).sum();
    let longest = length + centre.sqrt() * f64::from(scale);
    let summing = width * epsilon * length * longest;
    let error = 1.001 * (rounding * (2.0 * length + rounding) + summing);
    (2.0 * error).ceil() as i32
}

fn scale(square: f32) -> f32 {
    match square.sqrt() {
        length if length < SHORTEST => 0.0,
        length => LENGTH / length,
    }
}

/// Rows in panels of as many rows as `V` has lanes. Layout of a panel: pairs of dimensions `[D / 2, lanes]`. The
/// last panel and an odd last dimension are padded with zeros.
pub(super) struct Packed<V> {
    rows: usize,
    pairs: usize,
    lanes: usize,
    values: Vec<V>,
}

impl<V: AsMut<[Pair]> + Copy + Send + Sync> Packed<V> {
    /// Packs `rows [N, D]` in standard layout, each scaled by `stretch`.
    pub(super) fn new(
        rows: ArrayView2<'_, f32>,
        mut zeros: V,
        stretch: impl Fn(&[f32], &mut [f32]) + Sync,
    ) -> Packed<V> {
        let ((count, width), lanes) = (rows.dim(), zeros.as_mut().len());
        let pairs = width.div_ceil(2);
        let mut values = vec![zeros; count.div_ceil(lanes) * pairs];
        let rows = rows.as_slice().unwrap_or_default();
        values
            .par_chunks_mut(pairs.max(1))
            .zip(rows.par_chunks((lanes * width).max(1)))
            .with_min_len(PANELS)
            .for_each(|(panel, rows)| {
                let mut stretched = vec![0.0; 2 * pairs];
                let mut whole = Vec::with_capacity(lanes * pairs);
                for row in rows.chunks_exact(width) {
                    stretch(row, &mut stretched[..width]);
                    whole.extend(stretched.as_chunks().0.iter().map(rounded));
                }
                for (block, values) in panel.chunks_mut(PACKED).enumerate() {
                    for (lane, row) in whole.chunks_exact(pairs).enumerate() {
                        let targets = values.iter_mut().zip(&row[block * PACKED..]);
                        targets.for_each(|(value, &pair)| value.as_mut()[lane] = pair);
                    }
                }
            });
        Packed {
            rows: count,
            pairs,
            lanes,
            values,
        }
    }

    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Pairs of dimensions.
    pub(super) fn pairs(&self) -> usize {
        self.pairs
    }

    /// Panels, each with the number of its first row.
    pub(super) fn panels(&self) -> impl Iterator<Item = (usize, &[V])> {
        let panels = (0..self.rows).step_by(self.lanes).enumerate();
        panels.map(|(panel, first)| (first, &self.values[panel * self.pairs..][..self.pairs]))
    }
}

fn rounded(values: &[f32; 2]) -> Pair {
    // Floats of this size are integers, which their lowest bits hold.
    values.map(|value| (value + 1.5 * (1 << 23) as f32).to_bits() as i16)
}
