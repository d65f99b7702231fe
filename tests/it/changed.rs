//! What `probe` reads, changed at random: values or errors, and no panic.

#[path = "../../probe/fuzz/targets.rs"]
mod targets;

use std::fs;
use std::path::Path;

use crate::lab::{Lab, project};

/// The first file of a folder with this beginning and end.
fn first(folder: &Path, begin: &str, end: &str) -> Vec<u8> {
    let files = fs::read_dir(folder).unwrap();
    let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    let file = files.into_iter().find(|path| {
        let name = name(path);
        name.starts_with(begin) && name.ends_with(end)
    });
    fs::read(file.unwrap()).unwrap()
}

/// The files that the commands write, and a study.
fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let lab = Lab::new();
    crate::segment::volumes(&lab, &[]).expect(0);
    let quick = ["--epochs", "1", "--lr", "0.5"];
    lab.probe_with("segment", &quick).expect(0);
    let lab_of_labels = Lab::new();
    let table = lab_of_labels.manifest(12);
    lab_of_labels.extract("manifest", &table, &[]).expect(0);
    lab_of_labels.probe_with("linear", &quick).expect(0);
    let (own, other) = (lab.path("runs"), lab_of_labels.path("runs"));
    let heads = other.join("heads");
    vec![
        ("head", first(&heads, "linear", ".safetensors")),
        (
            "decoder",
            first(&own.join("heads"), "segment", ".safetensors"),
        ),
        (
            "predictions",
            first(&other.join("predictions"), "linear", ".parquet"),
        ),
        (
            "volumes",
            first(&own.join("predictions"), "segment", ".parquet"),
        ),
        ("records", fs::read(other.join("linear.jsonl")).unwrap()),
        (
            "study",
            include_bytes!("../../probe/studies/small.toml").to_vec(),
        ),
    ]
}

#[test]
fn changed_files_of_probe_give_values_or_errors() {
    let seeds = seeds();
    for (target, ..) in targets::TARGETS {
        let known = seeds.iter().any(|(name, _)| name == target);
        assert!(known, "{target} has no seed");
    }
    let corpus = project().join("probe/fuzz/corpus");
    tests::run_changed(&seeds, &corpus, |target, bytes| {
        targets::run(target, bytes);
    })
    .unwrap();
}
