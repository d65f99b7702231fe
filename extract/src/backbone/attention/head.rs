//! Softmax attention of one head.

use std::ops::Range;

use super::loops::{
    self, BLOCK, LANES, Lanes, Loops, MOST_KEY, MOST_QUERY, MOST_VALUE, Quad, ROUND, ROWS,
};
use super::loops::{Portable, Top, Weights};

/// How many rows ahead rows are fetched.
const AHEAD: usize = 8;
/// What a range or magnitude is at least, so that one can divide by it.
const SMALLEST: f32 = 1e-28;

/// Room for the attention of one head after the other, `N` tokens of width `D`.
///
/// All products are of whole numbers. Keys have 8 bits, with a range of their own in each column: its
/// beginning adds the same to all products of a query, so that softmax takes it out again, and its width
/// goes into the queries. Values have 7 bits with the sign, and such ranges too. Queries have 7 bits and
/// a scale each; weights have 8, and a scale for `BLOCK` keys, so that small ones are not lost beside
/// one that is large.
pub(super) struct Head {
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
    attended: Vec<f32>,
}

impl Head {
    pub(super) fn new(tokens: usize, width: usize) -> Head {
        let (blocks, quads) = (tokens.div_ceil(BLOCK), width.div_ceil(4));
        let tiles = width.div_ceil(LANES);
        Head {
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

    /// `softmax(scale * Q K^T) V`, `[N, D]`, of queries, keys and values that are finite, as are
    /// their ranges (else there may be NaN in it), whose rows begin
    /// `stride` numbers after each other.
    pub(super) fn attend(&mut self, inputs: [&[f32]; 3], stride: usize, scale: f32) -> &[f32] {
        let scale = scale * std::f32::consts::LOG2_E;
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") {
            x86::attend(self, inputs, stride, scale);
            return &self.attended;
        }
        self.attend_by::<Portable>(inputs, stride, scale);
        &self.attended
    }

    #[inline(always)]
    fn attend_by<L: Loops>(
        &mut self,
        [queries, keys, values]: [&[f32]; 3],
        stride: usize,
        scale: f32,
    ) {
        self.pack_keys::<L>(keys, stride);
        self.pack_values::<L>(values, stride);
        for first in (0..self.tokens).step_by(ROWS) {
            let rows = first..(first + ROWS).min(self.tokens);
            let steps = self.pack_queries(queries, stride, rows.clone());
            let steps = steps.map(|step| step * scale);
            for row in (first + ROWS..self.tokens).take(ROWS) {
                L::fetch(&queries[row * stride..][..self.width]);
            }
            self.weigh::<L>(&steps);
            let totals = self.sum::<L>(&steps);
            self.finish(rows, &totals);
        }
    }

    #[inline(always)]
    fn pack_keys<L: Loops>(&mut self, keys: &[f32], stride: usize) {
        let row = |token: usize| &keys[token * stride..][..self.width];
        let columns = &mut self.key_columns;
        columns.measure::<L>(self.tokens, row, MOST_KEY);
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
    }

    #[inline(always)]
    fn pack_values<L: Loops>(&mut self, values: &[f32], stride: usize) {
        let row = |token: usize| &values[token * stride..][..self.width];
        let columns = &mut self.value_columns;
        columns.measure::<L>(self.tokens, row, 2.0 * MOST_VALUE);
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
            *step = most / MOST_QUERY;
        }
        steps
    }

    #[inline(always)]
    fn weigh<L: Loops>(&mut self, steps: &[f32; ROWS]) {
        let [a, b, c, d, e, f] = &self.queries;
        let quads = self.width.div_ceil(4);
        let blocks = self.weights.iter_mut().zip(&mut self.tops).enumerate();
        for (block, (weights, tops)) in blocks {
            let count = (self.tokens - block * BLOCK).min(BLOCK);
            let keys = &self.keys[block * (BLOCK / LANES) * quads..];
            let keys = &keys[..count.div_ceil(LANES) * quads];
            *tops = L::weigh([a, b, c, d, e, f], keys, count, steps, weights);
        }
    }

