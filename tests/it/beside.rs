//! What lies in a cache beside its shards: files that nothing names, and named splits and labels that no longer fit.

use std::fs;

use crate::lab::{Lab, Run, program, snapshot};

const SMALL: [&str; 4] = ["--batch-size", "2", "--shard-rows", "4"];

fn over(lab: &Lab, words: &[&str]) -> Run {
    let mut command = program("extract");
    Run::of(command.args(words).arg("--cache").arg(lab.path("cache")))
}

/// A cache with the split `mine` and the labels `again`.
fn with_sets(lab: &Lab, table: &str) {
    let rule = "random:0.5:0:0.5";
    over(
        lab,
        &[
            "split",
            "--dataset",
            "images",
            "--name",
            "mine",
            "--rule",
            rule,
        ],
    )
    .expect(0);
    let words = [
        "relabel",
        "images/tiny-vit@56",
        "--name",
        "again",
        "--labels",
        table,
    ];
    over(lab, &words).expect(0);
}

#[test]
fn files_that_no_shard_has_are_reported_by_verify_and_deleted_by_gc() {
    let lab = Lab::new();
    lab.extract("manifest", &lab.manifest(6), &SMALL).expect(0);
    let before = snapshot(&lab.cache());
    let files = [
        "cls/00007.parquet",
        "patch/00000.parquet",
        "checksums/patch/00000.crc32",
        "checksums/labels/gone/slices/00000.crc32",
        "sources/00002.parquet",
    ];
    for file in files {
        lab.write(&format!("cache/images/tiny-vit@56/{file}"), "left");
    }
    let run = over(&lab, &["verify"]).expect(1);
    for file in files {
        let is_named = |line: &str| line.contains(file) && line.contains("no shard");
        assert!(run.stdout.lines().any(is_named), "no {file} in {run:?}");
    }
    assert!(
        run.stderr.contains("hint: `extract gc images/tiny-vit@56`"),
        "{run:?}"
    );
    let run = over(&lab, &["gc", "images/tiny-vit@56"]).expect(0);
    assert_eq!(run.stdout.lines().count(), files.len(), "{run:?}");
    over(&lab, &["verify"]).expect(0);
    assert!(snapshot(&lab.cache()) == before);
}

#[test]
fn damaged_splits_and_labels_have_a_hint() {
    let lab = Lab::new();
    let table = lab.manifest(9);
    lab.extract("manifest", &table, &SMALL).expect(0);
    with_sets(&lab, table.to_str().unwrap());
    for file in ["splits/mine.parquet", "labels/again/slices/00001.parquet"] {
        let path = lab.cache().join(file);
        let mut bytes = fs::read(&path).unwrap();
        bytes[60] ^= 4;
        fs::write(&path, bytes).unwrap();
    }
    for words in [&["verify"][..], &["verify", "--repair"]] {
        let run = over(&lab, words).expect(1);
        for hint in [
            "`extract split --name mine --force`",
            "--name again --force`",
        ] {
            assert!(run.stderr.contains(hint), "no {hint} in {run:?}");
        }
    }
    // As the hint says.
    let rule = "random:0.5:0:0.5";
    let words = [
        "split",
        "--dataset",
        "images",
        "--name",
        "mine",
        "--rule",
        rule,
    ];
    over(&lab, &[&words[..], &["--force"]].concat()).expect(0);
    for folder in ["labels/again", "checksums/labels/again"] {
        fs::remove_dir_all(lab.cache().join(folder)).unwrap();
    }
    over(&lab, &["verify"]).expect(0);
}

#[test]
fn samples_that_are_taken_in_are_told_to_make_splits_and_labels_unusable() {
    let lab = Lab::new();
    let table = lab.manifest(9);
    let image = lab.path("images/0004.png");
    let intact = fs::read(&image).unwrap();
    fs::write(&image, "no picture").unwrap();
    lab.extract("manifest", &table, &SMALL).expect(1);
    let retry = [&SMALL[..], &["--retry-skipped"]].concat();
    with_sets(&lab, table.to_str().unwrap());
    let run = lab.extract("manifest", &table, &retry).expect(1);
    assert!(!run.stderr.contains("split `mine`"), "{run:?}");
    fs::write(&image, intact).unwrap();
    let run = lab.extract("manifest", &table, &retry).expect(0);
    let told = "can no longer be used: split `mine`, labels `again`";
    assert!(run.stderr.contains(told), "{run:?}");
    let run = over(&lab, &["verify"]).expect(1);
    assert!(
        run.stderr.contains("`extract split --name mine --force`"),
        "{run:?}"
    );
}
