//! Softmax attention of one head.

use std::ops::Range;

#[cfg(target_arch = "x86_64")]
use super::loops::x86::Avx2;
use super::loops::{
    BLOCK, LANES, Lanes, Loops, MOST_KEY, MOST_QUERY, MOST_VALUE, Quad, ROUND, ROWS,
};
use super::loops::{Portable, Top, Weights, exp2};

/// How many rows ahead rows are fetched.
const AHEAD: usize = 8;
/// What a range or magnitude is at least, so that one can divide by it.
const SMALLEST: f32 = 1e-28;

/// Buffers for the attention of one head after the other, `N` tokens of width `D`.
///
/// All products are of whole numbers. Keys have 8 bits, with a range of their own in each column: its
/// beginning adds the same to all products of a query, so that softmax takes it out again, and its width
/// goes into the queries. Values have 7 bits with the sign, and such ranges too. Queries have 7 bits and
/// a scale each; weights have 8, and a scale for `BLOCK` keys, so that small ones are not lost beside
/// one that is large.
pub(super) struct HeadBuffers {
    tokens: usize,
    width: usize,
    /// `[N / LANES, D / 4]`.
    keys: Vec<Lanes>,
    key_columns: Columns,
    /// `[D / LANES, N / 4]`.
    values: Vec<Lanes>,
    value_columns: Columns,
    /// `[ROWS, D / 4]`.
    queries: [Vec<Quad>; ROWS],
    /// `[D]`: a query times the keys' steps.
    query: Vec<f32>,
    /// `[N / BLOCK]`.
    weights: Vec<Weights>,
    tops: Vec<[Top; ROWS]>,
    /// `[D / LANES]`.
    sums: Vec<[[f32; LANES]; ROWS]>,
    /// `[N, D]`.
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

    /// `[N, D]`.
    pub(super) fn shape(&self) -> [usize; 2] {
        [self.tokens, self.width]
    }

    /// `softmax(scale * Q K^T) V`, `[N, D]`, of queries, keys and values whose rows begin `stride`
    /// numbers after each other. Where one is not finite, or a range is not, it is NaN.
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

    /// Whether all are finite.
    #[inline(always)]
    fn pack_keys(&mut self, loops: impl Loops, keys: &[f32], stride: usize) -> bool {
        let row = |token: usize| &keys[token * stride..][..self.width];
        let columns = &mut self.key_columns;
        let finite = columns.measure(loops, self.tokens, row, MOST_KEY);
        let quads = self.width.div_ceil(4);
        // A row of the queries, which are packed later.
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

    /// Whether all are finite.
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

    /// The queries `rows`; gives their steps.
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

    /// The sums of values and, returned, of weights.
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

/// How the numbers of columns become whole ones: a number is `least + whole * step`.
struct Columns {
    least: Vec<f32>,
    steps: Vec<f32>,
    /// One divided by the steps.
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

    /// So that the whole numbers of each column are 0 to `most`. Whether all numbers are finite.
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

/// Without a way out at each number, which would be slow.
#[inline(always)]
fn are_finite(numbers: &[f32]) -> bool {
    numbers.iter().fold(true, |all, x| all & x.is_finite())
}

/// The nearest whole number, of which the lowest byte.
#[inline(always)]
fn byte(x: f32) -> u8 {
    (x + ROUND).to_bits() as u8
}

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
        // SAFETY: there is an `Avx2` only where the processor has it.
        unsafe { attend_by(buffers, avx2, inputs, stride, scale) }
    }
}
