//! Augmented views of a slice.

use common::Mask;
use ndarray::{Array2, ArrayView2, s};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Area of a crop as a fraction of the slice's.
const CROP_AREA: (f64, f64) = (0.75, 1.0);

/// Ratio of a crop's width to its height.
const CROP_RATIO: (f64, f64) = (3.0 / 4.0, 4.0 / 3.0);

/// Number of draws of a crop before a central one is taken.
const CROP_TRIES: usize = 10;

/// Probability of a flip when whole slices are turned.
const FLIP: f64 = 0.25;

/// Augmented views that are stored of each slice beside the plain one; part of the recipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Views {
    /// Number of views.
    pub count: u16,
    /// Kind of augmentation.
    pub augment: Augment,
    /// Random seed.
    pub seed: u64,
}

/// Kind of augmentation (`data/transforms.py` in the study's code).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum Augment {
    /// For classification: a crop of 75 to 100% of the area with an aspect ratio of 3:4 to 4:3, and a
    /// horizontal flip with probability 0.5.
    #[default]
    CropFlip,
    /// For segmentation: a vertical and a horizontal flip with probability 0.25 each, then a rotation by
    /// -90° to 90°.
    FlipRotate,
    /// `flip-rotate` as in the study's code, where both flips are vertical.
    VerticalFlipsRotate,
}

/// Transformation from the plain slice to a view: crop, then flips, then rotation.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct View {
    /// Top, left, height and width of the crop in pixels; `None` for the whole slice.
    pub crop: Option<[usize; 4]>,
    /// Whether top and bottom are exchanged.
    pub flip_rows: bool,
    /// Whether left and right are exchanged.
    pub flip_columns: bool,
    /// Rotation, anticlockwise.
    pub degrees: f32,
}

impl Views {
    /// View number `view` (from 1) of a slice `[height, width]`. It depends on the arguments only, so it is
    /// the same for any number of threads and after a restart.
    pub fn draw(&self, sample: &str, slice: u32, view: u16, height: usize, width: usize) -> View {
        let mut hash = Sha256::new();
        hash.update(self.seed.to_le_bytes());
        hash.update(slice.to_le_bytes());
        hash.update(view.to_le_bytes());
        hash.update(sample.as_bytes());
        let mut rng = ChaCha8Rng::from_seed(hash.finalize().into());
        match self.augment {
            Augment::CropFlip => View {
                crop: Some(crop(&mut rng, height, width)),
                flip_columns: uniform(&mut rng) < 0.5,
                ..View::default()
            },
            Augment::FlipRotate => View {
                flip_rows: uniform(&mut rng) < FLIP,
                flip_columns: uniform(&mut rng) < FLIP,
                degrees: between(&mut rng, -90.0, 90.0) as f32,
                ..View::default()
            },
            Augment::VerticalFlipsRotate => View {
                flip_rows: (uniform(&mut rng) < FLIP) != (uniform(&mut rng) < FLIP),
                degrees: between(&mut rng, -90.0, 90.0) as f32,
                ..View::default()
            },
        }
    }
}

