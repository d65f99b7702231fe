//! Slices as they are stored, decoded one at a time.

use std::ops::Range;
use std::path::{Path, PathBuf};

use cache::Mask;
use ndarray::{Array2, Array3, Axis, ShapeBuilder};

use crate::Error;

/// How far a stored label may be from a whole number.
const LABEL_TOLERANCE: f64 = 1e-3;

/// The type of one stored voxel; all are in the machine's byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum VoxelType {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F32,
    F64,
}

impl VoxelType {
    pub(super) fn bytes(self) -> usize {
        match self {
            VoxelType::U8 | VoxelType::I8 => 1,
            VoxelType::U16 | VoxelType::I16 => 2,
            VoxelType::U32 | VoxelType::I32 | VoxelType::F32 => 4,
            VoxelType::U64 | VoxelType::I64 | VoxelType::F64 => 8,
        }
    }
}

/// Which index moves fastest within the bytes of a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Channel, then column, then row: raster files.
    RowMajor,
    /// Row, then column: NIfTI.
    ColumnMajor,
}

/// An image file in memory: `S` slices of `[C, H, W]`.
///
/// Voxels stay in the file's own type, so a volume of 16-bit integers takes two bytes each. A PNG
/// or JPEG is one slice. A NIfTI is cut along its third stored axis, slice `k` being
/// `get_fdata()[:, :, k]` of nibabel: rows run along the first axis, columns along the second, and
/// nothing is reoriented.
#[derive(Clone, Debug)]
pub struct Volume {
    pub(super) path: PathBuf,
    pub(super) voxels: Vec<u8>,
    pub(super) kind: VoxelType,
    pub(super) order: Order,
    /// Slope and intercept.
    pub(super) scale: Option<(f64, f64)>,
    pub(super) slices: usize,
    pub(super) channels: usize,
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) spacing_mm: Option<[f32; 3]>,
}

impl Volume {
    /// The file that was read.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The number of slices `S`, at least 1.
    pub fn slices(&self) -> usize {
        self.slices
    }

    /// The number of channels `C`: 1 (grey) or 3 (red, green, blue).
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// The number of rows `H`, at least 1.
    pub fn height(&self) -> usize {
        self.height
    }

    /// The number of columns `W`, at least 1.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Distance between slices, rows and columns in mm, where the file says it.
    pub fn spacing_mm(&self) -> Option<[f32; 3]> {
        self.spacing_mm
    }

    /// Whether all pixels of `slices` are equal, colour by colour.
    ///
    /// # Panics
    ///
    /// If `slices` does not lie below [`slices`](Self::slices).
    pub fn is_constant(&self, slices: Range<usize>) -> bool {
        let length = self.slice_bytes();
        let bytes = &self.voxels[slices.start * length..slices.end * length];
        let pixel = self.kind.bytes() * self.channels;
        bytes.is_empty() || bytes[pixel..] == bytes[..bytes.len() - pixel]
    }

    /// Whether a voxel could be NaN or infinite: it is stored as a float, or scaled by a slope and
    /// an intercept, which a broken header can make huge.
    pub fn may_be_non_finite(&self) -> bool {
        self.scale.is_some() || matches!(self.kind, VoxelType::F32 | VoxelType::F64)
    }

    fn slice_bytes(&self) -> usize {
        self.channels * self.height * self.width * self.kind.bytes()
    }

    /// Slice `k` as `[C, H, W]`, in the file's own units: slope and intercept are applied.
    ///
    /// # Panics
    ///
    /// If `k` is not below [`slices`](Self::slices).
    pub fn plane(&self, k: usize) -> Array3<f32> {
        self.decode(k, |value| value as f32)
    }

    /// Slice `k` as a label map.
    ///
    /// Labels may be stored as floats if they are within 0.001 of a whole number. A colour image
    /// whose channels are equal counts as grey.
    ///
    /// # Errors
    ///
    /// [`Error::LabelValue`] for a value that is no whole number in 0..=65535, and
    /// [`Error::LabelColours`] for a coloured image.
    ///
    /// # Panics
    ///
    /// If `k` is not below [`slices`](Self::slices).
    pub fn label_plane(&self, k: usize) -> Result<Mask, Error> {
        let values = self.decode(k, |value| value);
        let first = values.index_axis(Axis(0), 0);
        if values.outer_iter().skip(1).any(|plane| plane != first) {
            let path = self.path.clone();
            return Err(Error::LabelColours { path });
        }
        if let Some(&value) = first.iter().find(|value| label(**value).is_none()) {
            return Err(Error::LabelValue {
                path: self.path.clone(),
                slice: k,
                value,
            });
        }
        Ok(Array2::from_shape_fn(first.raw_dim(), |at| {
            label(first[at]).unwrap_or_default()
        }))
    }

    fn decode<T: Copy>(&self, k: usize, convert: impl Fn(f64) -> T) -> Array3<T> {
        assert!(k < self.slices, "slice {k} of {}", self.slices);
        let length = self.slice_bytes();
        let bytes = &self.voxels[k * length..][..length];
        let (slope, intercept) = self.scale.unwrap_or((1.0, 0.0));
        let values = numbers(bytes, self.kind, |value| convert(value * slope + intercept));
        self.arrange(values)
    }

    fn arrange<T: Copy>(&self, values: Vec<T>) -> Array3<T> {
        let (channels, height, width) = (self.channels, self.height, self.width);
        let strides = match self.order {
            Order::RowMajor => (1, width * channels, channels),
            Order::ColumnMajor => (height * width, 1, height),
        };
        let stored = Array3::from_shape_vec((channels, height, width).strides(strides), values)
            .expect("one value per voxel");
        stored.as_standard_layout().into_owned()
    }
}

fn label(value: f64) -> Option<u16> {
    let whole = value.round();
    let is_label = (value - whole).abs() < LABEL_TOLERANCE && (0.0..=65535.0).contains(&whole);
    is_label.then_some(whole as u16)
}

fn numbers<T>(bytes: &[u8], kind: VoxelType, convert: impl Fn(f64) -> T) -> Vec<T> {
    macro_rules! decoded {
        ($number:ty) => {{
            let (voxels, _) = bytes.as_chunks::<{ size_of::<$number>() }>();
            let number = |&voxel: &_| convert(<$number>::from_ne_bytes(voxel) as f64);
            voxels.iter().map(number).collect()
        }};
    }
    match kind {
        VoxelType::U8 => decoded!(u8),
        VoxelType::I8 => decoded!(i8),
        VoxelType::U16 => decoded!(u16),
        VoxelType::I16 => decoded!(i16),
        VoxelType::U32 => decoded!(u32),
        VoxelType::I32 => decoded!(i32),
        VoxelType::U64 => decoded!(u64),
        VoxelType::I64 => decoded!(i64),
        VoxelType::F32 => decoded!(f32),
        VoxelType::F64 => decoded!(f64),
    }
}
