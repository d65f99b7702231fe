//! Time of one exact search: `cargo bench -p probe --bench knn -- KEYS QUERIES WIDTH K THREADS`.
//! Prints the seconds and a checksum of the neighbours found.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::time::Instant;

use ndarray::Array2;
use probe::probes::search::neighbours;

fn main() {
    let arguments: Vec<usize> = std::env::args()
        .filter_map(|word| word.parse().ok())
        .collect();
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
