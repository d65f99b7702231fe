//! Changes to finished caches in a bucket: replaced labels, repaired shards, added tables.

use std::thread;
use std::time::Duration;

use super::{CACHE, SMALL_SHARDS, extract, extract_with, local, local_with, over, started};
use crate::lab::{Lab, Run, program, snapshot};
use crate::s3;

const NAME: &str = "images/tiny-vit@56";

#[test]
fn a_stop_while_labels_are_replaced_leaves_the_old_ones() {
    let lab = Lab::new();
    let bucket = "slow-replaced";
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
    // On a busy machine, a run may be done before it is stopped.
    let (before, number) = (1..20)
        .find_map(|number| {
            let before = s3::objects(bucket, CACHE);
            let mut child = started(&mut relabel("y", &["--force"]));
            let new = format!("{CACHE}/labels/other/slices-{number}/");
            let is_begun = || s3::names(bucket).iter().any(|name| name.starts_with(&new));
            while child.try_wait().unwrap().is_none() && !is_begun() {
                thread::sleep(Duration::from_millis(5));
            }
            child.kill().unwrap();
            child.wait().unwrap();
            let after = s3::objects(bucket, CACHE);
            let is_stopped = before.iter().all(|object| after.contains(object));
            is_stopped.then_some((before, number))
        })
        .unwrap();
    let verified = over("extract", bucket, &["verify"]).expect(0);
    assert!(
        verified
            .stderr
            .contains("`extract gc images/tiny-vit@56` removes them"),
        "{verified:?}"
    );
    let run = over("extract", bucket, &["gc", NAME]).expect(0);
    assert!(
        run.stdout
            .contains(&format!("labels/other/slices-{number}/0")),
        "{run:?}"
    );
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
    // Stopped while the new tables are uploaded: the cache is as it was, and they are told to be left. On a busy
    // machine, a run may be done before it is stopped.
    let bucket = (0..10)
        .map(|number| format!("slow-extended-{number}"))
        .find(|bucket| {
            Run::of(&mut extract_with(&lab, bucket, "staging", &cls)).expect(0);
            let before = s3::objects(bucket, CACHE);
            let mut child = started(&mut extract_with(&lab, bucket, "staging", &all));
            let new = format!("{CACHE}/patch/");
            let is_begun = || s3::names(bucket).iter().any(|name| name.starts_with(&new));
            while child.try_wait().unwrap().is_none() && !is_begun() {
                thread::sleep(Duration::from_millis(5));
            }
            child.kill().unwrap();
            child.wait().unwrap();
            let after = s3::objects(bucket, CACHE);
            before.iter().all(|object| after.contains(object))
        });
    let bucket = &*bucket.unwrap();
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
