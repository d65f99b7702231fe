//! Dependencies between crates.

use std::process::Command;

use crate::lab::project;

/// The names of all packages that `slicebank-NAME` is built from, ours without `slicebank-`.
fn dependencies(name: &str) -> Vec<String> {
    let package = format!("slicebank-{name}");
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_string());
    let output = Command::new(cargo)
        .args(["tree", "--offline", "--prefix", "none", "--edges", "normal"])
        .args(["--format", "{p}", "--package", &package])
        .current_dir(project())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let names = text.lines().filter_map(|line| line.split(' ').next());
    names
        .map(|name| name.strip_prefix("slicebank-").unwrap_or(name).to_string())
        .collect()
}

#[track_caller]
fn assert_without(package: &str, foreign: &[&str]) {
    let found = dependencies(package);
    assert!(found.iter().any(|name| name == package));
    for name in foreign {
        assert!(!found.iter().any(|f| f == name), "{package} uses {name}");
    }
}

#[test]
fn cache_knows_neither_program_nor_images_nor_onnx_runtime() {
    assert_without(
        "cache",
        &[
            "extract", "probe", "ort", "image", "nifti", "clap", "polars",
        ],
    );
}

#[test]
fn common_knows_no_other_crate() {
    assert_without("common", &["cache", "extract", "nn", "probe", "parquet"]);
}

#[test]
fn terminal_knows_no_other_crate_but_common() {
    assert_without("terminal", &["cache", "extract", "nn", "probe", "parquet"]);
}

#[test]
fn imaging_knows_no_datasets_no_models_and_no_cache() {
    assert_without(
        "imaging",
        &[
            "extract", "cache", "parquet", "ort", "clap", "csv", "toml", "ureq",
        ],
    );
}

#[test]
fn stats_knows_numbers_alone() {
    assert_without(
        "stats",
        &[
            "arrow", "cache", "clap", "common", "parquet", "probe", "rayon",
        ],
    );
}

#[test]
fn probe_does_not_know_extract_or_onnx_runtime() {
    assert_without("probe", &["extract", "imaging", "ort"]);
}

#[test]
fn extract_does_not_know_probe_or_its_libraries() {
    assert_without("extract", &["probe", "nn", "polars", "linfa", "hnsw_rs"]);
}

#[test]
fn model_cards_and_graphs_know_no_runtime_images_caches_downloads_or_options() {
    assert_without(
        "onnx-models",
        &[
            "extract",
            "probe",
            "nn",
            "cache",
            "ort",
            "image",
            "nifti",
            "dicom-core",
            "parquet",
            "arrow",
            "ureq",
            "clap",
        ],
    );
}

#[test]
fn decoders_know_no_cache_and_no_files() {
    assert_without("nn", &["cache", "probe", "parquet", "safetensors", "image"]);
}
