//! The command `probe knn` on small caches.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use cache::{
    CacheMeta, CacheWriter, FORMAT_VERSION, Labels, ModelMeta, SliceMeta, Split, Task, TokenBatch,
    Tokens,
};
use clap::Parser;
use ndarray::Array2;
use probe::cli::{Cli, Outcome};
use serde_json::Value;
use tempfile::TempDir;

fn meta(dataset: &str, task: Task) -> CacheMeta {
    CacheMeta {
        format_version: FORMAT_VERSION,
        tool_version: "test".into(),
        dataset: dataset.into(),
        task,
        classes: if task == Task::Unlabelled {
            vec![]
        } else {
            vec!["no".into(), "yes".into()]
        },
        has_masks: false,
        mask_classes: vec![],
        has_placement: false,
        has_pictures: false,
        split: None,
        samples: 30,
        samples_sha256: "0".repeat(64),
        model: ModelMeta {
            name: "tiny".into(),
            sha256: "0".repeat(64),
        },
        image_size: 28,
        tokens: Tokens::Cls,
        layers: 1,
        width: 2,
        grid: [2, 2],
        shapes: vec![],
        dtype: "f16".into(),
        preprocess: Value::Null,
        provider: "cpu".into(),
        precision: "fp32".into(),
        parity: None,
        batch_size: 30,
        shard_rows: 16,
        rows: 0,
        shards: vec![],
        skipped: vec![],
        complete: false,
    }
}

fn slice(row: usize, labels: Labels) -> SliceMeta {
    let splits = [Split::Train, Split::Val, Split::Test];
    SliceMeta {
        sample: format!("s{row:02}"),
        image: format!("s{row:02}.png"),
        patient: None,
        slice: 0,
        view: 0,
        split: Some(splits[row % 3]),
        labels,
        height: 28,
        width: 28,
        spacing_mm: None,
        placement: None,
    }
}

/// 30 slices, of which even rows point along the first axis and odd ones along the second; the
/// class is the axis.
fn write_cache(root: &Path, dataset: &str, task: Task) {
    let label = |row: usize| match task {
        Task::Unlabelled => Labels::Unlabelled,
        Task::SingleLabel => Labels::Single(Some((row % 2) as u32)),
        Task::MultiLabel => Labels::Multi(vec![Some(row.is_multiple_of(2).into()), Some(0)]),
    };
    let tokens = Array2::from_shape_fn((30, 2), |(row, axis)| {
        if row % 2 == axis {
            5.0
        } else {
            0.01 * row as f32
        }
    });
    let batch = TokenBatch {
        slices: (0..30).map(|row| slice(row, label(row))).collect(),
        cls: vec![tokens.clone()],
        mean: vec![tokens],
        patch: vec![],
        masks: vec![],
        pictures: vec![],
    };
    let dir = root.join(dataset).join("tiny@28");
    let mut writer = CacheWriter::open(&dir, meta(dataset, task)).unwrap();
    writer.append(&batch).unwrap();
    writer.finish().unwrap();
}

struct Ran {
    outcome: Outcome,
    out: String,
    messages: String,
    runs: TempDir,
}

fn run(root: &Path, words: &str) -> Ran {
    let runs = tempfile::tempdir().unwrap();
    let folders = [root, runs.path()].map(|path| path.to_str().unwrap());
    let words = ["probe", "knn", "--cache", folders[0], "--runs", folders[1]]
        .into_iter()
        .chain(words.split_whitespace());
    let (mut out, mut messages) = (Vec::new(), Vec::new());
    let outcome = probe::run(Cli::parse_from(words), &mut out, &mut messages).unwrap();
    let [out, messages] = [out, messages].map(|bytes| String::from_utf8(bytes).unwrap());
    Ran {
        outcome,
        out,
        messages,
        runs,
    }
}

#[test]
fn separable_classes_are_told_apart_and_recorded() {
    let root = tempfile::tempdir().unwrap();
    write_cache(root.path(), "single", Task::SingleLabel);
    let ran = run(root.path(), "--k 1,5 --format json");
    assert_eq!(ran.outcome, Outcome::Done);
    assert_eq!(
        fs::read_to_string(ran.runs.path().join("knn.jsonl")).unwrap(),
        ran.out
    );
    let records: Vec<Value> = ran
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        records
            .iter()
            .map(|r| &r["params"]["k"])
            .collect::<Vec<_>>(),
        [1, 5]
    );
    for record in records {
        assert_eq!(
            (&record["n_train"], &record["n_test"]),
            (&20.into(), &10.into())
        );
        assert_eq!(record["metrics"]["auroc_per_class"]["yes"], 1.0);
        assert_eq!(record["metrics"]["accuracy"], 1.0);
        assert_eq!(record["cache_sha256"].as_str().map(str::len), Some(64));
    }
}

#[test]
fn classes_without_positives_are_listed_as_undefined() {
    let root = tempfile::tempdir().unwrap();
    write_cache(root.path(), "multi", Task::MultiLabel);
    let ran = run(root.path(), "--k 3 --exclude-self --format json --eval val");
    let record: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(
        (&record["split"], &record["n_train"]),
        (&"val".into(), &10.into())
    );
    assert_eq!(record["metrics"]["auroc_undefined"][0], "yes");
    assert_eq!(record["metrics"]["auroc_macro"], 1.0);
    assert_eq!(record["params"]["vote"], "ml-knn");
}

#[test]
fn the_table_has_a_row_per_k_and_classes_for_a_single_cache() {
    let root = tempfile::tempdir().unwrap();
    write_cache(root.path(), "single", Task::SingleLabel);
    let ran = run(root.path(), "--k 1,5");
    let starts: Vec<&str> = ran
        .out
        .lines()
        .filter_map(|l| l.split_whitespace().next())
        .collect();
    assert_eq!(
        starts,
        ["class", "yes", "dataset", "single", "single"],
        "{}",
        ran.out
    );
    assert!(ran.out.contains("AUROC strict k=5"));
}

#[test]
fn caches_that_do_not_fit_are_warned_of_and_the_others_run() {
    let root = tempfile::tempdir().unwrap();
    write_cache(root.path(), "a-bare", Task::Unlabelled);
    write_cache(root.path(), "b-single", Task::SingleLabel);
    let ran = run(root.path(), "--k 20");
    assert_eq!(ran.outcome, Outcome::Skipped);
    assert!(
        ran.messages
            .contains("tiny@28`: the dataset has no slice labels"),
        "{}",
        ran.messages
    );
    assert!(ran.out.contains("b-single"));
}

#[test]
fn more_neighbours_than_train_slices_is_a_warning_with_both_numbers() {
    let root = tempfile::tempdir().unwrap();
    write_cache(root.path(), "multi", Task::MultiLabel);
    let ran = run(root.path(), "--k 20 --exclude-self");
    let expected = "`--k 20` exceeds the 20 train slices\nhint: give a --k of at most 19";
    assert!(
        ran.messages.contains(expected) && ran.out.is_empty(),
        "{}",
        ran.messages
    );
}
