use std::fs;

use imaging::read::Reader;

use super::*;
use crate::dataset::fixtures::{folder, write};

/// A PNG of one bit per pixel: `1 0 0 / 0 1 0`.
const LEFT: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x03\0\0\0\x02\x01\0\0\0\0\xb5\x0f[\xb7\
                      \0\0\0\x0cIDATx\x9cch`p\0\0\x01\xc4\0\xc1\x98f5\x16\0\0\0\0IEND\xaeB`\x82";

/// The same: `0 0 1 / 0 1 0`.
const RIGHT: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x03\0\0\0\x02\x01\0\0\0\0\xb5\x0f[\xb7\
                       \0\0\0\x0cIDATx\x9ccP`R\0\0\0\x88\0C\x97'\x8e\xa4\0\0\0\0IEND\xaeB`\x82";

const NAMES: [&str; 3] = [
    "MCUCXR_0001_0.png",
    "MCUCXR_0104_1.png",
    "MCUCXR_0399_1.png",
];

fn original() -> tempfile::TempDir {
    let root = folder(&[
        ("download/MontgomerySet/CXR_png/Thumbs.db", "x"),
        ("download/MontgomerySet/CXR_png/._MCUCXR_0001_0.png", "x"),
        (
            "download/MontgomerySet/ClinicalReadings/MCUCXR_0001_0.txt",
            "normal\r\n",
        ),
        (
            "download/MontgomerySet/NLM-MontgomeryCXRSet-ReadMe.pdf",
            "%PDF",
        ),
    ]);
    let set = root.path().join("download/MontgomerySet");
    for name in NAMES {
        write(&set, &format!("CXR_png/{name}"), RIGHT);
        write(&set, &format!("ManualMask/leftMask/{name}"), LEFT);
        write(&set, &format!("ManualMask/rightMask/{name}"), RIGHT);
    }
    root
}

fn merged() -> tempfile::TempDir {
    folder(&[
        ("Lung Segmentation/CXR_png/MCUCXR_0001_0.png", "x"),
        ("Lung Segmentation/CXR_png/CHNCXR_0001_0.png", "x"),
        ("Lung Segmentation/CXR_png/CHNCXR_0327_1.png", "x"),
        ("Lung Segmentation/masks/MCUCXR_0001_0.png", "x"),
        ("Lung Segmentation/masks/CHNCXR_0001_0_mask.png", "x"),
        ("Lung Segmentation/masks/.ipynb_checkpoints/x.png", "x"),
        ("Lung Segmentation/test/CHNCXR_0500_1.png", "x"),
    ])
}

fn listed(root: &Path, change: impl Fn(&mut DatasetCard)) -> Result<Dataset, Error> {
    let mut card = DatasetCard::find("montgomery").unwrap();
    change(&mut card);
    super::super::open(&card, root)
}

fn classes(dataset: &Dataset) -> Vec<(u16, &str)> {
    let classes = dataset.mask_classes.iter();
    classes
        .map(|class| (class.value, class.name.as_str()))
        .collect()
}

#[test]
fn both_lungs_are_parts_of_the_mask() {
    let root = original();
    let dataset = listed(root.path(), |_| ()).unwrap();
    assert!(dataset.root.ends_with("MontgomerySet") && dataset.labels_from_mask);
    assert_eq!(dataset.name, "montgomery");
    assert_eq!(classes(&dataset), [(1, "left lung"), (2, "right lung")]);
    let part = |folder: &str, value| MaskPart {
        source: Source::File(format!("ManualMask/{folder}/MCUCXR_0104_1.png").into()),
        value: Some(value),
    };
    let expected = Sample {
        id: "MCUCXR_0104_1".to_owned(),
        mask: vec![part("leftMask", 1), part("rightMask", 2)],
        patient: Some("MCUCXR_0104".to_owned()),
        labels: Labels::Multi(vec![None, None]),
        ..Sample::of_image(Source::File("CXR_png/MCUCXR_0104_1.png".into()))
    };
    assert_eq!(dataset.samples.len(), 3);
    assert_eq!(dataset.samples[1], expected);
    assert!(dataset.warnings.is_empty());
}

#[test]
fn masks_of_one_bit_are_read() {
    let root = original();
    let dataset = listed(root.path(), |_| ()).unwrap();
    let reader = Reader::new(&dataset.root);
    let [left, right] = &dataset.samples[0].mask[..] else {
        panic!("{:?}", dataset.samples[0].mask)
    };
    let above_0 = |part: &MaskPart| {
        let mask = reader.volume(&part.source).unwrap().label_plane(0).unwrap();
        mask.mapv(|label| label > 0).into_iter().collect::<Vec<_>>()
    };
    assert_eq!(above_0(left), [true, false, false, false, true, false]);
    assert_eq!(above_0(right), [false, false, true, false, true, false]);
}

#[test]
fn names_tell_tuberculosis() {
    let root = original();
    let with_classes = |names: &'static [&str]| {
        move |card: &mut DatasetCard| {
            card.classes = names.iter().map(|name| (*name).to_owned()).collect();
        }
    };
    let dataset = listed(root.path(), with_classes(&["normal", "tuberculosis"])).unwrap();
    assert_eq!(dataset.task, Task::SingleLabel);
    assert!(!dataset.labels_from_mask && classes(&dataset).len() == 2);
    let labels = dataset.samples.iter().map(|sample| sample.labels.clone());
    assert!(labels.eq([0, 1, 1].map(|class| Labels::Single(Some(class)))));
    assert_eq!(dataset.samples[0].mask.len(), 2);
    let text = listed(root.path(), with_classes(&["healthy", "sick"]))
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("`normal`, `tuberculosis`") && text.contains("hint:"),
        "{text}"
    );
}

