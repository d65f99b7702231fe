//! `extract card`.

use std::fs;

use common::sha256_file;
use serde_json::{Value, json};

use crate::lab::{Lab, Run, program};

#[test]
fn a_card_names_each_file_with_its_hash_and_the_licence_of_the_images() {
    let lab = Lab::new();
    lab.extract(
        "manifest",
        &lab.manifest(9),
        &["--batch-size", "4", "--shard-rows", "4"],
    )
    .expect(0);
    let card = |words: &[&str]| {
        let mut command = program("extract");
        let command = command.args(["card", "images/tiny-vit@56"]).args(words);
        Run::of(command.arg("--cache").arg(lab.path("cache")))
    };
    card(&[]).expect_error(2, &["--licence", "no built-in dataset"]);
    let words = [
        "--licence",
        "CC BY 4.0",
        "--url",
        "https://example.org/images",
    ];
    card(&words).expect(0);
    let text = fs::read_to_string(lab.cache().join("croissant.json")).unwrap();
    let croissant: Value = serde_json::from_str(&text).unwrap();
    let files = croissant["distribution"].as_array().unwrap();
    let (set, files) = files.split_last().unwrap();
    assert_eq!(set["includes"], "slices/*.parquet");
    assert_eq!(files.len(), 3 * 3);
    for file in files {
        let path = lab.cache().join(file["contentUrl"].as_str().unwrap());
        assert_eq!(file["sha256"], sha256_file(&path).unwrap());
        let bytes = format!("{} B", fs::metadata(&path).unwrap().len());
        assert_eq!(file["contentSize"], bytes);
    }
    // `scripts/dev/check_croissant.py` reads the rows by these.
    let [classes, rows] = &croissant["recordSet"].as_array().unwrap()[..] else {
        panic!("{croissant}");
    };
    assert_eq!(
        classes["data"][1],
        json!({"classes/index": 1, "classes/name": "right"})
    );
    let fields = rows["field"].as_array().unwrap().iter();
    let columns: Vec<_> = fields
        .map(|field| &field["source"]["extract"]["column"])
        .collect();
    for column in ["row", "sample", "patient", "split", "stored_axes", "label"] {
        assert!(columns.contains(&&json!(column)), "{column}");
    }
    let readme = fs::read_to_string(lab.cache().join("README.md")).unwrap();
    for words in [
        "CC BY 4.0",
        "| train | 6 | 6 |",
        "| test | 3 | 3 |",
        "https://example.org/images",
    ] {
        assert!(readme.contains(words), "no {words}: {readme}");
    }
    assert!(!readme.contains(&*lab.path("").to_string_lossy()));
    // Text of a user is no Markdown, and adds neither cells nor lines.
    let odd = ["--licence", "a | b\n# *c*", "--url", "https://x.org/?a|b"];
    card(&odd).expect(0);
    let readme = fs::read_to_string(lab.cache().join("README.md")).unwrap();
    for line in [
        "| licence of the images | a \\| b\\\\n\\# \\*c\\* |",
        "| images | https://x.org/?a\\|b |",
        "license_name: \"a | b\\n# *c*\"",
    ] {
        assert!(
            readme.lines().any(|found| found == line),
            "no {line}: {readme}"
        );
    }
    for url in [
        "javascript:alert(1)",
        "file:///etc/passwd",
        "https://",
        "ftp://x.org",
        "x.org",
        "a b",
    ] {
        let words = ["--licence", "CC BY 4.0", "--url", url];
        card(&words).expect_error(2, &[url, "https://example.org/images"]);
    }
    let path = lab.cache().join("cls/00001.parquet");
    let mut bytes = fs::read(&path).unwrap();
    bytes[300] ^= 1;
    fs::write(&path, bytes).unwrap();
    card(&words).expect_error(2, &["cls/00001.parquet"]);
}
