//! Looking at the files of a dataset.

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

/// Height and width to which slices are brought in a check, in pixels.
const CHECKED_SIZE: u32 = 224;

/// The files that samples are read from, those of masks included.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Files {
    /// How many.
    pub count: usize,
    /// Those that are not there.
    pub missing: Vec<String>,
    /// Those of 0 bytes.
    pub empty: Vec<String>,
}

/// What came of reading a sample.
#[derive(Clone, Debug)]
pub struct Inspected {
    /// Its place in the dataset.
    pub sample: usize,
    /// Its pixels, or why they cannot be used.
    pub outcome: Result<Pixels, String>,
}

/// What is kept of a sample that was read.
#[derive(Clone, Debug)]
pub struct Pixels {
    /// The labels of all its slices together.
    pub labels: Labels,
    /// sha256 over its pixels, in hex, if all samples are read.
    pub sha256: Option<String>,
    /// What looks odd in its masks.
    pub oddities: SampleOddities,
}

/// Looks for files that are missing or empty.
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

/// Reads and prepares some samples, in parallel; `done` is called after each.
///
/// Samples are begun in the order of `which`, since an archive is unpacked from front to back.
pub fn pixels(
    dataset: &Dataset,
    recipe: &Recipe,
    which: &[usize],
    done: &(dyn Fn() + Sync),
) -> Vec<Inspected> {
    let with_hash = which.len() == dataset.samples.len();
    let reader = Reader::new(&dataset.root);
    // For a model that there is not.
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
