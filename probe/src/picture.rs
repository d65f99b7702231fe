//! Pictures of slices as a radiologist sees them.

use std::io::Cursor;
use std::path::Path;

use cache::SliceMeta;
use common::files::write_whole;
use common::{Picture, Placement};
use image::imageops::{FilterType, resize};
use image::{GrayImage, ImageFormat, Luma, RgbImage};

use crate::error::FileError;
use crate::error::{Cause, Error};

/// The rotation or reflection that brings a slice into the radiological convention: anterior at the top of
/// axial slices, superior at the top of others; the patient's right, or anterior in sagittal slices, on the
/// left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Turn {
    /// Whether rows become columns.
    is_transposed: bool,
    /// Whether rows and columns, after that, are reversed.
    is_reversed: [bool; 2],
}

impl Turn {
    /// The turn of slices with this placement; the identity if it is not known.
    fn of(placement: Option<&Placement>) -> Turn {
        let Some(Placement { affine, .. }) = placement else {
            return Turn::default();
        };
        // Steps along right, anterior and superior from slice to slice, row to row, column to column.
        let step = |world: usize, axis: usize| affine[world][axis];
        let normal = [0, 1, 2]
            .into_iter()
            .max_by(|a: &usize, b: &usize| step(*a, 0).abs().total_cmp(&step(*b, 0).abs()));
        // The world axes along which rows and columns of the picture run, towards the negative end.
        let (down, across) = match normal {
            Some(2) => (1, 0),
            Some(1) => (2, 0),
            _ => (2, 1),
        };
        let along = |row: usize, column: usize| step(down, row).abs() + step(across, column).abs();
        let is_transposed = along(2, 1) > along(1, 2);
        let (row, column) = if is_transposed { (2, 1) } else { (1, 2) };
        Turn {
            is_transposed,
            is_reversed: [step(down, row) > 0.0, step(across, column) > 0.0],
        }
    }

    /// The index in a slice `[S, S]` of row `y` and column `x` of its picture.
    fn place(self, y: usize, x: usize, side: usize) -> usize {
        let [y, x] = [(y, self.is_reversed[0]), (x, self.is_reversed[1])]
            .map(|(at, is_reversed)| if is_reversed { side - 1 - at } else { at });
        if self.is_transposed {
            x * side + y
        } else {
            y * side + x
        }
    }
}

/// The way from a square `[S, S]`, the input of a backbone, to an upright picture of a slice in its
/// proportions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Upright {
    turn: Turn,
    /// Height and width of the picture.
    size: [usize; 2],
    side: usize,
}

impl Upright {
    /// The picture of a slice whose longer side is `side`.
    pub(crate) fn of(slice: &SliceMeta, side: usize) -> Upright {
        let turn = Turn::of(slice.placement.as_ref());
        Upright {
            turn,
            size: size(slice, side, turn),
            side,
        }
    }

    /// Height and width of the picture.
    pub(crate) fn size(&self) -> [usize; 2] {
        self.size
    }

    /// The index in the square of the pixel at row `y` and column `x` of the picture: the nearest one.
    pub(crate) fn place(&self, y: u32, x: u32) -> usize {
        let [height, width] = self.size;
        let nearest = |at: u32, length: usize| (2 * at as usize + 1) * self.side / (2 * length);
        self.turn
            .place(nearest(y, height), nearest(x, width), self.side)
    }
}

/// Height and width of the picture of a slice, the longer of which is `side`: in proportion to the slice in
/// mm, or in pixels if the spacing is not known.
fn size(slice: &SliceMeta, side: usize, turn: Turn) -> [usize; 2] {
    let [_, row_mm, column_mm] = slice.spacing_mm.unwrap_or([1.0; 3]);
    let mut lengths = [
        f64::from(slice.height) * f64::from(row_mm),
        f64::from(slice.width) * f64::from(column_mm),
    ];
    if turn.is_transposed {
        lengths.reverse();
    }
    let longest = lengths[0].max(lengths[1]);
    lengths.map(|length| ((side as f64 * length / longest).round() as usize).max(1))
}

