//! Stops, at any moment, leave no trace.

use std::fs::File;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use cache::{CacheMeta, CacheReader};

use crate::lab::{Lab, snapshot};

const SMALL_SHARDS: [&str; 4] = ["--batch-size", "2", "--shard-rows", "4"];

#[test]
fn the_number_of_threads_changes_nothing() {
    // At 308 pixels a slice is a run, so that there are two sessions.
    for (precision, size, images) in [("fp32", "56", 30), ("int8", "56", 30), ("int8", "308", 6)] {
        let extract = |threads| {
            let lab = Lab::new();
            let words = [
                "--precision",
                precision,
                "--parity-bound=0",
                "--threads",
                threads,
            ];
            let words = [&SMALL_SHARDS[..], &["--image-size", size], &words].concat();
            lab.extract("manifest", &lab.manifest(images), &words)
                .expect(0);
            snapshot(&lab.cache().with_file_name(format!("tiny-vit@{size}")))
        };
        assert!(extract("1") == extract("7"), "{precision} {size}");
    }
}

#[test]
fn a_killed_run_goes_on_and_ends_with_the_same_bytes() {
    let (whole, killed) = (Lab::new(), Lab::new());
    whole
        .extract("manifest", &whole.manifest(600), &SMALL_SHARDS)
        .expect(0);
    let manifest = killed.manifest(600);
    for shards in [1, 5, 40] {
        let mut command = killed.extract_command("manifest", &manifest);
        command.args(SMALL_SHARDS).stderr(Stdio::null());
        kill_after(shards, &killed, command.spawn().unwrap());
        let error = CacheReader::open(&killed.cache()).unwrap_err();
        assert!(error.to_string().contains("not finished"), "{error}");
    }
    killed
        .extract("manifest", &manifest, &SMALL_SHARDS)
        .expect(0);
    assert!(snapshot(&whole.cache()) == snapshot(&killed.cache()));
}

fn kill_after(shards: usize, lab: &Lab, mut child: Child) {
    let started = Instant::now();
    let finished = || CacheMeta::read(&lab.cache()).map_or(0, |meta| meta.shards.len());
    while finished() < shards {
        assert!(started.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_run_with_other_settings_is_refused_and_told_which() {
    let lab = Lab::new();
    let manifest = lab.manifest(4);
    lab.extract("manifest", &manifest, &[]).expect(0);
    let before = snapshot(&lab.cache());
    let other = ["--intensity", "window:0:100"];
    lab.extract("manifest", &manifest, &other).expect_error(
        2,
        &["preprocess.intensity", "tiny-vit@56", "window", "--cache"],
    );
    lab.extract("manifest", &manifest, &["--tokens", "all"])
        .expect_error(2, &["`tokens`", "\"cls\"", "\"all\""]);
    lab.extract("manifest", &manifest, &["--limit", "2"])
        .expect_error(2, &["tiny-vit@56", "other samples", "--limit"]);
    assert_eq!(before, snapshot(&lab.cache()));
}

#[test]
fn two_writers_at_once_are_refused() {
    let lab = Lab::new();
    let manifest = lab.manifest(4);
    let lock = File::open(lab.write("cache/images/tiny-vit@56/.lock", "")).unwrap();
    lock.lock().unwrap();
    lab.extract("manifest", &manifest, &SMALL_SHARDS)
        .expect_error(2, &["tiny-vit@56", "another process"]);
    lock.unlock().unwrap();
    lab.extract("manifest", &manifest, &SMALL_SHARDS).expect(0);
    // Nothing is written to what is finished, so it may lie where nothing can be.
    lock.lock().unwrap();
    let before = snapshot(&lab.path("cache"));
    let run = lab.extract("manifest", &manifest, &SMALL_SHARDS).expect(0);
    assert!(run.stderr.contains("already complete"), "{run:#?}");
    assert_eq!(snapshot(&lab.path("cache")), before);
}
