//! Reading the files of a dataset.

use std::collections::HashSet;
use std::fs;

use cache::Labels;
use common::text::slashed;
use imaging::read::Reader;
use rayon::iter::{ParallelBridge, ParallelIterator};
use serde::Serialize;

use crate::Error;
use crate::dataset::{Dataset, Recipe, Sample, SampleOddities};
use crate::prepare::{self, PreparedSample};

/// Height and width of preprocessed slices, in pixels.
const CHECKED_SIZE: u32 = 224;

/// Files of images and masks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Files {
    /// Number of files.
    pub count: usize,
    /// Missing files.
    pub missing: Vec<String>,
    /// Files of 0 bytes.
    pub empty: Vec<String>,
}

/// Result of reading a sample.
#[derive(Clone, Debug)]
pub struct Inspected {
    /// Index of the sample in the dataset.
    pub sample: usize,
    /// Pixels, or the reason why they cannot be read.
    pub outcome: Result<Pixels, String>,
}

/// Summary of a sample's pixels.
#[derive(Clone, Debug)]
pub struct Pixels {
    /// The labels of all its slices together.
    pub labels: Labels,
    /// sha256 over its pixels, in hex, if all samples are read.
    pub sha256: Option<String>,
    /// Oddities of image and masks.
    pub oddities: SampleOddities,
}

/// Counts files, and lists those that are missing or empty.
pub fn files(dataset: &Dataset) -> Files {
    let mut files = Files::default();
    let mut seen = HashSet::new();
    for file in dataset.samples.iter().flat_map(Sample::files) {
        if !seen.insert(file) {
            continue;
        }
        match fs::metadata(dataset.root.join(file)) {
            Err(_) => files.missing.push(slashed(file)),
            Ok(found) if found.is_file() && found.len() == 0 => files.empty.push(slashed(file)),
            Ok(_) => {}
        }
    }
    files.count = seen.len();
    files
}

/// Reads and preprocesses the samples at the indices `which` in parallel; calls `done` after each.
///
/// Samples start in the order of `which`, because archives are decompressed sequentially.
pub fn pixels(
    dataset: &Dataset,
    recipe: &Recipe,
    which: &[usize],
    done: &(dyn Fn() + Sync),
) -> Vec<Inspected> {
    let with_hash = which.len() == dataset.samples.len();
    let reader = Reader::new(&dataset.root);
    // There is no model; its normalisation does not matter.
    let recipe = prepare::preprocess(recipe, CHECKED_SIZE, [0.0; 3], [1.0; 3]);
    let inspect = |(index, &sample): (usize, &usize)| {
        let opened = prepare::open(&reader, index, dataset, &dataset.samples[sample], &recipe);
        let outcome = opened.and_then(|opened| looked_at(&opened, with_hash));
        done();
        Inspected {
            sample,
            outcome: outcome.map_err(|error| error.relative_to(&dataset.root).to_string()),
        }
    };
    let mut all: Vec<Inspected> = which.iter().enumerate().par_bridge().map(inspect).collect();
    all.sort_by_key(|inspected| inspected.sample);
    all
}

fn looked_at(opened: &PreparedSample, with_hash: bool) -> Result<Pixels, Error> {
    let slices = opened.slices();
    opened.slice(slices.start + slices.len() / 2, 0)?;
    Ok(Pixels {
        labels: opened.sample_labels()?,
        sha256: with_hash.then(|| opened.pixels_sha256()),
        oddities: opened.oddities().clone(),
    })
}
