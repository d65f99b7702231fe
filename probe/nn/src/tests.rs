//! The layers against plain loops, and their gradients against what the layers themselves do.

use super::direct;
use super::extent::Extent;
use super::matrix::Pool;
use super::norm::{self, Affine};
use super::planes::{self, Planes};
use super::resize::{Plane, Resize, Taps};
use super::upconv::{self, Gradients, Input, Source};
use super::winograd;

fn random(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let products = a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b));
    products.sum()
}

fn close(a: f64, b: f64) {
    assert!((a - b).abs() < 2e-4 * (1.0 + a.abs()), "{a} {b}");
}

fn all_close(a: &[f32], b: &[f32]) {
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(b) {
        close(f64::from(*a), f64::from(*b));
    }
}

/// `[B, H, W, C]` with weights `[output, input, 3, 3]`.
fn plain(input: &[f32], extent: Extent, weights: &[f32], output: usize) -> Vec<f32> {
    let mut out = Vec::new();
    for image in 0..extent.batch {
        for (y, x) in pixels(extent.height, extent.width) {
            for o in 0..output {
                let mut sum = 0.0;
                for (tap_y, tap_x) in pixels(3, 3) {
                    let (row, column) = (y + tap_y, x + tap_x);
                    if row == 0 || row > extent.height || column == 0 || column > extent.width {
                        continue;
                    }
                    let at = (image * extent.height + row - 1) * extent.width + column - 1;
                    for i in 0..extent.channels {
                        sum += input[at * extent.channels + i]
                            * weights[((o * extent.channels + i) * 3 + tap_y) * 3 + tap_x];
                    }
                }
                out.push(sum);
            }
        }
    }
    out
}

fn pixels(height: usize, width: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..height * width).map(move |at| (at / width, at % width))
}

const EXTENTS: [(Extent, usize); 4] = [
    (extent(2, 6, 9, 5), 3),
    (extent(3, 4, 4, 16), 8),
    (extent(1, 13, 21, 11), 17),
    (extent(2, 1, 2, 2), 1),
];

const fn extent(batch: usize, height: usize, width: usize, channels: usize) -> Extent {
    Extent {
        batch,
        height,
        width,
        channels,
    }
}

#[test]
fn convolutions_of_maps_are_plain_ones() {
    let pool = Pool::default();
    for (extent, output) in EXTENTS {
        let input = random(extent.len(), 1);
        let weights = random(9 * extent.channels * output, 2);
        let of_out = random(extent.with_channels(output).len(), 3);
        let mut points = vec![0.0; winograd::transformed_len(extent.channels, output)];
        winograd::transform_weights(&weights, extent.channels, output, &mut points);
        let mut out = vec![f32::NAN; of_out.len()];
        winograd::convolve(&input, extent, &points, output, &mut out, &pool);
        all_close(&out, &plain(&input, extent, &weights, output));

        // A convolution is linear in both, so its gradients are its transposes.
        let expected = dot(&out, &of_out);
        winograd::transform_weights_back(&weights, extent.channels, output, &mut points);
        let mut of_input = vec![f32::NAN; input.len()];
        let of = extent.with_channels(output);
        winograd::convolve(&of_out, of, &points, extent.channels, &mut of_input, &pool);
        close(dot(&input, &of_input), expected);
        let mut of_weights = vec![f32::NAN; weights.len()];
        winograd::weight_gradient(
            &input,
            extent,
            &of_out,
            output,
            &mut points,
            &mut of_weights,
            &pool,
        );
        close(dot(&weights, &of_weights), expected);
        for index in [0, weights.len() / 2, weights.len() - 1] {
            let mut one = vec![0.0; weights.len()];
            one[index] = 1.0;
            let slope = dot(&plain(&input, extent, &one, output), &of_out);
            close(slope, f64::from(of_weights[index]));
        }
        for index in [0, input.len() / 2, input.len() - 1] {
            let mut one = vec![0.0; input.len()];
            one[index] = 1.0;
            let slope = dot(&plain(&one, extent, &weights, output), &of_out);
            close(slope, f64::from(of_input[index]));
        }
    }
}

/// The sums are split into parts, which small maps never fill.
#[test]
fn convolutions_of_large_maps_and_their_gradients_agree() {
    let pool = Pool::default();
    let (extent, output) = (extent(6, 40, 44, 130), 70);
    let input = random(extent.len(), 1);
    let of_out = random(extent.with_channels(output).len(), 3);
    let mut points = vec![0.0; winograd::transformed_len(extent.channels, output)];
    let mut of_weights = vec![f32::NAN; 9 * extent.channels * output];
    winograd::weight_gradient(
        &input,
        extent,
        &of_out,
        output,
        &mut points,
        &mut of_weights,
        &pool,
    );
    let mut out = vec![f32::NAN; of_out.len()];
    for index in [
        0,
        4,
        129 * 9,
        69 * 130 * 9 + 64 * 9 + 3,
        of_weights.len() - 1,
    ] {
        let mut one = vec![0.0; of_weights.len()];
        one[index] = 1.0;
        winograd::transform_weights(&one, extent.channels, output, &mut points);
        winograd::convolve(&input, extent, &points, output, &mut out, &pool);
        let slope = dot(&out, &of_out);
        assert!(
            (slope - f64::from(of_weights[index])).abs() < 1e-2,
            "{slope}"
        );
        // Of one weight, the output is the input, moved.
        let (o, i, tap) = (index / 9 / 130, index / 9 % 130, index % 9);
        let at = |y: usize, x: usize| (5 * 40 + y) * 44 + x;
        let found = out[at(20, 31) * output + o];
        let expected = input[at(19 + tap / 3, 30 + tap % 3) * extent.channels + i];
        close(f64::from(found), f64::from(expected));
    }
}

