//! Options that cannot have an effect are refused, or told of where one of several protocols takes them.
#![allow(clippy::unwrap_used)]

mod caches;

use std::path::Path;

use clap::Parser;
use probe::cli::{Cli, Outcome};

/// The outcome of a command and its messages, errors included.
fn run(root: &Path, words: &str) -> (Option<Outcome>, String) {
    let mut line: Vec<String> = format!("probe {words}")
        .split(' ')
        .map(Into::into)
        .collect();
    if !words.starts_with("compare") {
        line.extend(["--cache".into(), root.join("cache").display().to_string()]);
    }
    line.extend(["--runs".into(), root.join("runs").display().to_string()]);
    let mut messages = Vec::new();
    match probe::run(
        Cli::try_parse_from(line).unwrap(),
        &mut Vec::new(),
        &mut messages,
    ) {
        Ok(outcome) => (Some(outcome), String::from_utf8(messages).unwrap()),
        Err(error) => (None, error.to_string()),
    }
}

fn lab(datasets: &[&str]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (seed, dataset) in (1..).zip(datasets) {
        caches::write(&root.path().join("cache"), dataset, "tiny", seed);
    }
    root
}

const ONE: &str = "linear --epochs 1 --lr 0.1 --blocks 1";

#[test]
fn an_option_that_can_have_no_effect_is_refused_with_the_reason() {
    let lab = lab(&["three"]);
    let few = "few-shot --head centroid --shots";
    for (words, option, why) in [
        ("knn --unit slice --pool max", "--pool", "pools nothing"),
        (
            "knn --control metadata-only --pool max",
            "--pool",
            "takes no tokens",
        ),
        (
            "knn --control metadata-only --layer 2",
            "--layer",
            "takes no tokens",
        ),
        (
            "logreg --control metadata-only --features cls",
            "--features",
            "takes no tokens",
        ),
        (
            "few-shot --head knn --control metadata-only --layer 1",
            "--layer",
            "takes no tokens",
        ),
        (
            "knn --eval val --val-share 0.3",
            "--val-share",
            "evaluates `val` itself",
        ),
        (
            "knn --protocol paper --val-share 0.3",
            "--val-share",
            "draws no `val`",
        ),
        ("knn --bootstrap 0 --level 0.9", "--level", "no intervals"),
        (
            "knn --control shuffled-labels --bootstrap 50",
            "--bootstrap",
            "not intervals",
        ),
        (
            "knn --control shuffled-labels --level 0.9",
            "--level",
            "not intervals",
        ),
        (
            "knn --per-class --format json",
            "--per-class",
            "prints records",
        ),
        (
            &format!("{few} all --repeats 3"),
            "--repeats",
            "draws nothing",
        ),
        (
            &format!("{few} all --draw examples"),
            "--draw",
            "draws nothing",
        ),
        (
            &format!("{few} 2 --repeats 3 --protocol paper"),
            "--repeats",
            "the study's draw",
        ),
        (
            &format!("{few} 2 --draw patients --protocol paper"),
            "--draw",
            "the study's draw",
        ),
        (
            &format!("{few} 2 --bootstrap 50"),
            "--bootstrap",
            "makes a single draw",
        ),
        (
            &format!("{few} 2 --level 0.9"),
            "--level",
            "makes a single draw",
        ),
        (
            &format!("{few} 2 --val-share 0.3"),
            "--val-share",
            "nothing is chosen",
        ),
        ("segment --repeats 3", "--repeats", "draws nothing"),
        (
            "segment --lr 0.1 --val-share 0.3",
            "--val-share",
            "nothing is chosen",
        ),
        (
            "segment --protocol paper --bootstrap 50",
            "--bootstrap",
            "all pixels",
        ),
        (
            "segment --shots 2 --level 0.9",
            "--level",
            "a standard deviation",
        ),
        (
            "predict --head x --eval all --split mine",
            "--split",
            "all examples",
        ),
        (
            "predict --head x --bootstrap 0 --level 0.9",
            "--level",
            "no intervals",
        ),
    ] {
        let (outcome, text) = run(lab.path(), words);
        let expected = format!("`{option}` has no effect: ");
        assert_eq!(outcome, None, "{words}: {text}");
        assert!(
            text.starts_with(&expected) && text.contains(why),
            "{words}: {text}"
        );
        assert!(text.contains("\nhint: leave it out"), "{words}: {text}");
    }
}

