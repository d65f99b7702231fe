//! Bicubic resizing without antialiasing, equal to PyTorch's `interpolate(mode="bicubic")`.

use ndarray::{Array2, ArrayView2, Axis, azip};

/// Keys' parameter as in PyTorch; PIL and others use -0.5.
///
/// PyTorch computes positions and weights of `f32` images in `f32`, and so does this file: weights in
/// `f64` would give other pixels.
const A: f32 = -0.75;

/// The four source positions of an output position, and their weights.
#[derive(Clone, Copy)]
struct Taps {
    at: [usize; 4],
    weight: [f32; 4],
}

/// Resizes `[H, W]` to `[size, size]`, with pixel centres at half positions
/// (`align_corners=False`) and borders repeated.
pub(super) fn bicubic(image: ArrayView2<f32>, size: usize) -> Array2<f32> {
    let (height, width) = image.dim();
    // Rows first: they are contiguous, and most rows of a large image are not read at all.
    let rows = combine_rows(image, &taps(height, size));
    combine_columns(rows.view(), &taps(width, size))
}

/// Resizes along rows, `out[k] = Σ weight[j] · image[at[j]]`: whole rows are combined, so that the compiler
/// vectorises over columns.
fn combine_rows(image: ArrayView2<f32>, taps: &[Taps]) -> Array2<f32> {
    let mut out = Array2::zeros((taps.len(), image.ncols()));
    for (out, taps) in out.outer_iter_mut().zip(taps) {
        let [a, b, c, d] = taps.at.map(|row| image.index_axis_move(Axis(0), row));
        let [wa, wb, wc, wd] = taps.weight;
        azip!((out in out, &a in a, &b in b, &c in c, &d in d)
            *out = a * wa + b * wb + c * wc + d * wd);
    }
    out
}

/// Resizes along columns, row by row.
fn combine_columns(image: ArrayView2<f32>, taps: &[Taps]) -> Array2<f32> {
    let mut out = Array2::zeros((image.nrows(), taps.len()));
    for (mut out, row) in out.outer_iter_mut().zip(image.outer_iter()) {
        for (out, taps) in out.iter_mut().zip(taps) {
            let products = [0, 1, 2, 3].map(|k| row[taps.at[k]] * taps.weight[k]);
            *out = products.iter().sum();
        }
    }
    out
}

/// Taps of each output: output `k` lies at `(k + ½) · from / to - ½`.
fn taps(from: usize, to: usize) -> Vec<Taps> {
    let scale = from as f32 / to as f32;
    let last = from.saturating_sub(1);
    let inside = |at: isize| usize::try_from(at).unwrap_or(0).min(last);
    (0..to)
        .map(|k| {
            let centre = scale * (k as f32 + 0.5) - 0.5;
            let first = centre.floor();
            let base = first as isize;
            Taps {
                at: [base - 1, base, base + 1, base + 2].map(inside),
                weight: weights(centre - first),
            }
        })
        .collect()
}

/// Keys' cubic convolution kernel at the four distances `1 + t, t, 1 - t, 2 - t`, `0 <= t < 1`
/// (R. Keys, "Cubic convolution interpolation for digital image processing", 1981).
fn weights(t: f32) -> [f32; 4] {
    let near = |x: f32| ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0;
    let far = |x: f32| ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A;
    [far(1.0 + t), near(t), near(1.0 - t), far(2.0 - t)]
}

#[cfg(test)]
mod tests {
    use ndarray::array;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_same_size_changes_nothing() {
        let image = Array2::from_shape_fn((7, 7), |(r, c)| (r * 31 + c * 17) as f32 % 13.0);
        assert_eq!(bicubic(image.view(), 7), image);
    }

    #[test]
    fn doubling_a_step_gives_the_values_worked_out_by_hand() {
        let image = array![[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0]];
        let row = bicubic(image.view(), 8).row(0).to_vec();
        // Output 2 lies at 0.75 (one tap on the step, at distance 1.25), output 3 at 1.25.
        assert!((row[2] + 0.105_468_75).abs() < 1e-6, "{row:?}");
        assert!((row[3] - 0.226_562_5).abs() < 1e-6, "{row:?}");
    }

    #[test]
    fn rows_and_columns_keep_their_places() {
        let image = array![[0.0, 10.0], [0.0, 10.0]];
        let out = bicubic(image.view(), 4);
        assert!(out[[0, 0]] < out[[0, 3]] && out[[0, 1]] == out[[3, 1]]);
    }

    proptest! {
        #[test]
        fn a_constant_stays_constant(
            (height, width, size) in (1usize..40, 1usize..40, 1usize..40),
            value in -2000f32..2000.0,
        ) {
            let out = bicubic(Array2::from_elem((height, width), value).view(), size);
            prop_assert!(out.iter().all(|v| (v - value).abs() <= 1e-5 * value.abs()));
        }

        #[test]
        fn weights_sum_to_one(t in 0f32..1.0) {
            prop_assert!((weights(t).iter().sum::<f32>() - 1.0).abs() < 5e-6);
        }
    }
}
