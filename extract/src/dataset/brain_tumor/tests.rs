use hdf5_pure::{DatasetBuilder, FileBuilder};

use super::*;
use crate::dataset::fixtures::folder;

/// A file as MATLAB writes it: an array's columns are the image's rows.
fn mat(fill: impl FnOnce(&mut FileBuilder)) -> Vec<u8> {
    let mut builder = FileBuilder::new();
    builder.with_userblock(512);
    fill(&mut builder);
    let mut bytes = builder.finish().unwrap();
    bytes[..19].copy_from_slice(b"MATLAB 7.3 MAT-file");
    bytes
}

fn slice(patient: &str, label: f64) -> Vec<u8> {
    mat(|file| {
        let mut group = file.create_group("cjdata");
        let units: Vec<u16> = patient.encode_utf16().collect();
        let count = units.len() as u64;
        shaped(
            group.create_dataset("PID").with_u16_data(&units),
            &[count, 1],
        );
        shaped(
            group.create_dataset("label").with_f64_data(&[label]),
            &[1, 1],
        );
        let pixels: Vec<i16> = (0..12).collect();
        shaped(
            group.create_dataset("image").with_i16_data(&pixels),
            &[4, 3],
        );
        let mask: Vec<u8> = (0..12).map(|pixel| u8::from(pixel > 9)).collect();
        shaped(
            group.create_dataset("tumorMask").with_u8_data(&mask),
            &[4, 3],
        );
        file.add_group(group.finish());
    })
}

fn shaped(array: &mut DatasetBuilder, shape: &[u64]) {
    array.with_shape(shape);
}

fn folds(folds: &[f64]) -> Vec<u8> {
    mat(|file| {
        let array = file.create_dataset("cvind");
        shaped(array.with_f64_data(folds), &[1, folds.len() as u64]);
    })
}

fn opened(root: &Path) -> Result<Dataset, Error> {
    open(root, &DatasetCard::find("brain-tumor").unwrap())
}

#[test]
fn slices_are_sorted_by_number_and_know_patient_class_and_fold() {
    let root = folder(&[
        ("b_767-1532/767.mat", slice("MR020260B\0", 2.0)),
        ("b_1-766/10.mat", slice("100360", 1.0)),
        ("b_1-766/2.mat", slice("100360", 3.0)),
        ("b_1-766/._2.mat", b"\0\x05\x16\x07".to_vec()),
        ("cvind.mat", folds(&[1.0, 5.0, 2.0])),
        ("README.txt", b"text".to_vec()),
    ]);
    let dataset = opened(root.path()).unwrap();
    let found: Vec<_> = dataset
        .samples
        .iter()
        .map(|s| {
            (
                &*s.id,
                s.patient.as_deref().unwrap(),
                s.labels.clone(),
                s.fold,
            )
        })
        .collect();
    let single = |class| Labels::Single(Some(class));
    let expected = [
        ("2", "100360", single(2), Some(4)),
        ("10", "100360", single(0), None),
        ("767", "MR020260B", single(1), None),
    ];
    assert_eq!(found, expected);
    assert_eq!(dataset.classes, ["meningioma", "glioma", "pituitary"]);
    assert!(dataset.warnings[0].contains("for 2 files"));
    assert_eq!(dataset.mask_classes[0].name, "tumor");
}

#[test]
fn image_and_mask_are_as_stored_and_axial_transposes_them() {
    use imaging::preprocess::Slicing;
    let root = folder(&[("1.mat", slice("1", 1.0)), ("cvind.mat", folds(&[1.0]))]);
    let dataset = opened(root.path()).unwrap();
    let reader = imaging::read::Reader::new(root.path());
    let sample = &dataset.samples[0];
    let stored = reader.volume(&sample.image).unwrap();
    assert_eq!(stored.shape(0), [1, 4, 3]);
    let shown = stored.cut(Slicing::Axial).unwrap();
    assert_eq!(
        (shown.shape(0), shown.plane(0)[[0, 0, 3]]),
        ([1, 3, 4], 9.0)
    );
    let mask = reader.volume(&sample.mask[0].source).unwrap();
    assert_eq!(mask.label_plane(0).unwrap().sum(), 2);
    assert!(dataset.warnings.is_empty());
}

#[test]
fn folds_may_be_absent_or_unreadable() {
    let old = b"MATLAB 5.0 MAT-file, Platform: PCWIN64".to_vec();
    for (name, bytes) in [("other.mat", old.clone()), ("cvind.mat", old)] {
        let root = folder(&[("1.mat", slice("1", 1.0)), (name, bytes)]);
        let dataset = opened(root.path()).unwrap();
        assert_eq!((dataset.samples.len(), dataset.samples[0].fold), (1, None));
        assert!(dataset.warnings[0].contains("folds are not known"));
    }
}

