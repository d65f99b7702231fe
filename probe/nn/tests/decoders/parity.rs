//! Logits, gradients and training against PyTorch.

use nn::Decoder;
use serde_json::Value;

use crate::cases::{Case, cases, numbers, slices, tokens};

/// The numbers that the script stores.
fn some(data: &[f32], count: usize) -> Vec<f64> {
    let step = (data.len() / count).max(1);
    data.iter().step_by(step).map(|x| f64::from(*x)).collect()
}

/// Largest difference as a share of the largest number.
fn difference(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let size = expected.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
    let pairs = found.iter().zip(expected);
    pairs.fold(0.0, |most: f64, (a, b)| most.max((a - b).abs())) / size.max(1e-30)
}

fn check_logits(case: &Case, decoder: &Decoder, golden: &Value, tolerance: f64) {
    let mut workspace = case.workspace();
    let tokens = tokens(case.shape, case.batch, case.kind.layers(), 0);
    let (classes, size) = (case.shape.classes, case.shape.size);
    let mut square = vec![f32::NAN; case.batch * classes * size * size];
    decoder
        .logits(&mut workspace, &slices(&tokens), case.batch, &mut square)
        .unwrap();
    let off = difference(&some(&square, 200), &numbers(&golden["square"]));
    assert!(off < tolerance, "{off}");
    let maps = decoder
        .maps(&mut workspace, &slices(&tokens), case.batch)
        .unwrap();
    let mut other = vec![f32::NAN; case.batch * classes * 37 * 75];
    for (image, other) in other.chunks_exact_mut(classes * 37 * 75).enumerate() {
        maps.logits(image, (37, 75), other).unwrap();
    }
    let off = difference(&some(&other, 200), &numbers(&golden["other"]));
    assert!(off < tolerance, "{off}");
}

#[test]
fn logits_are_those_of_pytorch() {
    for case in cases() {
        check_logits(&case, &case.decoder(), &case.golden["before"], 1e-4);
    }
}

#[test]
fn gradients_are_those_of_pytorch() {
    for case in cases() {
        let mut decoder = case.decoder();
        case.step(&mut decoder, &mut case.workspace(), 0);
        // After the first step the momentum is the gradient.
        for tensor in decoder.momenta() {
            let golden = numbers(&case.golden["gradients"][tensor.name]);
            let found = some(tensor.data, 60);
            if tensor.name.ends_with("0.bias") {
                // A bias before a normalisation has none but for rounding.
                assert!(golden.iter().all(|g| g.abs() < 1e-6));
                assert!(tensor.data.iter().all(|g| *g == 0.0));
                continue;
            }
            let off = difference(&found, &golden);
            assert!(off < 1e-3, "{:?} {}: {off}", case.shape, tensor.name);
        }
    }
}

#[test]
fn training_goes_as_in_pytorch() {
    for case in cases() {
        let (mut decoder, mut workspace) = (case.decoder(), case.workspace());
        for (step, expected) in numbers(&case.golden["curve"]).into_iter().enumerate() {
            let loss = case.step(&mut decoder, &mut workspace, step);
            let off = (loss - expected).abs() / expected;
            assert!(
                off < 1e-3,
                "{:?} step {step}: {loss} {expected}",
                case.shape
            );
        }
        for tensor in decoder.parameters() {
            let golden = numbers(&case.golden["state"][tensor.name]);
            let off = difference(&some(tensor.data, 12), &golden);
            assert!(off < 1e-2, "{:?} {}: {off}", case.shape, tensor.name);
        }
        check_logits(&case, &decoder, &case.golden["after"], 1e-2);
    }
}
