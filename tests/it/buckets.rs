//! Caches and datasets in a bucket of an S3 server.

mod changes;
mod commands;
mod reading;
mod writing;

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::lab::{Lab, Run, program, snapshot};
use crate::s3;

const SMALL_SHARDS: [&str; 4] = ["--batch-size", "2", "--shard-rows", "4"];

/// Where the lab's cache lies in a bucket.
const CACHE: &str = "embeddings/images/tiny-vit@56";

/// `extract` over the lab's manifest, into a bucket, with small shards.
fn extract(lab: &Lab, bucket: &str, staging: &str) -> Command {
    extract_with(lab, bucket, staging, &SMALL_SHARDS)
}

fn extract_with(lab: &Lab, bucket: &str, staging: &str, more: &[&str]) -> Command {
    let command = lab.extract_command("manifest", &lab.path("images.csv"));
    // The last `--cache` would be a second one.
    let words: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
    let words = &words[..words.len() - 2];
    let mut command = program("extract");
    command.args(words).args(more);
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
    local_with(lab, n, &SMALL_SHARDS)
}

fn local_with(lab: &Lab, n: u32, more: &[&str]) -> Vec<(String, Vec<u8>)> {
    lab.extract("manifest", &lab.manifest(n), more).expect(0);
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
