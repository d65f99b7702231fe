//! Softmax attention of one head in 8-bit integers.
//!
//! With `N` tokens of width `D`, the result is `O = softmax(scale * Q K^T) V`. Each matrix is quantised:
//!
//! - keys, per column `d`: `K[j, d] = least_K[d] + step_K[d] * k[j, d]`, `k` in 0..=255. The product of a query
//!   with `least_K` is the same for all keys, so softmax cancels it, and `step_K` is multiplied into the query;
//! - queries, per row `i`: `Q[i, d] * step_K[d] = step_Q[i] * q[i, d]`, `q` in -63..=63. A score is
//!   `scale * log2(e) * step_Q[i] * sum over d of q[i, d] k[j, d]`;
//! - weights, per row and block of `BLOCK` keys: `2^(score - highest score of the block) = w[i, j] / 255`, so
//!   that small weights are not lost beside a large one in another block;
//! - values, per column `d`: `V[j, d] = least_V[d] + step_V[d] * (v[j, d] + 63)`, `v` in -63..=63.
//!
//! Then `O[i, d] = least_V[d] + step_V[d] * (63 + sum over blocks of scale * w v / sum over blocks of scale * w)`.
//!
//! Loop order: keys and values are packed once; then for each `ROWS` queries, all blocks of keys (scores and
//! weights), then all blocks of values (sums). A tile of `ROWS` x `LANES` products stays in registers while
//! the inner dimension advances, and each packed key is loaded once per `ROWS` queries.

use std::ops::Range;

#[cfg(target_arch = "x86_64")]
use super::loops::x86::Avx2;
use super::loops::{
    BLOCK, LANES, Lanes, Loops, MOST_KEY, MOST_QUERY, MOST_VALUE, Quad, ROUND, ROWS,
};
use super::loops::{Portable, Top, Weights, exp2};

/// Distance of prefetches, in rows.
const AHEAD: usize = 8;
/// Smallest range or magnitude, so that one can divide by it.
const SMALLEST: f32 = 1e-28;

/// Buffers for the attention of one head after another, with `N` tokens of width `D`.
///
/// Layout: keys are tiles of `LANES` tokens, values tiles of `LANES` columns. A tile is a sequence of quads (4
/// adjacent integers along the inner dimension) for each of its lanes, so that one 64-byte load feeds one
/// multiply-add instruction per 8 lanes. Tokens are padded to multiples of `BLOCK` and columns to multiples of 4
/// (inner) and `LANES` (outer), with zeros.
pub(super) struct HeadBuffers {
    tokens: usize,
    width: usize,
    /// `[N / LANES, D / 4]`, unsigned.
    keys: Vec<Lanes>,
    key_columns: Columns,
    /// `[D / LANES, N / 4]`, signed.
    values: Vec<Lanes>,
    value_columns: Columns,
    /// `[ROWS, D / 4]`, signed.
    queries: [Vec<Quad>; ROWS],
    /// A query times the keys' steps, `[D]`.
    query: Vec<f32>,
    /// Weights of the queries of a pass, `[N / BLOCK]`.
    weights: Vec<Weights>,
    /// `[N / BLOCK]`.
    tops: Vec<[Top; ROWS]>,
    /// Weighted sums of the values, `[D / LANES]`.
    sums: Vec<[[f32; LANES]; ROWS]>,
    /// The result, `[N, D]`.
    pub(super) attended: Vec<f32>,
}

impl HeadBuffers {
    pub(super) fn new(tokens: usize, width: usize) -> HeadBuffers {
        let (blocks, quads) = (tokens.div_ceil(BLOCK), width.div_ceil(4));
        let tiles = width.div_ceil(LANES);
        HeadBuffers {
            tokens,
            width,
            keys: vec![Lanes::ZEROS; blocks * BLOCK / LANES * quads],
            key_columns: Columns::new(width),
            values: vec![Lanes::ZEROS; tiles * blocks * BLOCK / 4],
            value_columns: Columns::new(width),
            queries: std::array::from_fn(|_| vec![[0; 4]; quads]),
            query: vec![0.0; width],
            weights: vec![[[0; BLOCK]; ROWS]; blocks],
            tops: vec![[Top::default(); ROWS]; blocks],
            sums: vec![[[0.0; LANES]; ROWS]; tiles],
            attended: vec![0.0; tokens * width],
        }
    }

    /// `[N, D]` of the buffers.
    pub(super) fn shape(&self) -> [usize; 2] {
        [self.tokens, self.width]
    }

    /// `softmax(scale * Q K^T) V`, `[N, D]`, of queries, keys and values whose rows are `stride` numbers apart. All
    /// NaN if a key, a value or the range of a column is not finite, and the rows of queries that are not.
    pub(super) fn attend(&mut self, inputs: [&[f32]; 3], stride: usize, scale: f32) -> &[f32] {
        let scale = scale * std::f32::consts::LOG2_E;
        #[cfg(target_arch = "x86_64")]
        if let Some(avx2) = Avx2::detected() {
            x86::attend(self, avx2, inputs, stride, scale);
            return &self.attended;
        }
        self.attend_by(Portable, inputs, stride, scale);
        &self.attended
    }

