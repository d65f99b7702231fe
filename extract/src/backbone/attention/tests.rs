//! Comparison of attention in integers with f64.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::head::HeadBuffers;
use super::loops::Portable;

/// Approximately normal random numbers.
fn numbers(seed: u64, count: usize) -> Vec<f32> {
    let mut draw = ChaCha8Rng::seed_from_u64(seed);
    let mut uniform = || draw.next_u32() as f32 / u32::MAX as f32 - 0.5;
    (0..count)
        .map(|_| 1.73 * (0..4).map(|_| uniform()).sum::<f32>())
        .collect()
}

fn exact(inputs: [&[f32]; 3], [tokens, width]: [usize; 2], stride: usize) -> Vec<f64> {
    let row = |of: usize, token: usize| &inputs[of][token * stride..][..width];
    let scale = (width as f64).powf(-0.5);
    let product = |a: &[f32], b: &[f32]| {
        let terms = a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b));
        terms.sum::<f64>() * scale
    };
    let attended = (0..tokens).flat_map(|query| {
        let products = (0..tokens).map(|key| product(row(0, query), row(1, key)));
        let products: Vec<f64> = products.collect();
        let most = products.iter().copied().fold(f64::MIN, f64::max);
        let weights: Vec<f64> = products.iter().map(|x| (x - most).exp()).collect();
        let total: f64 = weights.iter().sum();
        let column = move |column: usize| {
            let values = (0..tokens).map(|key| f64::from(row(2, key)[column]));
            values.zip(&weights).map(|(v, w)| v * w).sum::<f64>() / total
        };
        (0..width).map(column).collect::<Vec<f64>>()
    });
    attended.collect()
}

fn rms_of_differences(found: &[f32], expected: &[f64]) -> f64 {
    let pairs = found.iter().zip(expected);
    let sum: f64 = pairs.map(|(&a, b)| (f64::from(a) - b).powi(2)).sum();
    (sum / found.len() as f64).sqrt()
}

fn error(inputs: [&[f32]; 3], shape: [usize; 2], stride: usize) -> f64 {
    let [tokens, width] = shape;
    let mut buffers = HeadBuffers::new(tokens, width);
    // Old content of the buffers has no effect.
    buffers.attend([&numbers(9, tokens * width); 3].map(|x| &x[..]), width, 3.0);
    let found = buffers.attend(inputs, stride, (width as f32).powf(-0.5));
    let size = rms_of_differences(found, &vec![0.0; found.len()]);
    rms_of_differences(found, &exact(inputs, shape, stride)) / size
}

#[test]
fn attention_is_softmax_of_products_times_values_for_all_numbers_of_tokens_and_columns() {
    for (shape, stride) in [
        ([1, 64], 64),
        ([5, 16], 48),
        ([50, 25], 30),
        ([64, 64], 64),
        ([65, 72], 72),
        ([129, 2], 3),
        ([257, 64], 128),
    ] {
        let input = |seed| numbers(seed, shape[0] * stride);
        let (mut queries, keys, values) = (input(1), input(2), input(3));
        queries.iter_mut().for_each(|x| *x *= 2.0);
        let error = error([&queries, &keys, &values], shape, stride);
        assert!(error < 0.03, "{shape:?}: {error}");
    }
}

#[test]
fn what_all_keys_have_in_common_and_columns_of_other_sizes_do_no_harm() {
    let shape = [150, 64];
    let input = |seed| numbers(seed, 150 * 64);
    let (mut queries, mut keys, mut values) = (input(1), input(2), input(3));
    for token in 0..150 {
        keys[token * 64 + 7] += 300.0;
        keys[token * 64 + 9] *= 1e4;
        queries[token * 64 + 9] *= 1e-4;
        values[token * 64 + 11] *= 1e-6;
        values[token * 64 + 13] = 1e6 + values[token * 64 + 13] / 8.0;
        values[token * 64 + 15] = 0.0;
    }
    let inputs = [&queries[..], &keys, &values];
    let expected = exact(inputs, shape, 64);
    let mut buffers = HeadBuffers::new(150, 64);
    let found = buffers.attend(inputs, 64, 0.125);
    for (column, most) in [(0, 0.1), (7, 0.1), (11, 0.1), (13, 1e-7), (15, 0.0)] {
        let of = |index: usize| index * 64 + column;
        let found: Vec<f32> = (0..150).map(|row| found[of(row)]).collect();
        let expected: Vec<f64> = (0..150).map(|row| expected[of(row)]).collect();
        let error = rms_of_differences(&found, &expected);
        let size = rms_of_differences(&found, &[0.0; 150]);
        assert!(error <= most * size + 1e-30, "{column}: {error} of {size}");
    }
}

#[test]
fn small_weights_beside_a_large_one_are_not_lost() {
    // The first key has half of all weight, and a value of 0. Lost are those of its block only.
    let (tokens, width) = (1025, 16);
    let queries = vec![1.0; tokens * width];
    let (mut keys, mut values) = (vec![0.0; tokens * width], vec![1.0; tokens * width]);
    keys[..width].fill((1024f32).ln() / 4.0);
    values[..width].fill(0.0);
    let mut buffers = HeadBuffers::new(tokens, width);
    let found = buffers.attend([&queries, &keys, &values], width, 0.25);
    assert!(found.iter().all(|x| (x - 0.5).abs() < 0.03), "{}", found[0]);
}

#[test]
fn all_instruction_sets_give_the_same_bits() {
    for (tokens, width) in [(1, 3), (64, 16), (128, 25), (131, 44)] {
        let drawn = [1, 2, 3].map(|seed| numbers(seed, tokens * width));
        // All whole numbers are the largest there are, so that sums are the largest that 16 bits must
        // hold: with keys of both signs those of products, with equal ones those of values.
        let ends = drawn
            .clone()
            .map(|input| input.iter().map(|x| x.signum()).collect());
        let ones = vec![1.0; tokens * width];
        let [_, keys, values]: [Vec<f32>; 3] = ends;
        let extreme = [ones.clone(), keys, values.clone()];
        for inputs in [drawn, extreme, [ones.clone(), ones, values]] {
            let inputs = inputs.each_ref().map(|input| &input[..]);
            let mut portable = HeadBuffers::new(tokens, width);
            portable.attend_by(Portable, inputs, width, 0.3 * std::f32::consts::LOG2_E);
            let mut best = HeadBuffers::new(tokens, width);
            assert_eq!(best.attend(inputs, width, 0.3), portable.attended);
        }
    }
}

#[test]
fn what_is_not_finite_gives_nan_and_no_numbers() {
    let (tokens, width) = (70, 16);
    for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for input in 0..3 {
            let mut inputs = [1, 2, 3].map(|seed| numbers(seed, tokens * width));
            inputs[input][68 * width + 5] = wrong;
            let inputs = inputs.each_ref().map(|input| &input[..]);
            let mut buffers = HeadBuffers::new(tokens, width);
            let attended = buffers.attend(inputs, width, 0.25);
            assert!(attended[68 * width..][..width].iter().all(|x| x.is_nan()));
            // A query is of no account to the others.
            assert_eq!(attended[0].is_nan(), input != 0);
        }
    }
}
