//! `probe predict`: heads and decoders on caches like and unlike those that they were trained on.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use cache::{
    CacheMeta, CacheWriter, FORMAT_VERSION, Labels, MaskClass, SliceMeta, Split, TokenBatch,
    write_split,
};
use clap::Parser;
use ndarray::{Array2, Array3};
use probe::cli::{Cli, Outcome};
use serde_json::{Value, json};
use tempfile::TempDir;

const ROWS: usize = 60;
const QUICK: &str = "--lr 0.5 --epochs 20 --batch-size 8";

/// A description of a cache with masks and labels, of which some are uncertain and some blank.
fn meta(dataset: &str) -> CacheMeta {
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
        "preprocess": {"intensity": "minmax", "slicing": "axial"},
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
fn noise(row: usize, place: usize) -> f32 {
    let state = (row * 31 + place + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (state >> 40) as f32 / (1 << 23) as f32 - 1.0
}

fn slice(row: usize) -> SliceMeta {
    let is_left = row.is_multiple_of(2);
    // Blank beside what is known, uncertain, and nothing known at all.
    let labels = match row % 10 {
        3 => vec![Some(0), None],
        4 => vec![Some(-1), Some(0)],
        5 | 8 => vec![None, None],
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

fn write(root: &Path, name: &str, meta: &CacheMeta) -> PathBuf {
    let tokens = |place: usize| {
        move |row: usize, d: usize| {
            let signal = if row % 2 == d % 2 { 0.7 } else { 0.0 };
            signal + noise(row, 16 * place + d)
        }
    };
    let plain = Array2::from_shape_fn((ROWS, 4), |(row, d)| tokens(0)(row, d));
    let batch = TokenBatch {
        slices: (0..ROWS).map(slice).collect(),
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

struct Ran {
    outcome: Outcome,
    records: Vec<Value>,
    messages: String,
}

impl Ran {
    /// The only record.
    fn one(mut self) -> Value {
        assert_eq!(self.records.len(), 1, "{}", self.messages);
        self.records.remove(0)
    }
}

fn probe(root: &Path, words: &str) -> Ran {
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

/// Trains on the dataset `own`; returns the record and the words that apply what was trained.
fn trained(root: &Path, words: &str) -> (Value, String) {
    let record = probe(root, &format!("{words} --dataset own")).one();
    let file = root.join("runs").join(record["head"].as_str().unwrap());
    (record, format!("predict --head {}", file.display()))
}

fn lab() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "own", &meta("own"));
    root
}

#[test]
fn a_head_measures_the_same_as_when_it_was_trained_whatever_labels_are_blank_or_uncertain() {
    let lab = lab();
    for protocol in ["strict", "paper"] {
        for more in ["", "--per-patient"] {
            let words = format!("linear {QUICK} --blocks 1 --protocol {protocol} {more}");
            let (expected, predict) = trained(lab.path(), &words);
            let found = probe(lab.path(), &format!("{predict} {more}")).one();
            assert!(expected["metrics"]["auroc_macro"].is_number(), "{expected}");
            for (name, expected) in expected["metrics"].as_object().unwrap() {
                let found = &found["metrics"][name];
                match (found.as_f64(), expected.as_f64()) {
                    (Some(found), Some(expected)) => {
                        assert!(
                            (found - expected).abs() < 1e-6,
                            "{name}: {found}, {expected}"
                        );
                    }
                    _ if expected.is_object() || expected.is_array() => {}
                    _ => assert_eq!(found, expected, "{protocol} {more}: {name}"),
                }
            }
        }
    }
}

#[test]
fn what_was_trained_on_is_not_measured_by_default_and_told_where_it_is() {
    let lab = lab();
    write(lab.path(), "other", &meta("other"));
    let linear = format!("linear {QUICK} --blocks 1");
    for (train, n_test, all) in [
        (linear.as_str(), 20, 60),
        ("segment --epochs 1 --lr 0.1", 20, 60),
    ] {
        let (_, predict) = trained(lab.path(), train);
        let records = probe(lab.path(), &predict).records;
        let of = |dataset: &str| {
            let found = records.iter().find(|record| record["dataset"] == dataset);
            found.map(|r| {
                (
                    r["split"].clone(),
                    r["n_test"].clone(),
                    r["warnings"].to_string(),
                )
            })
        };
        let (split, n, warnings) = of("own").unwrap();
        assert_eq!((split, n), (json!("test"), json!(n_test)));
        assert!(!warnings.contains("has seen"), "{warnings}");
        let (split, n, warnings) = of("other").unwrap();
        assert_eq!((split, n), (json!("all"), json!(all)));
        assert!(!warnings.contains("has seen"), "{warnings}");
        let own = format!("{predict} --dataset own --eval");
        for (eval, seen) in [("all", "10 of 15 patients"), ("val", "5 of 5 patients")] {
            let found = probe(lab.path(), &format!("{own} {eval}"));
            assert!(found.messages.contains(seen), "{eval}: {}", found.messages);
        }
    }
}

#[test]
fn a_head_keeps_to_the_split_that_it_was_trained_by() {
    let lab = lab();
    let dir = lab.path().join("cache/own/tiny@8");
    let turned = |row: usize| (format!("s{row:02}"), Some(Split::ALL[(row / 4 + 1) % 3]));
    let splits: Vec<_> = (0..ROWS).map(turned).collect();
    write_split(&dir, "turned", "made by hand", &splits).unwrap();
    let words = format!("linear {QUICK} --blocks 1 --split turned");
    let (expected, predict) = trained(lab.path(), &words);
    let found = probe(lab.path(), &predict).one();
    assert_eq!(found["split_name"], "turned");
    assert_eq!(
        found["metrics"]["auroc_macro"],
        expected["metrics"]["auroc_macro"]
    );
    fs::remove_file(dir.join("splits/turned.parquet")).unwrap();
    write_split(&dir, "own", "as before", &splits).unwrap();
    let found = probe(lab.path(), &format!("{predict} --split own"));
    let warning = "no longer has the split `turned`";
    assert!(found.messages.contains(warning), "{}", found.messages);
}

#[test]
fn tokens_of_other_weights_or_another_recipe_are_refused_by_the_field_that_differs() {
    let lab = lab();
    let other = |name: &str, change: &dyn Fn(&mut CacheMeta)| {
        let mut meta = meta(name);
        change(&mut meta);
        write(lab.path(), name, &meta);
    };
    other("views", &|meta| {
        meta.preprocess["views"] = json!({"count": 2});
    });
    other("weights", &|meta| meta.model.sha256 = "others".into());
    other("window", &|meta| {
        meta.preprocess["intensity"] = json!("window:0:100");
    });
    other("int8", &|meta| meta.precision = "int8".into());
    let linear = format!("linear {QUICK} --blocks 1");
    for train in [linear.as_str(), "segment --epochs 1 --lr 0.1"] {
        let (_, predict) = trained(lab.path(), train);
        let views = probe(lab.path(), &format!("{predict} --dataset views"));
        assert_eq!(views.outcome, Outcome::Done, "{}", views.messages);
        for (dataset, field) in [
            ("weights", "`model.sha256` \"others\", expected \"weights\""),
            (
                "window",
                "`preprocess.intensity` \"window:0:100\", expected \"minmax\"",
            ),
            ("int8", "`precision` \"int8\", expected \"fp32\""),
        ] {
            let words = format!("{predict} --dataset {dataset}");
            let refused = probe(lab.path(), &words);
            assert_eq!(refused.outcome, Outcome::Nothing, "{dataset}");
            for word in [field, "--allow-mismatch"] {
                assert!(refused.messages.contains(word), "{}", refused.messages);
            }
            let allowed = probe(lab.path(), &format!("{words} --allow-mismatch"));
            let name = field.split(' ').next().unwrap();
            assert!(allowed.messages.contains(name), "{}", allowed.messages);
            allowed.one();
        }
    }
}

#[test]
fn a_damaged_cache_is_left_out_and_the_others_are_measured() {
    let lab = lab();
    let dir = write(lab.path(), "damaged", &meta("damaged"));
    let path = dir.join("cls/00000.parquet");
    let whole = fs::read(&path).unwrap();
    let footer = u32::from_le_bytes(whole[whole.len() - 8..][..4].try_into().unwrap()) as usize;
    let mut left_out = 0;
    for place in (whole.len() - 8 - footer..whole.len() - 8).step_by(37) {
        let mut bytes = whole.clone();
        bytes[place] ^= 0x80;
        fs::write(&path, bytes).unwrap();
        let ran = probe(lab.path(), "knn --k 3 --bootstrap 0");
        assert!(ran.records.iter().any(|record| record["dataset"] == "own"));
        left_out += usize::from(ran.outcome == Outcome::Skipped);
    }
    assert!(left_out > 0);
}

#[test]
fn a_dataset_of_the_same_name_with_other_samples_is_not_taken_for_the_one_that_was_trained_on() {
    let lab = lab();
    let namesake = CacheMeta {
        samples_sha256: "1".into(),
        ..meta("own")
    };
    write(lab.path(), "namesake", &namesake);
    let linear = format!("linear {QUICK} --blocks 1");
    for train in [linear.as_str(), "segment --epochs 1 --lr 0.1"] {
        let (_, predict) = trained(lab.path(), train);
        let ran = probe(lab.path(), &predict);
        assert_eq!(ran.outcome, Outcome::Skipped);
        let left_out = "cache/namesake/tiny@8`: a head of the dataset `own` cannot tell";
        assert!(ran.messages.contains(left_out), "{}", ran.messages);
        assert!(ran.messages.contains("--eval test"), "{}", ran.messages);
        let namesake = format!("{predict} --dataset namesake --eval");
        for (eval, n_test, may_have_seen) in [("test", 20, false), ("all", 60, true)] {
            let ran = probe(lab.path(), &format!("{namesake} {eval}"));
            let told = ran.messages.contains("it may have seen 10 of 15 patients");
            assert_eq!(told, may_have_seen, "{eval}: {}", ran.messages);
            assert_eq!(ran.one()["n_test"], n_test, "{eval}");
        }
    }
}

#[test]
fn values_without_a_name_are_an_error_for_a_decoder_too_or_ignored_as_is_asked() {
    let lab = lab();
    let odd = CacheMeta {
        mask_classes: vec![MaskClass {
            value: 7,
            name: "vessel".into(),
        }],
        ..meta("odd")
    };
    write(lab.path(), "odd", &odd);
    let (_, predict) = trained(lab.path(), "segment --epochs 1 --lr 0.1");
    let predict = format!("{predict} --dataset odd");
    for refused in ["", "--unnamed-values error"] {
        let ran = probe(lab.path(), &format!("{predict} {refused}"));
        assert_eq!(ran.outcome, Outcome::Nothing, "{refused}");
        let reason = "no class is named for: 1\nhint:";
        assert!(ran.messages.contains(reason), "{}", ran.messages);
    }
    let ran = probe(lab.path(), &format!("{predict} --unnamed-values ignore"));
    let warning = "pixels without a name are ignored: 1";
    assert!(ran.messages.contains(warning), "{}", ran.messages);
    // The decoder has a class of this value; nothing of it is left to be found.
    let dice = &ran.one()["metrics"]["dice_macro"];
    assert!(dice.is_null() || *dice == 0.0, "{dice}");
}
