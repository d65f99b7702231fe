//! Datasets that a user describes in a TOML file, recipes, and views.

use cache::{CacheReader, Labels, Split};

use crate::lab::{Lab, Run, gzip, masks, nifti, project, ramp, runtime};

/// Runs `extract` over a card beside the data.
fn extract(lab: &Lab, card: &str, more: &[&str]) -> Run {
    let card = lab.path(card);
    let mut command = lab.extract_command(card.to_str().unwrap(), &lab.path("data"));
    Run::of(command.args(more))
}

#[test]
fn a_toml_file_names_layout_labels_and_recipes() {
    let lab = Lab::new();
    for (k, name) in ["sick/a", "well/b", "sick/c"].iter().enumerate() {
        lab.png(&format!("data/{name}.png"), k as u32, k as u32);
    }
    lab.write(
        "data/mine.toml",
        "name = 'mine'\nlayout = 'folder'\nclasses = ['well', 'sick']\n\
         [recipe.default]\nintensity = 'window:0:100'\nrescale = 'bounds'\n\
         [recipe.other]\nintensity = 'percentile:5:95'\n",
    );
    extract(&lab, "data/mine.toml", &[]).expect(0);
    let reader = CacheReader::open(&lab.cache()).unwrap();
    assert_eq!(reader.meta().classes, ["well", "sick"]);
    let labels: Vec<_> = reader
        .slices()
        .unwrap()
        .into_iter()
        .map(|s| s.labels)
        .collect();
    assert_eq!(labels, [1, 1, 0].map(|class| Labels::Single(Some(class))));
    assert_eq!(reader.meta().preprocess["intensity"], "window:0:100");
    assert_eq!(reader.meta().preprocess["rescale"], "bounds");

    let recipe = |name| extract(&lab, "data/mine.toml", &["--recipe", name]);
    recipe("other").expect_error(2, &["intensity", "window:0:100"]);
    recipe("third").expect_error(2, &["third", "default`, `other"]);
}

#[test]
fn a_card_that_is_wrong_is_named_with_the_key() {
    let lab = Lab::new();
    lab.write(
        "data/mine.toml",
        "name = 'mine'\nlayout = 'folder'\nintensty = 'x'\n",
    );
    extract(&lab, "data/mine.toml", &[]).expect_error(2, &["mine.toml", "intensty"]);
    lab.write("data/mine.toml", "name = 'mine'\nlayout = 'folders'\n");
    extract(&lab, "data/mine.toml", &[]).expect_error(2, &["folders", "manifest"]);
}

#[test]
fn a_volume_is_cut_in_the_plane_that_is_asked_for() {
    let lab = Lab::new();
    lab.write("data/a.nii.gz", gzip(&nifti([6, 5, 4], &ramp([6, 5, 4]))));
    let csv = lab.write("data/manifest.csv", "image,split\na.nii.gz,train\n");
    for (slicing, count, shape) in [
        ("axial", 4, (5, 6)),
        ("coronal", 5, (4, 6)),
        ("stored-i-yz", 6, (5, 4)),
    ] {
        let _ = std::fs::remove_dir_all(lab.path("cache"));
        lab.extract("manifest", &csv, &["--slicing", slicing])
            .expect(0);
        let reader = CacheReader::open(&lab.cache()).unwrap();
        let slices = reader.slices().unwrap();
        assert_eq!(slices.len(), count, "{slicing}");
        assert_eq!((slices[0].height, slices[0].width), shape, "{slicing}");
        assert_eq!(reader.meta().preprocess["slicing"], slicing);
    }
}

#[test]
fn views_are_rows_beside_the_plain_slice_with_their_own_masks() {
    let lab = Lab::new();
    let shape = [9, 9, 3];
    let mask: Vec<f32> = (0..243).map(|i| f32::from(u8::from(i % 9 < 3))).collect();
    lab.write("a.nii", nifti(shape, &ramp(shape)));
    lab.write("m.nii", nifti(shape, &mask));
    lab.write("classes.csv", "value,name\n1,organ\n");
    let csv = lab.write("manifest.csv", "image,mask,split\na.nii,m.nii,train\n");
    lab.extract("manifest", &csv, &["--views", "4", "--batch-size", "2"])
        .expect(0);
    let reader = CacheReader::open(&lab.cache()).unwrap();
    let slices = reader.slices().unwrap();
    let rows: Vec<_> = slices.iter().map(|s| (s.slice, s.view)).collect();
    let expected: Vec<_> = (0..3).flat_map(|k| (0..5).map(move |v| (k, v))).collect();
    assert_eq!(rows, expected);
    assert!(slices.iter().all(|s| s.split == Some(Split::Train)));
    assert_eq!(reader.meta().preprocess["views"]["augment"], "flip-rotate");
    for (slice, mask) in slices.iter().zip(masks(&reader)) {
        let shown = mask.unwrap().iter().any(|&value| value == 1);
        assert_eq!(slice.labels, Labels::Multi(vec![Some(i8::from(shown))]));
    }
    let masks = masks(&reader);
    let plain = masks[0].as_ref().unwrap();
    assert_eq!((plain[[0, 0]], plain[[8, 0]]), (1, 0));
    assert!((1..5).all(|view| masks[view].as_ref().unwrap() != plain));
    let cls = reader.cls(1).unwrap();
    assert!((1..5).all(|view| cls.row(view) != cls.row(0)));
}