fn to_planes(map: &[f32], extent: Extent) -> (Vec<f32>, Planes) {
    let planes = Planes {
        batch: extent.batch,
        channels: extent.channels,
        height: extent.height,
        width: extent.width,
    };
    let mut data = vec![0.0; planes.len()];
    for (at, x) in map.iter().enumerate() {
        let (pixel, channel) = (at / extent.channels, at % extent.channels);
        let (row, column) = (pixel / extent.width, pixel % extent.width);
        let (image, row) = (row / extent.height, row % extent.height);
        data[planes.at(image, channel, row) + column] = *x;
    }
    (data, planes)
}

#[test]
fn convolutions_of_planes_are_plain_ones() {
    for (extent, output) in EXTENTS {
        let input = random(extent.len(), 1);
        let weights = random(9 * extent.channels * output, 2);
        let of = extent.with_channels(output);
        let of_out = random(of.len(), 3);
        let (from, planes) = to_planes(&input, extent);
        let (of_planes, out_planes) = to_planes(&of_out, of);
        let mut out = vec![0.0; out_planes.len()];
        direct::convolve(&from, planes, &weights, output, &mut out);
        // The border stays zero too.
        let expected = plain(&input, extent, &weights, output);
        all_close(&out, &to_planes(&expected, of).0);

        let turned = direct::turned(&weights, extent.channels, output);
        let mut of_input = vec![0.0; from.len()];
        direct::convolve(
            &of_planes,
            out_planes,
            &turned,
            extent.channels,
            &mut of_input,
        );
        close(dot(&from, &of_input), dot(&out, &of_planes));
        let mut of_weights = vec![f32::NAN; weights.len()];
        direct::weight_gradient(&from, planes, &of_planes, output, &mut of_weights);
        for index in 0..weights.len().min(100) {
            let mut one = vec![0.0; weights.len()];
            one[index] = 1.0;
            let slope = dot(&plain(&input, extent, &one, output), &of_out);
            close(slope, f64::from(of_weights[index]));
        }
    }
}

#[test]
fn upsampling_convolutions_and_their_gradients_agree() {
    for below in [extent(3, 5, 4, 6), extent(5, 20, 70, 140)] {
        upsampling(below);
    }
}

fn upsampling(below: Extent) {
    let pool = Pool::default();
    let output = 3;
    let above = extent(below.batch, below.height * 2, below.width * 2, 2 * output);
    let input = random(below.len(), 1);
    let weights = random(4 * below.channels * output, 2);
    let bias = random(output, 3);
    let mut arranged = vec![0.0; weights.len()];
    upconv::arrange(&weights, output, &mut arranged);
    let mut out = vec![0.0; above.len()];
    upconv::lower(&input, below, &arranged, &bias, &mut out, &pool);
    for (at, found) in out.iter().enumerate() {
        let (pixel, o) = (at / (2 * output), at % (2 * output));
        let (row, x) = (pixel / above.width, pixel % above.width);
        let (image, y) = (row / above.height, row % above.height);
        let mut expected = 0.0;
        if o < output {
            expected = bias[o];
            let from = (image * below.height + y / 2) * below.width + x / 2;
            for i in 0..below.channels {
                expected += input[from * below.channels + i]
                    * weights[(i * output + o) * 4 + y % 2 * 2 + x % 2];
            }
        }
        close(f64::from(*found), f64::from(expected));
    }
    let (expected, planes) = to_planes(&out, above);
    let mut of_planes = vec![0.0; planes.len()];
    upconv::lower_planes(
        &input,
        below,
        &arranged,
        &bias,
        &mut of_planes,
        planes,
        &pool,
    );
    all_close(&of_planes, &expected);

    let of_out = random(above.len(), 4);
    let (of_out_planes, planes) = to_planes(&of_out, above);
    let without_bias = |input: &[f32]| {
        let mut out = vec![0.0; above.len()];
        upconv::lower(input, below, &arranged, &[0.0; 3], &mut out, &pool);
        dot(&out, &of_out)
    };
    for source in [
        Source::Lower(&of_out),
        Source::Planes(&of_out_planes, planes),
    ] {
        let mut of_input = input.clone();
        let mut of_weights = vec![0.0; weights.len()];
        let mut of_bias = vec![0.0; output];
        let gradients = Gradients {
            weight: &mut of_weights,
            bias: &mut of_bias,
        };
        let from = Input::Replaced(&mut of_input);
        upconv::backward(from, below, &arranged, source, gradients, &pool);
        close(dot(&weights, &of_weights), without_bias(&input));
        close(dot(&input, &of_input), without_bias(&input));
        let with_bias = dot(&out, &of_out);
        close(dot(&bias, &of_bias), with_bias - without_bias(&input));
        for index in [0, 17, 359] {
            let mut one = vec![0.0; input.len()];
            one[index] = 1.0;
            close(without_bias(&one), f64::from(of_input[index]));
        }
    }
}

