//! A hash of a dataset's samples, so that a cache is never resumed with other images.

use std::fs;
use std::path::Path;

use cache::Labels;
use common::text::slashed;
use imaging::read;
use sha2::{Digest, Sha256};

use crate::dataset::{Dataset, Sample};

/// SHA-256 of the ignored mask values and of all samples: ids, paths, slices, patients, splits, labels and
/// sizes of files. The contents of files are not read.
pub(crate) fn of_samples(dataset: &Dataset) -> String {
    let mut hash = Sha256::new();
    // Without ignored values, the hash is that of earlier versions.
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

/// The file's size; a missing file is skipped later, when it is read.
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
