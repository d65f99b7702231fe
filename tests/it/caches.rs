//! Commands over finished caches: `ls`, `show`, `verify`, `diff`, `gc`, `rm`.

use std::fs::{self, File};
use std::process::Command;

use cache::FORMAT_VERSION;
use serde_json::Value;

use crate::lab::{Lab, Run, program, unfinished};

/// Runs a command of `extract` over the lab's folder of caches.
fn run(lab: &Lab, words: &[&str]) -> Run {
    let mut command = program("extract");
    Run::of(command.args(words).arg("--cache").arg(lab.path("cache")))
}

fn changed(lab: &Lab, file: &str, at: usize) {
    let path = lab.cache().join(file);
    let mut bytes = fs::read(&path).unwrap();
    bytes[at] ^= 0x10;
    fs::write(&path, bytes).unwrap();
}

#[test]
fn a_changed_byte_is_found_by_verify_and_never_a_result() {
    let lab = Lab::new();
    lab.extract("manifest", &lab.manifest(24), &[]).expect(0);
    let sound = run(&lab, &["verify"]).expect(0);
    assert!(
        sound.stdout.contains("no fault in 24 slices, 1 shard"),
        "{sound:?}"
    );
    lab.probe(&["--k", "3"]).expect(0);
    changed(&lab, "cls/00000.parquet", 700);
    for words in [&["verify"][..], &["verify", "images/tiny-vit@56"]] {
        let run = run(&lab, words).expect(1);
        assert_eq!(run.stdout.lines().count(), 1, "{run:?}");
        assert!(run.stdout.contains("cls/00000.parquet"), "{run:?}");
        assert!(
            run.stdout.contains("wrong checksum of bytes 0 to "),
            "{run:?}"
        );
    }
    let json = run(&lab, &["verify", "--format", "json"]).expect(1).stdout;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["faults"].as_array().unwrap().len(), 1);
    lab.probe(&["--k", "3", "--force"])
        .expect_error(2, &["cls/00000.parquet", "wrong checksum"]);
    changed(&lab, "cls/00000.parquet", 700);
    run(&lab, &["verify"]).expect(0);
    // A hash stands at the end of the description.
    changed(&lab, "meta.json", 30);
    let found = run(&lab, &["verify", "--quick"]).expect(1);
    assert!(found.stdout.contains("meta.json"), "{found:?}");
    run(&lab, &["verify", "other/tiny-vit@56"]).expect_error(2, &["no cache here"]);
}

#[test]
fn a_stopped_run_does_not_go_on_over_damage() {
    let lab = Lab::new();
    let table = lab.manifest(24);
    let small = ["--shard-rows", "8", "--batch-size", "8"];
    lab.extract("manifest", &table, &small).expect(0);
    unfinished(&lab.cache());
    let found = run(&lab, &["verify"]).expect(1);
    assert!(found.stdout.contains("not finished (24"), "{found:?}");
    changed(&lab, "mean/00001.parquet", 300);
    lab.extract("manifest", &table, &small)
        .expect_error(2, &["mean/00001.parquet", "wrong checksum"]);
    changed(&lab, "mean/00001.parquet", 300);
    lab.extract("manifest", &table, &small).expect(0);
    run(&lab, &["verify"]).expect(0);
}

#[test]
fn caches_are_listed_alike_by_both_programs_and_described() {
    let lab = Lab::new();
    lab.extract("manifest", &lab.manifest(6), &[]).expect(0);
    let list = run(&lab, &["ls", "--wide"]).expect(0).stdout;
    let words: Vec<&str> = list.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(words[..2], ["images/tiny-vit@56", "slices"]);
    assert!(
        words.contains(&"complete") && words.contains(&"6"),
        "{list}"
    );
    let mut probe = program("probe");
    let other = Run::of(
        probe
            .args(["ls", "--wide", "--cache"])
            .arg(lab.path("cache")),
    )
    .expect(0);
    let words_of =
        |text: &str| -> Vec<String> { text.split_whitespace().map(str::to_owned).collect() };
    assert_eq!(words_of(&other.stdout), words_of(&list));
    let json = run(&lab, &["ls", "--format", "json"]).expect(0).stdout;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["slices"], 6);
    assert_eq!(json["complete"], true);
    let shown = run(&lab, &["show", "images/tiny-vit@56"]).expect(0).stdout;
    for line in [
        "dataset: images",
        "classes: left, right",
        "  name: tiny-vit",
        "shards: 1",
    ] {
        assert!(
            shown.lines().any(|found| found == line),
            "no `{line}` in {shown}"
        );
    }
    run(&lab, &["show", "nothing"]).expect_error(2, &["no cache here"]);
}

#[test]
fn two_caches_are_compared_and_one_is_deleted() {
    let lab = Lab::new();
    let table = lab.manifest(6);
    lab.extract("manifest", &table, &[]).expect(0);
    lab.extract("manifest", &table, &["--image-size", "28"])
        .expect(0);
    let names = ["images/tiny-vit@56", "images/tiny-vit@28"];
    let same = run(&lab, &["diff", names[0], names[0]]).expect(0);
    assert!(same.stdout.contains("no difference"), "{same:?}");
    let other = run(&lab, &["diff", names[0], names[1]]).expect(1).stdout;
    assert!(other.contains("image_size: 56 | 28"), "{other}");
    assert!(other.contains("CLS tokens of layer 1: cosine "), "{other}");

    let left = lab
        .path("cache")
        .join(names[1])
        .join("cls/00007.parquet.part");
    fs::write(&left, "begun").unwrap();
    run(&lab, &["gc", names[1], "--dry-run"]).expect(0);
    assert!(left.exists());
    let deleted = run(&lab, &["gc", names[1]]).expect(0).stdout;
    assert!(deleted.contains("00007.parquet.part: 5 bytes"), "{deleted}");
    assert!(!left.exists());

    // Nor what another version has written.
    let meta = lab.path("cache").join(names[1]).join("meta.json");
    let text = fs::read_to_string(&meta).unwrap();
    let version = format!("\"format_version\": {FORMAT_VERSION},");
    assert!(text.contains(&version));
    fs::write(&meta, text.replace(&version, "\"format_version\": 99,")).unwrap();
    for words in [
        &["rm", names[1]][..],
        &["rm", names[0], names[1], "--dry-run"],
    ] {
        run(&lab, words).expect_error(
            2,
            &["tiny-vit@28", "format 99", "the version that wrote it"],
        );
    }
    fs::write(&meta, text).unwrap();
    // As long as a writer lives, nothing is deleted.
    let lock = File::create(lab.path("cache").join(names[1]).join(".lock")).unwrap();
    lock.lock().unwrap();
    run(&lab, &["rm", names[1]]).expect_error(2, &["tiny-vit@28"]);
    drop(lock);
    // A full disk, on which `.lock` cannot be written, does not keep anyone from making room.
    fs::write(&left, "begun").unwrap();
    for command in ["gc", "rm"] {
        let mut limited = Command::new("sh");
        let extract = program("extract");
        limited
            .args(["-c", "trap '' XFSZ; ulimit -f 0; exec \"$@\"", "sh"])
            .arg(extract.get_program())
            .args([command, names[1], "--cache"])
            .arg(lab.path("cache"));
        Run::of(&mut limited).expect(0);
        assert!(!left.exists());
    }
    assert!(!lab.path("cache").join(names[1]).exists());
    run(&lab, &["verify"]).expect(0);
}
