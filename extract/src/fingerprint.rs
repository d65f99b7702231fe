//! A hash over what a run covers, so that a cache is never continued over other images.

use std::fs;
use std::path::Path;

use cache::Labels;
use common::text::slashed;
use imaging::read;
use sha2::{Digest, Sha256};

use crate::dataset::{Dataset, Sample};

/// sha256 over the values that masks ignore, and over all samples: ids, paths, slices, patients, splits and labels, and the sizes of the
/// files. The files' contents are not read.
pub(crate) fn of_samples(dataset: &Dataset) -> String {
    let mut hash = Sha256::new();
    // Most datasets ignore no values, and keep the hash that they had.
    for value in &dataset.ignored_values {
        hash.update(value.to_le_bytes());
    }
    for sample in &dataset.samples {
        for field in fields(dataset, sample) {
            hash.update((field.len() as u64).to_le_bytes());
            hash.update(field.as_bytes());
        }
    }
    common::hex(&hash.finalize())
}

fn fields(dataset: &Dataset, sample: &Sample) -> Vec<String> {
    let slices = sample.slices.as_ref();
    let mut fields = vec![
        sample.id.clone(),
        slices.map_or(String::new(), |s| format!("{}-{}", s.start(), s.end())),
        sample.patient.clone().unwrap_or_default(),
        sample.split.map_or("", cache::Split::name).to_string(),
        label_text(&sample.labels),
        sample.image.part(),
    ];
    for part in &sample.mask {
        fields.push(part.source.part());
        fields.push(part.value.map_or(String::new(), |value| value.to_string()));
    }
    for file in sample.files() {
        fields.push(slashed(file));
        fields.push(size_text(&dataset.root.join(file)));
    }
    fields
}

/// The file's size; a file that is not there is skipped when it is to be read.
fn size_text(file: &Path) -> String {
    let metadata = read::file_behind(file)
        .ok()
        .and_then(|file| fs::metadata(file).ok());
    metadata.map_or("missing".to_owned(), |metadata| metadata.len().to_string())
}

fn label_text(labels: &Labels) -> String {
    let state = |state: &Option<i8>| state.map_or("?".to_string(), |state| state.to_string());
    match labels {
        Labels::Unlabelled => String::new(),
        Labels::Single(class) => class.map_or("?".to_string(), |class| class.to_string()),
        Labels::Multi(states) => states.iter().map(state).collect::<Vec<_>>().join(","),
    }
}
