//! Records and messages state the evaluation that was done.
#![allow(clippy::unwrap_used)]

mod lab;

use std::path::Path;

use cache::{CacheMeta, Labels, SliceMeta, Split, Task};
use lab::{QUICK, Ran, lab, meta, probe, trained, write_with};
use probe::cli::Outcome;

/// Two exclusive classes; changed besides.
fn single(root: &Path, name: &str, change: impl Fn(usize, &mut SliceMeta)) {
    let meta = CacheMeta {
        task: Task::SingleLabel,
        ..meta(name)
    };
    write_with(root, name, &meta, |row, slice| {
        slice.labels = Labels::Single(Some(row as u32 / 4 % 2));
        change(row, slice);
    });
}

fn no_patients(_: usize, slice: &mut SliceMeta) {
    slice.patient = None;
    slice.split = slice.split.map(|split| match split {
        Split::Val => Split::Train,
        split => split,
    });
}

const PROBES: [&str; 2] = ["linear --lr 0.5 --epochs 5 --blocks 1", "logreg --C 0.1,1"];

#[test]
fn samples_of_which_no_patient_is_known_are_called_samples() {
    let lab = lab();
    single(lab.path(), "samples", no_patients);
    let known = |row: usize, slice: &mut SliceMeta| {
        let patient = slice.patient.clone();
        no_patients(row, slice);
        slice.patient = patient;
    };
    single(lab.path(), "patients", known);
    for (dataset, word, taken, of) in [("samples", "sample", 8, 40), ("patients", "patient", 2, 10)]
    {
        let ran = probe(
            lab.path(),
            &format!("{} --dataset {dataset} --per-patient", PROBES[0]),
        );
        let told = format!("no `val`: {taken} {word}s of the {of} in `train`");
        assert!(ran.messages.contains(&told), "{}", ran.messages);
        let record = ran.one();
        assert_eq!(
            record["params"]["val_from_train"][format!("{word}s")],
            taken
        );
        assert_eq!(record["params"]["measured_unit"], word);
        assert_eq!(record["ci"]["method"], format!("bootstrap of {word}s"));
    }
    let segment = "segment --lr 0.1,0.2 --epochs 1 --dataset samples";
    let ran = probe(lab.path(), segment);
    let told = "no `val`: 8 samples of the 40 in `train`";
    assert!(ran.messages.contains(told), "{}", ran.messages);
    let method = &ran.one()["ci"]["method"];
    assert_eq!(method, "bootstrap of samples, percentiles");
}

#[test]
fn a_missing_split_is_told_of_by_what_the_dataset_has() {
    let lab = lab();
    single(lab.path(), "train", |_, slice| {
        slice.patient = None;
        slice.split = Some(Split::Train);
    });
    let few = format!("few-shot --head linear {QUICK} --blocks 1 --shots 2");
    for words in [PROBES[0], PROBES[1], "knn --k 3", &few] {
        let told = probe(lab.path(), &format!("{words} --dataset train")).messages;
        assert!(
            told.contains("60 in `train`, 0 in `val`, 0 in `test`"),
            "{told}"
        );
        assert!(told.contains("give `--split "), "{told}");
        assert!(!told.contains("--eval"), "{told}");
    }
    let told = probe(
        lab.path(),
        "segment --lr 0.1,0.2 --epochs 1 --dataset train",
    )
    .messages;
    assert!(
        told.contains("60 in `train`, 0 in `val`, 0 in `test`"),
        "{told}"
    );
}

/// All of `val` is of one class.
fn one_class(root: &Path, name: &str, class: u32) {
    single(root, name, |_, slice| {
        if slice.split == Some(Split::Val) {
            slice.labels = Labels::Single(Some(class));
        }
    });
}

fn warned(ran: &Ran, words: &str) {
    assert_eq!(ran.outcome, Outcome::Done);
    assert!(ran.messages.contains(words), "{}", ran.messages);
}

#[test]
fn no_choice_is_recorded_that_was_not_made() {
    let lab = lab();
    one_class(lab.path(), "one", 0);
    let ran = probe(lab.path(), "knn --k 3,7 --dataset one");
    warned(
        &ran,
        "no k is chosen: no class has both positive and negative cases in `val`",
    );
    warned(
        &ran,
        "no positive case in `val` to choose the threshold of `right` by: it is 0.5",
    );
    for record in &ran.records {
        assert!(
            record.get("chosen").is_none_or(serde_json::Value::is_null),
            "{record}"
        );
        assert_eq!(record["metrics"]["threshold_rule"], "0.5");
        assert_eq!(record["metrics"]["thresholds"]["right"], 0.5);
    }
    for words in PROBES {
        let words = format!("{words} --select accuracy");
        let ran = probe(lab.path(), &format!("{words} --dataset one"));
        warned(&ran, "to choose the threshold of `right` by: it is 0.5");
        let (record, predict) = trained(lab.path(), "one", &words);
        assert_eq!(record["metrics"]["threshold_rule"], "0.5", "{words}");
        let found = probe(lab.path(), &format!("{predict} --dataset one")).one();
        assert_eq!(found["metrics"]["threshold_rule"], "0.5", "{words}");
    }
    single(lab.path(), "alone", |_, slice| {
        let is_train = slice.split != Some(Split::Test);
        slice.patient = Some(if is_train { "a" } else { "b" }.to_owned());
        slice.split = slice
            .split
            .filter(|split| *split == Split::Test)
            .or(Some(Split::Train));
    });
    let ran = probe(lab.path(), "knn --k 3,7 --dataset alone --bootstrap 0");
    warned(&ran, "no k is chosen: there is no `val`");
    // A threshold can be chosen by positive cases alone, a setting cannot.
    one_class(lab.path(), "positive", 1);
    let ran = probe(lab.path(), "knn --k 3 --dataset positive");
    assert_eq!(ran.one()["metrics"]["threshold_rule"], "val-f1");
}

#[test]
fn hints_name_options_that_the_command_has_and_that_can_help() {
    let lab = lab();
    one_class(lab.path(), "one", 0);
    for (words, has_lr) in [(PROBES[0], true), (PROBES[1], false)] {
        let told = probe(lab.path(), &format!("{words} --dataset one")).messages;
        assert!(told.contains("cannot be chosen on `val`"), "{told}");
        assert_eq!(told.contains("a smaller --lr"), has_lr, "{told}");
        assert!(!told.contains("--val-share"), "{told}");
    }
    single(lab.path(), "rare", |row, slice| {
        slice.patient = None;
        no_patients(row, slice);
        let is_rare = slice.split == Some(Split::Train) && row != 0;
        slice.labels = Labels::Single(Some(u32::from(is_rare || row % 2 == 1)));
    });
    let told = probe(lab.path(), &format!("{} --dataset rare", PROBES[1])).messages;
    assert!(told.contains(", or a larger --val-share"), "{told}");
}
