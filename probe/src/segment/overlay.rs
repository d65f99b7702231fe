//! Pictures of a slice with what is true and what is predicted on top of it.

use std::io::Cursor;
use std::path::Path;

use cache::Placement;
use image::{ImageFormat, Rgb, RgbImage};
use nn::IGNORE;

use crate::error::{Cause, Error};
use crate::output::write_whole;

/// Colours of classes, from the first structure on; later ones begin again.
const COLOURS: [[u8; 3]; 10] = [
    [230, 75, 53],
    [77, 187, 213],
    [0, 160, 135],
    [243, 155, 127],
    [132, 145, 180],
    [220, 200, 40],
    [145, 97, 172],
    [126, 97, 72],
    [247, 129, 191],
    [102, 194, 80],
];

/// Share of the colour where a structure is.
const OPACITY: f32 = 0.45;

/// A slice is turned so that a radiologist sees it as usual: axial slices with anterior at the top,
/// coronal and sagittal ones with superior at the top; the patient's right, or in sagittal slices
/// anterior, on the left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Turn {
    /// Whether rows become columns.
    is_transposed: bool,
    /// Whether rows and columns, after that, run backwards.
    is_reversed: [bool; 2],
}

impl Turn {
    /// The turn of slices that lie so; none where that is not known.
    pub(super) fn of(placement: Option<&Placement>) -> Turn {
        let Some(Placement { affine, .. }) = placement else {
            return Turn::default();
        };
        // Steps along right, anterior and superior from slice to slice, row to row, column to column.
        let step = |world: usize, axis: usize| affine[world][axis];
        let normal = [0, 1, 2]
            .into_iter()
            .max_by(|a: &usize, b: &usize| step(*a, 0).abs().total_cmp(&step(*b, 0).abs()));
        // What rows and columns run along in the picture, both towards its negative end.
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

    /// The place in a slice `[S, S]` of row `y` and column `x` of its picture.
    fn place(self, y: usize, x: usize, side: usize) -> usize {
        let [y, x] = [(y, self.is_reversed[0]), (x, self.is_reversed[1])]
            .map(|(at, is_reversed)| if is_reversed { side - 1 - at } else { at });
        match self.is_transposed {
            true => x * side + y,
            false => y * side + x,
        }
    }
}

/// Three panels side by side: the slice, with the true classes, and with the predicted ones.
///
/// `grey`, `truth` and `predicted` are `[S, S]`, and are turned by `turn`; ignored pixels are left as they are.
pub(super) fn panels(
    grey: &[u8],
    truth: &[u16],
    predicted: &[u16],
    side: usize,
    turn: Turn,
) -> RgbImage {
    let width = side as u32;
    RgbImage::from_fn(3 * width, width, |x, y| {
        let at = turn.place(y as usize, (x % width) as usize, side);
        let class = match x / width {
            0 => 0,
            1 => truth[at],
            _ => predicted[at],
        };
        Rgb(blend(grey[at], class))
    })
}

/// Writes a picture as PNG.
///
/// # Errors
///
/// [`Error::Output`] if the file cannot be written.
pub fn write_picture(picture: &RgbImage, path: &Path) -> Result<(), Error> {
    let failed = |source: Cause| Error::Output {
        path: path.into(),
        source,
    };
    let mut bytes = Cursor::new(Vec::new());
    let encoded = picture.write_to(&mut bytes, ImageFormat::Png);
    encoded.map_err(|error| failed(error.into()))?;
    write_whole(path, bytes.get_ref()).map_err(failed)
}

fn blend(grey: u8, class: u16) -> [u8; 3] {
    if [0, IGNORE].contains(&class) {
        return [grey; 3];
    }
    let place = usize::from(class) - 1;
    COLOURS[place % COLOURS.len()].map(|colour| {
        let mixed = f32::from(grey) * (1.0 - OPACITY) + f32::from(colour) * OPACITY;
        mixed.round() as u8
    })
}

#[cfg(test)]
mod tests {
    use cache::Axis;

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
        // Of a picture `[[0, 1], [2, 3]]`.
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

    #[test]
    fn structures_are_coloured_in_the_panel_that_has_them() {
        let turn = Turn::default();
        let picture = panels(
            &[0, 100, 100, 100],
            &[0, 1, IGNORE, 0],
            &[0, 0, 0, 11],
            2,
            turn,
        );
        assert_eq!(picture.dimensions(), (6, 2));
        assert_eq!(picture.get_pixel(0, 0).0, [0; 3]);
        assert_eq!(picture.get_pixel(1, 0).0, [100; 3]);
        assert_ne!(picture.get_pixel(3, 0).0, [100; 3]);
        assert_eq!(picture.get_pixel(3, 1).0, [100; 3]);
        assert_eq!(picture.get_pixel(2, 1).0, [100; 3], "ignored");
        assert_eq!(picture.get_pixel(5, 1), picture.get_pixel(3, 0));
    }
}
