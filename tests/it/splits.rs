//! Splits of samples: at extraction, and named ones afterwards.

use cache::{CacheMeta, CacheReader, Split};
use serde_json::Value;

use crate::lab::{Lab, Run, program, snapshot};

/// 12 images of 6 patients in two classes, all in train but the last four.
fn manifest(lab: &Lab) -> std::path::PathBuf {
    let mut csv = String::from("image,label,patient,split\n");
    for i in 0..12 {
        lab.png(&format!("images/{i:04}.png"), i, i);
        let (class, split) = (
            ["left", "right"][i as usize % 2],
            ["train", "test"][i as usize / 8],
        );
        csv += &format!("images/{i:04}.png,{class},p{},{split}\n", i / 2);
    }
    lab.write("images.csv", csv)
}

/// Numbers of train, val, test and none, and the patients of test.
fn splits(slices: &[cache::SliceMeta]) -> ([usize; 4], Vec<String>) {
    let wanted = [
        Some(Split::Train),
        Some(Split::Val),
        Some(Split::Test),
        None,
    ];
    let sizes = wanted.map(|wanted| slices.iter().filter(|s| s.split == wanted).count());
    let test = slices.iter().filter(|s| s.split == Some(Split::Test));
    let mut patients: Vec<String> = test.filter_map(|s| s.patient.clone()).collect();
    patients.dedup();
    (sizes, patients)
}

fn split(lab: &Lab, words: &[&str]) -> Run {
    Run::of(lab.split("images").args(words))
}

#[test]
fn a_rule_divides_by_patient_and_the_cache_keeps_its_words() {
    let lab = Lab::new();
    let rule = ["--split", "systematic:test=2,val=1"];
    lab.extract("manifest", &manifest(&lab), &rule).expect(0);
    let reader = CacheReader::open(&lab.cache()).unwrap();
    assert_eq!(reader.meta().split.as_deref(), Some(rule[1]));
    let (sizes, test) = splits(&reader.slices().unwrap());
    assert_eq!(sizes, [6, 2, 4, 0]);
    assert_eq!(test, ["p0", "p3"]);
}

#[test]
fn splits_are_made_before_the_limit() {
    let lab = Lab::new();
    let options = ["--split", "systematic:test=2,val=1", "--limit", "3"];
    lab.extract("manifest", &manifest(&lab), &options).expect(0);
    let slices = CacheReader::open(&lab.cache()).unwrap().slices().unwrap();
    let (sizes, test) = splits(&slices);
    assert_eq!((slices.len(), sizes), (3, [1, 1, 1, 0]));
    assert!(test == ["p0"] || test == ["p3"], "{test:?}");
}

#[test]
fn a_patient_in_two_splits_is_an_error_unless_it_is_allowed() {
    let lab = Lab::new();
    for i in 0..4 {
        lab.png(&format!("{i}.png"), i, i);
    }
    let csv = "image,patient,split\n0.png,a,train\n1.png,a,test\n2.png,b,train\n3.png,b,test\n";
    let csv = lab.write("m.csv", csv);
    lab.extract("manifest", &csv, &[]).expect_error(
        2,
        &[
            "in several splits: 2",
            "`a` in train and test, `b`",
            "--allow-patient-overlap",
        ],
    );
    assert!(!lab.path("cache").exists());
    let run = lab
        .extract("manifest", &csv, &["--allow-patient-overlap"])
        .expect(0);
    assert!(
        run.stderr
            .contains("warning: patients in several splits: 2"),
        "{run:?}"
    );
}

#[test]
fn unknown_patients_are_warned_of_once() {
    let lab = Lab::new();
    for i in 0..4 {
        lab.png(&format!("{i}.png"), i, i);
    }
    let csv = lab.write("m.csv", "image\n0.png\n1.png\n2.png\n3.png\n");
    let run = lab
        .extract("manifest", &csv, &["--split", "random:0.5:0.25:0.25"])
        .expect(0);
    assert_eq!(
        run.stderr.matches("4 of 4 samples have no patient").count(),
        1
    );
}

#[test]
fn a_rule_that_cannot_be_is_an_error_with_a_hint() {
    let lab = Lab::new();
    let manifest = manifest(&lab);
    lab.extract(
        "manifest",
        &manifest,
        &["--split", "systematic:test=70,val=50"],
    )
    .expect_error(
        2,
        &["`systematic:test=70,val=50`", "6 patients", "at least 121"],
    );
    lab.extract("manifest", &manifest, &["--split", "randomly"])
        .expect_error(2, &["`randomly`", "`random:"]);
}

