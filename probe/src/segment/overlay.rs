//! Pictures of a slice with what is true and what is predicted on top of it.

use std::io::Cursor;
use std::path::Path;

use image::{ImageFormat, Rgb, RgbImage};

use crate::error::{Cause, Error};
use crate::nn::IGNORE;
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

/// Three panels side by side: the slice, with the true classes, and with the predicted ones.
///
/// `grey`, `truth` and `predicted` are `[S, S]`; ignored pixels are left as they are.
pub(super) fn panels(grey: &[u8], truth: &[u16], predicted: &[u16], side: usize) -> RgbImage {
    let width = side as u32;
    RgbImage::from_fn(3 * width, width, |x, y| {
        let at = (y * width + x % width) as usize;
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
    use super::*;

    #[test]
    fn structures_are_coloured_in_the_panel_that_has_them() {
        let picture = panels(&[0, 100, 100, 100], &[0, 1, IGNORE, 0], &[0, 0, 0, 11], 2);
        assert_eq!(picture.dimensions(), (6, 2));
        assert_eq!(picture.get_pixel(0, 0).0, [0; 3]);
        assert_eq!(picture.get_pixel(1, 0).0, [100; 3]);
        assert_ne!(picture.get_pixel(3, 0).0, [100; 3]);
        assert_eq!(picture.get_pixel(3, 1).0, [100; 3]);
        assert_eq!(picture.get_pixel(2, 1).0, [100; 3], "ignored");
        assert_eq!(picture.get_pixel(5, 1), picture.get_pixel(3, 0));
    }
}
