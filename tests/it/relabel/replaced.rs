//! Labels that replace others of their name.

use std::fs;
use std::process::Command;

use cache::Labels;

use super::{by_table, extract, flipped, labels};
use crate::lab::{Lab, Run, project, snapshot};

#[test]
fn labels_of_a_name_are_replaced_only_by_force() {
    let lab = Lab::new();
    lab.extract("manifest", &lab.manifest(6), &[]).expect(0);
    let table = flipped(&lab, 6);
    by_table(&lab, "x", &table, &[]).expect(0);
    let before = snapshot(&lab.cache());
    let rows: String = (0..6).map(|i| format!("images/{i:04},left\n")).collect();
    let table = lab.write("t.csv", format!("sample,label\n{rows}"));
    by_table(&lab, "x", &table, &[]).expect_error(2, &["labels `x` already", "--force"]);
    assert_eq!(snapshot(&lab.cache()), before);
    let classes: Vec<String> = (0..4098).map(|i| format!("c{i}")).collect();
    let rows = classes.chunks(683).enumerate();
    let rows: String = rows
        .map(|(i, names)| format!("images/{i:04},{}\n", names.join("|")))
        .collect();
    let many = lab.write("many.csv", format!("sample,labels\n{rows}"));
    by_table(&lab, "x", &many, &["--force"])
        .expect_error(2, &["number of classes is 4098", "correct the table"]);
    assert_eq!(snapshot(&lab.cache()), before);
    by_table(&lab, "x", &table, &["--force"]).expect(0);
    assert_eq!(labels(&lab, "x").1, vec![Labels::Single(Some(0)); 6]);
    extract(&lab, &["verify"]).expect(0);

    // The files of the old set are gone; those that a stop leaves beside a set are not read, and replaced.
    let names = |folder: &str| -> Vec<String> {
        let entries = fs::read_dir(lab.cache().join(folder)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    };
    assert_eq!(names("labels/x"), ["labels.json", "slices-1"]);
    assert_eq!(names("checksums/labels/x"), ["slices-1"]);
    lab.write(
        "cache/images/tiny-vit@56/labels/x/slices-2/00000.parquet",
        "begun",
    );
    assert_eq!(labels(&lab, "x").1, vec![Labels::Single(Some(0)); 6]);
    by_table(&lab, "x", &flipped(&lab, 6), &["--force"]).expect(0);
    assert_eq!(labels(&lab, "x").1[0], Labels::Single(Some(1)));
    assert_eq!(names("labels/x"), ["labels.json", "slices-2"]);
    by_table(&lab, "x", &table, &["--force"]).expect(0);

    let read =
        "import sys, slicebank; print(*slicebank.open(sys.argv[1], labels='x').slices['label'])";
    let mut python = Command::new(project().join(".venv-test/bin/python"));
    python.args(["-c", read]).arg(lab.cache());
    let run = Run::of(python.env("PYTHONPATH", project().join("python"))).expect(0);
    assert_eq!(run.stdout.trim(), ["left"; 6].join(" "));

    // Tables without a description are no label set that can be read, and stay.
    fs::remove_file(lab.cache().join("labels/x/labels.json")).unwrap();
    lab.probe(&["--k", "3", "--labels", "x"])
        .expect_error(2, &["no labels `x`"]);
    let run = extract(&lab, &["gc", "images/tiny-vit@56"]).expect(0);
    assert!(run.stdout.contains("nothing to delete"), "{run:?}");
    assert!(lab.cache().join("labels/x/slices-3/00000.parquet").exists());
    by_table(&lab, "x", &table, &[]).expect(0);
}