#[test]
fn a_table_of_splits_in_a_card_is_found_beside_it() {
    let lab = Lab::new();
    manifest(&lab);
    let rows = (0..6).map(|p| format!("p{p},{}\n", ["train", "test"][p % 2]));
    lab.write(
        "my/splits.csv",
        format!("patient,split\n{}", rows.collect::<String>()),
    );
    let card = "name = \"mine\"\nlayout = \"manifest\"\n[options]\nmanifest = \"../images.csv\"\n\
                [recipe.default]\nsplit = \"file:splits.csv\"\n";
    let card = lab.write("my/card.toml", card);
    let mut command = program("extract");
    command
        .args(["--model", "tiny-vit", "--dataset"])
        .arg(&card);
    command.arg("--cache").arg(lab.path("cache"));
    Run::of(&mut command).expect(0);
    let cache = lab.path("cache/mine/tiny-vit@56");
    let slices = CacheReader::open(&cache).unwrap().slices().unwrap();
    assert_eq!(
        splits(&slices),
        ([6, 0, 6, 0], vec!["p1".into(), "p3".into(), "p5".into()])
    );
}

#[test]
fn a_named_split_is_written_beside_the_tokens_and_probed() {
    let lab = Lab::new();
    lab.extract("manifest", &manifest(&lab), &[]).expect(0);
    let before = snapshot(&lab.cache());
    let run = split(&lab, &["--rule", "kfold:3:1:7", "--name", "fold1"]).expect(0);
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert!(lines[0].starts_with("cache"), "{run:?}");
    for (line, name) in lines[1..].iter().zip(["train", "val", "test"]) {
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words[1..], [name, "4", "4", "2"]);
    }
    let reader = CacheReader::open(&lab.cache()).unwrap();
    assert_eq!(reader.splits().unwrap(), ["fold1"]);
    assert_eq!(reader.named_split("fold1").unwrap().rule, "kfold:3:1:7");
    let mut after = snapshot(&lab.cache());
    after.retain(|(path, _)| !path.starts_with("splits") && !path.starts_with("checksums/splits"));
    assert_eq!(before, after);

    let probed = |words: &[&str]| -> Value {
        let words = [&["--k", "3", "--format", "json"], words].concat();
        serde_json::from_str(&lab.probe(&words).expect(0).stdout).unwrap()
    };
    let default = probed(&[]);
    assert_eq!(
        (&default["n_train"], &default["n_test"]),
        (&8.into(), &4.into())
    );
    assert!(default.get("split_name").is_none());
    let named = probed(&["--split", "fold1", "--train", "train"]);
    assert_eq!(
        (&named["n_train"], &named["n_test"]),
        (&4.into(), &4.into())
    );
    assert_eq!(named["split_name"], "fold1");
    assert_eq!(named["split_sha256"].as_str().unwrap().len(), 64);
    lab.probe(&["--k", "3", "--split", "fold9"])
        .expect_error(2, &["tiny-vit@56", "no split `fold9`", "`fold1`"]);
}

#[test]
fn a_cache_that_is_not_finished_is_left_out_and_the_others_are_split() {
    let lab = Lab::new();
    let manifest = manifest(&lab);
    lab.extract("manifest", &manifest, &[]).expect(0);
    let bad = lab.path("cache/images/other@56");
    std::fs::create_dir_all(&bad).unwrap();
    let meta = std::fs::read_to_string(lab.cache().join("meta.json")).unwrap();
    let meta = meta.replace("\"complete\": true", "\"complete\": false");
    std::fs::write(bad.join("meta.json"), meta).unwrap();
    let words = ["--rule", "none", "--name", "empty"];
    split(&lab, &words).expect_error(1, &["other@56"]);
    let one = [&words[..], &["--model", "tiny-vit", "--format", "json"]].concat();
    let line: Value = serde_json::from_str(&split(&lab, &one).expect(0).stdout).unwrap();
    assert_eq!(line["none"]["samples"], 12);
    assert_eq!(line["rule"], "none");
    let one = [&words[..], &["--model", "nothing"]].concat();
    split(&lab, &one).expect_error(2, &["images/nothing@*"]);
}

