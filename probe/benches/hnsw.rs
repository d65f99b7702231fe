//! Time of an approximate search: `cargo bench --workspace --bench hnsw -- KEYS QUERIES WIDTH K EF THREADS`.
//! Prints the seconds of building the index, those of searching it, and the recall.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

mod data;

use std::time::Instant;

use data::clustered_rows;
use probe::probes::hnsw::{HnswIndex, HnswOptions};

fn main() {
    let arguments = data::numbers();
    let [keys, queries, width, k, ef, threads] = arguments[..] else {
        println!("usage: hnsw KEYS QUERIES WIDTH K EF THREADS");
        return;
    };
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global()
        .unwrap();
    let (keys, queries) = (
        clustered_rows(keys, width, 1),
        clustered_rows(queries, width, 2),
    );
    let options = HnswOptions {
        ef,
        ..HnswOptions::default()
    };
    let start = Instant::now();
    let index = HnswIndex::new(keys.view(), options);
    let building = start.elapsed().as_secs_f64();
    let start = Instant::now();
    let found = index.neighbours(queries.view(), k);
    let searching = start.elapsed().as_secs_f64();
    std::hint::black_box(found);
    let recall = index.recall(queries.view(), k);
    println!("{building:.3} {searching:.4} {recall:.4}");
}
