//! `extract relabel`: other labels of finished caches, and runs that use them.

mod heads;
mod replaced;

use std::fs;
use std::path::{Path, PathBuf};

use cache::{CacheReader, Labels, Task};
use serde_json::Value;

use crate::lab::{Lab, Run, changed_at, masks, nifti, program, ramp, snapshot};

fn relabel(lab: &Lab, name: &str, words: &[&str]) -> Run {
    let mut command = program("extract");
    command.args(["relabel", "--name", name]).args(words);
    Run::of(command.arg("--cache").arg(lab.path("cache")))
}

/// Labels of the lab's manifest by a table.
fn by_table(lab: &Lab, name: &str, table: &Path, more: &[&str]) -> Run {
    let table = table.to_str().unwrap();
    let words = ["images/tiny-vit@56", "--labels", table];
    relabel(lab, name, &[&words, more].concat())
}

fn extract(lab: &Lab, words: &[&str]) -> Run {
    let mut command = program("extract");
    Run::of(command.args(words).arg("--cache").arg(lab.path("cache")))
}

/// A table of the lab's images in which every class is the other one.
fn flipped(lab: &Lab, images: u32) -> PathBuf {
    let mut csv = String::from("sample,label\n");
    for i in 0..images {
        let class = ["right", "left"][i as usize % 2];
        csv += &format!("images/{i:04},{class}\n");
    }
    lab.write("flipped.csv", csv)
}

fn labels(lab: &Lab, name: &str) -> (Vec<String>, Vec<Labels>) {
    let reader = CacheReader::open(&lab.cache()).unwrap();
    let reader = reader.with_labels(name).unwrap();
    let slices = reader.slices().unwrap();
    let labels = slices.into_iter().map(|slice| slice.labels).collect();
    (reader.meta().classes.clone(), labels)
}

/// Labels of a manifest, read again.
fn by_manifest(lab: &Lab, name: &str, manifest: &Path) -> Run {
    let root = manifest.to_str().unwrap();
    let words = ["--dataset", "manifest", "--root", root, "--cache-name"];
    relabel(lab, name, &[&words[..], &["images"]].concat())
}