    #[inline(always)]
    pub(super) fn attend_by<L: Loops>(
        &mut self,
        loops: L,
        [queries, keys, values]: [&[f32]; 3],
        stride: usize,
        scale: f32,
    ) {
        let finite = self.pack_keys(loops, keys, stride) & self.pack_values(loops, values, stride);
        if !finite {
            self.attended.fill(f32::NAN);
            return;
        }
        for first in (0..self.tokens).step_by(ROWS) {
            let rows = first..(first + ROWS).min(self.tokens);
            let steps = self.pack_queries(queries, stride, rows.clone());
            let steps = steps.map(|step| step * scale);
            for row in (first + ROWS..self.tokens).take(ROWS) {
                loops.fetch(&queries[row * stride..][..self.width]);
            }
            self.weigh(loops, &steps);
            let totals = self.sum(loops, &steps);
            self.finish(rows, &totals);
        }
    }

    /// Quantises the keys. False if one is not finite.
    #[inline(always)]
    fn pack_keys(&mut self, loops: impl Loops, keys: &[f32], stride: usize) -> bool {
        let row = |token: usize| &keys[token * stride..][..self.width];
        let columns = &mut self.key_columns;
        let finite = columns.measure(loops, self.tokens, row, MOST_KEY);
        let quads = self.width.div_ceil(4);
        // A buffer for one token; queries are packed later.
        let whole = &mut self.queries[0];
        for token in 0..self.tokens {
            let numbers = row(token).iter().zip(&columns.least).zip(&columns.inverses);
            for (to, ((key, least), inverse)) in whole.as_flattened_mut().iter_mut().zip(numbers) {
                *to = byte((key - least) * inverse);
            }
            let panel = &mut self.keys[token / LANES * quads..][..quads];
            for (lanes, &quad) in panel.iter_mut().zip(&*whole) {
                lanes.0[token % LANES] = quad;
            }
        }
        finite
    }

    /// Quantises the values. False if one is not finite.
    #[inline(always)]
    fn pack_values(&mut self, loops: impl Loops, values: &[f32], stride: usize) -> bool {
        let row = |token: usize| &values[token * stride..][..self.width];
        let columns = &mut self.value_columns;
        let finite = columns.measure(loops, self.tokens, row, 2.0 * MOST_VALUE);
        let quads = self.weights.len() * BLOCK / 4;
        for token in 0..self.tokens {
            let (least, inverses) = (&columns.least, &columns.inverses);
            let tiles = row(token).chunks(LANES).zip(least.chunks(LANES));
            for (tile, ((values, least), inverses)) in tiles.zip(inverses.chunks(LANES)).enumerate()
            {
                let lanes = &mut self.values[tile * quads + token / 4].0;
                let numbers = values.iter().zip(least).zip(inverses);
                for (lane, ((value, least), inverse)) in lanes.iter_mut().zip(numbers) {
                    lane[token % 4] =
                        byte((value - least) * inverse).wrapping_sub(MOST_VALUE as u8);
                }
            }
        }
        finite
    }

    /// Quantises the queries `rows`, and returns their steps; NaN for a query that is not finite.
    #[inline(always)]
    fn pack_queries(&mut self, queries: &[f32], stride: usize, rows: Range<usize>) -> [f32; ROWS] {
        let mut steps = [0.0; ROWS];
        for ((row, whole), step) in rows.zip(&mut self.queries).zip(&mut steps) {
            let query = &queries[row * stride..][..self.width];
            let scaled = query.iter().zip(&self.key_columns.steps);
            for (to, (number, step)) in self.query.iter_mut().zip(scaled) {
                *to = number * step;
            }
            let most = magnitude(&self.query).max(SMALLEST);
            let inverse = MOST_QUERY / most;
            for (to, number) in whole.as_flattened_mut().iter_mut().zip(&self.query) {
                *to = byte(number * inverse);
            }
            *step = if are_finite(query) {
                most / MOST_QUERY
            } else {
                f32::NAN
            };
        }
        steps
    }

    /// Computes the weights of the packed queries, block by block.
    #[inline(always)]
    fn weigh(&mut self, loops: impl Loops, steps: &[f32; ROWS]) {
        let [a, b, c, d, e, f] = &self.queries;
        let quads = self.width.div_ceil(4);
        let blocks = self.weights.iter_mut().zip(&mut self.tops).enumerate();
        for (block, (weights, tops)) in blocks {
            let count = (self.tokens - block * BLOCK).min(BLOCK);
            let keys = &self.keys[block * (BLOCK / LANES) * quads..];
            let keys = &keys[..count.div_ceil(LANES) * quads];
            *tops = loops.weigh([a, b, c, d, e, f], keys, count, steps, weights);
        }
    }

