//! Pictures of a slice with its true and predicted classes.

use cache::SliceMeta;
use image::{Rgb, RgbImage};
use nn::IGNORE;

use crate::picture::Upright;

/// Colours of classes, from the first structure on; they repeat.
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

/// Share of the colour in pixels of a structure.
const OPACITY: f32 = 0.45;

/// Three panels side by side: the slice alone, with its true classes, and with the predicted classes.
///
/// `grey`, `truth` and `predicted` are `[S, S]`; the picture has the proportions of the slice. Ignored
/// pixels have no colour.
pub(super) fn panels(
    grey: &[u8],
    truth: &[u16],
    predicted: &[u16],
    side: usize,
    slice: &SliceMeta,
) -> RgbImage {
    let upright = Upright::of(slice, side);
    let [height, width] = upright.size();
    let width_px = width as u32;
    RgbImage::from_fn(3 * width_px, height as u32, |x, y| {
        let (x, panel) = (x % width_px, x / width_px);
        let at = upright.place(y, x);
        let class = match panel {
            0 => 0,
            1 => truth[at],
            _ => predicted[at],
        };
        Rgb(blend(grey[at], class))
    })
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

    fn slice([height, width]: [u32; 2], spacing_mm: Option<[f32; 3]>) -> SliceMeta {
        SliceMeta {
            height,
            width,
            spacing_mm,
            ..::tests::slice("s")
        }
    }

    #[test]
    fn a_panel_has_the_proportions_of_the_slice() {
        let (grey, none) = ([0, 0, 0, 0, 9, 9, 9, 9, 9], [0; 9]);
        let picture = panels(&grey, &none, &none, 3, &slice([1, 3], None));
        assert_eq!(picture.dimensions(), (9, 1));
        // The middle row of the square.
        let row = [0, 1, 2].map(|x| picture.get_pixel(x, 0).0[0]);
        assert_eq!(row, [0, 9, 9]);
    }

    #[test]
    fn structures_are_coloured_in_the_panel_that_has_them() {
        let picture = panels(
            &[0, 100, 100, 100],
            &[0, 1, IGNORE, 0],
            &[0, 0, 0, 11],
            2,
            &slice([2, 2], None),
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