#[test]
fn a_split_of_another_rule_is_replaced_only_if_that_is_asked_for() {
    let lab = Lab::new();
    lab.extract("manifest", &manifest(&lab), &[]).expect(0);
    let rule =
        |rule: &str, more: &[&str]| split(&lab, &[&["--name", "s", "--rule", rule], more].concat());
    rule("none", &[]).expect(0);
    rule("none", &[]).expect(0);
    let run = rule("kfold:3:0", &[]).expect_error(2, &["`s`", "made by `none`", "`--force`"]);
    assert!(run.stdout.is_empty());
    rule("kfold:3:0", &["--force"]).expect(0);
    let reader = CacheReader::open(&lab.cache()).unwrap();
    assert_eq!(reader.named_split("s").unwrap().rule, "kfold:3:0");
}

#[test]
fn official_splits_come_from_the_cache_only_where_it_keeps_them() {
    let lab = Lab::new();
    let manifest = manifest(&lab);
    let extracted = ["--split", "kfold:3:0"];
    lab.extract("manifest", &manifest, &extracted).expect(0);
    let official = ["--rule", "official", "--name", "official"];
    split(&lab, &official).expect_error(2, &["`kfold:3:0`", "--root"]);

    let again = Lab::new();
    let manifest = self::manifest(&again);
    let extracted = ["--split", "official:val=2"];
    again.extract("manifest", &manifest, &extracted).expect(0);
    split(&again, &official).expect(0);
    let reader = CacheReader::open(&again.cache()).unwrap();
    assert_eq!(splits(&reader.slices().unwrap()).0, [6, 2, 4, 0]);
    let (named, _) = reader.slices_with_split("official").unwrap();
    assert_eq!(splits(&named).0, [8, 0, 4, 0]);
}

#[test]
fn official_splits_are_seen_in_the_download() {
    let lab = Lab::new();
    manifest(&lab);
    let card = "name = \"images\"\nlayout = \"manifest\"\n[options]\nmanifest = \"images.csv\"\n";
    let card = lab.write("card.toml", card);
    let root = lab.path("");
    lab.extract(card.to_str().unwrap(), &root, &["--split", "kfold:3:0"])
        .expect(0);
    let mut command = lab.split(card.to_str().unwrap());
    command.args(["--rule", "official", "--name", "o", "--root"]);
    Run::of(command.arg(&root)).expect(0);
    let (named, _) = CacheReader::open(&lab.cache())
        .unwrap()
        .slices_with_split("o")
        .unwrap();
    assert_eq!(splits(&named).0, [8, 0, 4, 0]);
}

#[test]
fn a_cache_of_another_name_is_split_after_its_download() {
    let lab = Lab::new();
    let text = std::fs::read_to_string(manifest(&lab)).unwrap();
    let text = text.replace("label", "class");
    let table = lab.write("other.csv", text.replace("left", "0").replace("right", "1"));
    let columns = ["--label-columns", "class"];
    let extracted = [&["--split", "kfold:3:0"], &columns[..]].concat();
    lab.extract("manifest", &table, &extracted).expect(0);
    let split = |more: &[&str]| {
        let mut command = lab.split("manifest");
        command.args(["--rule", "official", "--name", "o", "--root"]);
        Run::of(command.arg(&table).args(columns).args(more))
    };
    split(&[]).expect_error(2, &["no cache of `", "--cache-name"]);
    split(&["--cache-name", "images"]).expect(0);
    let (named, _) = CacheReader::open(&lab.cache())
        .unwrap()
        .slices_with_split("o")
        .unwrap();
    assert_eq!(splits(&named).0, [8, 0, 4, 0]);
}

#[test]
fn a_skipped_sample_does_not_spoil_a_table() {
    let lab = Lab::new();
    let manifest = manifest(&lab);
    lab.write("images/0005.png", "");
    lab.extract("manifest", &manifest, &[]).expect(1);
    assert_eq!(CacheMeta::read(&lab.cache()).unwrap().skipped.len(), 1);
    let rows = (0..12).map(|i| format!("images/{i:04},test\n"));
    let table = lab.write(
        "s.csv",
        format!("sample,split\n{}", rows.collect::<String>()),
    );
    let rule = format!("file:{}", table.display());
    split(&lab, &["--rule", &rule, "--name", "all-test"]).expect(0);
    let unknown = lab.write("s.csv", "sample,split\nimages/0000,test\nother,val\n");
    let rule = format!("file:{}", unknown.display());
    split(&lab, &["--rule", &rule, "--name", "bad"])
        .expect_error(2, &["s.csv", "does not name 10 samples"]);
}
