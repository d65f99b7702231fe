//! Soft Dice loss, alone or with cross-entropy, and its gradient.
//!
//! Logits are planes `[C, pixels]` of an image. With the softmax `p` and the one-hot labels `y`, the share
//! of class `c` of an image in the Dice loss is `1 − T / N`, `T = 2 Σ p y + ε`, `N = Σ p + Σ y + ε`; with
//! `f = ∂loss / ∂p = −2 y / N + T / N²` (over the number of images and classes), the gradient of the logits is
//! `p_c (f_c − Σ p_k f_k)`, and of the cross-entropy `p − y` over the number of pixels.
//!
//! Chunks of 256 pixels go through all steps while they stay in the nearest cache; vectors run along the
//! pixels.

use crate::matrix::{across, vectorised};
use rayon::prelude::*;
use serde::Serialize;

/// The label of ignored pixels.
pub const IGNORE: u16 = u16::MAX;

/// The loss that training minimises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// Soft Dice (Milletari et al. 2016, in the form of MONAI's
    /// `DiceLoss(softmax=True, to_onehot_y=True)`): the mean over images and classes, background
    /// included, of 1 − (2 Σ p y + 10⁻⁵) / (Σ p + Σ y + 10⁻⁵).
    Dice,
    /// The sum of the Dice loss and the cross-entropy, the mean over pixels (MONAI's `DiceCELoss`).
    #[serde(rename = "dice-ce")]
    DiceCrossEntropy,
}

const SMOOTH: f64 = 1e-5;
/// Pixels that are worked on while they stay in the nearest cache.
const CHUNK: usize = 256;
/// Chunks that one task takes.
const TASK: usize = 16;

/// Sums over pixels of a class.
#[derive(Clone, Copy, Default)]
struct Sums {
    probability: f64,
    label: f64,
    both: f64,
}

/// Turns an image's `logits` (planes `[C, pixels]`) into their gradient, in place, and returns the
/// image's share of the loss. `images` and `pixels` are the divisors of the whole batch: its number
/// of images, and of pixels that are not ignored.
pub(crate) fn loss(
    logits: &mut [f32],
    labels: &[u16],
    loss: Loss,
    images: usize,
    pixels: usize,
) -> f64 {
    let classes = logits.len() / labels.len();
    let with_entropy = loss == Loss::DiceCrossEntropy && pixels > 0;
    let task = TASK * CHUNK;
    let mut pieces = across(logits, labels.len(), task);
    let parts: Vec<(Vec<Sums>, f64)> = pieces
        .par_iter_mut()
        .zip(labels.par_chunks(task))
        .map(|(planes, labels)| {
            let mut sums = vec![Sums::default(); classes];
            let mut entropy = 0.0;
            for (index, labels) in labels.chunks(CHUNK).enumerate() {
                entropy += softmax(planes, index * CHUNK, labels, with_entropy, &mut sums);
            }
            (sums, entropy)
        })
        .collect();
    let (sums, entropy) = total(parts, classes);
    let (dice, slopes, offsets) = dice_loss(&sums, images);
    let (entropy_share, entropy) = if with_entropy {
        (1.0 / pixels as f32, entropy / pixels as f64)
    } else {
        (0.0, 0.0)
    };
    pieces
        .par_iter_mut()
        .zip(labels.par_chunks(task))
        .for_each(|(planes, labels)| {
            for (index, labels) in labels.chunks(CHUNK).enumerate() {
                let at = index * CHUNK;
                gradient(planes, at, labels, &slopes, &offsets, entropy_share);
            }
        });
    dice + entropy
}

/// The sums of parts, added in their order.
fn total(parts: Vec<(Vec<Sums>, f64)>, classes: usize) -> (Vec<Sums>, f64) {
    let mut sums = vec![Sums::default(); classes];
    let mut entropy = 0.0;
    for (part, part_entropy) in parts {
        entropy += part_entropy;
        for (sum, part) in sums.iter_mut().zip(part) {
            sum.probability += part.probability;
            sum.label += part.label;
            sum.both += part.both;
        }
    }
    (sums, entropy)
}

/// The image's share of the Dice loss, and per class the coefficients of its gradient for a
/// probability, `slope · label + offset`.
fn dice_loss(sums: &[Sums], images: usize) -> (f64, Vec<f32>, Vec<f32>) {
    let mut loss = 0.0;
    let (mut slopes, mut offsets) = (Vec::new(), Vec::new());
    for sum in sums {
        let top = 2.0 * sum.both + SMOOTH;
        let bottom = sum.probability + sum.label + SMOOTH;
        let share = (images * sums.len()) as f64;
        loss += (1.0 - top / bottom) / share;
        slopes.push((-2.0 / bottom / share) as f32);
        offsets.push((top / bottom / bottom / share) as f32);
    }
    (loss, slopes, offsets)
}

