//! Voxels in memory, in the file's own type.

use bytemuck::Pod;
use ndarray::{Array3, Array4, ArrayView2, ArrayView3, Axis, Slice, s};

/// A number that a voxel may be stored as.
pub(super) trait Voxel: Pod + PartialOrd {
    fn to_f64(self) -> f64;
    fn to_f32(self) -> f32;
    fn swap_bytes(self) -> Self;
    fn wrap(array: Array4<Self>) -> Voxels;
}

macro_rules! voxels {
    ($($variant:ident $number:ty),*) => {
        /// `S` slices of `C` channels of `H` rows of `W` columns, `[S, C, H, W]`, in any memory order.
        #[derive(Clone, Debug)]
        pub(super) enum Voxels {
            $($variant(Array4<$number>)),*
        }

        $(impl Voxel for $number {
            fn to_f64(self) -> f64 {
                self as f64
            }

            fn to_f32(self) -> f32 {
                self as f32
            }

            fn swap_bytes(self) -> $number {
                let mut bytes = self.to_ne_bytes();
                bytes.reverse();
                <$number>::from_ne_bytes(bytes)
            }

            fn wrap(array: Array4<$number>) -> Voxels {
                Voxels::$variant(array)
            }
        })*

        /// Evaluates `$body` with `$array` bound to the array of any type.
        macro_rules! with_array {
            ($voxels:expr, $array:ident => $body:expr) => {
                match $voxels {
                    $(Voxels::$variant($array) => $body),*
                }
            };
        }
    };
}

voxels!(
    U8 u8, I8 i8, U16 u16, I16 i16, U32 u32, I32 i32, U64 u64, I64 i64, F32 f32, F64 f64
);

impl Voxels {
    /// No voxels.
    pub(super) fn empty() -> Voxels {
        Voxels::U8(Array4::default((0, 0, 0, 0)))
    }

    /// `[S, C, H, W]`.
    pub(super) fn dim(&self) -> (usize, usize, usize, usize) {
        with_array!(self, array => array.dim())
    }

    /// Slice `k` as `[C, H, W]`, each voxel `v` as `v * slope + intercept`, rounded once.
    pub(super) fn plane(&self, k: usize, scale: Option<(f64, f64)>) -> Array3<f32> {
        with_array!(self, array => {
            let plane = array.index_axis(Axis(0), k);
            match scale {
                None => standard(plane, Voxel::to_f32),
                Some((slope, intercept)) => {
                    standard(plane, |v| (v.to_f64() * slope + intercept) as f32)
                }
            }
        })
    }

    /// Slice `k` with every voxel turned into a label, or the first value that is none.
    pub(super) fn labels(
        &self,
        k: usize,
        scale: Option<(f64, f64)>,
        label: impl Fn(f64) -> Option<u16>,
    ) -> Result<Array3<u16>, f64> {
        let (slope, intercept) = scale.unwrap_or((1.0, 0.0));
        let mut wrong = None;
        let labels = with_array!(self, array => {
            standard(array.index_axis(Axis(0), k), |v| {
                let value = v.to_f64() * slope + intercept;
                label(value).unwrap_or_else(|| {
                    wrong.get_or_insert(value);
                    0
                })
            })
        });
        wrong.map_or(Ok(labels), Err)
    }

    /// Whether all pixels of some slices are equal, colour by colour.
    pub(super) fn is_constant(&self, slices: std::ops::Range<usize>) -> bool {
        with_array!(self, array => {
            let slices = array.slice_axis(Axis(0), Slice::from(slices));
            slices.axis_iter(Axis(1)).all(|channel| {
                let first = channel.first();
                channel.iter().all(|voxel| Some(voxel) == first)
            })
        })
    }

    /// Number of voxels of slice `k` that are NaN or not below `largest` in magnitude.
    pub(super) fn count_unusable(
        &self,
        k: usize,
        largest: f32,
        scale: Option<(f64, f64)>,
    ) -> usize {
        let (slope, intercept) = scale.unwrap_or((1.0, 0.0));
        let is_integer = !matches!(self, Voxels::F32(_) | Voxels::F64(_));
        if is_integer && u64::MAX as f64 * slope.abs() + intercept.abs() < f64::from(largest) {
            return 0;
        }
        let is_usable = |v: f64| ((v * slope + intercept) as f32).abs() < largest;
        with_array!(self, array => {
            let plane = array.index_axis(Axis(0), k);
            match plane.as_slice_memory_order() {
                Some(values) => values.iter().filter(|v| !is_usable(v.to_f64())).count(),
                None => plane.iter().filter(|v| !is_usable(v.to_f64())).count(),
            }
        })
    }

    /// Axes in another order, as `permuted_axes` of ndarray, and then some reversed.
    pub(super) fn rearranged(self, axes: [usize; 4], flipped: [bool; 4]) -> Voxels {
        with_array!(self, array => {
            let mut array = array.permuted_axes(axes);
            for (axis, flip) in flipped.into_iter().enumerate() {
                if flip {
                    array.invert_axis(Axis(axis));
                }
            }
            Voxel::wrap(array)
        })
    }

