//! The worker of `scripts/dev/bench_decoders.py`: takes a training step for every line on its standard
//! input and answers with the seconds that it took; at the end with its peak of memory in MiB.
//!
//! Arguments: kind, width, classes, height and width of the grid, size, batch, heads, threads.
#![allow(clippy::unwrap_used)]

use nn::{Decoder, Kind, Loss, Shape, Workspace};
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

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let numbers: Vec<usize> = arguments.iter().filter_map(|a| a.parse().ok()).collect();
    let [width, classes, height, across, size, batch, heads, threads] = numbers[..] else {
        // `cargo bench` or `cargo test` itself.
        return;
    };
    let kind = match arguments[0].as_str() {
        "linear" => Kind::Linear,
        _ => Kind::UNet,
    };
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global()
        .unwrap();
    let shape = Shape {
        width,
        classes,
        grid: (height, across),
        size,
    };
    let tokens: Vec<Vec<f32>> = (0..kind.layers())
        .map(|layer| random(batch * height * across * width, layer as u32))
        .collect();
    let tokens: Vec<&[f32]> = tokens.iter().map(Vec::as_slice).collect();
    let masks: Vec<u16> = (0..batch * size * size)
        .map(|pixel| ((pixel % size / 9 + pixel / size / 7) % classes) as u16)
        .collect();
    let mut decoders: Vec<Decoder> = (0..heads)
        .map(|seed| Decoder::new(kind, shape, seed as u64).unwrap())
        .collect();
    let mut workspace = Workspace::new(kind, shape, batch).unwrap();
    let before = memory("VmRSS");
    let rates = vec![0.01; heads];
    let mut out = std::io::stdout();
    for line in std::io::stdin().lock().lines() {
        if line.unwrap().is_empty() {
            break;
        }
        let start = Instant::now();
        nn::step(
            &mut decoders,
            &mut workspace,
            &tokens,
            &masks,
            Loss::DiceCrossEntropy,
            &rates,
        )
        .unwrap();
        writeln!(out, "{}", start.elapsed().as_secs_f64()).unwrap();
    }
    writeln!(out, "{before} {}", memory("VmHWM")).unwrap();
}
