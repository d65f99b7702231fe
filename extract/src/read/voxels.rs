//! Voxels in memory, in the file's own type.

use bytemuck::Pod;
use ndarray::{Array3, Array4, ArrayView3, Axis, Slice};

/// A number that a voxel may be stored as.
pub(super) trait Voxel: Pod + PartialOrd {
    fn to_f64(self) -> f64;
    fn to_f32(self) -> f32;
    fn swap_bytes(self) -> Self;
    fn wrap(array: Array4<Self>) -> Voxels;
}

macro_rules! voxels {
    ($($variant:ident $number:ty),*) => {
        /// `S` slices of `C` channels of `H` rows of `W` columns, `[S, C, H, W]`, in any order of
        /// memory.
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

        /// Evaluates `$body` with `$array` bound to the array, whatever its type.
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
                None => standard(plane, |v| v.to_f32()),
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

    /// How many voxels of slice `k` are not below `largest` in magnitude; NaN is not.
    pub(super) fn count_unusable(
        &self,
        k: usize,
        largest: f32,
        scale: Option<(f64, f64)>,
    ) -> usize {
        if scale.is_none() && !matches!(self, Voxels::F32(_) | Voxels::F64(_)) {
            return 0;
        }
        let (slope, intercept) = scale.unwrap_or((1.0, 0.0));
        with_array!(self, array => {
            let plane = array.index_axis(Axis(0), k);
            let usable = |v: f64| ((v * slope + intercept) as f32).abs() < largest;
            plane.iter().filter(|v| !usable(v.to_f64())).count()
        })
    }

    /// Axes in another order, as `permuted_axes` of ndarray, and some then turned round.
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

    /// All slices as `f32`, scaled.
    pub(super) fn scaled(&self, scale: Option<(f64, f64)>) -> Array4<f32> {
        let (slope, intercept) = scale.unwrap_or((1.0, 0.0));
        with_array!(self, array => array.map(|v| (v.to_f64() * slope + intercept) as f32))
    }

    /// The bytes of slice `k` in standard order, for comparing images with each other.
    pub(super) fn bytes(&self, k: usize) -> Vec<u8> {
        with_array!(self, array => {
            let plane = standard(array.index_axis(Axis(0), k), |v| v);
            bytemuck::cast_slice(plane.as_slice().unwrap_or_default()).to_vec()
        })
    }
}

/// The plane converted, in standard layout.
///
/// Where columns are contiguous (NIfTI), blocks of rows and columns are converted at a time, so
/// that neither side's cache lines are left after one value.
fn standard<T: Copy, U: Copy + Default>(
    plane: ArrayView3<T>,
    mut convert: impl FnMut(T) -> U,
) -> Array3<U> {
    const BLOCK: usize = 32;
    let (channels, height, width) = plane.dim();
    if plane.is_standard_layout() {
        let values = plane.iter().map(|v| convert(*v)).collect();
        return Array3::from_shape_vec((channels, height, width), values)
            .expect("one value per voxel");
    }
    let mut out = Array3::default((channels, height, width));
    for (channel, mut out) in plane.outer_iter().zip(out.outer_iter_mut()) {
        for top in (0..height).step_by(BLOCK) {
            let rows = Slice::from(top..(top + BLOCK).min(height));
            for left in (0..width).step_by(BLOCK) {
                let columns = Slice::from(left..(left + BLOCK).min(width));
                let block = channel.slice_axis(Axis(0), rows);
                let block = block.slice_axis(Axis(1), columns);
                let mut out = out.slice_axis_mut(Axis(0), rows);
                let mut out = out.slice_axis_mut(Axis(1), columns);
                for (row, mut out) in block.outer_iter().zip(out.outer_iter_mut()) {
                    for (v, out) in row.iter().zip(out.iter_mut()) {
                        *out = convert(*v);
                    }
                }
            }
        }
    }
    out
}
