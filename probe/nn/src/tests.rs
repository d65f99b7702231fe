//! The layers, on both memory layouts, against plain loops, and their gradients against what the
//! layers themselves compute: a linear map's gradient is its transpose.

use super::conv::{Convolve, Input};
use super::extent::{Extent, Layout};
use super::norm::{Affine, Normalise};
use super::parameter::Parameter;
use super::planes::Planes;
use super::resize::{Plane, Resize};
use super::scratch::{Pool, Scratch};
use super::skip::Insert;
use super::taps::Taps;
use super::upconv::{UpConv, Upsample};
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

/// A memory layout that maps `[B, H, W, C]` can be brought into.
trait Arrange: Layout {
    fn arrange(self, map: &[f32]) -> Vec<f32>;
}

impl Arrange for Extent {
    fn arrange(self, map: &[f32]) -> Vec<f32> {
        map.to_vec()
    }
}

impl Arrange for Planes {
    fn arrange(self, map: &[f32]) -> Vec<f32> {
        let extent = self.extent();
        let mut data = vec![0.0; self.len()];
        for (at, x) in map.iter().enumerate() {
            let (pixel, channel) = (at / extent.channels, at % extent.channels);
            let (row, column) = (pixel / extent.width, pixel % extent.width);
            let (image, row) = (row / extent.height, row % extent.height);
            data[self.at(image, channel, row) + column] = *x;
        }
        data
    }
}

/// The convolution of `[B, H, W, C]` with weights `[output, input, 3, 3]`, term by term.
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

