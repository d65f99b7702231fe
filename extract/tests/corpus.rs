//! Hostile files give an image or an error: no panic, no hang, no memory by their word.
#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "../fuzz/targets.rs"]
mod targets;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use extract::dataset::{self, DatasetCard};
use imaging::read;

/// Within this time each file is dealt with; it takes milliseconds.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Most memory that is held, in bytes. The largest bomb unpacks to 256 MiB.
const MAX_HELD: u64 = 600 << 20;

/// Most memory that is asked for, in bytes, stacks and libraries included.
const MAX_ASKED_FOR: u64 = 2 << 30;

/// Most bytes of all files.
const MAX_CORPUS: u64 = 500_000;

fn files(target: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Runs a target over a file in a thread of its own.
fn check(target: &'static str, file: &Path) {
    let bytes = fs::read(file).unwrap();
    let (done, wait) = channel();
    let thread = thread::spawn(move || {
        targets::run(target, &bytes);
        let _ = done.send(());
    });
    match wait.recv_timeout(TIMEOUT) {
        Ok(()) => thread.join().unwrap(),
        Err(RecvTimeoutError::Timeout) => panic!("{} takes too long", file.display()),
        Err(RecvTimeoutError::Disconnected) => panic!("{} made it panic", file.display()),
    }
}

#[test]
fn hostile_files_neither_panic_nor_hang_nor_fill_the_memory() {
    let mut bytes = 0;
    for (name, _) in targets::TARGETS {
        let files = files(name);
        assert!(!files.is_empty(), "{name}");
        for file in files {
            bytes += fs::metadata(&file).unwrap().len();
            check(name, &file);
            for (what, limit) in [("VmHWM:", MAX_HELD), ("VmPeak:", MAX_ASKED_FOR)] {
                let found = memory(what).unwrap_or_default();
                assert!(found <= limit, "{}: {what} {found}", file.display());
            }
        }
    }
    assert!(bytes <= MAX_CORPUS, "{bytes} bytes");
}

/// A line of `/proc/self/status` in bytes, where there is one.
fn memory(line: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let value = status.lines().find_map(|found| found.strip_prefix(line))?;
    let kibibytes: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[test]
fn what_is_wrong_with_a_hostile_file_is_said() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let manifest = DatasetCard::find("manifest").unwrap();
    let refusal = |file: &str| {
        let path = corpus.join(file);
        if file.starts_with("table/") {
            let opened = dataset::open(&manifest, &path).map(drop);
            opened.unwrap_err().to_string()
        } else {
            read::volume(&path).unwrap_err().to_string()
        }
    };
    for (file, words) in [
        ("nifti/huge.nii.gz", "bytes for voxels"),
        ("nifti/bomb.nii.gz", "more"),
        ("raster/huge.png", "for a file of this length"),
        ("raster/palette-odd.png", "the decoder panicked"),
        ("table/many-rows.parquet", "it has 11000000 rows"),
        ("table/wide-cells.parquet", "its cells take over"),
    ] {
        let text = refusal(file);
        assert!(text.contains(file) && text.contains(words), "{text}");
    }
}
