use cache::{Labels, Split, Task};
use dicom_core::VR;
use dicom_dictionary_std::tags;
use imaging::preprocess::Slicing;
use imaging::read::{Reader, Source};
use tempfile::TempDir;

use super::*;
use crate::made_dicom::Made;

fn root(files: Vec<(&str, Made)>) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, made) in files {
        made.save(&root.path().join(path));
    }
    root
}

fn card(classes: &[&str]) -> DatasetCard {
    DatasetCard {
        classes: classes.iter().map(|&class| class.to_owned()).collect(),
        ..DatasetCard::default()
    }
}

fn listed(root: &TempDir) -> Dataset {
    open(root.path(), &card(&[])).unwrap()
}

fn ids(dataset: &Dataset) -> Vec<&str> {
    dataset
        .samples
        .iter()
        .map(|sample| sample.id.as_str())
        .collect()
}

fn of(made: Made, patient: &str) -> Made {
    made.with_text(tags::PATIENT_ID, VR::LO, patient)
}

fn stack(paths: &[&str]) -> Source {
    Source::Stack(paths.iter().map(PathBuf::from).collect())
}

fn has_warning(dataset: &Dataset, parts: &[&str]) {
    let found = dataset
        .warnings
        .iter()
        .any(|w| parts.iter().all(|part| w.contains(part)));
    assert!(found, "{parts:?}: {:?}", dataset.warnings);
}

#[test]
fn slices_are_ordered_by_place_whatever_they_are_called() {
    let number = |made: Made, n: &str| made.with_text(tags::INSTANCE_NUMBER, VR::IS, n);
    let root = root(vec![
        ("a/CT_1/1.dcm", number(Made::axial("1.2.10", 6.0), "2")),
        ("a/CT_1/10.dcm", number(Made::axial("1.2.10", 0.0), "4")),
        ("a/CT_1/11.dcm", number(Made::axial("1.2.10", 9.0), "1")),
        ("a/CT_1/2.dcm", number(Made::axial("1.2.10", 3.0), "3")),
        ("a/CT_1/IMG0", Made::axial("1.2.11", 1.0)),
        ("a/CT_1/IMG1", Made::axial("1.2.11", 2.0)),
    ]);
    std::fs::write(root.path().join("a/CT_1/notes.txt"), "not dicom").unwrap();
    std::fs::write(
        root.path().join("DICOMDIR"),
        [&[0; 128][..], b"DICM"].concat(),
    )
    .unwrap();
    let dataset = listed(&root);
    assert_eq!(ids(&dataset), ["a/CT_1/1.2.10", "a/CT_1/1.2.11"]);
    let paths = [
        "a/CT_1/10.dcm",
        "a/CT_1/2.dcm",
        "a/CT_1/1.dcm",
        "a/CT_1/11.dcm",
    ];
    assert_eq!(dataset.samples[0].image, stack(&paths));
    assert_eq!(
        dataset.warnings[0],
        "files that are not DICOM, left out: 1, for instance `a/CT_1/notes.txt`"
    );
    has_warning(&dataset, &["without a PatientID", ": 2"]);
    let volume = Reader::new(root.path())
        .volume(&dataset.samples[0].image)
        .unwrap();
    assert_eq!(volume.spacing_mm(), Some([3.0, 0.5, 0.25]));
    let last = |k: usize| volume.plane(k)[[0, 1, 2]];
    assert_eq!([0, 1, 2, 3].map(last), [5.0, 8.0, 11.0, 14.0]);
    // Inferior first, as in an axial cut.
    let plane = volume.plane(0);
    assert_eq!(volume.cut(Slicing::Axial).unwrap().plane(0), plane);
}

#[test]
fn radiographs_and_files_of_several_frames_are_samples_each() {
    let modality = |made: Made, name: &str| made.with_text(tags::MODALITY, VR::CS, name);
    let frames = |made: Made| {
        made.with_short(tags::ROWS, 1)
            .with_text(tags::NUMBER_OF_FRAMES, VR::IS, "2")
    };
    let root = root(vec![
        (
            "p/1.dicom",
            of(modality(Made::axial("1.2", 0.0), "DX"), "p1"),
        ),
        ("p/2.dicom", modality(Made::axial("1.2", 1.0), "DX")),
        ("q/3", of(frames(Made::axial("1.3", 0.0)), "p2")),
        ("q/4", frames(Made::axial("1.3", 1.0))),
        (
            "q/5",
            Made::slice([1, 2], &[1, 2]).with_text(tags::MODALITY, VR::CS, "OT"),
        ),
    ]);
    let dataset = listed(&root);
    assert_eq!(ids(&dataset), ["p/1", "p/2", "q/3", "q/4", "q/5"]);
    assert_eq!(
        (dataset.task, dataset.warnings.len()),
        (Task::Unlabelled, 0)
    );
}