impl View {
    /// The cropped slice.
    pub(super) fn cropped<'a>(&self, channel: ArrayView2<'a, f32>) -> ArrayView2<'a, f32> {
        match self.crop {
            None => channel,
            Some([top, left, height, width]) => {
                channel.slice_move(s![top..top + height, left..left + width])
            }
        }
    }

    /// Whether there is a flip or a rotation.
    pub(super) fn turns(&self) -> bool {
        self.flip_rows || self.flip_columns || self.degrees != 0.0
    }

    /// Flips and rotates a resized slice; pixels from outside of it are `fill`.
    pub(super) fn turned(&self, image: &Array2<f32>, fill: f32) -> Array2<f32> {
        let (height, width) = image.dim();
        Array2::from_shape_fn((height, width), |(row, column)| {
            self.origin(row, column, height, width)
                .and_then(|(v, u)| pixel(v, u, height, width))
                .map_or(fill, |at| image[at])
        })
    }

    /// The label map of this view, of the same size; pixels from outside of it are background.
    pub fn of_mask(&self, mask: &Mask) -> Mask {
        let (height, width) = mask.dim();
        let [top, left, kept_height, kept_width] = self.crop.unwrap_or([0, 0, height, width]);
        Array2::from_shape_fn((height, width), |(row, column)| {
            self.origin(row, column, height, width)
                .and_then(|(v, u)| pixel(v, u, kept_height, kept_width))
                .map_or(0, |(row, column)| mask[[top + row, left + column]])
        })
    }

    /// Origin `(v, u)` of a pixel of the view, as fractions of the height and width of the crop; `None` if
    /// it is outside. The rotation is that of a square, as the model sees it:
    /// `v' = x sin θ + y cos θ`, `u' = x cos θ - y sin θ` about the centre.
    fn origin(&self, row: usize, column: usize, height: usize, width: usize) -> Option<(f64, f64)> {
        let mut v = (row as f64 + 0.5) / height as f64;
        let mut u = (column as f64 + 0.5) / width as f64;
        if self.degrees != 0.0 {
            let (sin, cos) = f64::from(self.degrees).to_radians().sin_cos();
            let (y, x) = (v - 0.5, u - 0.5);
            // The inverse of an anticlockwise rotation, since rows run downwards.
            (v, u) = (x * sin + y * cos + 0.5, x * cos - y * sin + 0.5);
        }
        if self.flip_rows {
            v = 1.0 - v;
        }
        if self.flip_columns {
            u = 1.0 - u;
        }
        let inside = 0.0..1.0;
        (inside.contains(&v) && inside.contains(&u)).then_some((v, u))
    }
}

fn pixel(v: f64, u: f64, height: usize, width: usize) -> Option<(usize, usize)> {
    let (row, column) = ((v * height as f64) as usize, (u * width as f64) as usize);
    (row < height && column < width).then_some((row, column))
}

/// Crop as by torchvision's `RandomResizedCrop`: area and logarithm of the ratio are uniform.
fn crop(rng: &mut ChaCha8Rng, height: usize, width: usize) -> [usize; 4] {
    let area = height as f64 * width as f64;
    for _ in 0..CROP_TRIES {
        let kept = area * between(rng, CROP_AREA.0, CROP_AREA.1);
        let ratio = between(rng, CROP_RATIO.0.ln(), CROP_RATIO.1.ln()).exp();
        let kept_width = (kept * ratio).sqrt().round_ties_even() as usize;
        let kept_height = (kept / ratio).sqrt().round_ties_even() as usize;
        let fits = (1..=width).contains(&kept_width) && (1..=height).contains(&kept_height);
        if fits {
            let top = below(rng, height - kept_height + 1);
            let left = below(rng, width - kept_width + 1);
            return [top, left, kept_height, kept_width];
        }
    }
    let ratio = (width as f64 / height as f64).clamp(CROP_RATIO.0, CROP_RATIO.1);
    let kept_width = width
        .min((height as f64 * ratio).round_ties_even() as usize)
        .max(1);
    let kept_height = height
        .min((width as f64 / ratio).round_ties_even() as usize)
        .max(1);
    let (top, left) = ((height - kept_height) / 2, (width - kept_width) / 2);
    [top, left, kept_height, kept_width]
}