#[test]
fn a_run_with_views_that_was_stopped_ends_like_one_that_was_not() {
    let lab = Lab::new();
    let csv = lab.manifest(5);
    let options = ["--views", "2", "--batch-size", "2", "--shard-rows", "4"];
    lab.extract("manifest", &csv, &options).expect(0);
    let whole = crate::lab::snapshot(&lab.cache());
    let meta = lab.cache().join("meta.json");
    let mut json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&meta).unwrap()).unwrap();
    json["shards"].as_array_mut().unwrap().truncate(2);
    (json["rows"], json["complete"]) = (8.into(), false.into());
    std::fs::write(&meta, serde_json::to_vec_pretty(&json).unwrap()).unwrap();
    lab.extract("manifest", &csv, &options).expect(0);
    assert_eq!(crate::lab::snapshot(&lab.cache()), whole);
}

/// A NIfTI that says how the patient lies: its first axis runs to the right, or to the left.
fn placed(shape: [i16; 3], voxels: &[f32], right: f32) -> Vec<u8> {
    let mut bytes = nifti(shape, voxels);
    bytes[254..256].copy_from_slice(&1_i16.to_le_bytes());
    for (row, step) in [right, 2.0, 3.0].into_iter().enumerate() {
        let at = 280 + 16 * row + 4 * row;
        bytes[at..at + 4].copy_from_slice(&step.to_le_bytes());
    }
    bytes
}

#[test]
fn a_mask_lies_as_its_image_or_is_refused() {
    let lab = Lab::new();
    let shape = [4, 3, 2];
    let mask: Vec<f32> = (0..24).map(|i| f32::from(u8::from(i % 4 == 0))).collect();
    lab.write("a.nii", placed(shape, &ramp(shape), 1.0));
    lab.write("m.nii", nifti(shape, &mask));
    lab.write("classes.csv", "value,name\n1,organ\n");
    let csv = lab.write("manifest.csv", "image,mask\na.nii,m.nii\n");
    lab.extract("manifest", &csv, &["--slicing", "axial"])
        .expect(0);
    let masks = masks(&CacheReader::open(&lab.cache()).unwrap());
    // Stored at the patient's left, and so shown on the right.
    let shown = masks[0].as_ref().unwrap();
    assert_eq!(shown.dim(), (3, 4));
    assert!(
        shown
            .rows()
            .into_iter()
            .all(|row| row.to_vec() == [0, 0, 0, 1])
    );

    lab.write("m.nii", placed(shape, &mask, -1.0));
    std::fs::remove_dir_all(lab.path("cache")).unwrap();
    lab.extract("manifest", &csv, &[])
        .expect_error(2, &["m.nii", "a.nii", "reorient the mask"]);
}

#[test]
fn ranges_of_stored_slices_are_not_taken_for_those_of_another_plane() {
    let lab = Lab::new();
    let shape = [4, 3, 5];
    lab.write("a.nii", placed(shape, &ramp(shape), 1.0));
    let csv = lab.write("manifest.csv", "image,slices\na.nii,1-2\n");
    lab.extract("manifest", &csv, &["--slicing", "axial"])
        .expect_error(2, &["a.nii", "stored-k-xy"]);
    std::fs::remove_dir_all(lab.path("cache")).unwrap();
    lab.extract("manifest", &csv, &[]).expect(0);
    let slices = CacheReader::open(&lab.cache()).unwrap().slices().unwrap();
    assert_eq!(slices.iter().map(|s| s.slice).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(slices[0].patient.as_deref(), Some("a"));
}

#[test]
fn channels_are_normalised_by_the_model_s_statistics_or_by_imagenet_s_as_the_recipe_says() {
    let lab = Lab::new();
    let card = std::fs::read_to_string(project().join("onnx_models/tiny-vit.toml")).unwrap();
    let start = card.find("mean = ").unwrap();
    let end = card.find("licence = ").unwrap();
    let own = "mean = [0.5, 0.5, 0.5]\nstd = [0.25, 0.25, 0.25]\n";
    lab.write(
        "home/onnx_models/tiny-vit.toml",
        format!("{}{own}{}", &card[..start], &card[end..]),
    );
    let weights = std::fs::read(project().join("onnx_models/tiny-vit.safetensors")).unwrap();
    lab.write("home/onnx_models/tiny-vit.safetensors", weights);
    let manifest = lab.manifest(3);
    let std = |more: &[&str]| {
        let mut command = lab.extract_command("manifest", &manifest);
        command
            .env("SLICEBANK_HOME", lab.path("home"))
            .env("ORT_DYLIB_PATH", runtime());
        Run::of(command.args(more)).expect(0);
        let meta = CacheReader::open(&lab.cache()).unwrap().meta().clone();
        std::fs::remove_dir_all(lab.path("cache")).unwrap();
        meta.preprocess["std"][0].as_f64().unwrap()
    };
    assert_eq!(std(&[]), 0.25);
    assert!((std(&["--normalise", "imagenet"]) - 0.229).abs() < 1e-6);
}

#[test]
fn a_crop_is_refused_where_masks_or_views_would_not_lie_as_the_tokens() {
    let lab = Lab::new();
    let manifest = lab.manifest(3);
    let crop = ["--resize", "bicubic-squash-crop"];
    lab.extract("manifest", &manifest, &crop).expect(0);
    let meta = CacheReader::open(&lab.cache()).unwrap().meta().clone();
    assert_eq!(meta.preprocess["resize"], "bicubic-squash-crop");
    lab.extract(
        "manifest",
        &manifest,
        &[&crop[..], &["--views", "1"]].concat(),
    )
    .expect_error(2, &["bicubic-squash-crop", "--views", "masks"]);
}