fn records(lab: &Lab, probe: &str) -> Vec<Value> {
    let text = fs::read_to_string(lab.path("runs").join(format!("{probe}.jsonl"))).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn other_labels_change_results_and_the_old_ones_stay() {
    let lab = Lab::new();
    lab.extract("manifest", &lab.manifest(24), &[]).expect(0);
    let (before, meta) = (
        labels(&lab, "original"),
        fs::read(lab.cache().join("meta.json")),
    );
    lab.probe(&["--k", "3"]).expect(0);
    let run = by_table(&lab, "flipped", &flipped(&lab, 24), &[]).expect(0);
    assert!(
        run.stdout.contains("single-label") && run.stdout.contains("24"),
        "{run:?}"
    );
    let one = |class| Labels::Single(Some(class));
    let (classes, new) = labels(&lab, "flipped");
    assert_eq!(classes, ["left", "right"]);
    assert_eq!((&new[0], &new[1]), (&one(1), &one(0)));
    assert_eq!(labels(&lab, "original"), before);
    assert_eq!(
        fs::read(lab.cache().join("meta.json")).unwrap(),
        meta.unwrap()
    );

    // The extraction's labels are the default, and nothing of their runs changes.
    for words in [&["--k", "3"][..], &["--k", "3", "--labels", "original"]] {
        let run = lab.probe(words).expect(0);
        assert!(run.stderr.contains("is recorded already"), "{run:?}");
    }
    let words = ["--k", "3", "--labels", "flipped"];
    let run = lab.probe(&words).expect(0);
    assert!(!run.stderr.contains("is recorded already"), "{run:?}");
    assert!(
        lab.probe(&words)
            .expect(0)
            .stderr
            .contains("is recorded already")
    );
    let found = records(&lab, "knn");
    assert_eq!(found.len(), 2, "{found:#?}");
    assert_ne!(found[0]["key"], found[1]["key"]);
    assert_ne!(found[0]["examples_sha256"], found[1]["examples_sha256"]);
    assert!(found[0].get("labels_name").is_none(), "{}", found[0]);
    assert_eq!(found[1]["labels_name"], "flipped");
    assert_eq!(found[1]["settings"]["labels"], "flipped");
    assert_eq!(found[1]["labels_sha256"].as_str().unwrap().len(), 64);
}

#[test]
fn task_classes_and_patients_may_change() {
    let lab = Lab::new();
    lab.extract("manifest", &lab.manifest(6), &[]).expect(0);
    let mut csv = String::from("image,patient,bright,dark\n");
    for i in 0..6 {
        let state = ["1,0", "0,-1", ",1"][i as usize % 3];
        csv += &format!("images/{i:04}.png,q{i},{state}\n");
    }
    let table = lab.write("many.csv", csv);
    by_table(&lab, "many", &table, &["--label-columns", "dark,bright"]).expect(0);
    let reader = CacheReader::open(&lab.cache()).unwrap();
    let reader = reader.with_labels("many").unwrap();
    assert_eq!(reader.meta().task, Task::MultiLabel);
    assert_eq!(reader.meta().classes, ["dark", "bright"]);
    let slices = reader.slices().unwrap();
    assert_eq!(slices[1].labels, Labels::Multi(vec![Some(-1), Some(0)]));
    assert_eq!(slices[2].labels, Labels::Multi(vec![Some(1), None]));
    assert_eq!(slices[2].patient.as_deref(), Some("q2"));

    // Patients alone, and classes that the extraction did not know.
    let patients: String = (0..6).map(|i| format!("images/{i:04},a{i}\n")).collect();
    let table = lab.write("patients.csv", format!("sample,patient\n{patients}"));
    by_table(&lab, "patients", &table, &[]).expect(0);
    assert_eq!(labels(&lab, "patients"), labels(&lab, "original"));
    let rows: String = (0..6)
        .map(|i| format!("images/{i:04},c{}\n", 9 + i % 2))
        .collect();
    let table = lab.write("new.csv", format!("sample,label\n{rows}"));
    by_table(&lab, "new", &table, &[]).expect(0);
    assert_eq!(labels(&lab, "new").0, ["c9", "c10"]);

    let list = extract(&lab, &["ls", "--wide"]).expect(0).stdout;
    assert!(list.contains("original, many, new, patients"), "{list}");
    let show = extract(&lab, &["show", "images/tiny-vit@56"])
        .expect(0)
        .stdout;
    assert!(show.contains("made_by: table:many.csv"), "{show}");
    let run = extract(&lab, &["verify"]).expect(0);
    assert!(run.stdout.contains("no fault"), "{run:?}");
}

#[test]
fn a_table_that_leaves_a_doubt_is_refused_by_name() {
    let lab = Lab::new();
    lab.extract("manifest", &lab.manifest(6), &[]).expect(0);
    let before = snapshot(&lab.cache());
    let whole: Vec<String> = (0..6).map(|i| format!("images/{i:04},left\n")).collect();
    let refused = |rows: &str, words: &[&str]| {
        let table = lab.write("t.csv", format!("sample,label\n{rows}"));
        by_table(&lab, "x", &table, &[]).expect_error(2, words);
    };
    refused(
        &whole[..4].concat(),
        &["t.csv", "2 samples", "`images/0004`", "blank label"],
    );
    let other = whole.concat().replace("images/", "img/");
    refused(&other, &["6 samples", "`images/0000`, and", "`img/0000`"]);
    let more = whole.concat() + "images/0006,left\n";
    refused(&more, &["t.csv", "1 sample", "`images/0006`"]);
    let twice = whole.concat() + "images/0000,right\n";
    refused(&twice, &["`images/0000`", "line 8", "line 2"]);
    refused(
        &whole.concat().replace(",left", ",-1"),
        &["t.csv", "line 2"],
    );
    let table = lab.write("t.csv", "sample,finding\nimages/0000,x\n");
    by_table(&lab, "x", &table, &[]).expect_error(2, &["`sample`, `finding`", "--label-columns"]);
    let table = lab.write("t.csv", format!("name,label\n{}", whole.concat()));
    by_table(&lab, "x", &table, &[]).expect_error(2, &["`sample` or `image`"]);
    for name in ["original", "../x", ""] {
        let table = lab.write("t.csv", format!("sample,label\n{}", whole.concat()));
        by_table(&lab, name, &table, &[]).expect_error(2, &["not a name for labels"]);
    }
    let patients = (0..6).map(|i| format!("images/{i:04},left,p\n"));
    let table = lab.write(
        "t.csv",
        format!("sample,label,patient\n{}", patients.collect::<String>()),
    );
    let words = [
        "patients in several splits",
        "`patient` of the table that `--labels` names",
    ];
    by_table(&lab, "x", &table, &[]).expect_error(2, &words);
    relabel(
        &lab,
        "x",
        &["other/tiny-vit@56", "--labels", table.to_str().unwrap()],
    )
    .expect_error(2, &["no cache here"]);
    assert_eq!(snapshot(&lab.cache()), before);
    by_table(&lab, "x", &table, &["--allow-patient-overlap"]).expect(0);
    lab.probe(&["--k", "3", "--labels", "y"])
        .expect_error(2, &["no labels `y`", "`x`"]);
}

#[test]
fn masks_are_read_again_without_the_backbone() {
    const SHAPE: [i16; 3] = [20, 16, 3];
    let lab = Lab::new();
    let mask = |above: f32| {
        let values: Vec<f32> = ramp(SHAPE).iter().map(|v| f32::from(*v > above)).collect();
        nifti(SHAPE, &values)
    };
    for name in ["a", "b"] {
        lab.write(&format!("ct/{name}.nii"), nifti(SHAPE, &ramp(SHAPE)));
        lab.write(&format!("ct/{name}-mask.nii"), mask(50.0));
    }
    lab.write("ct/classes.csv", "value,name\n1,bright\n");
    let list = lab.write(
        "ct/list.csv",
        "image,mask\na.nii,a-mask.nii\nb.nii,b-mask.nii\n",
    );
    let small = ["--batch-size", "2", "--shard-rows", "2"];
    lab.extract("manifest", &list, &small).expect(0);
    let before = masks(&CacheReader::open(&lab.cache()).unwrap());
    lab.write("ct/a-mask.nii", mask(20.0));
    let root = list.to_str().unwrap();
    let words = [
        "--dataset",
        "manifest",
        "--root",
        root,
        "--cache-name",
        "images",
    ];
    let run = relabel(&lab, "wider", &words).expect(0);
    assert!(run.stdout.contains("replaced"), "{run:?}");
    let reader = CacheReader::open(&lab.cache()).unwrap();
    assert_eq!(masks(&reader), before);
    let reader = reader.with_labels("wider").unwrap();
    let after = masks(&reader);
    let area = |mask: &common::Mask| mask.iter().filter(|value| **value > 0).count();
    assert!(area(after[0].as_ref().unwrap()) > area(before[0].as_ref().unwrap()));
    let slices = reader.slices().unwrap();
    assert_eq!(slices.len(), 6);
    assert_eq!(slices[0].labels, Labels::Multi(vec![Some(1)]));
    extract(&lab, &["verify"]).expect(0);

    // A set stays until another one is finished.
    let again = [&words[..], &["--force"]].concat();
    let whole = snapshot(&lab.cache());
    let other: Vec<f32> = ramp(SHAPE).iter().map(|value| value * 2.0).collect();
    let image = lab.write("ct/b.nii", nifti(SHAPE, &other));
    changed_at(&image, 1_700_000_000);
    relabel(&lab, "wider", &again).expect_error(2, &["1 source file changed", "`b.nii`"]);
    lab.write("ct/b.nii", nifti(SHAPE, &ramp(SHAPE)));
    lab.write("ct/b-mask.nii", "");
    relabel(&lab, "wider", &again).expect_error(2, &["b-mask.nii"]);
    assert_eq!(snapshot(&lab.cache()), whole);
    lab.write("ct/b-mask.nii", mask(20.0));
    relabel(&lab, "wider", &again).expect(0);
    let reader = CacheReader::open(&lab.cache()).unwrap();
    let wider = masks(&reader.with_labels("wider").unwrap());
    assert!(area(wider[1].as_ref().unwrap()) > area(before[1].as_ref().unwrap()));
    extract(&lab, &["verify"]).expect(0);

    fs::remove_file(lab.path("ct/b.nii")).unwrap();
    relabel(&lab, "gone", &words).expect_error(2, &["b.nii"]);
}

#[test]
fn labels_of_other_images_are_refused() {
    let lab = Lab::new();
    let list = lab.manifest(6);
    lab.extract("manifest", &list, &[]).expect(0);
    let before = snapshot(&lab.cache());
    for (file, kind) in [("images/0000.png", 1), ("images/0001.png", 0)] {
        changed_at(&lab.png(file, kind, kind), 1_700_000_000);
    }
    by_manifest(&lab, "x", &list).expect_error(
        2,
        &[
            "2 source files changed",
            "`images/0000.png`, `images/0001.png`",
        ],
    );
    assert_eq!(snapshot(&lab.cache()), before);
    lab.manifest(6);
    by_manifest(&lab, "x", &list).expect(0);
}

#[test]
fn damaged_labels_are_found_by_verify_and_never_used() {
    let lab = Lab::new();
    lab.extract("manifest", &lab.manifest(12), &[]).expect(0);
    by_table(&lab, "x", &flipped(&lab, 12), &[]).expect(0);
    for file in ["labels/x/slices/00000.parquet", "labels/x/labels.json"] {
        let path = lab.cache().join(file);
        let whole = fs::read(&path).unwrap();
        for at in [5, whole.len() / 3, whole.len() / 2, whole.len() - 20] {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs::write(&path, bytes).unwrap();
            let run = extract(&lab, &["verify"]).expect(1);
            assert!(run.stdout.contains("labels/x/"), "{run:?}");
            lab.probe(&["--k", "3", "--labels", "x"])
                .expect_error(2, &["labels/x/"]);
        }
        fs::write(&path, whole).unwrap();
    }
    extract(&lab, &["verify"]).expect(0);
}

#[test]
fn tables_may_have_the_names_that_the_cache_has_hashed() {
    let lab = Lab::new();
    lab.extract("manifest", &lab.manifest(6), &["--mask-paths"])
        .expect(0);
    by_table(&lab, "x", &flipped(&lab, 6), &[]).expect(0);
    assert_eq!(labels(&lab, "x").1[0], Labels::Single(Some(1)));

    // Patients are hashed as those of the extraction, also beside names that are hashed already.
    let reader = CacheReader::open(&lab.cache()).unwrap();
    let original = reader.slices().unwrap();
    let mut names: Vec<String> = (0..6).map(|i| format!("images/{i:04}")).collect();
    for set in ["plain", "hashed"] {
        let rows = names.iter().enumerate();
        let rows: String = rows.map(|(i, name)| format!("{name},p{i}\n")).collect();
        let table = lab.write("p.csv", format!("sample,patient\n{rows}"));
        by_table(&lab, set, &table, &[]).expect(0);
        let reader = CacheReader::open(&lab.cache()).unwrap();
        let reader = reader.with_labels(set).unwrap();
        assert_eq!(reader.slices().unwrap(), original);
        names = original.iter().map(|slice| slice.sample.clone()).collect();
    }
}

#[test]
fn parts_of_a_cache_get_no_labels_or_splits() {
    let lab = Lab::new();
    let list = lab.manifest(6);
    lab.extract("manifest", &list, &["--shard", "1/2"])
        .expect(0);
    let part = lab.cache().join("parts/1-of-2");
    let before = snapshot(&part);
    let rows: String = (0..3).map(|i| format!("images/{i:04},left\n")).collect();
    let table = lab.write("t.csv", format!("sample,label\n{rows}"));
    let (part, table) = (part.to_str().unwrap(), table.to_str().unwrap());
    let words = ["this is a part of a cache", "extract merge"];
    relabel(&lab, "x", &[part, "--labels", table]).expect_error(2, &words);
    assert_eq!(snapshot(Path::new(part)), before);
}

#[test]
fn checksums_may_be_left_out() {
    let lab = Lab::new();
    lab.extract("manifest", &lab.manifest(24), &[]).expect(0);
    let path = lab.cache().join("cls/00000.parquet");
    let mut bytes = fs::read(&path).unwrap();
    bytes[700] ^= 1;
    fs::write(&path, bytes).unwrap();
    lab.probe(&["--k", "3"])
        .expect_error(2, &["wrong checksum"]);
    lab.probe(&["--k", "3", "--no-verify"]).expect(0);
}
