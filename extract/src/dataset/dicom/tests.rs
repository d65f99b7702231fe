mod labels;
mod patients;

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
    let skipped = "skipped files that are not DICOM: 1, for instance `a/CT_1/notes.txt`";
    assert!(dataset.warnings.iter().any(|warning| warning == skipped));
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
    has_warning(&dataset, &["not images (doses", "reports): 3", "`dose`"]);
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
