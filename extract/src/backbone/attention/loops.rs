//! The inner loops of attention in 8-bit integers, for each instruction set with the same results.
//!
//! One step multiplies a quad (4 unsigned and 4 signed 8-bit integers) and adds the products to an i32. With AVX2
//! this is `vpmaddubsw` (pairs of products, added in i16), `vpmaddwd` by ones (pairs added in i32) and `vpaddd`.

/// Queries that are computed together: with two vectors of sums each, they fill 12 of AVX2's 16 registers.
pub(super) const ROWS: usize = 6;
/// Keys, or columns of values, that are computed together: two vectors of 8 i32.
pub(super) const LANES: usize = 16;
/// Keys whose weights share a scale.
pub(super) const BLOCK: usize = 64;
/// Largest key. `2 * MOST_KEY * MOST_QUERY < 2^15`, so that the i16 sums of `vpmaddubsw` do not overflow.
pub(super) const MOST_KEY: f32 = 255.0;
/// Largest magnitude of a query.
pub(super) const MOST_QUERY: f32 = 63.0;
/// Largest weight, with the same bound for weights and values.
const MOST_WEIGHT: f32 = 255.0;
/// Largest magnitude of a value.
pub(super) const MOST_VALUE: f32 = 63.0;
/// Lower bound of a weight's binary logarithm relative to the block's highest; such weights are 0.
const LEAST: f32 = -20.0;
/// Coefficients of a quadratic approximation of `2^x` for `x` in -0.5..=0.5, highest power first. The relative
/// error is below 2e-3, half of a weight's step.
const POWERS: [f32; 3] = [0.238_429_1, 0.703_448_4, 1.000_443_2];
/// `1.5 * 2^23`: adding it rounds a number of at most 22 bits to the nearest integer, which is then in the lowest
/// bits of the sum.
pub(super) const ROUND: f32 = 12_582_912.0;

/// Four adjacent numbers of a row, which one instruction multiplies and adds.
pub(super) type Quad = [u8; 4];

/// Quads of `LANES` rows, aligned to a cache line: loads that cross one are slow.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(super) struct Lanes(pub(super) [Quad; LANES]);

impl Lanes {
    pub(super) const ZEROS: Lanes = Lanes([[0; 4]; LANES]);
}

/// Weights of a block of keys.
pub(super) type Weights = [[u8; BLOCK]; ROWS];

/// The highest product of a query with the keys of a block, and the sum of the weights.
#[derive(Clone, Copy, Default)]
pub(super) struct Top {
    pub(super) product: i32,
    pub(super) sum: i32,
}

/// `2^x` for `x` in -126.0..=0.0.
#[inline(always)]
pub(super) fn exp2(x: f32) -> f32 {
    let rounded = x + ROUND;
    let rest = x - (rounded - ROUND);
    let power = POWERS.iter().fold(0.0, |sum, power| sum * rest + power);
    f32::from_bits(power.to_bits().wrapping_add(rounded.to_bits() << 23))
}

/// The inner loops. All implementations give the same bits: the same operations in the same order, without fused
/// multiply-adds.
pub(super) trait Loops: Copy {
    /// Prefetches a row.
    fn fetch(self, row: &[f32]);

    /// Writes the weights `MOST_WEIGHT * 2^((product - highest) * step)` of signed queries `[ROWS, D / 4]` and the
    /// first `count` of a block of unsigned keys `[BLOCK / LANES, D / 4]`; `highest` is the highest product of a
    /// query. The other weights are 0.
    fn weigh(
        self,
        queries: [&[Quad]; ROWS],
        keys: &[Lanes],
        count: usize,
        steps: &[f32; ROWS],
        weights: &mut Weights,
    ) -> [Top; ROWS];

    /// Adds `scale * sum over the block's keys of weight * value` to `sums`, for signed values `[BLOCK / 4]` of
    /// `LANES` columns.
    fn sum(
        self,
        weights: &Weights,
        values: &[Lanes],
        scales: &[f32; ROWS],
        sums: &mut [[f32; LANES]; ROWS],
    );
}

/// Loops for any CPU.
#[derive(Clone, Copy)]
pub(super) struct Portable;

impl Loops for Portable {
    fn fetch(self, _: &[f32]) {}

    fn weigh(
        self,
        queries: [&[Quad]; ROWS],
        keys: &[Lanes],
        count: usize,
        steps: &[f32; ROWS],
        weights: &mut Weights,
    ) -> [Top; ROWS] {
        let mut tops = [Top::default(); ROWS];
        let rows = queries.iter().zip(steps).zip(weights).zip(&mut tops);
        for (((query, step), weights), top) in rows {
            let mut products = [0; BLOCK];
            let panels = keys.chunks_exact(query.len());
            for (panel, products) in panels.zip(products.as_chunks_mut::<LANES>().0) {
                for (query, lanes) in query.iter().zip(panel) {
                    for (product, key) in products.iter_mut().zip(&lanes.0) {
                        *product += of_quads(*key, *query);
                    }
                }
            }
            top.product = products[..count].iter().copied().max().unwrap_or(0);
            weights.fill(0);
            for (weight, product) in weights.iter_mut().zip(&products[..count]) {
                let power = ((product - top.product) as f32 * step).max(LEAST);
                *weight = (exp2(power) * MOST_WEIGHT).round_ties_even() as u8;
                top.sum += i32::from(*weight);
            }
        }
        tops
    }