#[test]
fn merged_masks_are_of_one_class_and_some_are_missing() {
    let root = merged();
    let dataset = listed(root.path(), |_| ()).unwrap();
    assert_eq!(classes(&dataset), [(1, "lung")]);
    let ids: Vec<&str> = dataset.samples.iter().map(|s| s.id.as_str()).collect();
    assert_eq!(ids, ["CHNCXR_0001_0", "CHNCXR_0327_1", "MCUCXR_0001_0"]);
    let mask = MaskPart {
        source: Source::File("masks/CHNCXR_0001_0_mask.png".into()),
        value: Some(1),
    };
    assert_eq!(dataset.samples[0].mask, [mask]);
    assert!(dataset.samples[1].mask.is_empty());
    assert_eq!(dataset.samples[1].patient.as_deref(), Some("CHNCXR_0327"));
    assert_eq!(
        dataset.warnings,
        ["no mask for 1 of 3 images (`CHNCXR_0327_1.png`)"]
    );
}

#[test]
fn no_mask_at_all_is_refused() {
    let root = folder(&[
        ("CXR_png/MCUCXR_0001_0.png", "x"),
        ("masks/readme.txt", "x"),
    ]);
    let text = listed(root.path(), |card| card.options.allow_missing = true).unwrap_err();
    let text = text.to_string();
    assert!(
        text.contains("no whole mask for 1 image") && text.contains("hint: unpack"),
        "{text}"
    );
}

#[test]
fn half_a_mask_is_refused_or_left_out() {
    let root = original();
    let set = root.path().join("download/MontgomerySet");
    fs::remove_file(set.join("ManualMask/rightMask/MCUCXR_0104_1.png")).unwrap();
    fs::remove_file(set.join("CXR_png/MCUCXR_0399_1.png")).unwrap();
    let text = listed(root.path(), |_| ()).unwrap_err().to_string();
    for part in [
        "no whole mask for 1 image (`MCUCXR_0104_1.png`)",
        "no image for 2 masks (`ManualMask/leftMask/MCUCXR_0399_1.png`",
        "hint: unpack",
        "`--allow-missing`",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let dataset = listed(root.path(), |card| card.options.allow_missing = true).unwrap();
    assert_eq!(dataset.samples.len(), 2);
    assert!(dataset.samples[1].mask.is_empty() && dataset.warnings.len() == 1);
}

#[test]
fn other_folders_and_names_are_explained() {
    let root = original();
    let set = root.path().join("download/MontgomerySet");
    let text = listed(&set.join("CXR_png"), |_| ())
        .unwrap_err()
        .to_string();
    assert!(text.contains("hint: pass the folder above it"), "{text}");
    for name in [
        "MCUCXR_0001_0 (1).png",
        "MCUCXR_0001_2.png",
        "1.png",
        "_1_0.png",
    ] {
        write(&set, &format!("CXR_png/{name}"), "x");
        let text = listed(root.path(), |_| ()).unwrap_err().to_string();
        assert!(
            text.contains(name) && text.contains("hint: move it"),
            "{text}"
        );
        fs::remove_file(set.join("CXR_png").join(name)).unwrap();
    }
    fs::remove_dir_all(set.join("CXR_png")).unwrap();
    fs::create_dir(set.join("CXR_png")).unwrap();
    let text = listed(root.path(), |_| ()).unwrap_err().to_string();
    assert!(text.contains("found no image"), "{text}");
}
