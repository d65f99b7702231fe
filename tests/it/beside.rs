//! What lies in a cache beside its shards: files that nothing names, and named splits and labels that no longer fit.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

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

/// Paths of the JSON of `verify` that no description names, and those that `gc` would delete.
fn unnamed(lab: &Lab) -> (Vec<String>, Vec<String>) {
    let run = over(lab, &["verify", "--format", "json"]).expect(0);
    let json: Value = serde_json::from_str(&run.stdout).unwrap();
    let unnamed = json["unnamed"].as_array().cloned().unwrap_or_default();
    let unnamed = unnamed.iter().map(|path| path.as_str().unwrap().to_owned());
    let run = over(lab, &["gc", "images/tiny-vit@56", "--dry-run"]).expect(0);
    let lines = run.stdout.lines();
    let deleted = lines.filter_map(|line| line.strip_prefix("would delete "));
    let deleted = deleted.map(|line| line.rsplit_once(": ").unwrap().0.to_owned());
    (unnamed.collect(), deleted.collect())
}

#[test]
fn files_that_no_description_names_are_told_by_verify_and_deleted_by_gc() {
    let lab = Lab::new();
    let table = lab.manifest(6);
    lab.extract("manifest", &table, &SMALL).expect(0);
    with_sets(&lab, table.to_str().unwrap());
    let before = snapshot(&lab.cache());
    let files = [
        ".slicebank-1-meta.json",
        "checksums/labels/.new-gone/slices/00000.crc32",
        "checksums/labels/gone/slices/00000.crc32",
        "checksums/patch/00000.crc32",
        "cls/00007.parquet",
        "extension/cls/00000.parquet",
        "labels/.new-gone/labels.json",
        "labels/again/mask/00000.parquet",
        "labels/again/slices-1/00000.parquet",
        "labels/gone/slices/00000.parquet",
        "patch/00000.parquet",
        "pending/cls/00000.parquet",
        "repair/meta.json",
        "sources/00002.parquet",
        "splits/.slicebank-1-mine.parquet",
    ];
    // While patch tokens are added, these are somebody's.
    let (extended, rest) = (["extension/cls/00000.parquet"], "notes.txt");
    for file in files.iter().chain([&rest]) {
        lab.write(&format!("cache/images/tiny-vit@56/{file}"), "left");
    }
    let expected = files.iter().filter(|file| !extended.contains(file));
    let expected: Vec<_> = expected.map(|file| lab.cache().join(file)).collect();
    let expected: Vec<_> = expected
        .iter()
        .map(|path| path.to_str().unwrap().to_owned())
        .collect();
    assert_eq!(unnamed(&lab), (expected.clone(), expected.clone()));
    let run = over(&lab, &["verify"]).expect(0);
    let cache = lab.cache();
    let cache = cache.display();
    let note = format!(
        "note: 14 files, 56 bytes, that no description names, for instance `.slicebank-1-meta.json`; `extract gc {cache}` removes them"
    );
    assert!(run.stderr.lines().any(|line| line == note), "{run:?}");
    let run = over(&lab, &["gc", "images/tiny-vit@56"]).expect(0);
    assert_eq!(run.stdout.lines().count(), expected.len(), "{run:?}");
    assert_eq!(unnamed(&lab), (vec![], vec![]));
    for file in [extended[0], rest] {
        fs::remove_file(lab.cache().join(file)).unwrap();
    }
    over(&lab, &["gc", "images/tiny-vit@56"]).expect(0);
    assert!(snapshot(&lab.cache()) == before);
    // No empty folders are left.
    for folder in [
        "extension",
        "repair",
        "pending",
        "labels/gone",
        "labels/.new-gone",
        "checksums/labels/gone",
    ] {
        assert!(!lab.cache().join(folder).exists(), "{folder}");
    }
}