    /// The sums of values and, returned, of weights.
    #[inline(always)]
    fn sum<L: Loops>(&mut self, steps: &[f32; ROWS]) -> [f32; ROWS] {
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
                scales[row] = loops::exp2(power.max(-100.0));
                totals[row] += scales[row] * tops[row].sum as f32;
            }
            let quads = (self.tokens - block * BLOCK).min(BLOCK).div_ceil(4);
            for (tile, sums) in self.sums.iter_mut().enumerate() {
                let values = &self.values[(tile * self.weights.len() + block) * (BLOCK / 4)..];
                L::sum(weights, &values[..quads], &scales, sums);
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

    /// So that the whole numbers of each column are 0 to `most`.
    #[inline(always)]
    fn measure<'a, L: Loops>(
        &mut self,
        tokens: usize,
        row: impl Fn(usize) -> &'a [f32],
        most: f32,
    ) {
        let (least, highest) = (&mut self.least, &mut self.steps);
        least.fill(f32::MAX);
        highest.fill(f32::MIN);
        for token in 0..tokens {
            L::fetch(row((token + AHEAD).min(tokens - 1)));
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
    }
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
    use super::Head;
    use crate::backbone::attention::loops::x86::Avx2;

    #[target_feature(enable = "avx2")]
    fn attend_by_avx2(head: &mut Head, inputs: [&[f32]; 3], stride: usize, scale: f32) {
        head.attend_by::<Avx2>(inputs, stride, scale);
    }

    pub(super) fn attend(head: &mut Head, inputs: [&[f32]; 3], stride: usize, scale: f32) {
        // SAFETY: called only where the processor has AVX2.
        unsafe { attend_by_avx2(head, inputs, stride, scale) }
    }
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{Rng, SeedableRng};

    use super::*;

    /// About normal.
    fn numbers(seed: u64, count: usize) -> Vec<f32> {
        let mut draw = ChaCha8Rng::seed_from_u64(seed);
        let mut uniform = || draw.next_u32() as f32 / u32::MAX as f32 - 0.5;
        (0..count)
            .map(|_| 1.73 * (0..4).map(|_| uniform()).sum::<f32>())
            .collect()
    }

    fn exact(inputs: [&[f32]; 3], [tokens, width]: [usize; 2], stride: usize) -> Vec<f64> {
        let row = |of: usize, token: usize| &inputs[of][token * stride..][..width];
        let scale = (width as f64).powf(-0.5);
        let product = |a: &[f32], b: &[f32]| {
            let terms = a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b));
            terms.sum::<f64>() * scale
        };
        let attended = (0..tokens).flat_map(|query| {
            let products = (0..tokens).map(|key| product(row(0, query), row(1, key)));
            let products: Vec<f64> = products.collect();
            let most = products.iter().copied().fold(f64::MIN, f64::max);
            let weights: Vec<f64> = products.iter().map(|x| (x - most).exp()).collect();
            let total: f64 = weights.iter().sum();
            let column = move |column: usize| {
                let values = (0..tokens).map(|key| f64::from(row(2, key)[column]));
                values.zip(&weights).map(|(v, w)| v * w).sum::<f64>() / total
            };
            (0..width).map(column).collect::<Vec<f64>>()
        });
        attended.collect()
    }

    fn rms_of_differences(found: &[f32], expected: &[f64]) -> f64 {
        let pairs = found.iter().zip(expected);
        let sum: f64 = pairs.map(|(&a, b)| (f64::from(a) - b).powi(2)).sum();
        (sum / found.len() as f64).sqrt()
    }

    fn error(inputs: [&[f32]; 3], shape: [usize; 2], stride: usize) -> f64 {
        let [tokens, width] = shape;
        let mut head = Head::new(tokens, width);
        // Whatever was there before is of no account.
        head.attend([&numbers(9, tokens * width); 3].map(|x| &x[..]), width, 3.0);
        let found = head.attend(inputs, stride, (width as f32).powf(-0.5));
        let size = rms_of_differences(found, &vec![0.0; found.len()]);
        rms_of_differences(found, &exact(inputs, shape, stride)) / size
    }

    #[test]
    fn attention_is_softmax_of_products_times_values_for_all_numbers_of_tokens_and_columns() {
        for (shape, stride) in [
            ([1, 64], 64),
            ([5, 16], 48),
            ([50, 25], 30),
            ([64, 64], 64),
            ([65, 72], 72),
            ([129, 2], 3),
            ([257, 64], 128),
        ] {
            let input = |seed| numbers(seed, shape[0] * stride);
            let (mut queries, keys, values) = (input(1), input(2), input(3));
            queries.iter_mut().for_each(|x| *x *= 2.0);
            let error = error([&queries, &keys, &values], shape, stride);
            assert!(error < 0.03, "{shape:?}: {error}");
        }
    }

    #[test]
    fn what_all_keys_have_in_common_and_columns_of_other_sizes_do_no_harm() {
        let shape = [150, 64];
        let input = |seed| numbers(seed, 150 * 64);
        let (mut queries, mut keys, mut values) = (input(1), input(2), input(3));
        for token in 0..150 {
            keys[token * 64 + 7] += 300.0;
            keys[token * 64 + 9] *= 1e4;
            queries[token * 64 + 9] *= 1e-4;
            values[token * 64 + 11] *= 1e-6;
            values[token * 64 + 13] = 1e6 + values[token * 64 + 13] / 8.0;
            values[token * 64 + 15] = 0.0;
        }
        let inputs = [&queries[..], &keys, &values];
        let expected = exact(inputs, shape, 64);
        let mut head = Head::new(150, 64);
        let found = head.attend(inputs, 64, 0.125);
        for (column, most) in [(0, 0.1), (7, 0.1), (11, 0.1), (13, 1e-7), (15, 0.0)] {
            let of = |index: usize| index * 64 + column;
            let found: Vec<f32> = (0..150).map(|row| found[of(row)]).collect();
            let expected: Vec<f64> = (0..150).map(|row| expected[of(row)]).collect();
            let error = rms_of_differences(&found, &expected);
            let size = rms_of_differences(&found, &[0.0; 150]);
            assert!(error <= most * size + 1e-30, "{column}: {error} of {size}");
        }
    }

    #[test]
    fn small_weights_beside_a_large_one_are_not_lost() {
        // The first key has half of all weight, and a value of 0. Lost are those of its block only.
        let (tokens, width) = (1025, 16);
        let queries = vec![1.0; tokens * width];
        let (mut keys, mut values) = (vec![0.0; tokens * width], vec![1.0; tokens * width]);
        keys[..width].fill((1024f32).ln() / 4.0);
        values[..width].fill(0.0);
        let mut head = Head::new(tokens, width);
        let found = head.attend([&queries, &keys, &values], width, 0.25);
        assert!(found.iter().all(|x| (x - 0.5).abs() < 0.03), "{}", found[0]);
    }

    #[test]
    fn all_instruction_sets_give_the_same_bits() {
        for (tokens, width) in [(1, 3), (64, 16), (128, 25), (131, 44)] {
            let mut inputs = [1, 2, 3].map(|seed| numbers(seed, tokens * width));
            for extreme in [false, true] {
                if extreme {
                    // All whole numbers are the largest: no sum may be more than 16 bits hold.
                    inputs[0].fill(1.0);
                    let ends = |x: &mut f32| *x = x.signum();
                    inputs[1..].iter_mut().flatten().for_each(ends);
                }
                let inputs = inputs.each_ref().map(|input| &input[..]);
                let mut portable = Head::new(tokens, width);
                portable.attend_by::<Portable>(inputs, width, 0.3 * std::f32::consts::LOG2_E);
                let mut best = Head::new(tokens, width);
                assert_eq!(best.attend(inputs, width, 0.3), portable.attended);
            }
        }
    }
}
