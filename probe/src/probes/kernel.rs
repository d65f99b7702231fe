//! Inner products of a few queries with a few keys, in registers, and of single pairs.
//!
//! A loop for each, compiled once per instruction set and chosen when a search starts. Of several
//! pairs each product is summed in order of dimension, so it does not depend on the pairs beside it.

/// Queries in a tile.
pub(super) const ROWS: usize = 6;

/// Values of `C` rows in one dimension. Aligned, as loads that cross a cache line halve the speed.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(super) struct Lanes<const C: usize>(pub(super) [f32; C]);

impl<const C: usize> Lanes<C> {
    pub(super) const ZEROS: Lanes<C> = Lanes([0.0; C]);
}

impl<const C: usize> AsMut<[f32]> for Lanes<C> {
    fn as_mut(&mut self) -> &mut [f32] {
        &mut self.0
    }
}

/// Inner products `[ROWS, C]`, of as many dimensions as were added to it.
pub(super) type Tile<const C: usize> = [[f32; C]; ROWS];

/// A kernel: adds to a tile the inner products of `queries [D, ROWS]` and `keys [D, C]`.
pub(super) type Kernel<const C: usize> = fn(&[[f32; ROWS]], &[Lanes<C>], &mut Tile<C>);

/// The kernels there are, by the number of keys in a tile.
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
        if is_x86_feature_detected!("avx512f") {
            return Kernels::Columns32(x86::avx512);
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            return Kernels::Columns16(x86::avx2);
        }
    }
    Kernels::Columns16(products::<16, { cfg!(target_arch = "aarch64") }>)
}

#[inline(always)]
fn products<const C: usize, const FUSED: bool>(
    queries: &[[f32; ROWS]],
    keys: &[Lanes<C>],
    tile: &mut Tile<C>,
) {
    let mut sums = *tile;
    for (query, key) in queries.iter().zip(keys) {
        for (&a, sums) in query.iter().zip(&mut sums) {
            for (&b, sum) in key.0.iter().zip(sums) {
                *sum = fused::<FUSED>(a, b, *sum);
            }
        }
    }
    *tile = sums;
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

/// Summed in 32 parts, so that additions do not wait for each other.
#[inline(always)]
fn product<const FUSED: bool>(a: &[f32], b: &[f32]) -> f32 {
    let (a, a_rest) = a.as_chunks::<32>();
    let (b, b_rest) = b.as_chunks::<32>();
    let mut sums = [0.0; 32];
    for (a, b) in a.iter().zip(b) {
        for (sum, (&a, &b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum = fused::<FUSED>(a, b, *sum);
        }
    }
    let rest = a_rest.iter().zip(b_rest);
    let rest = rest.fold(0.0, |sum, (&a, &b)| fused::<FUSED>(a, b, sum));
    for width in [16, 8, 4, 2, 1] {
        (0..width).for_each(|lane| sums[lane] += sums[lane + width]);
    }
    sums[0] + rest
}

/// Whether a value exceeds the threshold. Not inlined, since the compiler shuffles the rows of a tile
/// into each other when it sees several.
#[inline(never)]
pub(super) fn exceeds<const C: usize>(values: &[f32; C], threshold: f32) -> bool {
    values
        .iter()
        .fold(false, |any, &value| any | (value > threshold))
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod x86 {
    use super::{Lanes, ROWS, Tile, product, products};

    #[target_feature(enable = "avx512f")]
    fn avx512_products(queries: &[[f32; ROWS]], keys: &[Lanes<32>], tile: &mut Tile<32>) {
        products::<32, true>(queries, keys, tile);
    }

    #[target_feature(enable = "avx2,fma")]
    fn avx2_products(queries: &[[f32; ROWS]], keys: &[Lanes<16>], tile: &mut Tile<16>) {
        products::<16, true>(queries, keys, tile);
    }

    pub(super) fn avx512(queries: &[[f32; ROWS]], keys: &[Lanes<32>], tile: &mut Tile<32>) {
        // SAFETY: `best` hands this function out only where the processor has AVX-512F.
        unsafe { avx512_products(queries, keys, tile) }
    }

    pub(super) fn avx2(queries: &[[f32; ROWS]], keys: &[Lanes<16>], tile: &mut Tile<16>) {
        // SAFETY: `best` hands this function out only where the processor has AVX2 and FMA.
        unsafe { avx2_products(queries, keys, tile) }
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
