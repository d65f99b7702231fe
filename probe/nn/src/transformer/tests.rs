//! Gradients against differences, and properties that need no reference.

use super::*;
use crate::parameter::Tensor;

const BATCH: usize = 5;

fn random(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn encoder(activation: Activation, pooling: Pooling) -> Encoder {
    Encoder {
        width: 12,
        heads: 3,
        hidden: 20,
        tokens: 7,
        activation,
        epsilon: 1e-6,
        pooling,
        outputs: 3,
    }
}

fn lora(dropout: f32, is_split: bool) -> Method {
    Method::Lora(Lora {
        rank: 4,
        alpha: 6.0,
        dropout,
        is_split,
    })
}

/// A block with numbers of about the size of a trained one's.
fn block(encoder: &Encoder, seed: u32) -> BlockWeights {
    let Encoder { width, hidden, .. } = *encoder;
    let wide = encoder.activation.gates() * hidden;
    let scaled = |count, part, scale: f32, offset: f32| -> Vec<f32> {
        let numbers = random(count, 100 * seed + part);
        numbers.iter().map(|x| x * scale + offset).collect()
    };
    let norm = |part| {
        [
            scaled(width, part, 0.3, 1.0),
            scaled(width, part + 1, 0.3, 0.0),
        ]
    };
    let layer = |outputs, inputs, part| LayerWeights {
        weight: scaled(outputs * inputs, part, 1.5 / (inputs as f32).sqrt(), 0.0),
        bias: Some(scaled(outputs, part + 1, 0.3, 0.0)),
    };
    BlockWeights {
        norms: [norm(1), norm(3)],
        attend: layer(3 * width, width, 5),
        project: layer(width, width, 7),
        mlp: [layer(wide, width, 9), layer(width, hidden, 11)],
        scales: [
            Some(scaled(width, 13, 0.3, 0.7)),
            Some(scaled(width, 14, 0.3, 0.7)),
        ],
    }
}

/// A network of two blocks whose adapters and head are not zero.
fn network(encoder: Encoder, method: Method) -> Network {
    let blocks = vec![block(&encoder, 1), block(&encoder, 2)];
    let norm = [
        random(12, 3).iter().map(|x| 1.0 + 0.2 * x).collect(),
        random(12, 4),
    ];
    let mut network = Network::new(encoder, method, blocks, Some(norm), 5).unwrap();
    let fresh = network.clone();
    let values: Vec<Vec<f32>> = fresh
        .parameters()
        .enumerate()
        .map(|(index, tensor)| {
            let noise = random(tensor.data.len(), index as u32 + 50);
            let terms = tensor.data.iter().zip(noise);
            terms.map(|(x, noise)| x + 0.2 * noise).collect()
        })
        .collect();
    let tensors = fresh.parameters().zip(&values);
    let tensors = tensors.map(|(tensor, data)| Tensor { data, ..tensor });
    network.load(tensors).unwrap();
    network
}

fn tokens(encoder: &Encoder) -> Vec<f32> {
    random(BATCH * encoder.tokens * encoder.width, 9)
}

/// The mean over the batch of half of the squared logits less a target, and its gradient.
fn loss(images: std::ops::Range<usize>, logits: &mut [f32]) -> f64 {
    let outputs = logits.len() / images.len();
    let mut loss = 0.0;
    for (image, logits) in images.zip(logits.chunks_exact_mut(outputs)) {
        for (output, logit) in logits.iter_mut().enumerate() {
            let error = *logit - (image + 2 * output) as f32 / 5.0;
            loss += 0.5 * f64::from(error * error) / BATCH as f64;
            *logit = error / BATCH as f32;
        }
    }
    loss
}

/// A rate of 0 leaves the network, and momenta are the gradients after the first step.
fn loss_and_gradients(network: &mut Network, tokens: &[f32]) -> (f64, Vec<f32>) {
    let mut session = Session::new(network, Optimiser::Sgd { momentum: 0.9 });
    let rates = Rates {
        encoder: 0.0,
        head: 0.0,
    };
    let batch = Batch {
        tokens,
        loss: &loss,
    };
    let loss = network.step(&mut session, &batch, rates).unwrap();
    (loss, session.momenta()[0].to_vec())
}

#[test]
fn memory_of_gradients_does_not_grow_with_the_batch() {
    let encoder = encoder(Activation::Gelu, Pooling::First);
    for (method, groups) in [(lora(0.1, true), 16), (Method::Full, 8)] {
        let mut network = network(encoder, method);
        let mut session = Session::new(&network, Optimiser::Sgd { momentum: 0.9 });
        for images in [groups * 4, groups * 8 + 1] {
            let tokens = random(images * encoder.tokens * encoder.width, 9);
            let batch = Batch {
                tokens: &tokens,
                loss: &loss,
            };
            let rates = Rates {
                encoder: 1e-4,
                head: 1e-4,
            };
            network.step(&mut session, &batch, rates).unwrap();
            let most = groups * network.trained();
            assert!(session.gradients.len() <= most, "{images}");
        }
    }
}

/// The network moved by `by` along `direction`.
fn moved(network: &Network, direction: &[f32], by: f32) -> Network {
    let mut moved = network.clone();
    let mut rest = direction;
    let values: Vec<Vec<f32>> = network
        .parameters()
        .map(|tensor| {
            let (own, others) = rest.split_at(tensor.data.len());
            rest = others;
            tensor
                .data
                .iter()
                .zip(own)
                .map(|(x, d)| x + by * d)
                .collect()
        })
        .collect();
    let tensors = network.parameters().zip(&values);
    let tensors = tensors.map(|(tensor, data)| Tensor { data, ..tensor });
    moved.load(tensors).unwrap();
    moved
}

#[test]
fn gradients_are_those_of_differences() {
    let activations = [
        Activation::Gelu,
        Activation::GeluTanh,
        Activation::QuickGelu,
        Activation::Swiglu,
    ];
    let methods = [
        lora(0.0, false),
        lora(0.0, true),
        lora(0.3, true),
        Method::BitFit,
        Method::Full,
    ];
    for activation in activations {
        for pooling in [Pooling::First, Pooling::Mean] {
            for method in methods {
                let encoder = encoder(activation, pooling);
                let (mut network, tokens) = (network(encoder, method), tokens(&encoder));
                let (_, gradients) = loss_and_gradients(&mut network, &tokens);
                let mut start = 0;
                for tensor in network.clone().parameters() {
                    // Along each tensor's own numbers, so that no tensor hides behind another.
                    let own = start..start + tensor.data.len();
                    start = own.end;
                    let mut direction = vec![0.0; gradients.len()];
                    let noise = random(own.len(), 77);
                    let length = gradients[own.clone()]
                        .iter()
                        .map(|g| g * g)
                        .sum::<f32>()
                        .sqrt();
                    let along = direction[own.clone()]
                        .iter_mut()
                        .zip(&gradients[own.clone()]);
                    for ((d, g), noise) in along.zip(noise) {
                        *d = g / (length + 1e-9) + 0.3 * noise / (own.len() as f32).sqrt();
                    }
                    let by = 4e-3;
                    let after = loss_and_gradients(&mut moved(&network, &direction, by), &tokens);
                    let before = loss_and_gradients(&mut moved(&network, &direction, -by), &tokens);
                    let difference = (after.0 - before.0) / f64::from(2.0 * by);
                    let terms = direction.iter().zip(&gradients);
                    let expected: f64 = terms.map(|(d, g)| f64::from(d * g)).sum();
                    assert!(
                        (difference - expected).abs() < 4e-3 * expected.abs() + 4e-4,
                        "{activation:?} {pooling:?} {method:?} {}: {difference} {expected}",
                        tensor.name
                    );
                }
                assert_eq!(start, network.trained());
            }
        }
    }
}

#[test]
fn adapters_that_are_new_change_nothing() {
    let encoder = encoder(Activation::Gelu, Pooling::First);
    let blocks = || vec![block(&encoder, 1), block(&encoder, 2)];
    let features = |method| {
        let network = Network::new(encoder, method, blocks(), None, 5).unwrap();
        let session = Session::new(&network, Optimiser::AdamW { decay: 0.0 });
        network.apply(&session, &tokens(&encoder)).unwrap()
    };
    assert!(features(lora(0.1, true)) == features(Method::Full));
}

/// Bits of all trained numbers after `steps` steps.
fn trained(method: Method, optimiser: Optimiser, threads: usize, stop: Option<u64>) -> Vec<u32> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
    pool.build().unwrap().install(|| {
        let encoder = encoder(Activation::Gelu, Pooling::First);
        let (mut network, tokens) = (network(encoder, method), tokens(&encoder));
        let mut session = Session::new(&network, optimiser);
        let rates = Rates {
            encoder: 0.01,
            head: 0.05,
        };
        for step in 0..4 {
            if stop == Some(step) {
                let kept = session.momenta().map(<[f32]>::to_vec);
                session = Session::new(&network, optimiser);
                session.resume(step, kept).unwrap();
            }
            let batch = Batch {
                tokens: &tokens,
                loss: &loss,
            };
            network.step(&mut session, &batch, rates).unwrap();
        }
        let parameters = network.parameters();
        parameters
            .flat_map(|tensor| tensor.data.iter().map(|x| x.to_bits()))
            .collect()
    })
}

