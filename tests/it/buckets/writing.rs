//! Extraction into a bucket: faults of the server, stops and several writers.

use std::fs;
use std::io::{BufRead, BufReader};
use std::thread;
use std::time::Duration;

use cache::CacheMeta;

use super::{CACHE, ended, extract, extract_with, local, local_with, over, started, wait_for};
use crate::lab::{Lab, Run, program, snapshot};
use crate::s3;
use crate::signals::kill;

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
fn of_several_writers_one_extracts_and_the_others_wait() {
    let lab = Lab::new();
    let expected = local(&lab, 24);
    let staging = ["a", "b", "c"];
    let runs = staging.map(|staging| started(&mut extract(&lab, "slow-raced", staging)));
    let runs = runs.map(|run| ended(run).expect(0));
    let extracted = |run: &&Run| run.stdout.contains("24 slices in");
    assert_eq!(runs.iter().filter(extracted).count(), 1, "{runs:?}");
    // A run that began after the first had finished had nothing to wait for.
    let was_told = |run: &&Run| {
        let waited = run.stderr.contains("which writes this cache");
        waited || run.stderr.contains("already complete")
    };
    assert_eq!(runs.iter().filter(was_told).count(), 2, "{runs:?}");
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
fn what_a_signal_saved_between_two_shards_is_continued_elsewhere() {
    let lab = Lab::new();
    let shards = ["--batch-size", "4", "--shard-rows", "400"];
    // Enough that a busy machine sends the signal before the end.
    let slices = 1800;
    let expected = local_with(&lab, slices, &shards);
    let run = |staging| extract_with(&lab, "stopped", staging, &shards);
    let mut child = started(&mut run("first"));
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    lines.find(|line| line.as_ref().unwrap().contains("writing"));
    thread::sleep(Duration::from_millis(100));
    kill(&child, "INT");
    let told: Vec<String> = lines.map(Result::unwrap).collect();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{told:?}");
    let meta = s3::get(&format!("stopped/{CACHE}/meta.json")).unwrap();
    let meta: CacheMeta = serde_json::from_slice(&meta).unwrap();
    let told = told.join("\n");
    let stopped = format!("stopped at slice {} of {slices}", meta.saved_rows());
    assert!(
        told.contains(&stopped) && meta.saved_rows() > 0,
        "{stopped}: {told}"
    );
    let rest = Run::of(&mut run("other")).expect(0);
    let computed = format!("{} slices in", u64::from(slices) - meta.saved_rows());
    assert!(rest.stdout.contains(&computed), "{computed}: {rest:#?}");
    assert!(s3::objects("stopped", CACHE) == expected);
}

#[test]
fn a_stop_before_the_first_slice_leaves_nothing_in_the_staging_folder() {
    let lab = Lab::new();
    lab.manifest(24);
    let staging = lab.path("staging");
    let mut stops = 0;
    for (attempt, signal) in ["TERM", "INT", "TERM", "INT"].into_iter().enumerate() {
        let bucket = format!("slow-first{attempt}");
        let mut child = started(&mut extract(&lab, &bucket, "staging"));
        let folder = staging.join(format!("s3/{bucket}/{CACHE}"));
        while !folder.join(".upload").exists() {
            assert!(child.try_wait().unwrap().is_none());
            thread::sleep(Duration::from_millis(1));
        }
        kill(&child, signal);
        let run = ended(child);
        // A signal may come when slices are saved.
        if run.stderr.contains("stopped before the first slice") {
            stops += 1;
            assert!(fs::read_dir(&staging).unwrap().next().is_none());
            assert!(s3::get(&format!("{bucket}/{CACHE}/.lock")).is_none());
        }
        Run::of(&mut extract(&lab, &bucket, "staging")).expect(0);
        // And so does one that has done its work.
        assert!(fs::read_dir(&staging).unwrap().next().is_none());
    }
    assert!(stops > 0);
}

#[test]
fn the_history_of_a_cache_in_a_bucket_names_the_bucket() {
    let lab = Lab::new();
    lab.manifest(4);
    Run::of(extract(&lab, "named", "staging").arg("--record-host")).expect(0);
    let history = s3::get(&format!("named/{CACHE}/history.json")).unwrap();
    let history: serde_json::Value = serde_json::from_slice(&history).unwrap();
    let place = &history["sessions"][0]["cache"];
    assert_eq!(place, &format!("s3://named/{CACHE}"));
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
