//! The worker of `scripts/dev/bench_blocks.py`: takes a training step for every line on its standard input and answers
//! with the seconds that it took; at the end with its peak of memory in MiB.
//!
//! Arguments: method (`lora`, `bitfit` or `full`), width, heads, tokens, blocks, batch, threads.
#![allow(clippy::unwrap_used)]

use nn::transformer::{
    Activation, Batch, BlockWeights, Encoder, LayerWeights, Lora, Method, Network, Optimiser,
    Pooling, Rates, Session,
};
use std::io::{BufRead, Write};
use std::time::Instant;

fn memory(field: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(field));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}

/// Numbers from -1 to 1.
fn random(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

fn block(width: usize, seed: u32) -> BlockWeights {
    let layer = |outputs: usize, inputs: usize| LayerWeights {
        weight: random(outputs * inputs, seed)
            .iter()
            .map(|x| x / (inputs as f32).sqrt())
            .collect(),
        bias: Some(vec![0.0; outputs]),
    };
    let norm = || [vec![1.0; width], vec![0.0; width]];
    BlockWeights {
        norms: [norm(), norm()],
        attend: layer(3 * width, width),
        project: layer(width, width),
        mlp: [layer(4 * width, width), layer(width, 4 * width)],
        scales: [Some(vec![1.0; width]), Some(vec![1.0; width])],
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let numbers: Vec<usize> = arguments.iter().filter_map(|a| a.parse().ok()).collect();
    let [width, heads, tokens, blocks, batch, threads] = numbers[..] else {
        // `cargo bench` or `cargo test` itself.
        return;
    };
    let method = match arguments[0].as_str() {
        "lora" => Method::Lora(Lora {
            rank: 48,
            alpha: 16.0,
            dropout: 0.1,
            is_split: false,
        }),
        "bitfit" => Method::BitFit,
        _ => Method::Full,
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
    pool.build_global().unwrap();
    let encoder = Encoder {
        width,
        heads,
        hidden: 4 * width,
        tokens,
        activation: Activation::Gelu,
        epsilon: 1e-6,
        pooling: Pooling::First,
        outputs: 8,
    };
    let blocks = (0..blocks)
        .map(|index| block(width, index as u32))
        .collect();
    let norm = Some([vec![1.0; width], vec![0.0; width]]);
    let mut network = Network::new(encoder, method, blocks, norm, 0).unwrap();
    let mut session = Session::new(&network, Optimiser::AdamW { decay: 0.01 });
    let tokens = random(batch * tokens * width, 99);
    let loss = |images: std::ops::Range<usize>, logits: &mut [f32]| {
        logits.iter_mut().for_each(|x| *x /= batch as f32);
        images.len() as f64
    };
    let rates = Rates {
        encoder: 2e-4,
        head: 5e-3,
    };
    let before = memory("VmRSS");
    let mut out = std::io::stdout();
    for line in std::io::stdin().lock().lines() {
        if line.unwrap().is_empty() {
            break;
        }
        let start = Instant::now();
        let batch = Batch {
            tokens: &tokens,
            loss: &loss,
        };
        network.step(&mut session, &batch, rates).unwrap();
        writeln!(out, "{}", start.elapsed().as_secs_f64()).unwrap();
    }
    writeln!(out, "{before} {}", memory("VmHWM")).unwrap();
}