/// A number in 0..1.
fn uniform(rng: &mut ChaCha8Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

fn between(rng: &mut ChaCha8Rng, low: f64, high: f64) -> f64 {
    low + (high - low) * uniform(rng)
}

fn below(rng: &mut ChaCha8Rng, end: usize) -> usize {
    ((uniform(rng) * end as f64) as usize).min(end - 1)
}

#[cfg(test)]
mod tests {
    use ndarray::array;
    use proptest::prelude::*;

    use super::*;

    fn views(augment: Augment) -> Views {
        Views {
            count: 9,
            augment,
            seed: 7,
        }
    }

    #[test]
    fn flips_and_quarter_turns_are_exact() {
        let mask = array![[1, 2], [3, 4]];
        let turned = |view: View| view.of_mask(&mask);
        let view = View::default();
        assert_eq!(turned(view), mask);
        assert_eq!(
            turned(View {
                flip_rows: true,
                ..view
            }),
            array![[3, 4], [1, 2]]
        );
        assert_eq!(
            turned(View {
                flip_columns: true,
                ..view
            }),
            array![[2, 1], [4, 3]]
        );
        let quarter = View {
            degrees: 90.0,
            ..view
        };
        assert_eq!(turned(quarter), array![[2, 4], [1, 3]], "anticlockwise");
        let crop = View {
            crop: Some([1, 0, 1, 2]),
            ..view
        };
        assert_eq!(turned(crop), array![[3, 4], [3, 4]]);
    }

    #[test]
    fn an_eighth_turn_brings_in_background_at_the_corners() {
        let view = View {
            degrees: 45.0,
            ..View::default()
        };
        let mask = Mask::from_elem((9, 9), 5);
        let turned = view.of_mask(&mask);
        assert_eq!((turned[[0, 0]], turned[[8, 8]], turned[[4, 4]]), (0, 0, 5));
        let image = view.turned(&Array2::from_elem((9, 9), 5.0), -1.0);
        assert_eq!((image[[0, 8]], image[[4, 4]]), (-1.0, 5.0));
    }

    #[test]
    fn a_draw_depends_on_what_it_is_for_and_on_nothing_else() {
        let views = views(Augment::FlipRotate);
        let drawn = |sample, slice, view| views.draw(sample, slice, view, 30, 40);
        assert_eq!(drawn("a", 3, 1), drawn("a", 3, 1));
        let others = [drawn("b", 3, 1), drawn("a", 4, 1), drawn("a", 3, 2)];
        assert!(others.iter().all(|other| *other != drawn("a", 3, 1)));
    }

    #[test]
    fn the_study_never_exchanges_left_and_right_of_a_segmentation() {
        let views = views(Augment::VerticalFlipsRotate);
        let drawn: Vec<View> = (0..400).map(|k| views.draw("a", k, 1, 9, 9)).collect();
        assert!(drawn.iter().all(|view| !view.flip_columns));
        let flipped = drawn.iter().filter(|view| view.flip_rows).count();
        // One of two flips with probability 0.25 each: 2 · 0.25 · 0.75 = 0.375.
        assert!((120..180).contains(&flipped), "{flipped}");
    }

    proptest! {
        #[test]
        fn crops_lie_inside_and_keep_area_and_ratio(
            slice in 0u32..1000, height in 1usize..200, width in 1usize..200,
        ) {
            let view = views(Augment::CropFlip).draw("a", slice, 1, height, width);
            let [top, left, kept_height, kept_width] = view.crop.unwrap();
            prop_assert!(kept_height > 0 && top + kept_height <= height);
            prop_assert!(kept_width > 0 && left + kept_width <= width);
            if height.min(width) > 100 && height.max(width) < height.min(width) * 4 / 3 {
                let area = (kept_height * kept_width) as f64 / (height * width) as f64;
                prop_assert!((0.7..=1.0).contains(&area), "{}", area);
            }
        }

        #[test]
        fn image_and_mask_move_alike(slice in 0u32..1000, size in 2usize..30) {
            let view = views(Augment::FlipRotate).draw("a", slice, 1, size, size);
            let mask = Mask::from_shape_fn((size, size), |(r, c)| (1 + r * size + c) as u16);
            let image = mask.mapv(f32::from);
            let moved = view.of_mask(&mask).mapv(f32::from);
            prop_assert_eq!(view.turned(&image, 0.0), moved);
        }
    }
}