fn one(count: usize, index: usize) -> Vec<f32> {
    let mut one = vec![0.0; count];
    one[index] = 1.0;
    one
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

fn scratch(input: usize, output: usize) -> Scratch {
    Scratch {
        pool: Pool::default(),
        transformed: vec![f32::NAN; winograd::transformed_len(input, output)],
        gradient: vec![f32::NAN; 9 * input * output],
    }
}

#[test]
fn convolutions_and_their_gradients_are_plain_ones() {
    for (extent, output) in EXTENTS {
        convolutions::<Extent>(extent, output);
        convolutions::<Planes>(extent, output);
    }
}

fn convolutions<L: Convolve + Arrange>(extent: Extent, output: usize) {
    let (layout, of) = (L::new(extent), extent.with_channels(output));
    let of_layout = L::new(of);
    let map = random(extent.len(), 1);
    let weights = random(9 * extent.channels * output, 2);
    let of_out = random(of.len(), 3);
    let (input, of_output) = (layout.arrange(&map), of_layout.arrange(&of_out));
    let mut scratch = scratch(extent.channels, output);
    let mut out = of_layout.arrange(&vec![f32::NAN; of.len()]);
    layout.convolve(&input, &weights, &mut out, &mut scratch);
    all_close(
        &out,
        &of_layout.arrange(&plain(&map, extent, &weights, output)),
    );

    let expected = dot(&out, &of_output);
    let mut of_input = layout.arrange(&vec![f32::NAN; map.len()]);
    layout.input_gradient(&of_output, &weights, &mut of_input, &mut scratch);
    close(dot(&input, &of_input), expected);
    layout.weight_gradient(&input, &of_output, output, &mut scratch);
    let of_weights = &scratch.gradient;
    close(dot(&weights, of_weights), expected);
    for index in (0..weights.len()).step_by(weights.len().div_ceil(100)) {
        let slope = plain(&map, extent, &one(weights.len(), index), output);
        close(dot(&slope, &of_out), f64::from(of_weights[index]));
    }
    for index in [0, map.len() / 2, map.len() - 1] {
        let slope = plain(&one(map.len(), index), extent, &weights, output);
        let of_one = layout.arrange(&one(map.len(), index));
        close(dot(&slope, &of_out), dot(&of_one, &of_input));
    }
}

/// The sums are split into parts, which small maps never fill.
#[test]
fn convolutions_of_large_maps_and_their_gradients_agree() {
    let (extent, output) = (extent(6, 40, 44, 130), 70);
    let input = random(extent.len(), 1);
    let of_out = random(extent.with_channels(output).len(), 3);
    let mut scratch = scratch(extent.channels, output);
    extent.weight_gradient(&input, &of_out, output, &mut scratch);
    let of_weights = scratch.gradient.clone();
    let mut out = vec![f32::NAN; of_out.len()];
    for index in [
        0,
        4,
        129 * 9,
        69 * 130 * 9 + 64 * 9 + 3,
        of_weights.len() - 1,
    ] {
        let weights = one(of_weights.len(), index);
        extent.convolve(&input, &weights, &mut out, &mut scratch);
        let slope = dot(&out, &of_out);
        assert!(
            (slope - f64::from(of_weights[index])).abs() < 1e-2,
            "{slope}"
        );
        // The output of a single weight is the input, moved.
        let (o, i, tap) = (index / 9 / 130, index / 9 % 130, index % 9);
        let at = |y: usize, x: usize| (5 * 40 + y) * 44 + x;
        let found = out[at(20, 31) * output + o];
        let expected = input[at(19 + tap / 3, 30 + tap % 3) * extent.channels + i];
        close(f64::from(found), f64::from(expected));
    }
}

#[test]
fn upsampling_convolutions_and_their_gradients_agree() {
    for below in [extent(3, 5, 4, 6), extent(5, 20, 70, 140)] {
        upsampling::<Extent>(below);
        upsampling::<Planes>(below);
    }
}

fn upsampling<L: Upsample + Arrange>(below: Extent) {
    let output = 3;
    let above = extent(below.batch, below.height * 2, below.width * 2, 2 * output);
    let layout = L::new(above);
    let layer = UpConv::new(below, layout);
    let mut scratch = scratch(below.channels, output);
    let input = random(below.len(), 1);
    let weights = random(4 * below.channels * output, 2);
    let bias = random(output, 3);
    let mut forward = |input: &[f32], bias: &[f32]| {
        let tensors =
            [&weights[..], bias].map(|data| Parameter::trained("", &[data.len()], data.to_vec()));
        let mut out = vec![0.0; layout.len()];
        layer.forward(input, &tensors, below.batch, &mut out, &mut scratch);
        out
    };
    let out = forward(&input, &bias);
    let mut expected = vec![0.0; above.len()];
    for (at, expected) in expected.iter_mut().enumerate() {
        let (pixel, o) = (at / (2 * output), at % (2 * output));
        let (row, x) = (pixel / above.width, pixel % above.width);
        let (image, y) = (row / above.height, row % above.height);
        if o < output {
            let from = (image * below.height + y / 2) * below.width + x / 2;
            *expected = bias[o];
            for i in 0..below.channels {
                *expected += input[from * below.channels + i]
                    * weights[(i * output + o) * 4 + y % 2 * 2 + x % 2];
            }
        }
    }
    all_close(&out, &layout.arrange(&expected));

    let of_out = layout.arrange(&random(above.len(), 4));
    let without_bias = dot(&forward(&input, &[0.0; 3]), &of_out);
    let slopes = [0, 17, 359].map(|at| dot(&forward(&one(below.len(), at), &[0.0; 3]), &of_out));
    let mut tensors =
        [&weights, &bias].map(|data| Parameter::trained("", &[data.len()], data.clone()));
    let mut of_input = input.clone();
    let replaced = Input::Replaced(&mut of_input);
    layer.backward(
        replaced,
        &of_out,
        &mut tensors,
        below.batch,
        0.0,
        &mut scratch,
    );
    // After the first step, the momentum is the gradient.
    close(dot(&weights, &tensors[0].momentum), without_bias);
    close(dot(&input, &of_input), without_bias);
    let with_bias = dot(&out, &of_out);
    close(dot(&bias, &tensors[1].momentum), with_bias - without_bias);
    for (at, slope) in [0, 17, 359].into_iter().zip(slopes) {
        close(slope, f64::from(of_input[at]));
    }
}

#[test]
fn resizing_and_its_gradient_agree() {
    for taps in [Taps::bilinear, Taps::aligned, Taps::bicubic] {
        for ((h, w), (height, width)) in [
            ((4, 5), (12, 7)),
            ((9, 8), (5, 8)),
            ((1, 1), (3, 1)),
            ((3, 2), (1, 9)),
        ] {
            let resize = Resize::new(taps(h, height), taps(w, width));
            let pool = Pool::default();
            let (from, of_out) = (random(h * w, 1), random(height * width, 2));
            let (small, large) = (Plane::whole(w), Plane::whole(width));
            let mut out = vec![f32::NAN; of_out.len()];
            resize.plane(&from, small, &mut out, large, &pool);
            let mut of_from = vec![f32::NAN; from.len()];
            resize.plane_back(&of_out, large, &mut of_from, small, &pool);
            close(dot(&from, &of_from), dot(&out, &of_out));
            // Weights sum to one.
            let mut ones = vec![f32::NAN; of_out.len()];
            resize.plane(&vec![1.0; h * w], small, &mut ones, large, &pool);
            all_close(&ones, &vec![1.0; of_out.len()]);
            inserted::<Extent>(&resize, (h, w), (height, width));
            inserted::<Planes>(&resize, (h, w), (height, width));
        }
    }
}

/// A resized skip has the resized planes in the second half of the channels of the joined map.
fn inserted<L: Insert + Arrange>(
    resize: &Resize,
    (h, w): (usize, usize),
    (height, width): (usize, usize),
) {
    let pool = Pool::default();
    let (small, above) = (extent(2, h, w, 3), extent(2, height, width, 6));
    let layout = L::new(above);
    let skip = random(small.len(), 3);
    let mut joined = vec![0.0; layout.len()];
    layout.insert(resize, &skip, small, &mut joined, &pool);
    let mut expected = vec![0.0; above.len()];
    for (image, skip) in skip.chunks_exact(h * w * 3).enumerate() {
        for channel in 0..3 {
            let plane: Vec<f32> = skip[channel..].iter().copied().step_by(3).collect();
            let mut out = vec![f32::NAN; height * width];
            resize.plane(
                &plane,
                Plane::whole(w),
                &mut out,
                Plane::whole(width),
                &pool,
            );
            for (pixel, out) in out.iter().enumerate() {
                expected[(image * height * width + pixel) * 6 + 3 + channel] = *out;
            }
        }
    }
    all_close(&joined, &layout.arrange(&expected));
    let of_joined = layout.arrange(&random(above.len(), 4));
    let mut of_skip = vec![f32::NAN; skip.len()];
    layout.insert_back(resize, &of_joined, small, &mut of_skip, &pool);
    close(dot(&skip, &of_skip), dot(&joined, &of_joined));
}

#[test]
fn normalisation_has_the_gradient_of_finite_differences() {
    normalisation::<Extent>();
    normalisation::<Planes>();
}

fn normalisation<L: Normalise + Arrange>() {
    let of = extent(2, 5, 7, 3);
    let layout = L::new(of);
    let map: Vec<f32> = random(of.len(), 1).iter().map(|x| 3.0 * x + 5.0).collect();
    let of_out = layout.arrange(&random(of.len(), 2));
    let affine = |data: &[f32]| {
        Affine::of_batch(&layout.moments(data), &[0.5, 2.0, -1.0], &[0.3, -0.2, 0.1])
    };
    let value = |map: &[f32]| {
        let data = layout.arrange(map);
        let mut out = vec![0.0; data.len()];
        layout.normalise(&data, &affine(&data), &mut out);
        dot(&out, &of_out)
    };
    let data = layout.arrange(&map);
    let mut gradient = of_out.clone();
    let backward = layout.normalise_back(&data, &affine(&data), &mut gradient);
    for index in (0..of.len()).step_by(13) {
        let (mut up, mut down) = (map.clone(), map.clone());
        up[index] += 1e-2;
        down[index] -= 1e-2;
        let slope = (value(&up) - value(&down)) / 2e-2;
        let analytic = dot(&layout.arrange(&one(of.len(), index)), &gradient);
        assert!((slope - analytic).abs() < 5e-3);
    }
    // `y = γ x̂ + β` where it is positive, so that `Σ ∂y · y = γ ∂γ + β ∂β`.
    let [weight, bias] = [&backward.weight, &backward.bias];
    let linear = dot(&[0.5, 2.0, -1.0], weight) + dot(&[0.3, -0.2, 0.1], bias);
    close(value(&map), linear);
}
