//! Inner products of a tile of queries and keys in 16-bit integers, held in registers, and of single pairs of
//! rows in f32.
//!
//! Each loop is compiled for several instruction sets; a search selects one when it starts.

/// Queries in a tile.
pub(super) const ROWS: usize = 6;

/// Two adjacent dimensions of a row, which one instruction multiplies and adds (`pmaddwd`).
pub(super) type Pair = [i16; 2];

/// Pairs of `C` rows. Aligned, as loads that cross a cache line halve the speed.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(super) struct Lanes<const C: usize>(pub(super) [Pair; C]);

impl<const C: usize> Lanes<C> {
    pub(super) const ZEROS: Lanes<C> = Lanes([[0; 2]; C]);
}

impl<const C: usize> AsMut<[Pair]> for Lanes<C> {
    fn as_mut(&mut self) -> &mut [Pair] {
        &mut self.0
    }
}

/// Inner products `[ROWS, C]`, over the dimensions added so far.
pub(super) type Tile<const C: usize> = [[i32; C]; ROWS];

/// A kernel: adds to a tile the inner products of `queries [D / 2, ROWS]` and `keys [D / 2, C]`, none
/// of which may leave the range of 32 bits.
pub(super) type Kernel<const C: usize> = fn(&[[Pair; ROWS]], &[Lanes<C>], &mut Tile<C>);

/// The kernels, by the number of keys in a tile.
pub(super) enum Kernels {
    /// Two vectors of 8 lanes.
    Columns16(Kernel<16>),
    /// Two vectors of 16 lanes.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code))]
    Columns32(Kernel<32>),
}

/// The fastest kernel that this processor runs.
pub(super) fn best() -> Kernels {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw") {
            return Kernels::Columns32(x86::avx512);
        }
        if is_x86_feature_detected!("avx2") {
            return Kernels::Columns16(x86::avx2);
        }
    }
    Kernels::Columns16(products)
}

pub(super) fn products(queries: &[[Pair; ROWS]], keys: &[Lanes<16>], tile: &mut Tile<16>) {
    let wide = |pair: Pair| pair.map(i32::from);
    for (query, key) in queries.iter().zip(keys) {
        for (&a, sums) in query.iter().zip(&mut *tile) {
            for (&b, sum) in key.0.iter().zip(sums) {
                let (a, b) = (wide(a), wide(b));
                *sum += a[0] * b[0] + a[1] * b[1];
            }
        }
    }
}

/// The inner product of two rows of equal length.
pub(super) type Dot = fn(&[f32], &[f32]) -> f32;

/// The fastest for single pairs that this processor runs.
pub(super) fn dot() -> Dot {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        return x86::avx2_dot;
    }
    product::<{ cfg!(target_arch = "aarch64") }>
}

#[inline(always)]
fn fused<const FUSED: bool>(a: f32, b: f32, sum: f32) -> f32 {
    if FUSED {
        a.mul_add(b, sum)
    } else {
        a * b + sum
    }
}

/// Sum in 32 parts, so that additions do not wait for each other.
#[inline(always)]
fn product<const FUSED: bool>(a: &[f32], b: &[f32]) -> f32 {
    let (a, a_rest) = a.as_chunks::<32>();
    let (b, b_rest) = b.as_chunks::<32>();
    let mut sums = [[0.0; 8]; 4];
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (a.as_chunks::<8>().0, b.as_chunks::<8>().0);
        for (sums, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            for (sum, (&a, &b)) in sums.iter_mut().zip(a.iter().zip(b)) {
                *sum = fused::<FUSED>(a, b, *sum);
            }
        }
    }
    let rest = a_rest.iter().zip(b_rest);
    let rest = rest.fold(0.0, |sum, (&a, &b)| fused::<FUSED>(a, b, sum));
    total(&sums) + rest
}

/// Not inlined: else the compiler uses narrower vectors in the loop of the sum.
#[inline(never)]
fn total(sums: &[[f32; 8]; 4]) -> f32 {
    let lanes: [f32; 8] =
        std::array::from_fn(|i| (sums[0][i] + sums[1][i]) + (sums[2][i] + sums[3][i]));
    let halves: [f32; 4] = std::array::from_fn(|i| lanes[i] + lanes[i + 4]);
    (halves[0] + halves[2]) + (halves[1] + halves[3])
}

/// Whether a value exceeds the threshold. Not inlined: else the compiler interleaves the rows of a tile with
/// shuffles.
#[inline(never)]
pub(super) fn exceeds<const C: usize>(values: &[i32; C], threshold: i32) -> bool {
    values
        .iter()
        .fold(false, |any, &value| any | (value > threshold))
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod x86 {
    use std::arch::x86_64::*;

    use super::{Lanes, Pair, ROWS, Tile, product};

    macro_rules! products {
        ($name:ident, $feature:literal, $columns:literal, $vector:ty, $repeat:ident, $multiply:ident, $add:ident) => {
            #[target_feature(enable = $feature)]
            fn $name(
                queries: &[[Pair; ROWS]],
                keys: &[Lanes<$columns>],
                tile: &mut Tile<$columns>,
            ) {
                let mut sums: [[$vector; 2]; ROWS] = bytemuck::cast(*tile);
                for (query, key) in queries.iter().zip(keys) {
                    let key: [$vector; 2] = bytemuck::cast(key.0);
                    for (&pair, sums) in query.iter().zip(&mut sums) {
                        let pair = $repeat(bytemuck::cast(pair));
                        sums[0] = $add(sums[0], $multiply(pair, key[0]));
                        sums[1] = $add(sums[1], $multiply(pair, key[1]));
                    }
                }
                *tile = bytemuck::cast(sums);
            }
        };
    }

    products!(
        avx2_products,
        "avx2",
        16,
        __m256i,
        _mm256_set1_epi32,
        _mm256_madd_epi16,
        _mm256_add_epi32
    );
    products!(
        avx512_products,
        "avx512bw",
        32,
        __m512i,
        _mm512_set1_epi32,
        _mm512_madd_epi16,
        _mm512_add_epi32
    );

    pub(super) fn avx2(queries: &[[Pair; ROWS]], keys: &[Lanes<16>], tile: &mut Tile<16>) {
        // SAFETY: `best` hands this function out only where the processor has AVX2.
        unsafe { avx2_products(queries, keys, tile) }
    }

    pub(super) fn avx512(queries: &[[Pair; ROWS]], keys: &[Lanes<32>], tile: &mut Tile<32>) {
        // SAFETY: `best` hands this function out only where the processor has AVX-512F and BW.
        unsafe { avx512_products(queries, keys, tile) }
    }

    #[target_feature(enable = "avx2,fma")]
    fn avx2_product(a: &[f32], b: &[f32]) -> f32 {
        product::<true>(a, b)
    }

    pub(super) fn avx2_dot(a: &[f32], b: &[f32]) -> f32 {
        // SAFETY: `dot` hands this function out only where the processor has AVX2 and FMA.
        unsafe { avx2_product(a, b) }
    }
}