#[test]
fn bad_files_are_errors_that_name_them() {
    let old = b"MATLAB 5.0 MAT-file, Platform: PCWIN64".to_vec();
    let cut = slice("1", 1.0)[..700].to_vec();
    let cases = [
        ("1.mat", old, "expected version 7.3"),
        ("2.mat", cut, "damaged"),
        ("3.mat", Vec::new(), "empty"),
        ("4.mat", slice("1", 4.0), "1..=3"),
        ("5.mat", slice(" ", 1.0), "blank `cjdata/PID`"),
    ];
    for (name, bytes, reason) in cases {
        let text = opened(folder(&[(name, bytes)]).path())
            .unwrap_err()
            .to_string();
        assert!(text.contains(name) && text.contains(reason), "{text}");
        assert!(text.contains("\nhint: "), "{text}");
    }
}

#[test]
fn broken_files_are_refused_or_left_out_as_the_user_wants() {
    let cut = slice("1", 1.0)[..700].to_vec();
    let root = folder(&[
        ("1.mat", slice("1", 1.0)),
        ("2.mat", cut),
        ("3.mat", Vec::new()),
        ("4.mat", slice("4", 2.0)),
        ("cvind.mat", folds(&[1.0, 2.0, 3.0, 4.0])),
    ]);
    let text = opened(root.path()).unwrap_err().to_string();
    let parts = [
        "2 files",
        "`2.mat`, `3.mat`",
        "damaged",
        "hint: download",
        "`--allow-missing`",
    ];
    assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    let mut card = DatasetCard::find("brain-tumor").unwrap();
    card.options.allow_missing = true;
    let dataset = open(root.path(), &card).unwrap();
    let found: Vec<_> = dataset.samples.iter().map(|s| (&*s.id, s.fold)).collect();
    assert_eq!(found, [("1", Some(0)), ("4", Some(3))]);
    assert!(dataset.warnings[0].contains("`2.mat`, `3.mat`"));
}

#[test]
fn a_card_may_rename_the_three_classes_and_no_more() {
    let root = folder(&[("1.mat", slice("1", 3.0))]);
    let named = |names: &[&str]| {
        let mut card = DatasetCard::find("brain-tumor").unwrap();
        card.classes = names.iter().map(|name| (*name).to_owned()).collect();
        open(root.path(), &card)
    };
    assert_eq!(named(&["a", "Glioma", "c"]).unwrap().classes[2], "c");
    assert_eq!(named(&[]).unwrap().classes, CLASSES);
    for names in [
        &["glioma", "pituitary"][..],
        &["a", "b", "c", "d"],
        &["glioma", "a", "b"],
    ] {
        let text = named(names).unwrap_err().to_string();
        let parts = ["3 names, for `meningioma`, `glioma`", names[0], "\nhint: "];
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    }
}

#[cfg(unix)]
#[test]
fn links_that_lead_out_are_refused_only_where_they_are_named_like_the_data() {
    use std::os::unix::fs::symlink;
    let outside = folder(&[("1.mat", slice("1", 1.0))]);
    let root = folder(&[("2.mat", slice("1", 1.0))]);
    symlink(outside.path(), root.path().join("other")).unwrap();
    let dataset = opened(root.path()).unwrap();
    assert_eq!(dataset.samples.len(), 1);
    assert!(
        dataset.warnings[0].contains("`other`"),
        "{:?}",
        dataset.warnings
    );
    for name in ["1.mat", "brainTumorDataPublic_1-766", "cvind.mat"] {
        let link = root.path().join(name);
        symlink(outside.path().join("1.mat"), &link).unwrap();
        assert!(
            matches!(opened(root.path()), Err(Error::LinkOutside { .. })),
            "{name}"
        );
        std::fs::remove_file(link).unwrap();
    }
}

#[test]
fn two_files_of_one_number_and_no_file_at_all_are_refused() {
    let root = folder(&[("a/1.mat", Vec::new()), ("b/01.mat", Vec::new())]);
    let text = opened(root.path()).unwrap_err().to_string();
    assert!(text.contains("`a/1.mat` and `b/01.mat`"), "{text}");
    let root = folder(&[("a/1.png", Vec::new()), ("cvind.mat", Vec::new())]);
    let text = opened(root.path()).unwrap_err().to_string();
    assert!(text.contains("no file named like `1.mat`"), "{text}");
}