    /// All slices with each whole number mapped by `value`.
    pub(super) fn mapped<T>(&self, value: impl Fn(f64) -> T) -> Array4<T> {
        with_array!(self, array => array.map(|v| value(v.to_f64())))
    }

    /// Bytes of slice `k` in standard order, for the comparison of images.
    pub(super) fn bytes(&self, k: usize) -> Vec<u8> {
        with_array!(self, array => {
            let plane = standard(array.index_axis(Axis(0), k), |v| v);
            bytemuck::cast_slice(plane.as_slice().unwrap_or_default()).to_vec()
        })
    }
}

/// The plane converted to another type, in standard layout.
///
/// Each order of memory has its own loop: one pass over contiguous voxels, or row by row, or (NIfTI as
/// stored) strips of columns.
fn standard<T: Copy, U: Copy + Default>(
    plane: ArrayView3<T>,
    mut convert: impl FnMut(T) -> U,
) -> Array3<U> {
    let (channels, height, width) = plane.dim();
    let values = match plane.as_slice() {
        Some(stored) => stored.iter().map(|v| convert(*v)).collect(),
        None => {
            let mut values = vec![U::default(); plane.len()];
            let planes = values.chunks_exact_mut((height * width).max(1));
            for (channel, out) in plane.outer_iter().zip(planes) {
                match channel.t().row(0).as_slice() {
                    Some(_) => fill_columns(channel, out, &mut convert),
                    None => fill_rows(channel, out, &mut convert),
                }
            }
            values
        }
    };
    Array3::from_shape_vec((channels, height, width), values).expect("one value per voxel")
}

/// Converts a channel `[H, W]` with rows that are contiguous, forwards or backwards, or not at all.
fn fill_rows<T: Copy, U>(channel: ArrayView2<T>, out: &mut [U], convert: &mut impl FnMut(T) -> U) {
    for (row, out) in channel
        .outer_iter()
        .zip(out.chunks_exact_mut(channel.ncols()))
    {
        let backwards = row.slice_move(s![..;-1]);
        match (row.to_slice(), backwards.to_slice()) {
            (Some(row), _) => convert_into(out, row.iter(), convert),
            (_, Some(row)) => convert_into(out, row.iter().rev(), convert),
            _ => convert_into(out, row.iter(), convert),
        }
    }
}

fn convert_into<'a, T: Copy + 'a, U>(
    out: &mut [U],
    stored: impl Iterator<Item = &'a T>,
    convert: &mut impl FnMut(T) -> U,
) {
    for (out, v) in out.iter_mut().zip(stored) {
        *out = convert(*v);
    }
}

/// Converts a channel `[H, W]` with contiguous columns (NIfTI as stored).
///
/// This is a transposition. Eight columns are converted side by side, row by row: each column is read
/// from front to back, and eight neighbouring values of a row are written at a time, so that no cache
/// line is fetched for a single value on either side.
fn fill_columns<T: Copy, U>(
    channel: ArrayView2<T>,
    out: &mut [U],
    convert: &mut impl FnMut(T) -> U,
) {
    const STRIP: usize = 8;
    let width = channel.ncols();
    let columns: Vec<&[T]> = channel
        .axis_iter(Axis(1))
        .filter_map(|column| column.to_slice())
        .collect();
    for (strip, columns) in columns.chunks(STRIP).enumerate() {
        for (row, out) in out.chunks_exact_mut(width).enumerate() {
            for (out, column) in out[strip * STRIP..].iter_mut().zip(columns) {
                *out = convert(column[row]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_plane_is_the_same_whatever_the_order_of_memory(
            shape in [1usize..4, 1usize..3, 1usize..40, 1usize..40],
            axes in Just([0, 1, 2, 3]).prop_shuffle(),
            flipped in any::<[bool; 4]>(),
        ) {
            let count = shape.iter().product::<usize>();
            let values = (0..count).map(|at| at as i32).collect();
            let stored = Array4::from_shape_vec(shape, values).unwrap();
            let voxels = Voxels::I32(stored).rearranged(axes, flipped);
            let Voxels::I32(array) = &voxels else { unreachable!() };
            for (k, expected) in array.outer_iter().enumerate() {
                prop_assert_eq!(voxels.plane(k, None), expected.mapv(|v| v as f32));
                let scaled = expected.mapv(|v| (f64::from(v) * 0.5 + 3.0) as f32);
                prop_assert_eq!(voxels.plane(k, Some((0.5, 3.0))), scaled);
            }
        }
    }

    #[test]
    fn integers_are_unusable_only_if_the_scale_makes_them_so() {
        let voxels = Voxels::U16(Array4::from_shape_fn((1, 1, 2, 3), |at| at.3 as u16));
        assert_eq!(voxels.count_unusable(0, 1e30, None), 0);
        assert_eq!(voxels.count_unusable(0, 1e30, Some((1e31, 0.0))), 4);
        let voxels = Voxels::F32(Array4::from_elem((1, 1, 2, 3), f32::NAN));
        assert_eq!(voxels.count_unusable(0, 1e30, Some((1e-9, 0.0))), 6);
    }
}
