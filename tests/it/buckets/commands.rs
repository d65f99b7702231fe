//! Commands that change caches in a bucket.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::json;

use super::{CACHE, ended, extract, local, over, started, wait_for};
use crate::lab::{Lab, Run, program, snapshot};
use crate::s3;

const NAME: &str = "images/tiny-vit@56";

/// A process of another machine that holds the lock of the lab's cache in a bucket.
struct Elsewhere {
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Elsewhere {
    fn holds(bucket: &str) -> Elsewhere {
        let path = format!("{bucket}/{CACHE}/.lock");
        let ends = Arc::new(AtomicBool::new(false));
        let record = |beat| json!({"host": "elsewhere", "boot": "b", "process": 7, "since_unix": 1, "beat": beat});
        s3::put(&path, record(0).to_string().as_bytes());
        let has_ended = Arc::clone(&ends);
        let renew = move || {
            for beat in 1.. {
                thread::sleep(Duration::from_millis(100));
                if has_ended.load(Ordering::Relaxed) {
                    return s3::delete(&path);
                }
                s3::put(&path, record(beat).to_string().as_bytes());
            }
        };
        Elsewhere {
            ends,
            thread: Some(thread::spawn(renew)),
        }
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The same command over the cache in the lab's folder.
fn here(lab: &Lab, words: &[&str]) -> Run {
    let mut command = program("extract");
    Run::of(command.args(words).arg("--cache").arg(lab.path("cache"))).expect(0)
}

/// Files of the cache in the lab's folder.
fn files(lab: &Lab) -> Vec<(String, Vec<u8>)> {
    let files = snapshot(&lab.cache()).into_iter();
    let text = |path: std::path::PathBuf| path.to_string_lossy().into_owned();
    files.map(|(path, bytes)| (text(path), bytes)).collect()
}

#[test]
fn gc_deletes_what_no_finished_shard_needs() {
    let lab = Lab::new();
    let mut expected = local(&lab, 24);
    Run::of(&mut extract(&lab, "collected", "staging")).expect(0);
    let left = [
        "checksums/cls/00099.crc32",
        "cls/00000.parquet.0123.part",
        "cls/00099.parquet",
        "labels/.new-begun/labels.json",
        "labels/begun/slices/00000.parquet",
    ];
    for name in left.iter().chain(&["notes.txt"]) {
        s3::put(&format!("collected/{CACHE}/{name}"), b"12345");
    }
    let dry = over("extract", "collected", &["gc", NAME, "--dry-run"]).expect(0);
    assert_eq!(
        dry.stdout.matches(": 5 bytes").count(),
        left.len(),
        "{dry:?}"
    );
    assert!(s3::objects("collected", CACHE).len() == expected.len() + left.len() + 1);
    let run = over("extract", "collected", &["gc", NAME]).expect(0);
    for name in left {
        let line = format!("deleted s3://collected/{CACHE}/{name}: 5 bytes");
        assert!(run.stdout.contains(&line), "{line} in {run:?}");
    }
    expected.push(("notes.txt".to_owned(), b"12345".to_vec()));
    expected.sort();
    assert!(s3::objects("collected", CACHE) == expected);
    let again = over("extract", "collected", &["gc", NAME]).expect(0);
    assert!(again.stdout.contains("nothing to delete"), "{again:?}");
}

#[test]
fn rm_deletes_a_cache_and_refuses_while_a_writer_lives() {
    let lab = Lab::new();
    lab.manifest(400);
    let mut writer = started(&mut extract(&lab, "slow-rm", "staging"));
    wait_for("slow-rm", 1);
    let run = over("extract", "slow-rm", &["rm", NAME]);
    run.expect_error(2, &[CACHE, &format!("process {}", writer.id())]);
    writer.kill().unwrap();
    writer.wait().unwrap();
    let other = Elsewhere::holds("slow-rm");
    for command in ["rm", "gc"] {
        let run = over("extract", "slow-rm", &[command, NAME]);
        run.expect_error(2, &["process 7 on `elsewhere`"]);
    }
    drop(other);
    let run = over("extract", "slow-rm", &["rm", NAME]).expect(0);
    assert!(
        run.stdout
            .contains(&format!("deleted s3://slow-rm/{CACHE}")),
        "{run:?}"
    );
    assert!(s3::names("slow-rm").is_empty());
}

#[test]
fn a_writer_whose_cache_is_deleted_stops() {
    let lab = Lab::new();
    lab.manifest(48);
    let writer = started(&mut extract(&lab, "slow-deleted", "staging"));
    wait_for("slow-deleted", 1);
    // As `rm` of a machine that does not know of the writer.
    s3::delete(&format!("slow-deleted/{CACHE}/meta.json"));
    ended(writer).expect_error(2, &["another process has written this cache"]);
}

#[test]
fn splits_and_labels_in_a_bucket_are_those_of_a_folder() {
    let lab = Lab::new();
    local(&lab, 24);
    Run::of(&mut extract(&lab, "relabel", "staging")).expect(0);
    let mut csv = String::from("sample,label\n");
    for i in 0..24 {
        csv += &format!("images/{i:04},{}\n", ["x", "y", "z"][i % 3]);
    }
    let table = lab.write("labels.csv", csv);
    let (table, staging) = (table.to_str().unwrap(), lab.path("staging"));
    let staging = staging.to_str().unwrap();
    let split = ["split", "--dataset", "images", "--name", "drawn", "--rule"];
    let labels = ["relabel", NAME, "--labels", table, "--name", "other"];
    let rules = ["random:0.5:0.2:0.3:1", "random:0.4:0.3:0.3:2"];
    for (rule, force) in rules.into_iter().zip([&[][..], &["--force"]]) {
        let split = [&split[..], &[rule], force].concat();
        let labels = [&labels[..], force].concat();
        for words in [&split, &labels] {
            here(&lab, words);
            let words = [words, &["--staging", staging][..]].concat();
            over("extract", "relabel", &words).expect(0);
        }
        assert!(s3::objects("relabel", CACHE) == files(&lab));
        assert!(snapshot(&lab.path("staging")).is_empty());
        // Others, for `--force` to replace.
        let other = lab.path("labels.csv");
        let text = std::fs::read_to_string(&other).unwrap();
        std::fs::write(&other, text.replace(",z", ",x")).unwrap();
    }
    let again = over("extract", "relabel", &labels);
    again.expect_error(2, &["`other`", "--force"]);
    over("extract", "relabel", &["verify"]).expect(0);
    let runs = lab.path("runs");
    let words = [
        "knn", "--k", "3", "--labels", "other", "--split", "drawn", "--runs",
    ];
    over(
        "probe",
        "relabel",
        &[&words[..], &[runs.to_str().unwrap()]].concat(),
    )
    .expect(0);
}

#[test]
fn of_two_that_delete_a_cache_one_has_deleted_it() {
    let lab = Lab::new();
    lab.manifest(24);
    Run::of(&mut extract(&lab, "slow-removed", "staging")).expect(0);
    let start = || {
        let mut command = program("extract");
        command.args(["rm", NAME, "--cache", "s3://slow-removed/embeddings"]);
        started(s3::connect(&mut command))
    };
    let runs = [start(), start()].map(ended);
    let deleted = |run: &&Run| run.stdout.contains("deleted s3://");
    assert_eq!(runs.iter().filter(deleted).count(), 1, "{runs:?}");
    let other = runs.iter().find(|run| !deleted(run)).unwrap();
    let said = ["is writing this cache", "no cache here"];
    assert!(
        other.status == 2 && said.iter().any(|words| other.stderr.contains(words)),
        "{other:?}"
    );
    assert!(s3::names("slow-removed").is_empty());
}

#[test]
fn gc_reads_all_descriptions_before_it_deletes() {
    let lab = Lab::new();
    lab.manifest(6);
    Run::of(&mut extract(&lab, "broken-part", "staging")).expect(0);
    for name in ["parts/1-of-2/meta.json", "cls/00099.parquet"] {
        s3::put(&format!("broken-part/{CACHE}/{name}"), b"12345");
    }
    let before = s3::objects("broken-part", CACHE);
    let run = over("extract", "broken-part", &["gc", NAME]);
    run.expect_error(2, &["parts/1-of-2/meta.json"]);
    assert!(s3::objects("broken-part", CACHE) == before);
}

#[test]
fn verifying_quickly_lists_a_bucket_and_reads_little_more() {
    let lab = Lab::new();
    lab.manifest(24);
    Run::of(&mut extract(&lab, "counted", "staging")).expect(0);
    let requests = || {
        let counts = s3::get("-/requests/counted").unwrap();
        let counts: serde_json::Value = serde_json::from_slice(&counts).unwrap();
        let count = |method: &str| counts[method].as_u64().unwrap_or(0);
        (count("GET"), count("HEAD"))
    };
    let before = requests();
    over("extract", "counted", &["verify", "--quick"]).expect(0);
    let (get, head) = requests();
    // Of each of six shards: the rows with their checksums, and the ends of `cls` and `mean`.
    let (get, head) = (get - before.0, head - before.1);
    assert!(get <= 6 * 4 + 14 && head <= 5, "{get} {head}");
    // A file of another size, one without checksums, and one that is missing are found.
    for (name, bytes) in [
        ("cls/00001.parquet", &b"12345"[..]),
        ("mean/00002.parquet", b""),
    ] {
        s3::put(&format!("counted/{CACHE}/{name}"), bytes);
    }
    for name in [
        "checksums/cls/00003.crc32",
        "sources/00004.parquet",
        "slices/00005.parquet",
    ] {
        s3::delete(&format!("counted/{CACHE}/{name}"));
    }
    let run = over("extract", "counted", &["verify", "--quick"]).expect(1);
    for name in [
        "cls/00001.parquet`: size in bytes is 5",
        "mean/00002.parquet`: size in bytes is 0",
        "checksums/cls/00003.crc32`: size in bytes is missing",
        "sources/00004.parquet`: the file is missing",
        "slices/00005.parquet`: size in bytes is missing",
    ] {
        assert!(run.stdout.contains(name), "no {name} in {run:?}");
    }
}

#[test]
fn parts_whose_last_run_did_not_join_them_are_merged() {
    let lab = Lab::new();
    let expected = local(&lab, 24);
    for part in 1..=3 {
        let other = (part == 3).then(|| Elsewhere::holds("merge"));
        let shard = format!("--shard={part}/3");
        let run = Run::of(extract(&lab, "merge", "staging").arg(shard)).expect(0);
        let told = run.stderr.contains("another process joins the parts");
        assert_eq!(told, other.is_some(), "{run:?}");
    }
    let staging = lab.path("staging");
    let words = ["merge", NAME, "--staging", staging.to_str().unwrap()];
    let run = over("extract", "merge", &words).expect(0);
    assert!(run.stdout.contains("24 slices of 24 samples"), "{run:?}");
    let tables = |files: Vec<(String, Vec<u8>)>| -> Vec<_> {
        let files = files.into_iter();
        files.filter(|(name, _)| name != "meta.json").collect()
    };
    assert!(tables(s3::objects("merge", CACHE)) == tables(expected));
    assert!(snapshot(&staging).is_empty());
    over("extract", "merge", &["verify"]).expect(0);
}
