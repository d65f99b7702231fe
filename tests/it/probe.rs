//! The probes on a cache.

use serde_json::Value;

use crate::lab::{Lab, nifti, unfinished};

#[test]
fn classes_that_look_different_are_told_apart_from_the_cache_alone() {
    let lab = Lab::new();
    lab.extract("manifest", &lab.manifest(60), &[]).expect(0);
    std::fs::remove_dir_all(lab.path("images")).unwrap();
    let run = lab.probe(&["--k", "3,10", "--format", "json"]).expect(0);
    let records: Vec<Value> = run
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(records.len(), 2);
    for (record, k) in records.iter().zip([3, 10]) {
        assert_eq!(record["params"]["k"], k);
        assert_eq!(record["n_train"], 40);
        assert_eq!(record["n_test"], 20);
        assert!(record["metrics"]["auroc_macro"].as_f64().unwrap() > 0.99);
        assert!(record["metrics"]["accuracy"].as_f64().unwrap() > 0.9);
    }
    let saved = std::fs::read_to_string(lab.path("runs/knn.jsonl")).unwrap();
    assert_eq!(saved.lines().count(), 2);
}

#[test]
fn an_unfinished_or_missing_cache_is_refused() {
    let lab = Lab::new();
    lab.probe(&["--k", "3"]).expect_error(2, &["cache"]);
    lab.extract("manifest", &lab.manifest(6), &[]).expect(0);
    unfinished(&lab.cache());
    lab.probe(&["--k", "3"])
        .expect_error(2, &["tiny-vit@56", "not finished", "extract"]);
}

#[test]
fn a_damaged_shard_is_named() {
    let lab = Lab::new();
    lab.extract("manifest", &lab.manifest(6), &[]).expect(0);
    let shard = lab.cache().join("cls/00000.parquet");
    let bytes = std::fs::read(&shard).unwrap();
    std::fs::write(&shard, &bytes[..bytes.len() - 9]).unwrap();
    lab.probe(&["--k", "3"])
        .expect_error(2, &["cls/00000.parquet", "size in bytes"]);
}

/// A manifest of images in three splits, `views` augmented views of each in the cache.
pub fn three_splits(lab: &Lab, more: &[&str]) {
    let mut csv = String::from("image,label,split\n");
    for i in 0..60u32 {
        lab.png(&format!("images/{i:04}.png"), i, i);
        let (class, split) = (
            ["left", "right"][i as usize % 2],
            ["train", "val", "test"][i as usize / 20],
        );
        csv += &format!("images/{i:04}.png,{class},{split}\n");
    }
    lab.extract("manifest", &lab.write("images.csv", csv), more)
        .expect(0);
}

#[test]
fn a_linear_head_is_chosen_on_val_trained_anew_and_tested_and_the_same_again() {
    let lab = Lab::new();
    three_splits(&lab, &["--views", "2"]);
    let grid = ["--epochs", "30", "--batch-size", "8", "--format", "json"];
    let run = |more: &[&str]| -> Value {
        let words = [&grid[..], &["--force"], more].concat();
        let run = lab.probe_with("linear", &words).expect(0);
        assert_eq!(run.stdout.lines().count(), 1);
        serde_json::from_str(&run.stdout).unwrap()
    };
    let record = run(&[]);
    assert_eq!(
        (&record["n_train"], &record["n_test"]),
        (&40.into(), &20.into())
    );
    assert_eq!(record["params"]["unit"], "slice");
    assert!(
        record["params"]["val_auroc_macro"].as_f64().unwrap() > 0.95,
        "{record}"
    );
    assert!(
        record["metrics"]["auroc_macro"].as_f64().unwrap() > 0.95,
        "{record}"
    );
    let again = run(&["--threads", "1"]);
    assert_eq!(again["metrics"], record["metrics"]);
    assert_eq!(again["params"], record["params"]);
    assert_eq!(again["ci"], record["ci"]);
    let one = run(&["--blocks", "1", "--lr", "0.01"]);
    assert_eq!(one["params"]["blocks"], 1);
}

