//! Time of ML-kNN for several numbers of neighbours, fitted on all keys and applied to all queries:
//! `cargo bench -p probe --bench ml_knn -- KEYS QUERIES WIDTH CLASSES THREADS K K ...`.
//! Prints the seconds and the sum of the probabilities for each number of neighbours.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::time::Instant;

use ndarray::{Array2, ArrayView2};
use probe::probes::ml_knn::MlKnn;
use probe::probes::search::Index;

fn main() {
    let arguments: Vec<usize> = std::env::args()
        .filter_map(|word| word.parse().ok())
        .collect();
    let [keys, queries, width, classes, threads, ref ks @ ..] = arguments[..] else {
        println!("usage: ml_knn KEYS QUERIES WIDTH CLASSES THREADS K K ...");
        return;
    };
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global()
        .unwrap();
    let (keys, queries) = (unit_rows(keys, width, 1), unit_rows(queries, width, 2));
    let targets = labels(&keys, classes);
    let start = Instant::now();
    let index = Index::new(keys.view());
    let search = |queries: ArrayView2<'_, f32>, k| index.neighbours(queries, k);
    let model = MlKnn::fit(search, keys.view(), targets.view(), ks, false);
    let scores = model.scores(queries.view());
    let seconds = start.elapsed().as_secs_f64();
    let sums: Vec<String> = scores
        .iter()
        .map(|scores| format!("{:.6}", scores.sum()))
        .collect();
    println!("{seconds:.3} {}", sums.join(" "));
}

/// Whether a row has class `c`: where its value in dimension `c` is above 0.02, nearly 3 in 10 of the
/// rows of width 1024. The same as in scripts/bench_ml_knn.py.
fn labels(rows: &Array2<f32>, classes: usize) -> Array2<bool> {
    Array2::from_shape_fn((rows.nrows(), classes), |(i, c)| rows[[i, c]] > 0.02)
}

/// Rows of length 1 from the splitmix64 generator, the same as in scripts/bench_knn.py.
fn unit_rows(rows: usize, width: usize, seed: u64) -> Array2<f32> {
    let mut matrix = Array2::from_shape_fn((rows, width), |(i, j)| {
        let counter = (seed << 40) + (i * width + j) as u64;
        (splitmix64(counter) >> 40) as f32 / (1 << 24) as f32 - 0.5
    });
    for mut row in matrix.rows_mut() {
        let norm = row.dot(&row).sqrt();
        row /= norm;
    }
    matrix
}

fn splitmix64(counter: u64) -> u64 {
    let mut z = counter.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
