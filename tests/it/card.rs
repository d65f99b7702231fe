//! Datasets that a user describes in a TOML file, recipes, and views.

use cache::{CacheReader, Labels, Split};

use crate::lab::{Lab, Run, gzip, nifti, ramp};

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
    let masks = reader.masks(0).unwrap();
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