#[test]
fn what_an_extension_left_in_a_cache_that_has_its_tables_is_deleted_at_once() {
    let lab = Lab::new();
    let more = [&SMALL[..], &["--tokens", "residual"]].concat();
    lab.extract("manifest", &lab.manifest(6), &more).expect(0);
    let before = snapshot(&lab.cache());
    for file in ["extension/meta.json", "patch/00000.parquet"] {
        lab.write(&format!("cache/images/tiny-vit@56/{file}"), "left");
    }
    fs::create_dir_all(lab.cache().join("picture")).unwrap();
    let run = over(&lab, &["gc", "images/tiny-vit@56"]).expect(0);
    assert_eq!(run.stdout.lines().count(), 2, "{run:?}");
    assert!(snapshot(&lab.cache()) == before);
    for folder in ["extension", "patch", "picture"] {
        assert!(!lab.cache().join(folder).exists(), "{folder}");
    }
    let run = over(&lab, &["gc", "images/tiny-vit@56"]).expect(0);
    assert!(run.stdout.contains("nothing to delete"), "{run:?}");
}

#[test]
fn labels_without_their_description_are_a_fault_and_stay() {
    let lab = Lab::new();
    let table = lab.manifest(6);
    lab.extract("manifest", &table, &SMALL).expect(0);
    let words = [
        "relabel",
        "images/tiny-vit@56",
        "--name",
        "again",
        "--labels",
    ];
    let words = [&words[..], &[table.to_str().unwrap()]].concat();
    over(&lab, &words).expect(0);
    let whole = snapshot(&lab.cache());
    fs::remove_file(lab.cache().join("labels/again/labels.json")).unwrap();
    let lost = snapshot(&lab.cache());
    let run = over(&lab, &["verify"]).expect(1);
    let told = "label set `again` has no labels.json";
    assert!(run.stdout.contains(told), "{run:?}");
    let run = over(&lab, &["gc", "images/tiny-vit@56"]).expect(0);
    assert!(run.stdout.contains("nothing to delete"), "{run:?}");
    assert!(snapshot(&lab.cache()) == lost);
    // As the hint says.
    over(&lab, &[&words[..], &["--force"]].concat()).expect(0);
    over(&lab, &["verify"]).expect(0);
    assert!(snapshot(&lab.cache()) == whole);
}

#[test]
fn a_killed_writer_is_told_by_verify_and_its_name_removed_by_gc() {
    let lab = Lab::new();
    lab.extract("manifest", &lab.manifest(6), &SMALL).expect(0);
    let lock = lab.cache().join(".lock");
    let mut writer = Command::new("true").spawn().unwrap();
    let dead = json!({
        "host": common::process::host(),
        "boot": common::process::boot(),
        "process": writer.id(),
        "since_unix": 1,
    });
    writer.wait().unwrap();
    fs::write(&lock, dead.to_string()).unwrap();
    let run = over(&lab, &["verify"]).expect(0);
    let gc = format!("`extract gc {}` removes the name", lab.cache().display());
    let told = format!("note: `.lock` names process {} on", dead["process"]);
    assert!(
        run.stderr.contains(&told) && run.stderr.contains(&gc),
        "{run:?}"
    );
    let run = over(&lab, &["gc", "images/tiny-vit@56"]).expect(0);
    assert!(
        run.stdout
            .contains("which has ended; it names no process now"),
        "{run:?}"
    );
    assert_eq!(fs::read(&lock).unwrap(), b"");
    let run = over(&lab, &["verify"]).expect(0);
    assert_eq!(run.stderr, "");
    // What a process writes now is not called left.
    lab.write("cache/images/tiny-vit@56/cls/00007.parquet", "begun");
    let lock = cache::CacheLock::of(&lab.cache()).unwrap();
    let run = over(&lab, &["verify", "--format", "json"]).expect(0);
    assert!(
        !run.stdout.contains("unnamed") && run.stderr.contains("while it writes"),
        "{run:?}"
    );
    drop(lock);
    assert_eq!(unnamed(&lab).0.len(), 1);
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
        let (root, cache) = (lab.path("cache"), lab.cache());
        let (root, cache) = (root.display(), cache.display());
        for hint in [
            format!(
                "`extract split --cache {root} --dataset images --name mine --rule RULE --force`"
            ),
            format!("`extract relabel {cache} --name again --labels TABLE --force`"),
        ] {
            assert!(run.stderr.contains(&hint), "no {hint} in {run:?}");
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
        run.stderr.contains("--name mine --rule RULE --force`"),
        "{run:?}"
    );
}
