//! Time of fitting a path of logistic regressions:
//! `cargo bench --workspace --bench logreg -- FOLDER SOLVER THREADS C,C`, where FOLDER holds what
//! `scripts/dev/bench_logreg.py` writes: `shape` (`N F C`), `x` (f16) and `y` (u8: labels, or `N C` of 0
//! and 1 if `shape` ends with `multi`). Writes weights and bias of each C (f64) to `fits`, and prints
//! the seconds.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::path::Path;
use std::time::Instant;

use half::f16;
use ndarray::Array2;
use probe::probes::logreg::{Data, Fit, Solver, fit};
use probe::targets::Targets;

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    let [folder, solver, threads, cs] = &arguments[..] else {
        println!("usage: logreg FOLDER SOLVER THREADS C,C");
        return;
    };
    let threads = threads.parse().unwrap();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
    pool.build_global().unwrap();
    let folder = Path::new(folder);
    let shape = std::fs::read_to_string(folder.join("shape")).unwrap();
    let shape: Vec<&str> = shape.split_whitespace().collect();
    let [n, f, classes] = [0, 1, 2].map(|k| shape[k].parse::<usize>().unwrap());
    let x = std::fs::read(folder.join("x")).unwrap();
    let x = x.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]));
    let x = Array2::from_shape_vec((n, f), x.collect()).unwrap();
    let y = std::fs::read(folder.join("y")).unwrap();
    let labels: Vec<u32> = y.iter().map(|&y| u32::from(y)).collect();
    let present = y.iter().map(|&y| Some(y == 1)).collect();
    let multi = shape
        .get(3)
        .map(|_| Array2::from_shape_vec((n, classes), present).unwrap());
    let targets = match multi {
        Some(present) => Targets::Multi(present),
        None => Targets::Single(labels),
    };
    let cs: Vec<f64> = cs.split(',').map(|c| c.parse().unwrap()).collect();
    let features = x.view();
    let start = Instant::now();
    let fits = fit(
        &Data {
            features,
            targets: &targets,
            classes,
        },
        &cs,
        <Solver as clap::ValueEnum>::from_str(solver, true).unwrap(),
    )
    .unwrap();
    println!("{:.3}", start.elapsed().as_secs_f64());
    std::fs::write(
        folder.join("fits"),
        fits.iter().flat_map(bytes).collect::<Vec<u8>>(),
    )
    .unwrap();
}

fn bytes(fit: &Fit) -> Vec<u8> {
    let rows = fit.weight.outer_iter().zip(&fit.bias);
    let values = rows.flat_map(|(row, &bias)| row.to_vec().into_iter().chain([bias]));
    values.flat_map(f64::to_le_bytes).collect()
}
