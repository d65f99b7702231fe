//! Time of one exact search: `cargo bench --workspace --bench knn -- KEYS QUERIES WIDTH K THREADS`.
//! Prints the seconds and a checksum of the neighbours found.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

mod data;

use std::time::Instant;

use data::unit_rows;
use probe::probes::search::neighbours;

fn main() {
    let arguments = data::numbers();
    let [keys, queries, width, k, threads] = arguments[..] else {
        println!("usage: knn KEYS QUERIES WIDTH K THREADS");
        return;
    };
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global()
        .unwrap();
    let (keys, queries) = (unit_rows(keys, width, 1), unit_rows(queries, width, 2));
    let start = Instant::now();
    let found = neighbours(keys.view(), queries.view(), k);
    let seconds = start.elapsed().as_secs_f64();
    let checksum: u64 = found.index.iter().map(|&key| u64::from(key)).sum();
    println!("{seconds:.3} {checksum}");
}