/// Labels as numbers that compare fast with a class; past the end they are ignored.
fn widened(labels: &[u16]) -> [u32; CHUNK] {
    let mut wide = [u32::from(IGNORE); CHUNK];
    for (wide, label) in wide.iter_mut().zip(labels) {
        *wide = u32::from(*label);
    }
    wide
}

/// Turns the logits of some pixels into probabilities, adds them to `sums` and returns the sum of the
/// cross-entropy, `ln Σ exp(z_k − max) − (z_y − max)`.
fn softmax(
    planes: &mut [&mut [f32]],
    at: usize,
    labels: &[u16],
    with_entropy: bool,
    sums: &mut [Sums],
) -> f64 {
    let count = labels.len();
    vectorised(
        #[inline(always)]
        || {
            let labels = widened(labels);
            let mut counted = [0.0f32; CHUNK];
            for (counted, label) in counted.iter_mut().zip(&labels) {
                *counted = one_if(*label != u32::from(IGNORE));
            }
            let mut most = [f32::NEG_INFINITY; CHUNK];
            for plane in planes.iter() {
                for (most, z) in most.iter_mut().zip(&plane[at..at + count]) {
                    *most = most.max(*z);
                }
            }
            let mut totals = [0.0f32; CHUNK];
            let mut of_label = [0.0f32; CHUNK];
            for (class, plane) in planes.iter_mut().enumerate() {
                let plane = &mut plane[at..at + count];
                if with_entropy {
                    let pixels = plane.iter().zip(&most).zip(&labels).zip(&mut of_label);
                    for (((z, most), label), of_label) in pixels {
                        *of_label += one_if(*label == class as u32) * (most - z);
                    }
                }
                for ((z, most), total) in plane.iter_mut().zip(&most).zip(&mut totals) {
                    let value = exp(*z - most);
                    *total += value;
                    *z = value;
                }
            }
            probabilities(planes, at, &totals[..count], &labels, &counted, sums);
            if !with_entropy {
                return 0.0;
            }
            for (of_label, total) in of_label.iter_mut().zip(&totals[..count]) {
                *of_label += ln(*total);
            }
            dot(&of_label, &counted)
        },
    )
}

/// Divides the exponentials of some pixels by their `totals`, and adds the probabilities to `sums`.
#[inline(always)]
fn probabilities(
    planes: &mut [&mut [f32]],
    at: usize,
    totals: &[f32],
    labels: &[u32; CHUNK],
    counted: &[f32; CHUNK],
    sums: &mut [Sums],
) {
    let mut inverse = [0.0f32; CHUNK];
    for (inverse, total) in inverse.iter_mut().zip(totals) {
        *inverse = 1.0 / total;
    }
    for (class, (plane, sums)) in planes.iter_mut().zip(sums).enumerate() {
        let plane = &mut plane[at..at + totals.len()];
        for (p, inverse) in plane.iter_mut().zip(&inverse) {
            *p *= inverse;
        }
        let mut label = [0.0f32; CHUNK];
        for (label, found) in label.iter_mut().zip(labels) {
            *label = one_if(*found == class as u32);
        }
        sums.probability += dot(plane, counted);
        sums.label += dot(&label, counted);
        sums.both += dot(plane, &label);
    }
}

#[inline(always)]
fn one_if(condition: bool) -> f32 {
    if condition { 1.0 } else { 0.0 }
}

/// The sum of the products of at most [`CHUNK`] numbers.
#[inline(always)]
fn dot(left: &[f32], right: &[f32; CHUNK]) -> f64 {
    let mut lanes = [0.0f32; 16];
    let (whole, rest) = left.as_chunks::<16>();
    for (left, right) in whole.iter().zip(right.as_chunks::<16>().0) {
        for lane in 0..16 {
            lanes[lane] += left[lane] * right[lane];
        }
    }
    for (lane, (left, right)) in rest.iter().zip(&right[whole.len() * 16..]).enumerate() {
        lanes[lane] += left * right;
    }
    lanes.iter().map(|sum| f64::from(*sum)).sum()
}

