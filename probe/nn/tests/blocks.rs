//! Blocks of vision transformers against PyTorch (`golden/blocks.json`, by `scripts/dev/golden_blocks.py`).
#![allow(clippy::unwrap_used)]

use nn::Tensor;
use nn::transformer::{
    Activation, Batch, BlockWeights, Encoder, LayerWeights, Lora, Method, Network, Optimiser,
    Pooling, Rates, Session,
};
use serde_json::Value;
use std::ops::Range;

const WIDTH: usize = 24;
const HIDDEN: usize = 40;
const TOKENS: usize = 9;
const BATCH: usize = 6;
const CLASSES: usize = 4;

/// The generator of the script.
fn numbers(seed: u32, count: usize, scale: f32, offset: f32) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next() * scale + offset).collect()
}

struct Case {
    golden: Value,
    network: Network,
    optimiser: Optimiser,
    rate: f32,
}

fn cases() -> Vec<Case> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/blocks.json");
    let file: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    file["cases"].as_array().unwrap().iter().map(case).collect()
}

fn case(golden: &Value) -> Case {
    let encoder = Encoder {
        width: WIDTH,
        heads: 3,
        hidden: HIDDEN,
        tokens: TOKENS,
        activation: match golden["activation"].as_str().unwrap() {
            "gelu" => Activation::Gelu,
            "gelu-tanh" => Activation::GeluTanh,
            "quick-gelu" => Activation::QuickGelu,
            _ => Activation::Swiglu,
        },
        epsilon: 1e-6,
        pooling: match golden["pooling"].as_str().unwrap() {
            "first" => Pooling::First,
            _ => Pooling::Mean,
        },
        outputs: CLASSES,
    };
    let method = match golden["method"].as_str().unwrap() {
        "lora" => Method::Lora(Lora {
            rank: 4,
            alpha: 6.0,
            dropout: 0.0,
            is_split: golden["split"].as_bool().unwrap(),
        }),
        "bitfit" => Method::BitFit,
        _ => Method::Full,
    };
    let mut seeds = 7..;
    let mut take = |count, scale, offset| numbers(seeds.next().unwrap(), count, scale, offset);
    let blocks = (0..2).map(|_| block(&encoder, &mut take)).collect();
    let norm = [take(WIDTH, 0.2, 1.0), take(WIDTH, 0.2, 0.0)];
    let mut network = Network::new(encoder, method, blocks, Some(norm), 0).unwrap();
    let fresh = network.clone();
    let values: Vec<Vec<f32>> = fresh
        .parameters()
        .map(|tensor| match tensor.name {
            "head.bias" => take(CLASSES, 0.2, 0.0),
            name if name == "head.weight" || name.contains("lora_") => {
                take(tensor.data.len(), 0.3, 0.0)
            }
            _ => tensor.data.to_vec(),
        })
        .collect();
    let tensors = fresh.parameters().zip(&values);
    let tensors = tensors.map(|(tensor, data)| Tensor { data, ..tensor });
    network.load(tensors).unwrap();
    Case {
        network,
        optimiser: match golden["optimiser"].as_str().unwrap() {
            "adamw" => Optimiser::AdamW { decay: 0.01 },
            _ => Optimiser::Sgd { momentum: 0.9 },
        },
        rate: golden["rate"].as_f64().unwrap() as f32,
        golden: golden.clone(),
    }
}

/// A block of the script's numbers, drawn in the same order.
fn block(encoder: &Encoder, take: &mut impl FnMut(usize, f32, f32) -> Vec<f32>) -> BlockWeights {
    let wide = match encoder.activation {
        Activation::Swiglu => 2 * HIDDEN,
        _ => HIDDEN,
    };
    let norm = |take: &mut dyn FnMut(usize, f32, f32) -> Vec<f32>| {
        [take(WIDTH, 0.2, 1.0), take(WIDTH, 0.2, 0.0)]
    };
    let layer = |take: &mut dyn FnMut(usize, f32, f32) -> Vec<f32>, rows, columns: usize| {
        let scale = (1.5 / (columns as f64).sqrt()) as f32;
        LayerWeights {
            weight: take(rows * columns, scale, 0.0),
            bias: Some(take(rows, 0.2, 0.0)),
        }
    };
    let first = norm(take);
    let attend = layer(take, 3 * WIDTH, WIDTH);
    let project = layer(take, WIDTH, WIDTH);
    let second = norm(take);
    BlockWeights {
        norms: [first, second],
        attend,
        project,
        mlp: [layer(take, wide, WIDTH), layer(take, WIDTH, HIDDEN)],
        scales: [Some(take(WIDTH, 0.3, 0.5)), Some(take(WIDTH, 0.3, 0.5))],
    }
}

