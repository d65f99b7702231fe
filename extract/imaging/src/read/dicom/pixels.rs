//! Conversion from the bytes of a frame to voxels.

use ndarray::{Array4, Zip, s};

use super::layout::{Layout, Photometric};
use crate::read::voxels::{Voxel, Voxels};

/// Order of bytes and bits in a frame, beside its [`Layout`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Order {
    pub(super) big_endian: bool,
    /// Whether the lowest bit of a value is the lowest bit of the sample, whatever HighBit is.
    pub(super) aligned: bool,
}

/// Big-endian 16-bit words as little-endian ones.
pub(super) fn swapped(bytes: &[u8]) -> Vec<u8> {
    let (words, rest) = bytes.as_chunks::<2>();
    let swapped = words
        .iter()
        .flat_map(|&[greater, lesser]| [lesser, greater]);
    swapped.chain(rest.iter().copied()).collect()
}

/// Voxels `[1, C, H, W]` of a frame; MONOCHROME1 is inverted, and YBR becomes RGB. `bytes` has the length
/// that the layout gives.
pub(super) fn voxels(layout: &Layout, bytes: &[u8], order: Order) -> Voxels {
    let bits = Bits::of(layout, order);
    match (layout.allocated, layout.signed) {
        (1, _) => wrap(layout, unpacked_bits(bytes, layout)),
        (8, false) if is_ybr(layout) => Voxels::U8(rgb(shaped(layout, ybr(layout, bytes)))),
        (8, false) => wrap(layout, bits.u8(bytes)),
        (8, true) => wrap(layout, bits.i8(bytes)),
        (16, false) => wrap(layout, bits.u16(bytes)),
        (16, true) => wrap(layout, bits.i16(bytes)),
        (_, false) => wrap(layout, bits.u32(bytes)),
        (_, true) => wrap(layout, bits.i32(bytes)),
    }
}

/// Stored bytes of a frame; `None` if frames do not begin on whole bytes.
pub(super) fn stored_bytes(layout: &Layout) -> Option<usize> {
    let samples = layout.pixels() * layout.samples;
    let is_whole = layout.frames == 1 || samples.is_multiple_of(8);
    match (layout.allocated, layout.photometric) {
        (1, _) => is_whole.then_some(samples.div_ceil(8)),
        (_, Photometric::YbrFull422) => Some(layout.pixels() * 2),
        _ => Some(samples * layout.width()),
    }
}

fn wrap<T: Voxel>(layout: &Layout, samples: Vec<T>) -> Voxels {
    T::wrap(shaped(layout, samples))
}

/// Samples by planes or by pixels as `[1, C, H, W]`.
fn shaped<T>(layout: &Layout, samples: Vec<T>) -> Array4<T> {
    let (height, width, channels) = (layout.rows, layout.columns, layout.samples);
    let array = if layout.planar {
        Array4::from_shape_vec((1, channels, height, width), samples)
    } else {
        Array4::from_shape_vec((1, height, width, channels), samples)
            .map(|array| array.permuted_axes([0, 3, 1, 2]))
    };
    array.expect("one value per sample")
}

/// Position of a value in its sample, its byte order, and whether it is inverted.
struct Bits {
    /// Unused bits above the value.
    above: u32,
    /// Unused bits above and below.
    unused: u32,
    big_endian: bool,
    inverted: bool,
}

/// Extracts values: a value is shifted to the top of its sample and then down, which drops the bits above
/// and below it and extends the sign of signed types. Inverting all bits of the value turns `v` into the
/// greatest value minus `v`, or `-1 - v` for signed types.
macro_rules! unpack {
    ($($number:ident)*) => {
        $(fn $number(&self, bytes: &[u8]) -> Vec<$number> {
            let (samples, _) = bytes.as_chunks::<{ size_of::<$number>() }>();
            let flipped = if self.inverted { !0 >> self.unused } else { 0 };
            let value = |v: $number| ((v << self.above) >> self.unused) ^ flipped;
            match self.big_endian {
                true => samples.iter().map(|s| value($number::from_be_bytes(*s))).collect(),
                false => samples.iter().map(|s| value($number::from_le_bytes(*s))).collect(),
            }
        })*
    };
}

impl Bits {
    fn of(layout: &Layout, order: Order) -> Bits {
        let high = if order.aligned {
            layout.stored - 1
        } else {
            layout.high
        };
        Bits {
            above: layout.allocated - 1 - high,
            unused: layout.allocated - layout.stored,
            big_endian: order.big_endian,
            inverted: layout.photometric == Photometric::Monochrome1,
        }
    }

    unpack!(u8 i8 u16 i16 u32 i32);
}

/// Single bits, lowest bit of a byte first, as 0 and 1.
fn unpacked_bits(bytes: &[u8], layout: &Layout) -> Vec<u8> {
    let inverted = u8::from(layout.photometric == Photometric::Monochrome1);
    bytes
        .iter()
        .flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1))
        .map(|bit| bit ^ inverted)
        .take(layout.pixels())
        .collect()
}

fn is_ybr(layout: &Layout) -> bool {
    [Photometric::YbrFull, Photometric::YbrFull422].contains(&layout.photometric)
}

/// Samples `Y Cb Cr` of each pixel. In YBR_FULL_422, two pixels are stored as `Y1 Y2 Cb Cr`.
fn ybr(layout: &Layout, bytes: &[u8]) -> Vec<u8> {
    if layout.photometric == Photometric::YbrFull {
        return bytes.to_vec();
    }
    let (pairs, _) = bytes.as_chunks::<4>();
    let pixels = pairs
        .iter()
        .flat_map(|&[y1, y2, cb, cr]| [y1, cb, cr, y2, cb, cr]);
    pixels.collect()
}

/// Colours of JPEG's and DICOM's YBR_FULL (`[1, 3, H, W]`) as red, green and blue: PS3.3 C.7.6.3.1.2.
fn rgb(mut image: Array4<u8>) -> Array4<u8> {
    let slices = (s![.., 0, .., ..], s![.., 1, .., ..], s![.., 2, .., ..]);
    let (y, cb, cr) = image.multi_slice_mut(slices);
    Zip::from(y)
        .and(cb)
        .and(cr)
        .for_each(|first, second, third| {
            let brightness = f32::from(*first);
            let (blue, red) = (f32::from(*second) - 128.0, f32::from(*third) - 128.0);
            // `as` clamps to 0..=255.
            *first = (brightness + 1.402 * red).round() as u8;
            *second = (brightness - 0.344_136 * blue - 0.714_136 * red).round() as u8;
            *third = (brightness + 1.772 * blue).round() as u8;
        });
    image
}