/// Turns the probabilities of some pixels into the gradient of the logits.
fn gradient(
    planes: &mut [&mut [f32]],
    at: usize,
    labels: &[u16],
    slopes: &[f32],
    offsets: &[f32],
    entropy_share: f32,
) {
    let count = labels.len();
    vectorised(
        #[inline(always)]
        || {
            let labels = widened(labels);
            let mut mean = [0.0f32; CHUNK];
            for (class, plane) in planes.iter().enumerate() {
                let (slope, offset) = (slopes[class], offsets[class]);
                let pixels = plane[at..at + count].iter().zip(&labels);
                for ((p, label), mean) in pixels.zip(&mut mean) {
                    *mean += p * (one_if(*label == class as u32) * slope + offset);
                }
            }
            for (class, plane) in planes.iter_mut().enumerate() {
                let (slope, offset) = (slopes[class], offsets[class]);
                let pixels = plane[at..at + count].iter_mut().zip(&labels);
                for ((p, label), mean) in pixels.zip(&mean) {
                    let one = one_if(*label == class as u32);
                    let of_dice = *p * (one * slope + offset - mean);
                    let counted = one_if(*label != u32::from(IGNORE));
                    *p = counted * (of_dice + entropy_share * (*p - one));
                }
            }
        },
    );
}

/// eˣ for x ≤ 0, to 2 units in the last place, in a form that compiles to vectors (the reduction
/// and polynomial of Cephes' `expf`).
#[inline(always)]
fn exp(x: f32) -> f32 {
    // Below, the result would be subnormal. A NaN passes.
    let x = if x < -87.0 { -87.0 } else { x };
    // Adding this number rounds to a whole one.
    const ROUND: f32 = 12_582_912.0;
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let whole = shifted - ROUND;
    let rest = x - whole * 0.693_359_4 + whole * 2.121_944_4e-4;
    let mut series = 1.987_569_1e-4;
    for factor in [
        1.398_199_9e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        1.666_666_6e-1,
        5.000_000_3e-1,
    ] {
        series = series * rest + factor;
    }
    let value = series * rest * rest + rest + 1.0;
    let exponent = shifted
        .to_bits()
        .wrapping_sub(ROUND.to_bits())
        .wrapping_add(127);
    value * f32::from_bits(exponent << 23)
}

/// The natural logarithm of x ≥ 1, in a form that compiles to vectors (Cephes' `logf`).
#[inline(always)]
fn ln(x: f32) -> f32 {
    // Scaled so that the fraction lies between √½ and √2.
    let bits = x.to_bits().wrapping_sub(0x3f35_04f3);
    let exponent = (bits as i32 >> 23) as f32;
    let fraction = f32::from_bits((bits & 0x007f_ffff) + 0x3f35_04f3) - 1.0;
    let mut series = 7.037_683_6e-2;
    for factor in [
        -1.151_461e-1,
        1.167_699_9e-1,
        -1.242_014_1e-1,
        1.424_932_3e-1,
        -1.666_805_8e-1,
        2.000_071_4e-1,
        -2.499_999_4e-1,
        3.333_333e-1,
    ] {
        series = series * fraction + factor;
    }
    let square = fraction * fraction;
    let value = series * fraction * square - 2.121_944_4e-4 * exponent - 0.5 * square;
    fraction + value + exponent * 0.693_359_4
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_and_logarithms_are_those_of_std() {
        for step in 0..8700 {
            let x = -step as f32 / 100.0;
            assert!((exp(x) / x.exp() - 1.0).abs() < 3e-7, "{x}");
            let y = 1.0 - x;
            assert!((ln(y) - y.ln()).abs() <= 3e-7 * y.ln().max(0.1), "{y}");
        }
        assert!(exp(f32::NAN).is_nan());
    }

    fn random(count: usize, seed: u32) -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32
        };
        (0..count).map(|_| next() * 4.0 - 2.0).collect()
    }

    #[test]
    fn gradients_are_finite_differences() {
        let (classes, pixels) = (3, 700);
        let logits = random(classes * pixels, 1);
        let mut labels: Vec<u16> = (0..pixels).map(|pixel| (pixel * 7 % 3) as u16).collect();
        labels[5] = IGNORE;
        for kind in [Loss::Dice, Loss::DiceCrossEntropy] {
            let value = |logits: &[f32]| loss(&mut logits.to_vec(), &labels, kind, 2, pixels - 1);
            let mut gradient = logits.clone();
            loss(&mut gradient, &labels, kind, 2, pixels - 1);
            for index in [0, 5, 300, 705, 1400, 2099] {
                let (mut up, mut down) = (logits.clone(), logits.clone());
                up[index] += 0.25;
                down[index] -= 0.25;
                let difference = (value(&up) - value(&down)) / 0.5;
                let analytic = f64::from(gradient[index]);
                assert!(
                    (difference - analytic).abs() < 3e-2 * analytic.abs() + 1e-8,
                    "{kind:?} {index}: {difference} {analytic}"
                );
            }
            for class in 0..classes {
                assert_eq!(gradient[class * pixels + 5], 0.0);
            }
        }
    }
}