/// The upright picture of a slice, made smaller if a side is longer than `longest` pixels.
pub(crate) fn grey(picture: &Picture, slice: &SliceMeta, longest: u32) -> GrayImage {
    let side = picture.ncols();
    let upright = Upright::of(slice, side);
    let [height, width] = upright.size().map(|length| length as u32);
    let upright = GrayImage::from_fn(width, height, |x, y| {
        let at = upright.place(y, x);
        Luma([picture[[at / side, at % side]]])
    });
    let most = height.max(width);
    if most <= longest {
        return upright;
    }
    let [width, height] = [width, height].map(|length| (length * longest / most).max(1));
    resize(&upright, width, height, FilterType::Triangle)
}

/// Writes a picture as PNG.
///
/// # Errors
///
/// [`FileError::Output`] if the file cannot be written.
pub(crate) fn write_picture(picture: &RgbImage, path: &Path) -> Result<(), Error> {
    let failed = |source: Cause| {
        Error::File(FileError::Output {
            path: path.into(),
            source,
        })
    };
    let mut bytes = Cursor::new(Vec::new());
    let encoded = picture.write_to(&mut bytes, ImageFormat::Png);
    encoded.map_err(|error| failed(error.into()))?;
    write_whole(path, bytes.get_ref()).map_err(|error| failed(error.into()))
}

#[cfg(test)]
mod tests {
    use common::Axis;

    use super::*;

    /// Slices whose steps from slice to slice, row to row and column to column are these in RAS.
    fn turn(slice: [f64; 3], row: [f64; 3], column: [f64; 3]) -> Turn {
        let affine = [0, 1, 2].map(|world| [slice[world], row[world], column[world], 9.0]);
        let stored = [
            (Axis::Row, false),
            (Axis::Column, false),
            (Axis::Slice, false),
        ];
        Turn::of(Some(&Placement { affine, stored }))
    }

    #[test]
    fn slices_are_turned_as_a_radiologist_sees_them() {
        let (r, a, s) = ([2.0, 0.1, 0.0], [-0.1, 3.0, 0.2], [0.0, -0.2, 4.0]);
        let minus = |axis: [f64; 3]| axis.map(|step| -step);
        // The places of a picture `[[0, 1], [2, 3]]`.
        let seen = |turn: Turn| [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(y, x)| turn.place(y, x, 2));
        let as_it_is = [0, 1, 2, 3];
        for (slice, row, column) in [
            (s, minus(a), minus(r)),
            (minus(s), minus(a), minus(r)),
            (a, minus(s), minus(r)),
            (r, minus(s), minus(a)),
        ] {
            assert_eq!(seen(turn(slice, row, column)), as_it_is);
        }
        // A NIfTI in RAS+ as stored: rows to the right, columns to anterior.
        assert_eq!(seen(turn(s, r, a)), [3, 1, 2, 0]);
        // In LPS+: rows to the left, columns to posterior.
        assert_eq!(seen(turn(s, minus(r), minus(a))), [0, 2, 1, 3]);
        assert_eq!(seen(turn(a, r, s)), [3, 1, 2, 0]);
        assert_eq!(seen(Turn::of(None)), as_it_is);
    }

    fn slice([height, width]: [u32; 2], spacing_mm: Option<[f32; 3]>) -> SliceMeta {
        SliceMeta {
            height,
            width,
            spacing_mm,
            ..::tests::slice("s")
        }
    }

    #[test]
    fn slices_keep_their_proportions() {
        let turned = Turn {
            is_transposed: true,
            ..Turn::default()
        };
        for (pixels, spacing, expected) in [
            ([30, 60], None, [5, 10]),
            ([30, 60], Some([9.0, 2.0, 1.0]), [10, 10]),
            ([30, 30], Some([9.0, 5.0, 1.0]), [10, 2]),
            ([1, 9000], None, [1, 10]),
        ] {
            let slice = slice(pixels, spacing);
            assert_eq!(size(&slice, 10, Turn::default()), expected);
            assert_eq!(size(&slice, 10, turned), [expected[1], expected[0]]);
        }
    }
}