#[test]
fn resizing_and_its_gradient_agree() {
    let pool = Pool::default();
    for taps in [Taps::bilinear, Taps::aligned, Taps::bicubic] {
        for ((h, w), (height, width)) in [
            ((4, 5), (12, 7)),
            ((9, 8), (5, 8)),
            ((1, 1), (3, 1)),
            ((3, 2), (1, 9)),
        ] {
            let resize = Resize::new(taps(h, height), taps(w, width));
            let (from, of_out) = (random(h * w, 1), random(height * width, 2));
            let full = |stride| Plane { start: 0, stride };
            let mut out = vec![f32::NAN; of_out.len()];
            resize.plane(&from, full(w), &mut out, full(width), &pool);
            let mut of_from = vec![f32::NAN; from.len()];
            resize.plane_back(&of_out, full(width), &mut of_from, full(w), &pool);
            close(dot(&from, &of_from), dot(&out, &of_out));
            // Weights sum to one.
            let mut ones = vec![f32::NAN; of_out.len()];
            resize.plane(&vec![1.0; h * w], full(w), &mut ones, full(width), &pool);
            all_close(&ones, &vec![1.0; of_out.len()]);

            let small = extent(2, h, w, 3);
            let map = random(small.len(), 3);
            let of_map = random(2 * height * width * 6, 4);
            let mut wide = vec![0.0; of_map.len()];
            resize.upper(&map, small, &mut wide, &pool);
            let mut back = vec![f32::NAN; map.len()];
            resize.upper_back(&of_map, &mut back, small, &pool);
            close(dot(&map, &back), dot(&wide, &of_map));
            for channel in 0..3 {
                let plane: Vec<f32> = map[..h * w * 3][channel..]
                    .iter()
                    .copied()
                    .step_by(3)
                    .collect();
                resize.plane(&plane, full(w), &mut out, full(width), &pool);
                for (pixel, out) in out.iter().enumerate() {
                    close(f64::from(*out), f64::from(wide[pixel * 6 + 3 + channel]));
                    assert_eq!(wide[pixel * 6 + channel], 0.0);
                }
            }
        }
    }
}

#[test]
fn normalisation_has_the_gradient_of_finite_differences() {
    let of = extent(2, 5, 7, 3);
    let map: Vec<f32> = random(of.len(), 1).iter().map(|x| 3.0 * x + 5.0).collect();
    let (weight, bias) = ([0.5, 2.0, -1.0], [0.3, -0.2, 0.1]);
    let of_out = random(of.len(), 2);
    let affine = |map: &[f32]| Affine::of_batch(&norm::moments(map, 3), &weight, &bias);
    let value = |map: &[f32]| {
        let mut out = vec![0.0; map.len()];
        norm::normalise(map, &affine(map), &mut out);
        dot(&out, &of_out)
    };
    let mut gradient = of_out.clone();
    norm::backward(&map, &affine(&map), &mut gradient);
    for index in (0..of.len()).step_by(13) {
        let (mut up, mut down) = (map.clone(), map.clone());
        up[index] += 1e-2;
        down[index] -= 1e-2;
        let slope = (value(&up) - value(&down)) / 2e-2;
        assert!((slope - f64::from(gradient[index])).abs() < 5e-3);
    }

    let (data, planes) = to_planes(&map, of);
    let of_planes = Affine::of_batch(&planes::moments(&data, planes), &weight, &bias);
    all_close(&of_planes.scale, &affine(&map).scale);
    all_close(&of_planes.shift, &affine(&map).shift);
    let mut out = vec![0.0; data.len()];
    planes::normalise(&data, planes, &of_planes, &mut out);
    let mut expected = vec![0.0; map.len()];
    norm::normalise(&map, &affine(&map), &mut expected);
    all_close(&out, &to_planes(&expected, of).0);
    let (mut of_data, _) = to_planes(&of_out, of);
    let steps = planes::backward(&data, planes, &of_planes, &mut of_data);
    all_close(&of_data, &to_planes(&gradient, of).0);
    let mut again = of_out.clone();
    let expected = norm::backward(&map, &affine(&map), &mut again);
    all_close(&steps.weight, &expected.weight);
    all_close(&steps.bias, &expected.bias);
}
