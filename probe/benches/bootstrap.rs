//! Time of a bootstrap of AUROCs: `cargo bench --workspace --bench bootstrap -- CASES CLASSES DRAWS THREADS`.
//! Four cases to a patient. Prints the seconds, sorting included, and the mean
//! AUROC's interval.
//!
//! `25000 14 1000 2` took 0.8 s on two cores that were busy with other work, and 0.84 s of processor
//! time.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

mod data;

use std::time::Instant;

use data::uniform;
use ndarray::Array2;
use probe::metrics::bootstrap::Bootstrap;
use probe::metrics::confidence::Level;
use probe::metrics::ranked::auroc;
use probe::metrics::scored::multi_label;

fn main() {
    let arguments = data::numbers();
    let [cases, classes, draws, threads] = arguments[..] else {
        println!("usage: bootstrap CASES CLASSES DRAWS THREADS");
        return;
    };
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global()
        .unwrap();
    let targets = Array2::from_shape_fn((cases, classes), |(i, j)| {
        Some(uniform(1, i * classes + j) < -0.4)
    });
    let scores = Array2::from_shape_fn((cases, classes), |(i, j)| {
        let there = targets[[i, j]] == Some(true);
        f64::from(uniform(2, i * classes + j)) + if there { 0.5 } else { 0.0 }
    });
    let patients: Vec<usize> = (0..cases).map(|case| case / 4).collect();
    let start = Instant::now();
    let ranked = multi_label(scores.view(), targets.view()).unwrap();
    let bootstrap = Bootstrap::new(&patients, draws, 0).unwrap();
    let found = bootstrap.intervals(Level::new(0.95).unwrap(), &ranked, auroc);
    let seconds = start.elapsed().as_secs_f64();
    println!("{seconds:.3} {:?}", found.mean.interval);
}
