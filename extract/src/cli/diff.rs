//! `extract diff`: compares two caches.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use cache::CacheReader;
use clap::Args;
use common::counted;
use common::text::printable;
use ndarray::ArrayView1;
use terminal::folded;

use super::caches::{found, plain};
use super::{Status, print_line};

/// Arguments of `extract diff`.
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// First cache: `DATASET/MODEL@SIZE` below --cache, or its folder
    pub first: PathBuf,
    /// Second cache
    pub second: PathBuf,
    /// Folder of caches
    #[arg(long, env = "SLICEBANK_CACHE", default_value = "embeddings")]
    pub cache: PathBuf,
}

/// Compares the descriptions, slices and tokens of two caches. Like `diff`, ends with 1 if they differ.
pub(super) fn run(args: &DiffArgs) -> anyhow::Result<Status> {
    let open = |of: &Path| CacheReader::open(&found(&args.cache, of));
    let (first, second) = (open(&args.first)?, open(&args.second)?);
    let mut lines = Vec::new();
    for of in first.meta().differences(second.meta()) {
        let [a, b] = [&of.found, &of.expected].map(plain);
        lines.push(format!("{}: {a} | {b}", printable(&of.field)));
    }
    let pairs = common_rows(&first, &second)?;
    let rows = [&first, &second].map(|reader| reader.meta().rows);
    if rows.iter().any(|&rows| rows != pairs.len() as u64) {
        lines.push(format!(
            "{} in both, {} only in the first, {} only in the second",
            counted(pairs.len(), "slice"),
            rows[0] - pairs.len() as u64,
            rows[1] - pairs.len() as u64
        ));
    }
    let layers = first.meta().layers.min(second.meta().layers);
    for layer in 1..=layers {
        if first.meta().shape(layer).cls != second.meta().shape(layer).cls {
            continue;
        }
        let (a, b) = (first.cls(layer)?, second.cls(layer)?);
        let cosines = pairs.iter().map(|&(i, j)| cosine(a.row(i), b.row(j)));
        let least = cosines.clone().fold(f64::INFINITY, f64::min);
        let is_equal = pairs.iter().all(|&(i, j)| a.row(i) == b.row(j));
        if !is_equal && !pairs.is_empty() {
            let mean = cosines.sum::<f64>() / pairs.len() as f64;
            lines.push(format!(
                "CLS tokens of layer {layer}: cosine {mean:.6} on average, {least:.6} at least"
            ));
        }
    }
    if lines.is_empty() {
        print_line("no difference in descriptions, slices and CLS tokens")?;
        return Ok(Status::Done);
    }
    let lines: Vec<String> = lines.iter().map(|line| folded(line, 2)).collect();
    print_line(&lines.join("\n"))?;
    Ok(Status::Skipped)
}

/// Rows of slices that both caches have, by sample, slice and view.
fn common_rows(first: &CacheReader, second: &CacheReader) -> anyhow::Result<Vec<(usize, usize)>> {
    let slices = second.slices()?;
    let rows = slices.iter().enumerate();
    let rows: HashMap<_, _> = rows
        .map(|(row, of)| ((&*of.sample, of.slice, of.view), row))
        .collect();
    let slices = first.slices()?;
    let slices = slices.iter().enumerate();
    let pairs = slices.filter_map(|(row, of)| {
        let other = rows.get(&(&*of.sample, of.slice, of.view))?;
        Some((row, *other))
    });
    Ok(pairs.collect())
}

fn cosine(a: ArrayView1<'_, f32>, b: ArrayView1<'_, f32>) -> f64 {
    let dot = |a: ArrayView1<'_, f32>, b: ArrayView1<'_, f32>| -> f64 {
        a.iter()
            .zip(b)
            .map(|(&x, &y)| f64::from(x) * f64::from(y))
            .sum()
    };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}
