//! Pictures of a slice with its true and predicted classes.

use cache::SliceMeta;
use common::text::printable;
use image::{Rgb, RgbImage};
use nn::IGNORE;

use crate::font;
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

/// Colours of the background and the letters of a legend.
const PAPER: [u8; 3] = [0; 3];
const INK: [u8; 3] = [230; 3];

/// Titles of the panels.
const TITLES: [&str; 3] = ["image", "truth", "prediction"];

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

/// The panels with their titles above and the colours of the structures in them below. `names` are those of all
/// classes, background first.
pub(super) fn with_legend(
    panels: &RgbImage,
    truth: &[u16],
    predicted: &[u16],
    names: &[String],
) -> RgbImage {
    let is_shown = |class: &usize| {
        let mut pixels = truth.iter().chain(predicted);
        pixels.any(|&pixel| usize::from(pixel) == *class)
    };
    let shown: Vec<usize> = (1..names.len()).filter(is_shown).collect();
    let (width, height) = panels.dimensions();
    let places = places(&shown, names, width);
    let rows = places.last().map_or(0, |&(_, y)| y + 1);
    let mut picture = RgbImage::from_pixel(width, height + (1 + rows) * font::LINE, Rgb(PAPER));
    image::imageops::replace(&mut picture, panels, 0, font::LINE.into());
    for (panel, title) in (0..).zip(TITLES) {
        font::write(&mut picture, (panel * width / 3, 1), title, INK);
    }
    for (&class, (x, row)) in shown.iter().zip(places) {
        let y = height + (1 + row) * font::LINE + 1;
        for (dx, dy) in (0..49).map(|at| (at % 7, at / 7)) {
            if let Some(pixel) = picture.get_pixel_mut_checked(x + dx, y + dy) {
                *pixel = Rgb(colour(class));
            }
        }
        let name = printable(&names[class]);
        font::write(&mut picture, (x + SWATCH, y), &name, INK);
    }
    picture
}

/// Width of a colour in the legend and the gap behind it.
const SWATCH: u32 = 10;

/// Left edges and rows of the names of a legend.
fn places(shown: &[usize], names: &[String], width: u32) -> Vec<(u32, u32)> {
    let (mut x, mut row) = (0, 0);
    let mut places = Vec::new();
    for &class in shown {
        let letters = printable(&names[class]).chars().count() as u32;
        let needed = SWATCH + font::ADVANCE.saturating_mul(letters);
        if x > 0 && needed > width.saturating_sub(x) {
            (x, row) = (0, row + 1);
        }
        places.push((x, row));
        x = x.saturating_add(needed + 2 * font::ADVANCE);
    }
    places
}

/// The colour of a class from 1 on.
fn colour(class: usize) -> [u8; 3] {
    COLOURS[(class - 1) % COLOURS.len()]
}

fn blend(grey: u8, class: u16) -> [u8; 3] {
    if [0, IGNORE].contains(&class) {
        return [grey; 3];
    }
    colour(usize::from(class)).map(|colour| {
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

    #[test]
    fn the_legend_names_the_structures_that_are_seen_in_their_colours() {
        let names = ["background", "liver", "spleen", "left kidney"].map(String::from);
        let panels = RgbImage::new(90, 20);
        let picture = with_legend(&panels, &[0, 1, IGNORE], &[0, 3, 0], &names);
        // A row of titles and two of names: both do not fit in 90 pixels.
        assert_eq!(picture.dimensions(), (90, 20 + 3 * font::LINE));
        let swatch = |row: u32| picture.get_pixel(3, 20 + (1 + row) * font::LINE + 4).0;
        assert_eq!([swatch(0), swatch(1)], [colour(1), colour(3)]);
        assert_eq!(picture.get_pixel(89, 15).0, PAPER);
        let has_letters = (SWATCH..90).any(|x| picture.get_pixel(x, 20 + font::LINE + 4).0 == INK);
        assert!(has_letters);
        assert_eq!(
            with_legend(&panels, &[], &[], &names).height(),
            20 + font::LINE
        );
    }
}