#[test]
fn slices_of_a_sample_with_one_label_count_as_one_volume() {
    let lab = Lab::new();
    let mut csv = String::from("id,image,label,split\n");
    for i in 0..24usize {
        let bright =
            |k: usize| if i % 2 == 0 { k % 7 } else { (k / 6) % 5 } as f32 + (i as f32) / 50.0;
        let voxels: Vec<f32> = (0..6 * 6 * 4).map(bright).collect();
        lab.write(&format!("{i}.nii"), nifti([6, 6, 4], &voxels));
        csv += &format!(
            "{i},{i}.nii,{},{}\n",
            ["a", "b"][i % 2],
            ["train", "val", "test"][i / 8]
        );
    }
    lab.extract("manifest", &lab.write("m.csv", csv), &[])
        .expect(0);
    let run = lab
        .probe_with("linear", &["--format", "json", "--batch-size", "4"])
        .expect(0);
    let record: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(record["params"]["unit"], "volume");
    assert_eq!(
        (&record["n_train"], &record["n_test"]),
        (&16.into(), &8.into())
    );
    let run = lab
        .probe_with("linear", &["--format", "json", "--unit", "slice"])
        .expect(0);
    let record: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(
        (&record["n_train"], &record["n_test"]),
        (&64.into(), &32.into())
    );
}

#[test]
fn without_val_a_part_of_train_takes_its_place_and_is_told_of() {
    let lab = Lab::new();
    lab.extract("manifest", &lab.manifest(24), &[]).expect(0);
    let run = |words: &[&str]| {
        let run = lab
            .probe_with(words[0], &[&words[1..], &["--format", "json"]].concat())
            .expect(0);
        let line = run.stdout.lines().next().unwrap().to_owned();
        (serde_json::from_str::<Value>(&line).unwrap(), run.stderr)
    };
    for (words, patients) in [
        (&["linear", "--epochs", "2"][..], 3),
        (&["logreg", "--C", "0.1,1"], 2),
        (&["knn", "--k", "3,5"], 3),
        (&["linear", "--val-share", "0.5", "--seed", "3"], 8),
    ] {
        let (record, told) = run(words);
        assert_eq!(record["chosen_on"], "val");
        assert_eq!(record["n_train"], 16);
        let held_out = &record["params"]["val_from_train"];
        assert_eq!(
            (&held_out["patients"], &held_out["of"]),
            (&patients.into(), &16.into())
        );
        let text = format!("no `val`: {patients} patients of the 16 in `train`");
        assert!(told.contains(&text), "{told}");
    }
    let (alone, _) = run(&["linear", "--train", "train", "--epochs", "2"]);
    assert_eq!(alone["n_train"], 13);
    for words in [
        &["linear", "--epochs", "2"][..],
        &["logreg", "--C", "0.1,1"],
    ] {
        let (record, told) = run(&[words, &["--protocol", "paper"]].concat());
        assert_eq!(record["chosen_on"], "test");
        assert!(record["params"].get("val_from_train").is_none());
        assert!(told.contains("chosen on test"), "{told}");
    }
}

#[test]
fn heads_are_chosen_by_accuracy_where_classes_are_exclusive() {
    let lab = Lab::new();
    three_splits(&lab, &[]);
    for (probe, words) in [
        ("linear", &["--lr", "dinov2", "--batch-size", "8"][..]),
        ("logreg", &["--C", "1,10"]),
    ] {
        let words = [words, &["--select", "accuracy", "--format", "json"]].concat();
        let run = lab.probe_with(probe, &words).expect(0);
        let record: Value = serde_json::from_str(&run.stdout).unwrap();
        assert_eq!(record["params"]["select"], "accuracy");
        assert!(record["params"]["val_accuracy"].as_f64().unwrap() > 0.9);
        if probe == "linear" {
            let rates = record["params"]["grid_learning_rates"].as_array().unwrap();
            assert_eq!(rates.len(), 13);
            let last = rates[12].as_f64().unwrap();
            assert!((last - 0.1 * 8.0 / 256.0).abs() < 1e-8);
        }
    }
    let multi = Lab::new();
    let mut csv = String::from("image,labels,split\n");
    for i in 0..12u32 {
        multi.png(&format!("images/{i}.png"), i, i);
        let (labels, split) = (
            ["a", "a|b", "b"][i as usize % 3],
            ["train", "val", "test"][i as usize / 4],
        );
        csv += &format!("images/{i}.png,{labels},{split}\n");
    }
    multi
        .extract("manifest", &multi.write("images.csv", csv), &[])
        .expect(0);
    multi
        .probe_with("logreg", &["--select", "accuracy"])
        .expect_error(2, &["several", "--select auroc"]);
}

#[test]
fn diverged_heads_are_refused() {
    let lab = Lab::new();
    three_splits(&lab, &[]);
    lab.probe_with("linear", &["--lr", "3e38", "--epochs", "30"])
        .expect_error(2, &["diverged", "--lr"]);
}