    /// Adds up weights times values; the sums of the weights are returned. Each block is scaled by
    /// `2^(its highest score - the highest score of the query)`, as in online softmax (Milakov and Gimelshein
    /// 2018).
    #[inline(always)]
    fn sum(&mut self, loops: impl Loops, steps: &[f32; ROWS]) -> [f32; ROWS] {
        let mut highest = [i32::MIN; ROWS];
        for tops in &self.tops {
            for (highest, top) in highest.iter_mut().zip(tops) {
                *highest = top.product.max(*highest);
            }
        }
        self.sums.fill([[0.0; LANES]; ROWS]);
        let mut totals = [0.0; ROWS];
        for (block, (weights, tops)) in self.weights.iter().zip(&self.tops).enumerate() {
            let mut scales = [0.0; ROWS];
            for row in 0..ROWS {
                let power = (tops[row].product - highest[row]) as f32 * steps[row];
                scales[row] = exp2(power.max(-100.0));
                totals[row] += scales[row] * tops[row].sum as f32;
            }
            let quads = (self.tokens - block * BLOCK).min(BLOCK).div_ceil(4);
            for (tile, sums) in self.sums.iter_mut().enumerate() {
                let values = &self.values[(tile * self.weights.len() + block) * (BLOCK / 4)..];
                loops.sum(weights, &values[..quads], &scales, sums);
            }
        }
        totals
    }

    /// Converts the sums of the queries `rows` to the result.
    #[inline(always)]
    fn finish(&mut self, rows: Range<usize>, totals: &[f32; ROWS]) {
        for ((index, row), total) in rows.enumerate().zip(totals) {
            let attended = &mut self.attended[row * self.width..][..self.width];
            let Columns { least, steps, .. } = &self.value_columns;
            let columns = least.chunks(LANES).zip(steps.chunks(LANES));
            for ((to, sums), columns) in attended.chunks_mut(LANES).zip(&self.sums).zip(columns) {
                let columns = columns.0.iter().zip(columns.1);
                for ((to, sum), (least, step)) in to.iter_mut().zip(&sums[index]).zip(columns) {
                    *to = least + (sum / total + MOST_VALUE) * step;
                }
            }
        }
    }
}

/// Quantisation of columns: a number is `least + step * integer`.
struct Columns {
    least: Vec<f32>,
    steps: Vec<f32>,
    /// `1 / steps`.
    inverses: Vec<f32>,
}

impl Columns {
    fn new(width: usize) -> Columns {
        Columns {
            least: vec![0.0; width],
            steps: vec![0.0; width],
            inverses: vec![0.0; width],
        }
    }

    /// Sets the ranges so that the integers of each column are 0 to `most`. False if a number is not finite.
    #[inline(always)]
    fn measure<'a>(
        &mut self,
        loops: impl Loops,
        tokens: usize,
        row: impl Fn(usize) -> &'a [f32],
        most: f32,
    ) -> bool {
        let mut finite = true;
        let (least, highest) = (&mut self.least, &mut self.steps);
        least.fill(f32::MAX);
        highest.fill(f32::MIN);
        for token in 0..tokens {
            loops.fetch(row((token + AHEAD).min(tokens - 1)));
            finite &= are_finite(row(token));
            let numbers = least.iter_mut().zip(&mut *highest).zip(row(token));
            for ((least, highest), &number) in numbers {
                *least = least.min(number);
                *highest = highest.max(number);
            }
        }
        let steps = highest;
        for ((least, step), inverse) in least.iter().zip(steps).zip(&mut self.inverses) {
            *step = (*step - least).max(SMALLEST) / most;
            *inverse = 1.0 / *step;
        }
        finite
    }
}

/// True if all are finite; without an early return, so that it is vectorised.
#[inline(always)]
fn are_finite(numbers: &[f32]) -> bool {
    numbers.iter().fold(true, |all, x| all & x.is_finite())
}

/// The lowest byte of the nearest integer.
#[inline(always)]
fn byte(x: f32) -> u8 {
    (x + ROUND).to_bits() as u8
}

/// The largest absolute value, in 16 independent lanes, so that it is vectorised.
#[inline(always)]
fn magnitude(row: &[f32]) -> f32 {
    let mut most = [0f32; 16];
    let (chunks, rest) = row.as_chunks::<16>();
    for chunk in chunks {
        for (most, x) in most.iter_mut().zip(chunk) {
            *most = most.max(x.abs());
        }
    }
    let most = most.iter().fold(0f32, |a, &b| a.max(b));
    rest.iter().fold(most, |a, b| a.max(b.abs()))
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod x86 {
    use super::{Avx2, HeadBuffers};

    #[target_feature(enable = "avx2")]
    fn attend_by(
        buffers: &mut HeadBuffers,
        avx2: Avx2,
        inputs: [&[f32]; 3],
        stride: usize,
        scale: f32,
    ) {
        buffers.attend_by(avx2, inputs, stride, scale);
    }

    pub(super) fn attend(
        buffers: &mut HeadBuffers,
        avx2: Avx2,
        inputs: [&[f32]; 3],
        stride: usize,
        scale: f32,
    ) {
        // SAFETY: an `Avx2` exists only if the CPU supports AVX2.
        unsafe { attend_by(buffers, avx2, inputs, stride, scale) }
    }
}
