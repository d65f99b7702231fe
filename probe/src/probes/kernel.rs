//! Inner products of a few queries with a few keys, in registers.
//!
//! One loop, compiled once per instruction set and chosen when a search starts. Each inner product
//! is summed in order of dimension, so it does not depend on the pairs beside it.

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

/// What a kernel fills in: similarities `[ROWS, C]`.
pub(super) type Tile<const C: usize> = [[f32; C]; ROWS];

/// A kernel: `queries [D, ROWS]`, `keys [D, C]`, a threshold per query; fills `tile` and returns a
/// bit mask of the queries with a similarity above their threshold.
pub(super) type Kernel<const C: usize> =
    fn(&[[f32; ROWS]], &[Lanes<C>], &[f32; ROWS], &mut Tile<C>) -> u32;

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
    thresholds: &[f32; ROWS],
    tile: &mut Tile<C>,
) -> u32 {
    let mut sums = [[0.0_f32; C]; ROWS];
    for (query, key) in queries.iter().zip(keys) {
        for (&a, sums) in query.iter().zip(&mut sums) {
            for (&b, sum) in key.0.iter().zip(sums) {
                *sum = if FUSED {
                    a.mul_add(b, *sum)
                } else {
                    a * b + *sum
                };
            }
        }
    }
    *tile = sums;
    rows_above(tile, thresholds)
}

#[inline(always)]
fn rows_above<const C: usize>(sums: &Tile<C>, thresholds: &[f32; ROWS]) -> u32 {
    let mut mask = 0;
    for (row, (sums, threshold)) in sums.iter().zip(thresholds).enumerate() {
        let above: u32 = sums.iter().map(|sum| u32::from(sum > threshold)).sum();
        mask |= u32::from(above > 0) << row;
    }
    mask
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
mod x86 {
    use super::{Lanes, ROWS, Tile, products};

    #[target_feature(enable = "avx512f")]
    fn avx512_products(
        queries: &[[f32; ROWS]],
        keys: &[Lanes<32>],
        thresholds: &[f32; ROWS],
        tile: &mut Tile<32>,
    ) -> u32 {
        products::<32, true>(queries, keys, thresholds, tile)
    }

    #[target_feature(enable = "avx2,fma")]
    fn avx2_products(
        queries: &[[f32; ROWS]],
        keys: &[Lanes<16>],
        thresholds: &[f32; ROWS],
        tile: &mut Tile<16>,
    ) -> u32 {
        products::<16, true>(queries, keys, thresholds, tile)
    }

    pub(super) fn avx512(
        queries: &[[f32; ROWS]],
        keys: &[Lanes<32>],
        thresholds: &[f32; ROWS],
        tile: &mut Tile<32>,
    ) -> u32 {
        // SAFETY: `best` hands this function out only where the processor has AVX-512F.
        unsafe { avx512_products(queries, keys, thresholds, tile) }
    }

    pub(super) fn avx2(
        queries: &[[f32; ROWS]],
        keys: &[Lanes<16>],
        thresholds: &[f32; ROWS],
        tile: &mut Tile<16>,
    ) -> u32 {
        // SAFETY: `best` hands this function out only where the processor has AVX2 and FMA.
        unsafe { avx2_products(queries, keys, thresholds, tile) }
    }
}