#[test]
fn results_depend_neither_on_threads_nor_on_a_stop() {
    let adam = Optimiser::AdamW { decay: 0.01 };
    let descent = Optimiser::Sgd { momentum: 0.9 };
    for method in [lora(0.1, true), Method::BitFit, Method::Full] {
        for optimiser in [adam, descent] {
            let one = trained(method, optimiser, 1, None);
            assert!(one == trained(method, optimiser, 3, None));
            assert!(one == trained(method, optimiser, 2, Some(2)));
        }
    }
}

#[test]
fn a_loss_that_is_not_finite_changes_nothing() {
    let encoder = encoder(Activation::Gelu, Pooling::First);
    let mut network = network(encoder, lora(0.1, false));
    let before: Vec<f32> = network.parameters().flat_map(|t| t.data.to_vec()).collect();
    let mut tokens = tokens(&encoder);
    tokens[3] = f32::NAN;
    let mut session = Session::new(&network, Optimiser::AdamW { decay: 0.0 });
    let rates = Rates {
        encoder: 0.1,
        head: 0.1,
    };
    let batch = Batch {
        tokens: &tokens,
        loss: &loss,
    };
    assert!(network.step(&mut session, &batch, rates).unwrap().is_nan());
    assert_eq!(session.steps(), 0);
    let after: Vec<f32> = network.parameters().flat_map(|t| t.data.to_vec()).collect();
    assert!(before == after);
    let (loss, _) = loss_and_gradients(&mut network, &self::tokens(&encoder));
    assert!(loss.is_finite());
}

#[test]
fn weights_of_other_sizes_are_refused() {
    let encoder = encoder(Activation::Gelu, Pooling::First);
    let mut short = block(&encoder, 1);
    short.mlp[0].weight.pop();
    let found = Network::new(encoder, Method::Full, vec![short], None, 0).unwrap_err();
    assert_eq!(
        found.to_string(),
        "239 numbers of a block's weights were given, not 240"
    );
    let uneven = Encoder {
        heads: 5,
        ..encoder
    };
    assert!(Network::new(uneven, Method::Full, vec![block(&encoder, 1)], None, 0).is_err());
    let network = Network::new(encoder, Method::Full, vec![block(&encoder, 1)], None, 0).unwrap();
    let session = Session::new(&network, Optimiser::AdamW { decay: 0.0 });
    assert!(network.apply(&session, &tokens(&encoder)[1..]).is_err());
}