#[test]
fn an_option_of_one_of_several_protocols_is_taken_with_a_warning() {
    let lab = lab(&["three", "masks"]);
    for (words, option) in [
        ("knn --k 3 --val-share 0.3", "--val-share"),
        (
            "few-shot --head centroid --shots 2 --repeats 2",
            "--repeats",
        ),
        (
            "few-shot --head centroid --shots 2 --draw examples",
            "--draw",
        ),
        ("few-shot --head centroid --shots 2 --level 0.9", "--level"),
        ("segment --epochs 1 --lr 0.1 --bootstrap 20", "--bootstrap"),
    ] {
        let dataset = if words.starts_with("segment") {
            "masks"
        } else {
            "three"
        };
        let words = format!("{words} --dataset {dataset} --protocol paper,strict");
        let (outcome, text) = run(lab.path(), &words);
        assert_eq!(outcome, Some(Outcome::Done), "{words}: {text}");
        let found = text.matches(" has no effect with `--protocol ").count();
        assert_eq!(found, 1, "{words}: {text}");
        assert!(
            text.contains(&format!("warning: `{option}` has no effect")),
            "{text}"
        );
    }
}

#[test]
fn an_option_that_means_nothing_for_a_cache_leaves_it_out() {
    let lab = lab(&["three", "multi"]);
    for (words, option, left_out) in [
        ("knn --k 3 --exclude-self", "--exclude-self", "three"),
        (
            "few-shot --head knn --k 3 --shots 4 --exclude-self false",
            "--exclude-self",
            "three",
        ),
        (&format!("{ONE} --loss sum"), "--loss", "three"),
        ("knn --k 3 --pool max", "--pool", "multi"),
    ] {
        let (outcome, text) = run(lab.path(), words);
        assert_eq!(outcome, Some(Outcome::Skipped), "{words}: {text}");
        let reason = format!("cache/{left_out}/tiny@32`: `{option}` has no effect: ");
        assert_eq!(text.matches("has no effect").count(), 1, "{words}: {text}");
        assert!(text.contains(&reason), "{words}: {text}");
    }
}

#[test]
fn a_share_for_val_where_there_is_a_val_is_told() {
    let lab = lab(&["three", "masks"]);
    for words in [
        "knn --k 3 --val-share 0.3 --dataset three",
        "segment --epochs 1 --lr 0.1,0.2 --val-share 0.3 --dataset masks",
    ] {
        let (outcome, text) = run(lab.path(), words);
        assert_eq!(outcome, Some(Outcome::Done));
        assert!(
            text.contains("--val-share has no effect: the dataset has a `val`"),
            "{text}"
        );
    }
}

#[test]
fn a_split_of_another_dataset_of_which_all_is_scored_is_refused() {
    let lab = lab(&["three", "two"]);
    let (outcome, text) = run(lab.path(), &format!("{ONE} --dataset three"));
    assert_eq!(outcome, Some(Outcome::Done), "{text}");
    let heads = std::fs::read_dir(lab.path().join("runs/heads")).unwrap();
    let head = heads.map(|entry| entry.unwrap().path()).next().unwrap();
    let predict = format!(
        "predict --head {} --dataset two --split mine",
        head.display()
    );
    let (_, text) = run(lab.path(), &predict);
    assert!(
        text.contains("`--split` has no effect: all examples are scored"),
        "{text}"
    );
}

#[test]
fn a_folder_of_records_that_is_not_there_is_told_of() {
    let root = tempfile::tempdir().unwrap();
    let (outcome, told) = run(root.path(), "compare");
    assert_eq!(outcome, None);
    assert!(told.contains("runs`: there is no such folder"), "{told}");
}
