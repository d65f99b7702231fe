//! Changes to finished caches in a bucket: replaced labels, repaired shards, added tables.

use std::process::Command;
use std::thread;
use std::time::Duration;

use super::{CACHE, SMALL_SHARDS, extract, extract_with, local, local_with, over, started};
use crate::lab::{Lab, Run, program, snapshot};
use crate::s3;

const NAME: &str = "images/tiny-vit@56";

/// Shards of 24 slices with [`SMALL_SHARDS`].
const SHARDS: usize = 6;

/// Kills a program when all files and checksums of its new table `table` are in the bucket, and no description
/// names them.
fn stop_before_description(bucket: &str, command: &mut Command, table: &str) {
    let held = format!("-/held/{bucket}");
    s3::put(&held, &[]);
    let mut child = started(command);
    let uploaded = || {
        let names = s3::names(bucket).into_iter();
        names.filter(|name| name.contains(table)).count()
    };
    while child.try_wait().unwrap().is_none() && uploaded() < 2 * SHARDS {
        thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    assert_eq!(child.wait().unwrap().code(), None);
    s3::delete(&held);
}

#[test]
fn a_stop_while_labels_are_replaced_leaves_the_old_ones() {
    let lab = Lab::new();
    let bucket = "replaced";
    local(&lab, 24);
    Run::of(&mut extract(&lab, bucket, "staging")).expect(0);
    let staging = lab.path("staging");
    let relabel = |class: &str, force: &[&str]| {
        let rows: String = (0..24)
            .map(|i| format!("images/{i:04},{class}\n"))
            .collect();
        let table = lab.write("labels.csv", format!("sample,label\n{rows}"));
        let mut command = program("extract");
        command
            .args(["relabel", NAME, "--name", "other", "--labels"])
            .arg(table);
        command.args(["--cache", &format!("s3://{bucket}/embeddings"), "--staging"]);
        command.arg(&staging).args(force);
        s3::connect(&mut command);
        command
    };
    Run::of(&mut relabel("x", &[])).expect(0);
    let before = s3::objects(bucket, CACHE);
    stop_before_description(
        bucket,
        &mut relabel("y", &["--force"]),
        "labels/other/slices-1/",
    );
    let after = s3::objects(bucket, CACHE);
    assert!(before.iter().all(|object| after.contains(object)));
    let verified = over("extract", bucket, &["verify"]).expect(0);
    assert!(
        verified
            .stderr
            .contains(&format!("`extract gc s3://{bucket}/{CACHE}` removes them")),
        "{verified:?}"
    );
    let run = over("extract", bucket, &["gc", NAME]).expect(0);
    assert!(run.stdout.contains("labels/other/slices-1/0"), "{run:?}");
    assert!(s3::objects(bucket, CACHE) == before);
    Run::of(&mut relabel("y", &["--force"])).expect(0);
    let names = s3::names(bucket);
    assert_eq!(
        names
            .iter()
            .filter(|name| name.contains("labels/other/slices/"))
            .count(),
        0
    );
    over("extract", bucket, &["verify"]).expect(0);
}

#[test]
fn labels_without_a_description_in_a_bucket_are_lost_or_unfinished() {
    let lab = Lab::new();
    let bucket = "undescribed";
    local(&lab, 24);
    Run::of(&mut extract(&lab, bucket, "staging")).expect(0);
    let before = s3::objects(bucket, CACHE);
    let staging = lab.path("staging");
    let table = lab.path("images.csv");
    let [staging, table] = [&staging, &table].map(|path| path.to_str().unwrap());
    let relabel = ["relabel", NAME, "--name", "other", "--labels", table];
    over(
        "extract",
        bucket,
        &[&relabel[..], &["--staging", staging]].concat(),
    )
    .expect(0);
    s3::delete(&format!("{bucket}/{CACHE}/labels/other/labels.json"));
    let lost = s3::objects(bucket, CACHE);
    let run = over("extract", bucket, &["verify"]).expect(1);
    let told = "label set `other` has no labels.json";
    assert!(
        run.stdout.contains(told) && run.stderr.contains("hint: make the labels"),
        "{run:?}"
    );
    let run = over("extract", bucket, &["gc", NAME]).expect(0);
    assert!(run.stdout.contains("nothing to delete"), "{run:?}");
    assert!(s3::objects(bucket, CACHE) == lost);
    for name in s3::names(bucket) {
        if name.contains("labels/other/") {
            s3::delete(&format!("{bucket}/{name}"));
        }
    }
    // A writer that is killed when all tables of a first set are there, and its description is not.
    let mut command = program("extract");
    command.args(relabel).args(["--staging", staging]);
    command.args(["--cache", &format!("s3://{bucket}/embeddings")]);
    stop_before_description(bucket, s3::connect(&mut command), "labels/other/slices/");
    let run = over("extract", bucket, &["verify"]).expect(0);
    assert!(run.stderr.contains("`extract gc"), "{run:?}");
    over("extract", bucket, &["gc", NAME]).expect(0);
    assert!(s3::objects(bucket, CACHE) == before);
    // One that goes on leaves nothing of the unfinished set.
    Run::of(&mut command).expect(0);
    let run = over("extract", bucket, &["verify"]).expect(0);
    assert!(!run.stderr.contains("no description names"), "{run:?}");
}

#[test]
fn damaged_shards_in_a_bucket_are_extracted_again_and_no_others() {
    let lab = Lab::new();
    let table = lab.manifest(24);
    Run::of(&mut extract(&lab, "repaired", "staging")).expect(0);
    let before = s3::objects("repaired", CACHE);
    let flip = |name: &str| {
        let path = format!("repaired/{CACHE}/{name}");
        let mut bytes = s3::get(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        s3::put(&path, &bytes);
    };
    flip("checksums/mean/00004.crc32");
    flip("cls/00001.parquet");
    flip("slices/00002.parquet");
    s3::delete(&format!("repaired/{CACHE}/mean/00005.parquet"));
    let staging = lab.path("staging");
    let words = ["verify", "--repair", "--dataset", "manifest", "--root"];
    let more = [
        table.to_str().unwrap(),
        "--staging",
        staging.to_str().unwrap(),
    ];
    let run = over("extract", "repaired", &[&words[..], &more].concat()).expect(0);
    for told in ["checksums of 1 shard restored", "3 shards repaired"] {
        let line = format!("s3://repaired/{CACHE}: {told}");
        assert!(run.stderr.contains(&line), "no {line} in {run:?}");
    }
    assert!(s3::objects("repaired", CACHE) == before);
    assert!(snapshot(&staging).is_empty());
}

#[test]
fn patch_tokens_are_added_to_a_cache_in_a_bucket() {
    let lab = Lab::new();
    let all = [&SMALL_SHARDS[..], &["--tokens", "all"]].concat();
    let expected = local_with(&lab, 24, &all);
    let cls = [&SMALL_SHARDS[..], &["--tokens", "cls"]].concat();
    let bucket = "extended";
    Run::of(&mut extract_with(&lab, bucket, "staging", &cls)).expect(0);
    // Stopped when the new tables are uploaded: the cache is as it was.
    let before = s3::objects(bucket, CACHE);
    stop_before_description(
        bucket,
        &mut extract_with(&lab, bucket, "staging", &all),
        "/patch/",
    );
    let after = s3::objects(bucket, CACHE);
    assert!(before.iter().all(|object| after.contains(object)));
    over("extract", bucket, &["verify"]).expect(0);
    // What was computed is in the staging folder.
    let run = Run::of(&mut extract_with(&lab, bucket, "staging", &all)).expect(0);
    assert!(!run.stdout.contains("slices in"), "{run:?}");
    let tables = |files: Vec<(String, Vec<u8>)>| -> Vec<_> {
        let files = files.into_iter();
        files.filter(|(name, _)| name != "meta.json").collect()
    };
    assert!(tables(s3::objects(bucket, CACHE)) == tables(expected));
    assert!(snapshot(&lab.path("staging")).is_empty());
    over("extract", bucket, &["verify"]).expect(0);
    let again = Run::of(&mut extract_with(&lab, bucket, "other", &all)).expect(0);
    assert!(again.stderr.contains("already complete"), "{again:?}");
}
