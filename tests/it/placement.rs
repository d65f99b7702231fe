//! The geometry of slices, and the pictures of them, in a cache.

use std::fs;

use cache::{CacheMeta, CacheReader, SliceMeta};
use common::Picture;
use ndarray::{Array3, Axis, stack};

use crate::lab::{Lab, OBLIQUE, Run, masks, nifti, nifti_at, python, ramp, snapshot};

const SHAPE: [i16; 3] = [6, 5, 4];

const SLICINGS: [&str; 6] = [
    "stored-k-xy",
    "stored-j-xz",
    "stored-i-yz",
    "axial",
    "coronal",
    "sagittal",
];

/// Labels that differ from voxel to voxel, x fastest.
fn labels() -> Vec<f32> {
    (0..120).map(|voxel| (voxel * 7 % 50) as f32).collect()
}

/// A lab with a manifest of one placed volume and its mask.
fn placed() -> Lab {
    let lab = Lab::new();
    lab.write("ct.nii", nifti_at(SHAPE, &ramp(SHAPE), OBLIQUE));
    lab.write("mask.nii", nifti_at(SHAPE, &labels(), OBLIQUE));
    let classes: String = (1..50)
        .map(|value| format!("{value},part {value}\n"))
        .collect();
    lab.write("classes.csv", format!("value,name\n{classes}"));
    lab.write("m.csv", "id,image,mask\n1,ct.nii,mask.nii\n");
    lab
}

fn slices(lab: &Lab) -> Vec<SliceMeta> {
    CacheReader::open(&lab.cache()).unwrap().slices().unwrap()
}

fn pictures(reader: &CacheReader) -> Vec<Picture> {
    let parts = reader.pictures(0).unwrap();
    parts.flat_map(Result::unwrap).collect()
}

#[test]
fn masks_go_back_onto_the_source_however_it_was_cut() {
    let lab = placed();
    let stored = Array3::from_shape_fn((6, 5, 4), |(i, j, k)| labels()[i + 6 * j + 30 * k] as u16);
    for slicing in SLICINGS {
        let options = ["--tokens", "all", "--slicing", slicing];
        lab.extract("manifest", &lab.path("m.csv"), &options)
            .expect(0);
        let reader = CacheReader::open(&lab.cache()).unwrap();
        reader.verify().unwrap();
        assert!(reader.meta().has_placement && reader.meta().has_pictures);
        let masks: Vec<_> = masks(&reader).into_iter().flatten().collect();
        let views: Vec<_> = masks.iter().map(|mask| mask.view()).collect();
        let cut = stack(Axis(0), &views).unwrap();
        let slices = reader.slices().unwrap();
        let placement = slices[0].placement.unwrap();
        assert!(slices.iter().all(|s| s.placement == Some(placement)));
        assert_eq!(placement.as_stored(cut.view()), stored, "{slicing}");
        let (s, h, w) = cut.dim();
        let found = placement.stored_affine([s, h, w]);
        for (found, expected) in found.as_flattened().iter().zip(OBLIQUE.as_flattened()) {
            assert!((found - f64::from(*expected)).abs() < 1e-9, "{slicing}");
        }
        let mut check = python("dev/check_placement.py");
        check.arg(lab.cache());
        check.args([lab.path("ct.nii"), lab.path("mask.nii")]);
        Run::of(&mut check).expect(0);
        fs::remove_dir_all(lab.cache()).unwrap();
    }
}

#[test]
fn a_range_of_slices_and_a_view_are_placed_as_the_whole_source_or_not_at_all() {
    let lab = placed();
    let csv = lab.write("m.csv", "id,image,slices\n1,ct.nii,2-3\n");
    lab.extract("manifest", &csv, &["--views", "1"]).expect(0);
    let slices = slices(&lab);
    let rows: Vec<_> = slices.iter().map(|s| (s.slice, s.view)).collect();
    assert_eq!(rows, [(2, 0), (2, 1), (3, 0), (3, 1)]);
    assert!(slices.iter().all(|s| s.placement.is_none() == (s.view > 0)));
    let affine = slices[0].placement.unwrap().affine;
    // Columns are slice, row, column; the file's are row, column, slice.
    assert_eq!(affine[0], [-2.5, 0.25, f64::from(0.1_f32), 40.0]);
}

