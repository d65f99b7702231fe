//! A cache of labels and masks in memory, and commands over it.

use std::path::{Path, PathBuf};

use cache::{CacheMeta, CacheWriter, FORMAT_VERSION, Labels, SliceMeta, Split, TokenBatch};
use clap::Parser;
use ndarray::{Array2, Array3};
use probe::cli::{Cli, Outcome};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) const ROWS: usize = 60;
pub(crate) const QUICK: &str = "--lr 0.5 --epochs 20 --batch-size 8";

/// A description of a cache with masks and labels, of which some are uncertain and some blank.
pub(crate) fn meta(dataset: &str) -> CacheMeta {
    let text = json!({
        "format_version": FORMAT_VERSION,
        "tool_version": "test",
        "dataset": dataset,
        "task": "multi-label",
        "classes": ["left", "right"],
        "has_masks": true,
        "mask_classes": [{"value": 1, "name": "block"}],
        "samples": ROWS,
        "samples_sha256": "0",
        "provider": "cpu",
        "precision": "fp32",
        "model": {"name": "tiny", "sha256": "weights"},
        "image_size": 8,
        "tokens": "all",
        "layers": 1,
        "width": 4,
        "grid": [2, 2],
        "dtype": "f16",
        "preprocess": {"image_size": 8, "slicing": "axial", "intensity": "minmax", "resize": "bicubic-squash",
            "rescale": "bounds", "mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2], "non_finite": "error"},
        "batch_size": 4,
        "shard_rows": 32,
        "rows": 0,
        "shards": [],
        "skipped": [],
        "complete": false,
    });
    serde_json::from_value(text).unwrap()
}

/// Noise of -1 to 1 that depends on the row and the place.
pub(crate) fn noise(row: usize, place: usize) -> f32 {
    let state = (row * 31 + place + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (state >> 40) as f32 / (1 << 23) as f32 - 1.0
}

pub(crate) fn slice(row: usize) -> SliceMeta {
    let is_left = row.is_multiple_of(2);
    // Blank beside what is known, uncertain, and nothing known at all.
    let labels = match row % 10 {
        3 => vec![Some(0), None],
        4 => vec![Some(-1), Some(0)],
        5 | 8 => vec![None, None],
        7 => vec![Some(-1), Some(-1)],
        _ => vec![Some(is_left.into()), Some((!is_left).into())],
    };
    SliceMeta {
        sample: format!("s{row:02}"),
        image: format!("s{row:02}.png"),
        // Some patients have a slice without labels besides.
        patient: Some(format!("p{:02}", row / 4)),
        slice: 0,
        view: 0,
        split: Some(Split::ALL[row / 4 % 3]),
        labels: Labels::Multi(labels),
        height: 8,
        width: 8,
        spacing_mm: None,
        placement: None,
    }
}

pub(crate) fn write(root: &Path, name: &str, meta: &CacheMeta) -> PathBuf {
    write_with(root, name, meta, |_, _| ())
}

/// Writes a cache whose rows are changed before.
pub(crate) fn write_with(
    root: &Path,
    name: &str,
    meta: &CacheMeta,
    change: impl Fn(usize, &mut SliceMeta),
) -> PathBuf {
    let changed = |row: usize| {
        let mut slice = slice(row);
        change(row, &mut slice);
        slice
    };
    let tokens = |place: usize| {
        move |row: usize, d: usize| {
            let signal = if row % 2 == d % 2 { 0.7 } else { 0.0 };
            signal + noise(row, 16 * place + d)
        }
    };
    let plain = Array2::from_shape_fn((ROWS, 4), |(row, d)| tokens(0)(row, d));
    let batch = TokenBatch {
        slices: (0..ROWS).map(changed).collect(),
        cls: vec![plain.clone()],
        mean: vec![plain],
        patch: vec![
            Array3::from_shape_fn((ROWS, 4, 4), |(row, p, d)| tokens(1 + p)(row + p, d)).into(),
        ],
        masks: (0..ROWS)
            .map(|row| {
                let block = |(y, x): (usize, usize)| ((row + y / 4 * 2 + x / 4) % 2) as u16;
                Some(Array2::from_shape_fn((8, 8), block))
            })
            .collect(),
        pictures: Vec::new(),
    };
    let dir = root.join("cache").join(name).join("tiny@8");
    let mut writer = CacheWriter::open(&dir, meta.clone()).unwrap();
    writer.append(&batch).unwrap();
    writer.finish().unwrap();
    dir
}

pub(crate) struct Ran {
    pub(crate) outcome: Outcome,
    pub(crate) records: Vec<Value>,
    pub(crate) messages: String,
}

impl Ran {
    /// The only record.
    pub(crate) fn one(mut self) -> Value {
        assert_eq!(self.records.len(), 1, "{}", self.messages);
        self.records.remove(0)
    }
}

pub(crate) fn probe(root: &Path, words: &str) -> Ran {
    let (cache, runs) = (root.join("cache"), root.join("runs"));
    let mut all: Vec<String> = format!("probe {words} --format json --force")
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    for (option, path) in [("--cache", cache), ("--runs", runs)] {
        all.extend([option.to_owned(), path.to_str().unwrap().to_owned()]);
    }
    let (mut out, mut messages) = (Vec::new(), Vec::new());
    let cli = Cli::try_parse_from(all).unwrap();
    let outcome = probe::run(cli, &mut out, &mut messages).unwrap();
    let lines = String::from_utf8(out).unwrap();
    let records = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    Ran {
        outcome,
        records: records.collect(),
        messages: String::from_utf8(messages).unwrap(),
    }
}

/// Trains on a dataset; returns the record and the words that apply what was trained.
pub(crate) fn trained(root: &Path, dataset: &str, words: &str) -> (Value, String) {
    let record = probe(root, &format!("{words} --dataset {dataset}")).one();
    let file = root.join("runs").join(record["head"].as_str().unwrap());
    (record, format!("predict --head {}", file.display()))
}

pub(crate) fn lab() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "own", &meta("own"));
    root
}
