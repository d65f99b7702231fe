//! What lies beside a dataset and cannot be listed, or leads out of it.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;
use crate::dataset::fixtures::folder;
use crate::dataset::{Dataset, DatasetCard};

fn opened(card: &str, root: &Path) -> Result<Dataset, Error> {
    crate::dataset::open(&DatasetCard::find(card).unwrap(), root)
}

const NIH: &str = "Image Index,Finding Labels,Patient ID\n1.png,Mass,1\n";
const CHEXPERT: &str = "Path,Frontal/Lateral,AP/PA,Cardiomegaly,Edema,Consolidation,Atelectasis,\
                        Pleural Effusion\ntrain/patient00001/study1/view1_frontal.jpg,Frontal,AP,\
                        1,,,,\n";
const JSON: &str = r#"{"name": "Spleen", "labels": {"1": "spleen"}, "channel_names": {"0": "CT"}}"#;

/// Files of a dataset: the first is its table or description.
fn small(card: &str) -> tempfile::TempDir {
    match card {
        "nih-chest-xray" => folder(&[("labels.csv", NIH), ("images/1.png", "x")]),
        "chexpert" => folder(&[
            ("train.csv", CHEXPERT),
            ("train/patient00001/study1/view1_frontal.jpg", "x"),
        ]),
        "amos" => folder(&[
            ("dataset.json", JSON),
            ("imagesTr/amos_0001.nii", "x"),
            ("labelsTr/amos_0001.nii", "x"),
        ]),
        _ => folder(&[
            ("dataset.json", JSON),
            ("imagesTr/a_0000.nii", "x"),
            ("labelsTr/a.nii", "x"),
        ]),
    }
}

#[test]
fn a_table_that_is_a_link_leading_out_is_not_read() {
    for (card, table) in [
        ("nih-chest-xray", "labels.csv"),
        ("nih-chest-xray", "Data_Entry_2017.csv"),
        ("nih-chest-xray", "train_val_list.txt"),
        ("chexpert", "train.csv"),
        ("nnunet", "dataset.json"),
        ("msd-spleen", "dataset.json"),
        ("amos", "dataset.json"),
    ] {
        let root = small(card);
        assert!(opened(card, root.path()).is_ok(), "{card}");
        // Content that would be refused in other words if it were read.
        let outside = folder(&[("secret", "\u{0}")]);
        let _ = fs::remove_file(root.path().join(table));
        symlink(outside.path().join("secret"), root.path().join(table)).unwrap();
        let error = opened(card, root.path()).unwrap_err();
        assert!(
            matches!(error, Error::LinkOutside { .. }),
            "{card} {table}: {error}"
        );
    }
}

#[test]
fn what_is_not_needed_is_left_out_with_a_warning() {
    for card in ["nih-chest-xray", "chexpert"] {
        let root = small(card);
        let outside = folder(&[("secret/patient00009/study1/view1_frontal.jpg", "x")]);
        symlink(outside.path().join("secret"), root.path().join("other")).unwrap();
        symlink("/etc/hostname", root.path().join("LICENSE.txt")).unwrap();
        let dataset = opened(card, root.path()).unwrap();
        assert_eq!(dataset.samples.len(), 1);
        let told = |w: &String| {
            w.contains("skipped folders and links") && w.contains("`LICENSE.txt`, `other`")
        };
        assert!(dataset.warnings.iter().any(told), "{:?}", dataset.warnings);
    }
}

#[test]
fn a_folder_that_cannot_be_listed_and_is_not_needed_stops_nothing() {
    let root = small("chexpert");
    let lost = root.path().join("lost+found");
    fs::create_dir(&lost).unwrap();
    fs::set_permissions(&lost, fs::Permissions::from_mode(0o0)).unwrap();
    let dataset = opened("chexpert", root.path()).unwrap();
    // Nothing is closed to root.
    let is_closed = fs::read_dir(&lost).is_err();
    let told = |w: &String| w.contains("`lost+found`");
    assert_eq!(dataset.warnings.iter().any(told), is_closed);
    fs::set_permissions(&lost, fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn what_is_needed_and_leads_out_is_an_error_that_names_it() {
    let root = small("chexpert");
    let outside = folder(&[("view1_frontal.jpg", "x")]);
    let study = root.path().join("train/patient00001/study1");
    fs::remove_dir_all(&study).unwrap();
    symlink(outside.path(), &study).unwrap();
    let error = opened("chexpert", root.path()).unwrap_err();
    assert!(matches!(error, Error::LinkOutside { .. }), "{error}");
    fs::remove_dir_all(root.path().join("train")).unwrap();
    symlink(outside.path(), root.path().join("train")).unwrap();
    let text = opened("chexpert", root.path()).unwrap_err().to_string();
    assert!(
        text.contains("no image for 1 line")
            && text.contains("skipped folders and links")
            && text.contains("`train`"),
        "{text}"
    );
}
