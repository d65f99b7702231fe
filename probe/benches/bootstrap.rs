//! Time of a bootstrap of AUROCs: `cargo bench --bench bootstrap -- CASES CLASSES DRAWS THREADS`.
//! Four cases to a patient, no equal scores. Prints the seconds, sorting included, and the mean
//! AUROC's interval.
//!
//! `25000 14 1000 2` took 0.8 s on two cores that were busy with other work, and 0.84 s of processor
//! time.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::time::Instant;

use ndarray::Array2;
use probe::metrics::bootstrap::Bootstrap;
use probe::metrics::level::Level;
use probe::metrics::ranked::auroc;
use probe::metrics::scored::multi_label;

fn main() {
    let arguments: Vec<usize> = std::env::args()
        .filter_map(|word| word.parse().ok())
        .collect();
    let [cases, classes, draws, threads] = arguments[..] else {
        println!("usage: bootstrap CASES CLASSES DRAWS THREADS");
        return;
    };
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global()
        .unwrap();
    let targets = Array2::from_shape_fn((cases, classes), |at| Some(uniform(at, 1) < 0.1));
    let scores = Array2::from_shape_fn((cases, classes), |at| {
        uniform(at, 2) + f64::from(u8::from(targets[at] == Some(true))) / 2.0
    });
    let patients: Vec<usize> = (0..cases).map(|case| case / 4).collect();
    let start = Instant::now();
    let ranked = multi_label(scores.view(), targets.view()).unwrap();
    let bootstrap = Bootstrap::new(&patients, draws, 0).unwrap();
    let found = bootstrap.intervals(Level::new(0.95).unwrap(), &ranked, auroc);
    let seconds = start.elapsed().as_secs_f64();
    println!("{seconds:.3} {:?}", found.mean.interval);
}

/// A number from 0 to 1 from the splitmix64 generator.
fn uniform((i, j): (usize, usize), seed: u64) -> f64 {
    let counter = (seed << 60) + ((i as u64) << 20) + j as u64;
    let mut z = counter.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) as f64 / u64::MAX as f64
}
