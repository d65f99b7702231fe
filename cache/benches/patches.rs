//! Time of reading all patch tokens of a cache, row groups in a shuffled order:
//! `cargo bench -p cache --bench patches -- CACHE`. Prints the seconds, the bytes and a checksum;
//! `scripts/bench_patches.py` reads the same bytes from a flat file.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::path::Path;
use std::time::Instant;

use cache::CacheReader;

/// A step between groups that visits all of them, prime to their number for nearly every cache.
const STRIDE: usize = 7919;

fn main() {
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    let [cache] = &words[..] else {
        println!("usage: patches CACHE");
        return;
    };
    let reader = CacheReader::open(Path::new(cache)).unwrap();
    let layers: Vec<u32> = (1..=reader.meta().layers).rev().collect();
    let patches = reader.patches(&layers).unwrap();
    let groups = patches.groups();
    let start = Instant::now();
    let (mut values, mut checksum) = (0, 0_u64);
    for at in 0..groups.len() {
        let group = &groups[at * STRIDE % groups.len()];
        for (row, tokens) in patches.read(group, |_| true).unwrap() {
            values += tokens.len();
            checksum += row as u64 + u64::from(tokens[tokens.len() / 2].to_bits());
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    println!("{seconds:.3} {} {checksum}", 2 * values);
}
