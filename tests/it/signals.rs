//! SIGINT and SIGTERM.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cache::{CacheLock, CacheMeta};

use crate::lab::{Lab, snapshot};

#[test]
fn a_signal_saves_what_is_computed() {
    let whole = Lab::new();
    let shards = ["--batch-size", "4", "--shard-rows", "400"];
    whole
        .extract("manifest", &whole.manifest(600), &shards)
        .expect(0);
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let lab = Lab::new();
        let manifest = lab.manifest(600);
        let mut command = lab.extract_command("manifest", &manifest);
        command.args(shards).args(["--save-every", "1"]);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        lines.find(|line| line.as_ref().unwrap().contains("writing"));
        std::thread::sleep(Duration::from_millis(200));
        kill(&child, signal);
        let told: Vec<String> = lines.map(Result::unwrap).collect();
        let status = child.wait().unwrap().code();
        assert_eq!(status, Some(code), "{told:?}");
        let told = told.join("\n");
        let at = told.split_once("stopped at slice ").unwrap().1;
        let (at, rest) = at.split_once(' ').unwrap();
        assert_eq!(rest, "of 600; the same command continues");
        let meta = CacheMeta::read(&lab.cache()).unwrap();
        assert_eq!(meta.saved_rows().to_string(), at);
        assert!(meta.saved_rows().is_multiple_of(4) && !meta.complete);
        let run = lab.extract("manifest", &manifest, &shards).expect(0);
        assert!(
            run.stdout
                .contains(&format!("{} slices in", 600 - meta.saved_rows())),
            "{run:#?}"
        );
        assert!(snapshot(&whole.cache()) == snapshot(&lab.cache()));
    }
}

#[test]
fn a_signal_before_the_first_slice_says_so_and_frees_the_lock() {
    let lab = Lab::new();
    let manifest = lab.manifest(4);
    // While another process writes, the run has nothing to save.
    let lock = CacheLock::of(&lab.cache()).unwrap();
    let start = || {
        let mut command = lab.extract_command("manifest", &manifest);
        command.stderr(Stdio::piped()).spawn().unwrap()
    };
    let mut child = start();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    lines.find(|line| line.as_ref().unwrap().contains("waiting for"));
    kill(&child, "TERM");
    let told: Vec<String> = lines.map(Result::unwrap).collect();
    assert_eq!(child.wait().unwrap().code(), Some(143), "{told:?}");
    let expected = "stopped before the first slice of this run; the same command continues";
    assert_eq!(told, [expected]);
    drop(lock);
    for _ in 0..3 {
        let mut child = start();
        let own = format!("\"process\":{},", child.id());
        let path = lab.cache().join(".lock");
        let started = Instant::now();
        while !std::fs::read_to_string(&path).is_ok_and(|text| text.contains(&own)) {
            assert!(started.elapsed() < Duration::from_secs(60));
        }
        kill(&child, "INT");
        let told = BufReader::new(child.stderr.take().unwrap()).lines();
        let told: Vec<String> = told.map(Result::unwrap).collect();
        assert_eq!(child.wait().unwrap().code(), Some(130), "{told:?}");
        let is_told = |line: &String| {
            line.starts_with("stopped ") && line.ends_with("; the same command continues")
        };
        assert!(told.iter().any(is_told), "{told:?}");
        let left = std::fs::read(&path).unwrap_or_default();
        assert_eq!(String::from_utf8_lossy(&left), "");
    }
    lab.extract("manifest", &manifest, &[]).expect(0);
}

/// Sends a signal as `kill` does.
pub fn kill(child: &Child, signal: &str) {
    let id = child.id().to_string();
    let sent = Command::new("kill").args(["-s", signal, &id]).status();
    assert!(sent.unwrap().success());
}