    fn sum(
        self,
        weights: &Weights,
        values: &[Lanes],
        scales: &[f32; ROWS],
        sums: &mut [[f32; LANES]; ROWS],
    ) {
        for ((weights, scale), sums) in weights.iter().zip(scales).zip(sums) {
            let mut products = [0; LANES];
            for (weights, lanes) in weights.as_chunks::<4>().0.iter().zip(values) {
                for (product, value) in products.iter_mut().zip(&lanes.0) {
                    *product += of_quads(*weights, *value);
                }
            }
            for (sum, product) in sums.iter_mut().zip(products) {
                *sum += product as f32 * scale;
            }
        }
    }
}

/// The inner product of four unsigned and four signed numbers.
fn of_quads(unsigned: Quad, signed: Quad) -> i32 {
    let pairs = unsigned.into_iter().zip(signed);
    pairs.map(|(a, b)| i32::from(a) * i32::from(b as i8)).sum()
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
pub(super) mod x86 {
    use std::arch::x86_64::*;

    use super::{
        BLOCK, LANES, LEAST, Lanes, Loops, MOST_WEIGHT, POWERS, Quad, ROUND, ROWS, Top, Weights,
    };

    /// Loops with AVX2; a value exists only if the CPU supports it.
    #[derive(Clone, Copy)]
    pub(in crate::backbone::attention) struct Avx2(());

    impl Avx2 {
        pub(in crate::backbone::attention) fn detected() -> Option<Avx2> {
            is_x86_feature_detected!("avx2").then_some(Avx2(()))
        }
    }

    impl Loops for Avx2 {
        #[inline(always)]
        fn fetch(self, row: &[f32]) {
            for line in row.chunks(16) {
                // SAFETY: a prefetch is a hint that reads nothing.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast()) };
            }
        }

        #[inline(always)]
        fn weigh(
            self,
            queries: [&[Quad]; ROWS],
            keys: &[Lanes],
            count: usize,
            steps: &[f32; ROWS],
            weights: &mut Weights,
        ) -> [Top; ROWS] {
            // SAFETY: an `Avx2` exists only if the CPU supports AVX2.
            unsafe { weigh(queries, keys, count, steps, weights) }
        }

        #[inline(always)]
        fn sum(
            self,
            weights: &Weights,
            values: &[Lanes],
            scales: &[f32; ROWS],
            sums: &mut [[f32; LANES]; ROWS],
        ) {
            // SAFETY: an `Avx2` exists only if the CPU supports AVX2.
            unsafe { sum(weights, values, scales, sums) }
        }
    }

    /// Inner products of `ROWS` rows with `LANES` others, `[ROWS, 2]` vectors of 8 i32: pairs of products are
    /// added in i16 by `multiply`, pairs of these in i32.
    macro_rules! products {
        ($rows:expr, $lanes:expr, |$row:ident, $lane:ident| $multiply:expr) => {{
            let [a, b, c, d, e, f]: [&[Quad]; ROWS] = $rows;
            let ones = _mm256_set1_epi16(1);
            let mut sums = [[_mm256_setzero_si256(); 2]; ROWS];
            let rows = a.iter().zip(b).zip(c).zip(d).zip(e).zip(f);
            for (lanes, (((((a, b), c), d), e), f)) in $lanes.iter().zip(rows) {
                let lanes: [__m256i; 2] = bytemuck::cast(lanes.0);
                for (&quad, sums) in [a, b, c, d, e, f].into_iter().zip(&mut sums) {
                    let $row = _mm256_set1_epi32(bytemuck::cast(quad));
                    for (sum, $lane) in sums.iter_mut().zip(lanes) {
                        *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16($multiply, ones));
                    }
                }
            }
            sums
        }};
    }

    #[target_feature(enable = "avx2")]
    fn weigh(
        queries: [&[Quad]; ROWS],
        keys: &[Lanes],
        count: usize,
        steps: &[f32; ROWS],
        weights: &mut Weights,
    ) -> [Top; ROWS] {
        let mut products = [[_mm256_setzero_si256(); BLOCK / 8]; ROWS];
        for (panel, keys) in keys.chunks_exact(queries[0].len()).enumerate() {
            let tile = products!(queries, keys, |query, key| _mm256_maddubs_epi16(key, query));
            for (products, tile) in products.iter_mut().zip(tile) {
                products[2 * panel..][..2].copy_from_slice(&tile);
            }
        }
        if count < BLOCK {
            for products in &mut products {
                let products: &mut [i32; BLOCK] = bytemuck::cast_mut(products);
                // Half of the minimum, so that subtracting the highest does not overflow.
                products[count..].fill(i32::MIN / 2);
            }
        }
        let mut tops = [Top::default(); ROWS];
        let rows = products.iter().zip(steps).zip(weights).zip(&mut tops);
        for (((products, &step), weights), top) in rows {
            top.product = largest(products);
            top.sum = powers(products, top.product, step, weights);
            if count < BLOCK {
                weights[count..].fill(0);
                top.sum = weights.iter().copied().map(i32::from).sum();
            }
        }
        tops
    }

    /// The largest of 64 products.
    #[target_feature(enable = "avx2")]
    fn largest(products: &[__m256i; BLOCK / 8]) -> i32 {
        let [a, b, c, d, e, f, g, h] = *products;
        let (ab, cd) = (_mm256_max_epi32(a, b), _mm256_max_epi32(c, d));
        let (ef, gh) = (_mm256_max_epi32(e, f), _mm256_max_epi32(g, h));
        let all = _mm256_max_epi32(_mm256_max_epi32(ab, cd), _mm256_max_epi32(ef, gh));
        let half = _mm256_extracti128_si256::<1>(all);
        let four = _mm_max_epi32(_mm256_castsi256_si128(all), half);
        let two = _mm_max_epi32(four, _mm_shuffle_epi32::<0b00_00_11_10>(four));
        _mm_cvtsi128_si32(_mm_max_epi32(two, _mm_shuffle_epi32::<0b00_00_00_01>(two)))
    }

    /// Writes the weights of one query, and returns their sum. `pack` interleaves 128-bit halves; `order` restores
    /// the order.
    #[target_feature(enable = "avx2")]
    fn powers(
        products: &[__m256i; BLOCK / 8],
        highest: i32,
        step: f32,
        weights: &mut [u8; BLOCK],
    ) -> i32 {
        let (highest, step) = (_mm256_set1_epi32(highest), _mm256_set1_ps(step));
        let (least, round) = (_mm256_set1_ps(LEAST), _mm256_set1_ps(ROUND));
        let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
        let (mut sums, mut bytes) = (_mm256_setzero_si256(), [_mm256_setzero_si256(); 2]);
        for (bytes, products) in bytes.iter_mut().zip(products.as_chunks::<4>().0) {
            let mut whole = *products;
            for whole in &mut whole {
                let power = _mm256_cvtepi32_ps(_mm256_sub_epi32(*whole, highest));
                let power = _mm256_max_ps(_mm256_mul_ps(power, step), least);
                let rounded = _mm256_add_ps(power, round);
                let rest = _mm256_sub_ps(power, _mm256_sub_ps(rounded, round));
                let mut value = _mm256_set1_ps(POWERS[0]);
                for &power in &POWERS[1..] {
                    value = _mm256_add_ps(_mm256_mul_ps(value, rest), _mm256_set1_ps(power));
                }
                let exponent = _mm256_slli_epi32::<23>(_mm256_castps_si256(rounded));
                let value = _mm256_add_epi32(_mm256_castps_si256(value), exponent);
                let value = _mm256_mul_ps(_mm256_castsi256_ps(value), _mm256_set1_ps(MOST_WEIGHT));
                *whole = _mm256_cvtps_epi32(value);
            }
            let [a, b, c, d] = whole;
            let packed = _mm256_packus_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
            *bytes = _mm256_permutevar8x32_epi32(packed, order);
            sums = _mm256_add_epi64(sums, _mm256_sad_epu8(*bytes, _mm256_setzero_si256()));
        }
        *weights = bytemuck::cast(bytes);
        let sums: [i64; 4] = bytemuck::cast(sums);
        sums.iter().sum::<i64>() as i32
    }

    #[target_feature(enable = "avx2")]
    fn sum(
        weights: &Weights,
        values: &[Lanes],
        scales: &[f32; ROWS],
        sums: &mut [[f32; LANES]; ROWS],
    ) {
        let [a, b, c, d, e, f] = weights;
        let rows = [a, b, c, d, e, f].map(|row| row.as_chunks::<4>().0);
        let tile = products!(rows, values, |weight, value| _mm256_maddubs_epi16(
            weight, value
        ));
        for ((sums, tile), &scale) in sums.iter_mut().zip(tile).zip(scales) {
            let mut lanes: [__m256; 2] = bytemuck::cast(*sums);
            for (lanes, products) in lanes.iter_mut().zip(tile) {
                let scaled = _mm256_mul_ps(_mm256_cvtepi32_ps(products), _mm256_set1_ps(scale));
                *lanes = _mm256_add_ps(*lanes, scaled);
            }
            *sums = bytemuck::cast(lanes);
        }
    }
}
