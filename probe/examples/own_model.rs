//! A model of one's own on cached features: the nearest centroid of CLS tokens, by cosine.
//!
//! Fitted on `train`, measured on `test`: `cargo run --release --example own_model -- CACHE`. The AUROC is that of
//! `probe few-shot --head centroid --shots all`.

mod tables;

use std::path::Path;

use cache::CacheReader;

/// A slice: split, class, and its CLS token, scaled to length 1.
struct Slice {
    split: String,
    class: usize,
    token: Vec<f32>,
}

#[allow(clippy::print_stdout, reason = "a program")]
fn main() -> anyhow::Result<()> {
    let Some(cache) = std::env::args().nth(1) else {
        anyhow::bail!("usage: own_model CACHE");
    };
    let cache = Path::new(&cache);
    let classes = CacheReader::open(cache)?.meta().classes.clone();
    let slices = slices(cache)?;
    let of = |split: &'static str| slices.iter().filter(move |slice| slice.split == split);
    let centroids: Vec<Vec<f32>> = (0..classes.len())
        .map(|class| centroid(of("train").filter(|slice| slice.class == class)))
        .collect();
    let scored: Vec<(usize, Vec<f32>)> = of("test")
        .map(|slice| {
            let scores = centroids.iter().map(|centroid| dot(centroid, &slice.token));
            (slice.class, scores.collect())
        })
        .collect();
    let best = |scores: &[f32]| (0..scores.len()).max_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    let right = scored
        .iter()
        .filter(|(class, scores)| best(scores) == Some(*class));
    println!(
        "{} of {} slices of test are right",
        right.count(),
        scored.len()
    );
    if let [_, positive] = &classes[..] {
        let margins = scored
            .iter()
            .map(|(class, scores)| (*class == 1, scores[1] - scores[0]));
        println!(
            "AUROC of {positive}: {:.4}",
            auroc(&margins.collect::<Vec<_>>())
        );
    }
    Ok(())
}

/// The labelled slices, from the tables `slices` and `cls`, which have the same rows.
fn slices(cache: &Path) -> anyhow::Result<Vec<Slice>> {
    let (slices, cls) = (tables::read(cache, "slices")?, tables::read(cache, "cls")?);
    let tokens = tables::vectors(cls.column("cls_1")?)?;
    let splits = slices.column("split")?.str()?.iter();
    let labels = slices.column("label")?.i32()?.iter();
    let rows = splits.zip(labels).zip(tokens);
    let slices = rows.filter_map(|((split, label), token)| {
        Some(Slice {
            split: split?.to_owned(),
            class: label? as usize,
            token: scaled(token),
        })
    });
    Ok(slices.collect())
}

/// The mean of the tokens, scaled to length 1.
fn centroid<'a>(slices: impl Iterator<Item = &'a Slice>) -> Vec<f32> {
    let sum = slices.fold(Vec::new(), |mut sum: Vec<f32>, slice| {
        sum.resize(slice.token.len(), 0.0);
        sum.iter_mut()
            .zip(&slice.token)
            .for_each(|(sum, x)| *sum += x);
        sum
    });
    scaled(sum)
}

fn scaled(mut vector: Vec<f32>) -> Vec<f32> {
    let length = dot(&vector, &vector).sqrt();
    vector.iter_mut().for_each(|x| *x /= length);
    vector
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The share of pairs of a positive and a negative case in which the positive one has the higher score; ties
/// count half.
fn auroc(cases: &[(bool, f32)]) -> f64 {
    let of = |wanted: bool| cases.iter().filter(move |(is, _)| *is == wanted);
    let pairs = of(true).flat_map(|(_, a)| of(false).map(move |(_, b)| a.total_cmp(b)));
    let values = pairs.map(|order| match order {
        std::cmp::Ordering::Greater => 1.0,
        std::cmp::Ordering::Equal => 0.5,
        std::cmp::Ordering::Less => 0.0,
    });
    let values: Vec<f64> = values.collect();
    values.iter().sum::<f64>() / values.len() as f64
}
