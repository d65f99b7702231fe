//! What is fuzzed: each target makes a file of some bytes and opens it as `probe` would.
//!
//! Whatever the bytes are, it must return: with a result or an error, in bounded time and memory.

use std::fs;
use std::hint::black_box;
use std::path::Path;

use probe::head::SavedHead;
use probe::predictions::Predictions;
use probe::record;
use probe::segment::{SavedDecoder, VolumeTable, measures_by_volume};
use probe::study::StudyFile;

/// Opens a file in a folder.
type Target = fn(&Path, &Path);

/// The targets by name, and the names of their files.
pub(crate) const TARGETS: &[(&str, &str, Target)] = &[
    ("head", "head.safetensors", head),
    ("decoder", "decoder.safetensors", decoder),
    ("predictions", "predictions.parquet", predictions),
    ("volumes", "volumes.parquet", volumes),
    ("records", "knn.jsonl", records),
    ("study", "study.toml", study),
];

/// Lets the readers contain panics of foreign decoders: libFuzzer's hook would end the process before they do. Others
/// still end it.
#[allow(dead_code, reason = "tests have no such hook")]
pub(crate) fn contain_panics() {
    drop(std::panic::take_hook());
}

/// Runs a target in a folder that is deleted afterwards.
///
/// # Panics
///
/// If there is no such target, or no folder can be made; and if the reader does.
pub(crate) fn run(name: &str, bytes: &[u8]) {
    let found = TARGETS.iter().find(|(target, ..)| *target == name);
    let (_, file, target) = found.expect("the target is listed");
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().join(file);
    fs::write(&path, bytes).expect("a temporary folder can be written to");
    target(folder.path(), &path);
}

/// Heads in safetensors files.
fn head(_: &Path, file: &Path) {
    let _ = black_box(SavedHead::read(file).is_ok());
}

/// Segmentation decoders in safetensors files.
fn decoder(_: &Path, file: &Path) {
    let _ = black_box(SavedDecoder::read(file).is_ok());
}

/// Tables of predictions.
fn predictions(_: &Path, file: &Path) {
    if let Ok((predictions, _)) = Predictions::read(file) {
        let _ = black_box(predictions.per_patient().is_ok());
    }
}

/// Tables of measures of volumes.
fn volumes(_: &Path, file: &Path) {
    if let Ok(table) = VolumeTable::read(file) {
        let _ = black_box(measures_by_volume(&table, None).is_ok());
    }
}

/// Studies.
fn study(_: &Path, file: &Path) {
    let _ = black_box(StudyFile::read(file).is_ok());
}

/// Records of results, as lines of JSON.
fn records(folder: &Path, _: &Path) {
    if let Ok(records) = record::read(folder, "knn") {
        black_box(records.complaints().len());
        for record in records.latest() {
            black_box(record.to_json());
            black_box(probe::table::summary(&[record]).text(true));
        }
    }
}
