//! The command `probe knn` on small caches.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use cache::{CacheMeta, CacheWriter, Labels, SliceMeta, Split, Task, TokenBatch};
use clap::Parser;
use ndarray::Array2;
use probe::cli::{Cli, Outcome};
use probe::predictions::Predictions;
use serde_json::Value;
use tempfile::TempDir;

fn meta(dataset: &str, task: Task) -> CacheMeta {
    CacheMeta {
        dataset: dataset.into(),
        task,
        classes: if task == Task::Unlabelled {
            vec![]
        } else {
            vec!["no".into(), "yes".into()]
        },
        width: 2,
        ..tests::meta()
    }
}

fn slice(row: usize, labels: Labels) -> SliceMeta {
    let splits = [Split::Train, Split::Val, Split::Test];
    SliceMeta {
        split: Some(splits[row % 3]),
        labels,
        ..tests::slice(&format!("s{row:02}"))
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
    let slices = (0..30).map(|row| slice(row, label(row))).collect();
    write_rows(root, dataset, task, slices, tokens);
}

/// A cache of `slices` with `tokens [30, 2]`.
fn write_rows(root: &Path, dataset: &str, task: Task, slices: Vec<SliceMeta>, tokens: Array2<f32>) {
    let batch = TokenBatch {
        slices,
        cls: vec![tokens.clone()],
        mean: vec![tokens],
        patch: vec![],
        masks: vec![],
        pictures: vec![],
    };
    let dir = root.join(dataset).join("tiny@28");
    let samples: BTreeSet<_> = batch.slices.iter().map(|slice| &slice.sample).collect();
    let meta = CacheMeta {
        samples: samples.len() as u64,
        ..meta(dataset, task)
    };
    let mut writer = CacheWriter::open(&dir, meta).unwrap();
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

fn records(ran: &Ran) -> Vec<Value> {
    let lines = ran.out.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// 30 slices of 10 samples, three of each, of two patients in each split; their tokens point
/// anywhere.
fn write_stacks(root: &Path, dataset: &str, task: Task, label: impl Fn(usize) -> Labels) {
    let of_sample = |row: usize| SliceMeta {
        sample: format!("s{}", row / 3),
        slice: (row % 3) as u32,
        patient: Some(format!("p{}", row / 6)),
        split: Some(
            [
                Split::Train,
                Split::Train,
                Split::Val,
                Split::Val,
                Split::Test,
            ][row / 6],
        ),
        ..slice(row, label(row))
    };
    let tokens = Array2::from_shape_fn((30, 2), |(row, axis)| {
        let angle = (row * 37 % 101) as f32 / 101.0 * 1.5;
        if axis == 0 { angle.cos() } else { angle.sin() }
    });
    write_rows(
        root,
        dataset,
        task,
        (0..30).map(of_sample).collect(),
        tokens,
    );
}

#[test]
fn a_volume_has_the_classes_of_all_its_slices() {
    let root = tempfile::tempdir().unwrap();
    // Only the last slice of every other sample has the first class.
    let label = |row: usize| Labels::Multi(vec![Some((row % 6 == 2).into()), Some(0)]);
    write_stacks(root.path(), "stacks", Task::MultiLabel, label);
    let ran = run(root.path(), "--unit volume --k 1 --format json");
    let record = &records(&ran)[0];
    assert_eq!(
        (&record["n_train"], &record["n_test"]),
        (&8.into(), &2.into())
    );
    assert_eq!(record["params"]["measured_unit"], "volume");
    assert_eq!(record["metrics"]["positives"]["no"], 1);
}

#[test]
fn slices_of_different_exclusive_classes_make_no_volume() {
    let root = tempfile::tempdir().unwrap();
    let label = |row: usize| Labels::Single(Some(u32::from(row == 2)));
    write_stacks(root.path(), "stacks", Task::SingleLabel, label);
    let ran = run(root.path(), "--unit volume --k 1");
    let expected = "the slices of the sample `s0` are of different classes";
    assert!(ran.messages.contains(expected), "{}", ran.messages);
    assert_eq!(ran.outcome, Outcome::Nothing);
}

#[test]
fn what_is_measured_by_patients_is_chosen_by_patients() {
    let root = tempfile::tempdir().unwrap();
    let label = |row: usize| Labels::Multi(vec![Some((row / 6).is_multiple_of(2).into()), Some(0)]);
    write_stacks(root.path(), "stacks", Task::MultiLabel, label);
    let words = "--unit slice --per-patient --vote softmax --train train --format json";
    let found = &records(&run(root.path(), &format!("{words} --k 5")))[0];
    assert_eq!(
        (&found["n_train"], &found["n_test"]),
        (&12.into(), &1.into())
    );
    assert_eq!(found["params"]["measured_unit"], "patient");
    // Of the two patients in val one has the class: the best threshold is that one's mean score, or
    // the other's if that is higher.
    let on_val = run(root.path(), &format!("{words} --k 5 --eval val"));
    let file = records(&on_val)[0]["predictions"]
        .as_str()
        .unwrap()
        .to_owned();
    let (scores, _) = Predictions::read(&on_val.runs.path().join(file)).unwrap();
    let [with, without] = ["p2", "p3"].map(|patient| {
        let at = scores
            .cases
            .iter()
            .position(|case| case.cluster() == patient);
        scores.scores.values[[at.unwrap(), 0]]
    });
    let threshold = found["metrics"]["thresholds"]["no"].as_f64().unwrap();
    assert!((threshold - with).abs() < 1e-12 && with != without);
    let text = run(root.path(), &words.replace("json", "text"));
    assert!(text.out.contains("1 patient"), "{}", text.out);
}

#[test]
fn a_k_has_the_same_result_alone_and_beside_others() {
    let root = tempfile::tempdir().unwrap();
    let label = |row: usize| Labels::Single(Some((row / 3 % 2) as u32));
    write_stacks(root.path(), "stacks", Task::SingleLabel, label);
    let words = "--unit slice --format json --protocol";
    let first = |protocol: &str, ks: &str| {
        records(&run(root.path(), &format!("{words} {protocol} --k {ks}"))).remove(0)
    };
    let alone = first("strict", "2");
    assert!(alone["metrics"]["brier"].is_f64());
    assert_eq!(alone["metrics"], first("strict", "2,18")["metrics"]);
    // The study divides by the weight of 18 neighbours: those scores are no probabilities.
    let beside = first("paper", "2,18");
    assert_eq!(beside["params"]["normalised_over"], 18);
    for name in ["brier", "ece", "thresholds"] {
        assert!(beside["metrics"][name].is_null(), "{name}");
    }
    let paper_alone = first("paper", "2");
    for name in ["accuracy", "f1_macro", "balanced_accuracy"] {
        assert_eq!(
            beside["metrics"][name], paper_alone["metrics"][name],
            "{name}"
        );
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
        [
            "class",
            "yes",
            "dataset",
            "single",
            "single",
            "protocol",
            "intervals",
            "*"
        ],
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