#[test]
fn a_source_that_does_not_say_how_it_lies_is_placed_nowhere() {
    let lab = Lab::new();
    lab.write("ct.nii", nifti(SHAPE, &ramp(SHAPE)));
    lab.png("a.png", 0, 0);
    let csv = lab.write("m.csv", "image\nct.nii\na.png\n");
    lab.extract("manifest", &csv, &[]).expect(0);
    assert!(
        CacheReader::open(&lab.cache())
            .unwrap()
            .meta()
            .has_placement
    );
    assert!(slices(&lab).iter().all(|slice| slice.placement.is_none()));
}

#[test]
fn a_picture_is_what_the_backbone_saw() {
    let lab = Lab::new();
    lab.png("a.png", 0, 0);
    lab.png("b.png", 1, 1);
    let csv = lab.write("m.csv", "image\na.png\nb.png\n");
    // Overshoots of the bicubic resize are cut.
    let options = [
        "--pictures",
        "--intensity",
        "window:100:150",
        "--rescale=bounds",
    ];
    lab.extract("manifest", &csv, &options).expect(0);
    let reader = CacheReader::open(&lab.cache()).unwrap();
    for (row, picture) in pictures(&reader).into_iter().enumerate() {
        assert_eq!(picture.dim(), (56, 56));
        // The bright square is at columns 8 to 15 or 24 to 31 of 40, rows 8 to 23 of 32.
        let (inside, outside) = ([17, 39][row], [39, 17][row]);
        assert_eq!((picture[[28, inside]], picture[[28, outside]]), (255, 0));
        assert_eq!((picture[[5, inside]], picture[[50, inside]]), (0, 0));
        assert_eq!(reader.picture(row).unwrap(), picture);
    }
}

#[test]
fn pictures_are_kept_when_asked_for_and_with_masks_and_patch_tokens() {
    let lab = placed();
    let csv = lab.path("m.csv");
    let plain = lab.write("plain.csv", "image\nct.nii\n");
    let cases: [(_, &[&str], bool); 5] = [
        (&csv, &["--tokens", "all"], true),
        (&csv, &["--tokens", "all", "--pictures", "false"], false),
        (&csv, &["--tokens", "cls"], false),
        (&csv, &["--tokens", "cls", "--pictures", "true"], true),
        (&plain, &["--tokens", "all"], false),
    ];
    for (manifest, options, expected) in cases {
        lab.extract("manifest", manifest, options).expect(0);
        let reader = CacheReader::open(&lab.cache()).unwrap();
        assert_eq!(reader.meta().has_pictures, expected, "{options:?}");
        assert_eq!(lab.cache().join("picture").exists(), expected);
        assert_eq!(reader.pictures(0).is_ok(), expected);
        fs::remove_dir_all(lab.cache()).unwrap();
    }
}

#[test]
fn pictures_are_part_of_what_a_run_that_goes_on_must_agree_in() {
    let lab = placed();
    let csv = lab.path("m.csv");
    lab.extract("manifest", &csv, &["--tokens", "all"])
        .expect(0);
    let before = snapshot(&lab.cache());
    let options = ["--tokens", "all", "--pictures", "false"];
    lab.extract("manifest", &csv, &options)
        .expect_error(2, &["`has_pictures`", "true", "false"]);
    assert_eq!(before, snapshot(&lab.cache()));
}

#[test]
fn a_cache_of_an_earlier_version_is_finished_as_it_was_begun() {
    let lab = placed();
    let csv = lab.path("m.csv");
    let options = ["--tokens", "all", "--pictures", "false"];
    lab.extract("manifest", &csv, &options).expect(0);
    let new = CacheMeta::read(&lab.cache()).unwrap();
    assert_eq!(new.model.final_norm, Some(true));
    let version = new.onnxruntime_version.as_deref();
    assert!(version.is_some_and(|version| version.starts_with("1.")));
    let mut begun = CacheMeta {
        has_placement: false,
        has_provenance: false,
        onnxruntime_version: None,
        rows: 0,
        shards: Vec::new(),
        complete: false,
        ..new
    };
    begun.model.final_norm = None;
    let text = serde_json::to_string(&begun).unwrap();
    assert!(
        !["has_p", "final_norm", "onnxruntime"]
            .iter()
            .any(|key| text.contains(key))
    );
    fs::write(lab.cache().join("meta.json"), text).unwrap();
    for said in ["slices", "already complete"] {
        let run = lab
            .extract("manifest", &csv, &["--tokens", "all"])
            .expect(0);
        assert!((run.stdout + &run.stderr).contains(said));
        let reader = CacheReader::open(&lab.cache()).unwrap();
        assert!(!reader.meta().has_placement && !reader.meta().has_pictures);
        assert_eq!(reader.meta().rows, 4);
    }
}