#[test]
fn one_patient_in_all_samples_is_told() {
    let root = root(vec![
        ("train/1.dcm", of(Made::axial("1.2", 0.0), "anonymous")),
        ("test/2.dcm", of(Made::axial("1.3", 0.0), "anonymous")),
    ]);
    let warnings = listed(&root).warnings;
    assert_eq!(warnings.len(), 1);
    for word in [
        "samples that all have one PatientID",
        "): 2, for instance",
        "--allow-patient-overlap",
    ] {
        assert!(warnings[0].contains(word), "no `{word}` in {warnings:?}");
    }
}

#[test]
fn localizers_are_split_off() {
    let turned =
        |made: Made| made.with_text(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, "0\\1\\0\\0\\0\\-1");
    let root = root(vec![
        ("s/1", Made::axial("1.2", 0.0)),
        ("s/2", Made::axial("1.2", 1.0)),
        ("s/3", turned(Made::axial("1.2", 2.0))),
        ("s/4", Made::axial("1.2", 3.0).with_short(tags::ROWS, 1)),
        (
            "s/5",
            Made::axial("1.2", 3.0).without(tags::IMAGE_POSITION_PATIENT),
        ),
    ]);
    let dataset = listed(&root);
    assert_eq!(ids(&dataset), ["s/1.2", "s/3", "s/4", "s/5"]);
    has_warning(
        &dataset,
        &["another size, spacing or direction", ": 2", "`s/3`, `s/4`"],
    );
    has_warning(&dataset, &["without a position", "`s/5`"]);
}

#[test]
fn without_positions_instance_numbers_and_then_names_decide() {
    let blind = |n: Option<&str>| {
        let made = Made::axial("1.2", 0.0).without(tags::IMAGE_POSITION_PATIENT);
        match n {
            Some(n) => made.with_text(tags::INSTANCE_NUMBER, VR::IS, n),
            None => made.with_text(tags::SERIES_INSTANCE_UID, VR::UI, "1.3"),
        }
    };
    let root = root(vec![
        ("a/1", blind(Some("10"))),
        ("a/2", blind(Some("9"))),
        ("b/10", blind(None)),
        ("b/9", blind(None)),
    ]);
    let dataset = listed(&root);
    assert_eq!(dataset.samples[0].image, stack(&["a/2", "a/1"]));
    assert_eq!(dataset.samples[1].image, stack(&["b/9", "b/10"]));
    has_warning(
        &dataset,
        &["ordered by InstanceNumber and name: 2", "`a/1.2`"],
    );
}

