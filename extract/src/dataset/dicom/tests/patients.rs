//! Patients of series.

use super::*;

#[test]
fn one_patient_in_all_samples_is_told() {
    let root = root(vec![
        ("train/1.dcm", of(Made::axial("1.2", 0.0), "anonymous")),
        ("test/2.dcm", of(Made::axial("1.3", 0.0), "anonymous")),
    ]);
    let warnings = listed(&root).warnings;
    assert_eq!(warnings.len(), 1);
    for word in [
        "samples with one PatientID",
        "): 2, for instance",
        "--allow-patient-overlap",
    ] {
        assert!(warnings[0].contains(word), "no `{word}` in {warnings:?}");
    }
}

#[test]
fn without_a_patient_the_study_or_the_folder_of_a_volume_keeps_samples_together() {
    let of_study = |made: Made| made.with_text(tags::STUDY_INSTANCE_UID, VR::UI, "1.8");
    let dx = |z: f64| Made::axial("1.7", z).with_text(tags::MODALITY, VR::CS, "DX");
    let root = root(vec![
        ("a/1", Made::axial("", 0.0)),
        ("a/2", Made::axial("", 1.0)),
        ("a/3", of_study(dx(0.0))),
        ("a/4", of_study(dx(1.0))),
        ("a/5", dx(2.0)),
    ]);
    let dataset = listed(&root);
    let patients: Vec<_> = dataset
        .samples
        .iter()
        .map(|s| s.patient.as_deref())
        .collect();
    assert_eq!(patients, [Some("a"), Some("1.8"), Some("1.8"), None]);
    has_warning(&dataset, &["without a PatientID", ": 3", "`a/1`"]);
}

#[test]
fn patients_are_told_by_id_or_else_by_folder() {
    let files = |first: &str, second: &str| {
        root(vec![
            ("a/1", of(Made::axial("1.2", 0.0), first)),
            ("b/1", of(Made::axial("1.3", 0.0), second)),
        ])
    };
    let patients = |dataset: &Dataset| -> Vec<Option<String>> {
        dataset
            .samples
            .iter()
            .map(|sample| sample.patient.clone())
            .collect()
    };
    let named = listed(&files("p1", "p2"));
    assert_eq!(patients(&named), [Some("p1".into()), Some("p2".into())]);
    let anonymous = listed(&files("anon", "anon"));
    assert_eq!(patients(&anonymous), [Some("a".into()), Some("b".into())]);
    has_warning(&anonymous, &["PatientID is the same", ": 2", "`a`, `b`"]);
}

#[test]
fn folders_of_one_name_in_two_classes_are_two_patients() {
    for id in ["anon", ""] {
        let names = [
            "train/tb/1/a",
            "test/tb/2/a",
            "train/well/1/a",
            "test/well/1/a",
        ];
        let files = names.iter().zip(2..).map(|(name, k)| {
            let made = Made::axial(&format!("1.{k}"), 0.0);
            (*name, of(made, id))
        });
        let root = root(files.collect());
        let dataset = open(root.path(), &card(&["tb", "well"])).unwrap();
        let patients: Vec<_> = dataset
            .samples
            .iter()
            .map(|s| s.patient.as_deref())
            .collect();
        // In order of ids; one that is in two splits stays one.
        let expected = ["tb/2", "well/1", "tb/1", "well/1"].map(Some);
        assert_eq!(patients, expected);
        let why = match id {
            "" => "no file has a PatientID",
            _ => "PatientID is the same in all files",
        };
        has_warning(&dataset, &[why, ": 3", "`tb/1`"]);
    }
}

#[test]
fn a_patient_id_in_some_files_only_is_told_as_such() {
    let root = root(vec![
        ("a/1", of(Made::axial("1.2", 0.0), "p")),
        ("b/1", of(Made::axial("1.3", 0.0), "")),
    ]);
    has_warning(&listed(&root), &["the same in all files that have one"]);
}

#[test]
fn one_uid_for_two_patients_makes_two_samples() {
    let root = root(vec![
        ("a/1", of(Made::axial("1.2", 0.0), "p1")),
        ("a/2", of(Made::axial("1.2", 1.0), "p1")),
        ("b/1", of(Made::axial("1.2", 0.0), "p2")),
        ("b/2", of(Made::axial("1.2", 1.0), "p2")),
    ]);
    assert_eq!(ids(&listed(&root)), ["a/1.2", "b/1.2"]);
}

#[test]
fn one_uid_for_two_patients_in_one_folder_makes_two_samples_of_their_own_names() {
    let root = root(vec![
        ("1.dcm", of(Made::axial("1.2", 0.0), "p1")),
        ("2.dcm", of(Made::axial("1.2", 1.0), "p1")),
        ("3.dcm", of(Made::axial("1.2", 0.0), "p2")),
        ("4.dcm", of(Made::axial("1.2", 1.0), "p2")),
    ]);
    assert_eq!(ids(&listed(&root)), ["1.2/1.dcm", "1.2/3.dcm"]);
}
