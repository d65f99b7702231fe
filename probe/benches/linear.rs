//! Time of training the study's grid of linear heads:
//! `cargo bench --workspace --bench linear -- EXAMPLES WIDTH CLASSES STEPS THREADS`.
//! Prints the seconds of training, the seconds of its matrix products alone, and a checksum.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

mod data;

use std::time::Instant;

use data::uniform;
use half::f16;
use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, s};
use probe::features::Columns;
use probe::probes::linear::{Batches, Data, Head, Loss, Reduction, Schedule, grid, train};
use probe::targets::Targets;
use rayon::prelude::*;

const RATES: [f32; 8] = [0.1, 0.01, 0.05, 0.001, 0.005, 0.0001, 0.0005, 0.00001];
const BATCH: usize = 128;

fn main() {
    let arguments = data::numbers();
    let [examples, width, classes, steps, threads] = arguments[..] else {
        println!("usage: linear EXAMPLES WIDTH CLASSES STEPS THREADS");
        return;
    };
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global()
        .unwrap();
    let columns = Columns {
        cls: vec![width; 4],
        mean: width,
    };
    let features = Array2::from_shape_fn((examples, columns.width()), |(i, j)| {
        f16::from_f32(uniform(1, i * columns.width() + j) * 3.4)
    });
    let targets = Array2::from_shape_fn((examples, classes), |(i, j)| {
        Some(uniform(2, i * classes + j) > 0.4)
    });
    let targets = Targets::Multi(targets);
    let loss = Loss::MultiLabel(Reduction::Mean);
    let heads = grid(&RATES, &[1, 4]).into_iter().enumerate();
    let heads = heads.map(|(k, options)| {
        Head::new(
            options,
            columns.range(options.inputs).len(),
            classes,
            0,
            k as u64,
        )
    });
    let data = Data {
        features: features.view(),
        columns: &columns,
        targets: &targets,
    };
    let batches = Batches::new((0..examples).map(|row| vec![row]).collect(), BATCH, 0);
    let schedule = Schedule {
        steps,
        momentum: 0.9,
    };
    let heads: Vec<Head> = heads.collect();
    let start = Instant::now();
    let trained = train(&data, loss, heads.clone(), schedule, batches);
    let seconds = start.elapsed().as_secs_f64();
    let bare = products(&columns, &heads, classes, steps, threads);
    let checksum: f32 = trained
        .iter()
        .map(|head| head.weight.iter().map(|w| w.abs()).sum::<f32>())
        .sum();
    println!("{seconds:.3} {bare:.3} {checksum:.2}");
}

/// The products of `x W` and `x' g` for all four kinds of heads, the features shared out to threads.
fn products(
    columns: &Columns,
    heads: &[Head],
    classes: usize,
    steps: usize,
    threads: usize,
) -> f64 {
    let x = Array2::from_shape_fn((BATCH, columns.width()), |(i, j)| (i + j) as f32);
    let width = RATES.len() * classes;
    let mut kinds: Vec<_> = heads.iter().map(|head| head.options.inputs).collect();
    kinds.dedup();
    let start = Instant::now();
    for kind in kinds {
        let range = columns.range(kind);
        let share = range.len().div_ceil(threads);
        (0..threads).into_par_iter().for_each(|thread| {
            let first = range.start + thread * share;
            let x = x.slice(s![.., first..(first + share).min(range.end)]);
            let weight = Array2::<f32>::ones((x.ncols(), width));
            let mut gradient = Array2::<f32>::zeros((x.ncols(), width));
            let mut logits = Array2::<f32>::zeros((BATCH, width));
            for _ in 0..steps {
                general_mat_mul(1.0, &x, &weight, 0.0, &mut logits);
                general_mat_mul(1.0, &x.t(), &logits, 0.0, &mut gradient);
            }
            std::hint::black_box(&gradient);
        });
    }
    start.elapsed().as_secs_f64()
}
