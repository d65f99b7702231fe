//! Time of reading all patch tokens of a cache, row groups in a shuffled order:
//! `cargo bench --workspace --bench patches -- CACHE`. Prints the seconds of reading, those of reading and
//! converting to f32, the bytes and a checksum; `scripts/dev/bench_patches.py` reads the same bytes from a
//! flat file.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::path::Path;
use std::time::Instant;

use cache::{CacheReader, PatchRow};

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
    let shapes = layers.iter().map(|&layer| reader.meta().shape(layer));
    let values: Vec<usize> = shapes
        .map(|shape| shape.patches() * shape.patch as usize)
        .collect();
    let pass = |each: &mut dyn FnMut(&PatchRow)| {
        let start = Instant::now();
        for at in 0..groups.len() {
            let group = &groups[at * STRIDE % groups.len()];
            let rows = patches.read(group, |_| true).unwrap();
            rows.iter().for_each(&mut *each);
        }
        start.elapsed().as_secs_f64()
    };
    let (mut bytes, mut checksum) = (0, 0_u64);
    let reading = pass(&mut |_| bytes += 2 * values.iter().sum::<usize>());
    let mut tokens: Vec<Vec<f32>> = values.iter().map(|&count| vec![0.0; count]).collect();
    let converting = pass(&mut |row| {
        for (layer, tokens) in tokens.iter_mut().enumerate() {
            row.copy_to(layer, tokens).unwrap();
            checksum += u64::from(tokens[tokens.len() / 2].to_bits());
        }
    });
    println!("{reading:.3} {converting:.3} {bytes} {checksum}");
}