#[test]
fn files_without_a_series_are_grouped_by_folder_frame_orientation_and_size() {
    let blank = |z: f64| Made::axial("", z).with_text(tags::PATIENT_ID, VR::LO, "");
    let turned =
        |made: Made| made.with_text(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, "0\\1\\0\\0\\0\\-1");
    let frame = |made: Made| made.with_text(tags::FRAME_OF_REFERENCE_UID, VR::UI, "1.9");
    let dx = |made: Made| made.with_text(tags::MODALITY, VR::CS, "DX");
    let root = root(vec![
        ("a/1", blank(2.0)),
        ("a/2", blank(1.0)),
        ("a/3", blank(0.0)),
        ("a/4", turned(blank(0.0))),
        ("a/5", turned(blank(1.0))),
        ("b/1", blank(0.0)),
        ("b/2", blank(1.0)),
        ("b/3", frame(blank(0.0))),
        ("b/4", frame(blank(1.0))),
        ("c/1", dx(blank(0.0))),
        ("c/2", dx(blank(1.0))),
    ]);
    let dataset = listed(&root);
    assert_eq!(ids(&dataset), ["a/3", "a/4", "b/1", "b/3", "c/1", "c/2"]);
    assert_eq!(dataset.samples[0].image, stack(&["a/3", "a/2", "a/1"]));
    has_warning(&dataset, &["without a SeriesInstanceUID", ": 4", "`a/3`"]);
    // Folders tell patients apart, where PatientID does not.
    assert_eq!(dataset.samples[1].patient.as_deref(), Some("a"));
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
fn splits_beside_other_folders_are_told() {
    let root = root(vec![
        ("train/1.dcm", of(Made::axial("1.2", 0.0), "p1")),
        ("other/2.dcm", of(Made::axial("1.3", 0.0), "p2")),
    ]);
    let dataset = listed(&root);
    has_warning(&dataset, &["named like splits", "`train`"]);
    assert!(dataset.samples.iter().all(|sample| sample.split.is_none()));
}

#[test]
fn duplicates_and_gaps_are_told() {
    let series = |uid: &str, places: &[f64]| -> Vec<Made> {
        places.iter().map(|z| Made::axial(uid, *z)).collect()
    };
    let root = tempfile::tempdir().unwrap();
    for (uid, places) in [
        ("1.1", [0.0, 1.0, 1.0]),
        ("1.2", [0.0, 1.0, 3.0]),
        ("1.3", [0.0, 1.0, 2.0]),
    ] {
        for (k, made) in series(uid, &places).into_iter().enumerate() {
            made.save(&root.path().join(format!("{uid}/{k}")));
        }
    }
    let dataset = listed(&root);
    has_warning(&dataset, &["PatientID"]);
    // A folder that is called like the series is not repeated.
    assert_eq!(ids(&dataset), ["1.1", "1.2", "1.3"]);
    has_warning(&dataset, &["several slices at one position: 1", "`1.1`"]);
    has_warning(&dataset, &["uneven gaps", ": 1", "`1.2`"]);
    assert_eq!(dataset.warnings.len(), 3);
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
fn slices_of_another_spacing_or_modality_are_no_part_of_a_volume() {
    let spaced = |made: Made, mm: &str| made.with_text(tags::PIXEL_SPACING, VR::DS, mm);
    let pet = |made: Made| made.with_text(tags::MODALITY, VR::CS, "PT");
    let root = root(vec![
        ("s/1", of(Made::axial("1.2", 0.0), "p1")),
        ("s/2", of(Made::axial("1.2", 1.0), "p1")),
        ("s/3", of(spaced(Made::axial("1.2", 2.0), "1\\1"), "p1")),
        // Rounding of a decimal.
        (
            "s/4",
            of(spaced(Made::axial("1.2", 3.0), "0.50004\\0.25"), "p1"),
        ),
        ("t/1", of(Made::axial("1.3", 0.0), "p2")),
        ("t/2", of(Made::axial("1.3", 1.0), "p2")),
        ("t/3", of(pet(Made::axial("1.3", 2.0)), "p2")),
        ("t/4", of(pet(Made::axial("1.3", 3.0)), "p2")),
    ]);
    let dataset = listed(&root);
    let images: Vec<_> = dataset.samples.iter().map(|s| s.image.clone()).collect();
    let expected = [
        stack(&["s/1", "s/2", "s/4"]),
        Source::File("s/3".into()),
        stack(&["t/1", "t/2"]),
        stack(&["t/3", "t/4"]),
    ];
    assert_eq!(images, expected);
    has_warning(&dataset, &["another size, spacing", ": 1", "`s/3`"]);
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

#[test]
fn doses_segmentations_and_reports_are_left_out() {
    let class = |made: Made, uid: &str| made.with_text(tags::SOP_CLASS_UID, VR::UI, uid);
    let modality = |made: Made, name: &str| made.with_text(tags::MODALITY, VR::CS, name);
    let root = root(vec![
        ("ct/1", of(Made::axial("1.2", 0.0), "p1")),
        ("ct/2", of(Made::axial("1.3", 0.0), "p2")),
        ("dose", modality(Made::axial("1.4", 0.0), "RTDOSE")),
        (
            "seg",
            class(Made::axial("1.5", 0.0), "1.2.840.10008.5.1.4.1.1.66.4"),
        ),
        ("report", modality(Made::axial("1.6", 0.0), "SR")),
    ]);
    let dataset = listed(&root);
    assert_eq!(ids(&dataset), ["ct/1", "ct/2"]);
    has_warning(
        &dataset,
        &["no images of a patient", "left out: 3", "`dose`"],
    );
}

#[test]
fn folders_are_classes_if_the_card_names_them() {
    let root = root(vec![
        ("train/tb/x/1", of(Made::axial("1.2", 0.0), "p1")),
        ("test/normal/y/1", of(Made::axial("1.3", 0.0), "p1")),
        ("test/other/1", of(Made::axial("1.4", 0.0), "p1")),
    ]);
    let dataset = open(root.path(), &card(&["normal", "tb"])).unwrap();
    assert_eq!(
        ids(&dataset),
        ["test/normal/y/1", "test/other/1", "train/tb/x/1"]
    );
    let labels: Vec<_> = dataset.samples.iter().map(|s| s.labels.clone()).collect();
    let single = Labels::Single;
    assert_eq!(labels, [single(Some(0)), single(None), single(Some(1))]);
    let splits: Vec<_> = dataset.samples.iter().map(|s| s.split).collect();
    assert_eq!(
        splits,
        [Some(Split::Test), Some(Split::Test), Some(Split::Train)]
    );
    assert_eq!(dataset.samples[0].patient.as_deref(), Some("normal/y"));
    has_warning(&dataset, &["samples without a label: 1", "`test/other/1`"]);
}

#[test]
fn labels_may_stand_in_a_table() {
    let root = root(vec![
        ("a/1", of(Made::axial("1.2", 0.0), "p1")),
        ("b/1", of(Made::axial("1.3", 0.0), "p2")),
    ]);
    let table = root.path().join("labels.csv");
    let mut card = card(&[]);
    card.options.manifest = Some("labels.csv".into());
    std::fs::write(&table, "PatientID,label\np1,tb\np1,tb\np9,normal\n").unwrap();
    let dataset = open(root.path(), &card).unwrap();
    assert_eq!(dataset.classes, ["normal", "tb"]);
    assert_eq!(dataset.samples[0].labels, Labels::Single(Some(1)));
    assert_eq!(dataset.samples[1].labels, Labels::Single(None));
    has_warning(
        &dataset,
        &["lines of the table without an image: 1", "`p9`"],
    );
    std::fs::write(&table, "PatientID,label\np1,tb\np1,normal\n").unwrap();
    let text = open(root.path(), &card).unwrap_err().to_string();
    assert!(
        text.contains("line 3") && text.contains("the same labels"),
        "{text}"
    );
    std::fs::write(&table, "PatientID,label\np2,tb\np1,tb|nodule\n").unwrap();
    let text = open(root.path(), &card).unwrap_err().to_string();
    assert!(
        text.contains("`tb|nodule` as the label in line 3") && text.contains("`label_columns`"),
        "{text}"
    );
    card.options.label_columns = vec!["tb".into(), "nodule".into()];
    std::fs::write(&table, "SeriesInstanceUID,nodule,tb\n1.3,1,0\n1.2,,-1\n").unwrap();
    let dataset = open(root.path(), &card).unwrap();
    assert_eq!(
        (dataset.task, &dataset.classes[..]),
        (Task::MultiLabel, &card.options.label_columns[..])
    );
    assert_eq!(
        dataset.samples[0].labels,
        Labels::Multi(vec![Some(-1), None])
    );
    assert_eq!(
        dataset.samples[1].labels,
        Labels::Multi(vec![Some(0), Some(1)])
    );
}

#[test]
fn a_table_may_name_a_folder_or_any_file_of_a_series() {
    let root = root(vec![
        ("p1/ct/1", of(Made::axial("1.2", 0.0), "p1")),
        ("p1/ct/2", of(Made::axial("1.2", 1.0), "p1")),
        ("p2/ct/1", of(Made::axial("1.3", 0.0), "p2")),
        ("p2/ct/2", of(Made::axial("1.3", 1.0), "p2")),
    ]);
    let mut card = card(&[]);
    card.options.manifest = Some("labels.csv".into());
    for (one, two) in [
        ("p1/ct", "p2/ct"),
        ("./p1/ct/", "p2"),
        ("p1\\ct\\2", "p2/ct/1"),
    ] {
        let text = format!("path,label\n{one},tb\n{two},normal\n");
        std::fs::write(root.path().join("labels.csv"), text).unwrap();
        let dataset = open(root.path(), &card).unwrap();
        let labels: Vec<_> = dataset.samples.iter().map(|s| s.labels.clone()).collect();
        assert_eq!(labels, [1, 0].map(|k| Labels::Single(Some(k))), "{one}");
    }
}

#[test]
fn a_damaged_or_empty_slice_makes_its_whole_series_unreadable() {
    for length in [400, 0] {
        let root = root(vec![
            ("a/1.dcm", Made::axial("1.2", 0.0)),
            ("a/2.dcm", Made::axial("1.2", 1.0)),
            ("a/3.dcm", Made::axial("1.2", 2.0)),
            ("b/1.dcm", Made::axial("1.3", 0.0)),
            ("b/2.dcm", Made::axial("1.3", 1.0)),
        ]);
        let path = root.path().join("a/2.dcm");
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..length]).unwrap();
        let dataset = listed(&root);
        assert_eq!(ids(&dataset), ["a/1.2", "b/1.3"]);
        let reader = Reader::new(root.path());
        let error = reader.volume(&dataset.samples[0].image).unwrap_err();
        assert!(error.to_string().contains("2.dcm"), "{error}");
        assert!(reader.volume(&dataset.samples[1].image).is_ok());
    }
}

#[test]
fn a_folder_without_dicom_says_so() {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("1.png"), "x").unwrap();
    let text = open(root.path(), &card(&[])).unwrap_err().to_string();
    assert!(
        text.contains("1 file and no DICOM image") && text.contains("hint:"),
        "{text}"
    );
}
