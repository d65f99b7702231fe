//! What `probe knn` makes of a cache.

use serde_json::Value;

use crate::lab::Lab;

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
    let meta = lab.cache().join("meta.json");
    let text = std::fs::read_to_string(&meta).unwrap();
    std::fs::write(
        &meta,
        text.replace("\"complete\": true", "\"complete\": false"),
    )
    .unwrap();
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
