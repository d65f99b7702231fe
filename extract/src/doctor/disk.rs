//! The folder of caches: permissions, locks, free space and speed.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use common::disk::{free_bytes, size};

use super::Finding;

/// Bytes that are written and read to measure the speed.
const TRIED: usize = 64 << 20;

/// Speed below which a warning is given, in bytes/s: patch tokens of ViT-B at 50 slices/s.
const SLOW: f64 = 100e6;

/// Free space below which a warning is given.
const LITTLE_SPACE: u64 = 10_000_000_000;

/// Free space that the smallest caches take.
const LEAST_SPACE: u64 = 100_000_000;

/// A file that is deleted when it is dropped.
struct Tried(PathBuf);

impl Drop for Tried {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// True if a file can be created in a folder.
pub(super) fn is_writable(folder: &Path) -> bool {
    let tried = tried_in(folder);
    File::create(&tried.0).is_ok()
}

fn tried_in(folder: &Path) -> Tried {
    Tried(folder.join(format!(".slicebank-doctor-{}", std::process::id())))
}

pub(super) fn check(caches: &Path) -> Vec<Finding> {
    if caches.to_string_lossy().contains(":/") {
        let text = format!(
            "{}: a bucket; its permissions are not checked",
            caches.display()
        );
        return vec![Finding::ok("permissions", text)];
    }
    // The folder itself, or the one that it would be made in.
    let absolute = std::path::absolute(caches).unwrap_or_else(|_| caches.into());
    let there = absolute.ancestors().find(|folder| folder.exists());
    let there = there.unwrap_or(Path::new("/")).to_path_buf();
    if !there.is_dir() || !is_writable(&there) {
        return vec![Finding::fault(
            "permissions",
            format!("{}: cannot be written", there.display()),
            "give a `--cache` folder that you may write, or correct its owner and mode",
        )];
    }
    let shown = caches.display();
    vec![
        Finding::ok("permissions", format!("{shown}: can be written")),
        locks(&there),
        space(&there),
        speed(&there),
    ]
}

fn locks(folder: &Path) -> Finding {
    let tried = tried_in(folder);
    let locked = File::create(&tried.0).and_then(|file| file.lock());
    match locked {
        Ok(()) => Finding::ok("locks", "files can be locked"),
        Err(error) => Finding::fault(
            "locks",
            format!("a file cannot be locked: {error}"),
            "mount the file system with locks (NFS: `local_lock=none` and a lock server; Lustre: `flock`)",
        ),
    }
}

fn space(folder: &Path) -> Finding {
    const REMEDY: &str =
        "free space, or give a `--cache` on a larger disk; `extract plan` says what a run needs";
    let Some(free) = free_bytes(folder) else {
        return Finding::ok("free space", "not known on this system");
    };
    let text = format!("{}, without quotas", size(free));
    match free {
        free if free < LEAST_SPACE => Finding::fault("free space", text, REMEDY),
        free if free < LITTLE_SPACE => Finding::warning("free space", text, REMEDY),
        _ => Finding::ok("free space", text),
    }
}

/// Writes and syncs a file, and reads it.
fn speed(folder: &Path) -> Finding {
    let tried = tried_in(folder);
    let speeds = measured(&tried.0);
    let (written, read) = match speeds {
        Ok(speeds) => speeds,
        Err(error) => {
            return Finding::fault(
                "disk speed",
                format!("64 MiB cannot be written: {error}"),
                "free space, or give another `--cache`",
            );
        }
    };
    let text = format!(
        "writes {:.0} MB/s with sync, reads {:.0} MB/s (64 MiB, from memory if the system kept it)",
        written / 1e6,
        read / 1e6
    );
    if written < SLOW {
        let remedy = "give a `--cache` on a local disk and copy the finished cache";
        Finding::warning("disk speed", text, remedy)
    } else {
        Finding::ok("disk speed", text)
    }
}

/// Bytes/s of writing and of reading.
fn measured(path: &Path) -> std::io::Result<(f64, f64)> {
    // Bytes that no file system compresses.
    let mut state = 1_u64;
    let mut block = vec![0; 1 << 20];
    for byte in &mut block {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        *byte = (state >> 56) as u8;
    }
    let started = Instant::now();
    let mut file = File::create(path)?;
    for _ in 0..TRIED / block.len() {
        file.write_all(&block)?;
    }
    file.sync_all()?;
    let written = TRIED as f64 / started.elapsed().as_secs_f64().max(1e-9);
    let started = Instant::now();
    let mut file = File::open(path)?;
    while file.read(&mut block)? > 0 {}
    Ok((
        written,
        TRIED as f64 / started.elapsed().as_secs_f64().max(1e-9),
    ))
}
