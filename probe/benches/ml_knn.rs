//! Time of ML-kNN for several numbers of neighbours, fitted on all keys and applied to all queries:
//! `cargo bench --workspace --bench ml_knn -- KEYS QUERIES WIDTH CLASSES THREADS K K ...`.
//! Prints the seconds and the sum of the probabilities for each number of neighbours.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

mod data;

use std::time::Instant;

use data::unit_rows;
use ndarray::{Array2, ArrayView2};
use probe::probes::ml_knn::MlKnn;
use probe::probes::search::Index;

fn main() {
    let arguments = data::numbers();
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

/// Returns whether a row has class `c`: if its value in dimension `c` is above 0.02, nearly 3 in 10 of the
/// rows of width 1024. The same as in scripts/dev/bench_ml_knn.py.
fn labels(rows: &Array2<f32>, classes: usize) -> Array2<bool> {
    Array2::from_shape_fn((rows.nrows(), classes), |(i, c)| rows[[i, c]] > 0.02)
}
