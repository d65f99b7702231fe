//! What `probe` reads, changed at random: values or errors, and no panic.

#[path = "../../probe/fuzz/targets.rs"]
mod targets;

use std::fs;
use std::path::Path;

use crate::lab::Lab;

/// Changed files of each target, unless `SLICEBANK_MUTATIONS` gives another number.
const CHANGED: usize = 60;

/// A number below `end`.
fn below(state: &mut u64, end: usize) -> usize {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) as usize % end.max(1)
}

/// The bytes after some changes: cut, cut out, doubled, filled, a bit turned.
fn changed(whole: &[u8], state: &mut u64) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    for _ in 0..=below(state, 4) {
        let at = below(state, bytes.len());
        let end = (at + 1 + below(state, 64)).min(bytes.len());
        match below(state, 5) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => bytes.extend_from_within(at..end),
            3 => bytes[at..end].fill([0, 0x7f, 0xff][below(state, 3)]),
            _ if at < bytes.len() => bytes[at] ^= 1 << below(state, 8),
            _ => {}
        }
    }
    bytes
}

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
    let asked = std::env::var("SLICEBANK_MUTATIONS").ok();
    let count = asked.and_then(|text| text.parse().ok()).unwrap_or(CHANGED);
    let seeds = seeds();
    for (target, ..) in targets::TARGETS {
        let known = seeds.iter().any(|(name, _)| name == target);
        assert!(known, "{target} has no seed");
    }
    if let Some(folder) = std::env::var_os("SLICEBANK_WRITE_SEEDS") {
        for (target, whole) in &seeds {
            let folder = Path::new(&folder).join(target);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("whole"), whole).unwrap();
        }
    }
    let mut state = 7;
    for (target, whole) in seeds {
        targets::run(target, &whole);
        for _ in 0..count {
            targets::run(target, &changed(&whole, &mut state));
        }
    }
}