/// Batch `step % 3` of the script, the third of which is smaller: tokens and labels.
fn batch(step: usize) -> (Vec<f32>, Vec<usize>) {
    let turn = step % 3;
    let count = if turn == 2 { BATCH - 1 } else { BATCH };
    let tokens = numbers(5000 + turn as u32, count * TOKENS * WIDTH, 1.0, 0.0);
    (
        tokens,
        (0..count)
            .map(|image| (image * 3 + turn) % CLASSES)
            .collect(),
    )
}

fn step(network: &mut Network, session: &mut Session, step: usize, rate: f32) -> f64 {
    let (tokens, labels) = batch(step);
    let loss = |images: Range<usize>, logits: &mut [f32]| {
        let mut loss = 0.0;
        for (image, z) in images.zip(logits.chunks_exact_mut(CLASSES)) {
            let total: f64 = z.iter().map(|&z| f64::from(z).exp()).sum();
            loss += (total.ln() - f64::from(z[labels[image]])) / labels.len() as f64;
            for (class, z) in z.iter_mut().enumerate() {
                let target = f64::from(u8::from(class == labels[image]));
                *z = ((f64::from(*z).exp() / total - target) / labels.len() as f64) as f32;
            }
        }
        loss
    };
    let batch = Batch {
        tokens: &tokens,
        loss: &loss,
    };
    let rates = Rates {
        encoder: rate,
        head: 10.0 * rate,
    };
    network.step(session, &batch, rates).unwrap()
}

/// Compares every `len / count`th number, as the script keeps them.
fn compare(found: &[f32], expected: &Value, count: usize, bound: f64, what: &str) {
    let found: Vec<f32> = found
        .iter()
        .copied()
        .step_by((found.len() / count).max(1))
        .collect();
    let expected: Vec<f64> = expected
        .as_array()
        .unwrap()
        .iter()
        .map(|x| x.as_f64().unwrap())
        .collect();
    assert_eq!(found.len(), expected.len(), "{what}");
    let most = expected.iter().fold(0.0f64, |most, x| most.max(x.abs()));
    for (found, expected) in found.iter().zip(&expected) {
        let off = (f64::from(*found) - expected).abs();
        assert!(off <= bound * most + 1e-7, "{what}: {found} {expected}");
    }
}

#[test]
fn features_and_gradients_are_those_of_pytorch() {
    for Case {
        golden,
        mut network,
        ..
    } in cases()
    {
        let mut session = Session::new(&network, Optimiser::Sgd { momentum: 0.9 });
        let [features, _] = network.apply(&session, &batch(0).0).unwrap();
        compare(&features, &golden["features"], 60, 1e-4, "features");
        step(&mut network, &mut session, 0, 0.0);
        let mut rest = session.momenta()[0];
        for tensor in network.parameters() {
            let (own, others) = rest.split_at(tensor.data.len());
            rest = others;
            compare(
                own,
                &golden["gradients"][tensor.name],
                30,
                1e-3,
                tensor.name,
            );
        }
    }
}

#[test]
fn fifty_steps_are_those_of_pytorch() {
    for Case {
        golden,
        mut network,
        optimiser,
        rate,
    } in cases()
    {
        let mut session = Session::new(&network, optimiser);
        for (number, expected) in golden["curve"].as_array().unwrap().iter().enumerate() {
            let found = step(&mut network, &mut session, number, rate);
            let expected = expected.as_f64().unwrap();
            assert!(
                (found / expected - 1.0).abs() < 1e-3,
                "{number}: {found} {expected}"
            );
        }
        // The bias of the keys changes nothing, so its gradient is rounding, which AdamW brings to the size of a step.
        let is_defined = |tensor: &Tensor<'_>| !tensor.name.ends_with("attn.qkv.bias");
        for tensor in network.parameters().filter(is_defined) {
            compare(
                tensor.data,
                &golden["state"][tensor.name],
                12,
                1e-3,
                tensor.name,
            );
        }
    }
}
