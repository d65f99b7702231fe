//! Versions, threads and memory.

use std::fs;
use std::thread;

use common::available_memory;
use common::disk::size;

use super::Finding;

/// Least memory with which no warning is given: a volume of 512 × 512 × 600 voxels, and a ViT-L.
const MUCH_MEMORY: u64 = 4 << 30;

/// Least memory that a small model takes.
const LEAST_MEMORY: u64 = 1 << 30;

pub(super) fn versions() -> Finding {
    let system = common::system_name();
    Finding::ok(
        "versions",
        format!(
            "extract {}, cache format {}, {system}",
            env!("CARGO_PKG_VERSION"),
            cache::FORMAT_VERSION
        ),
    )
}

pub(super) fn threads() -> Finding {
    let usable = thread::available_parallelism().map_or(1, usize::from);
    let online = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let online = online
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    let text = format!(
        "{usable} of {} can be used",
        common::counted(online.max(usable), "processor")
    );
    if online <= usable {
        return Finding::ok("threads", text);
    }
    Finding::warning(
        "threads",
        format!("{text}: a control group or an affinity mask limits this process"),
        "ask the container or the job for more processors (`docker --cpus`, `sbatch --cpus-per-task`)",
    )
}

pub(super) fn memory() -> Finding {
    let left = available_memory();
    if left == u64::MAX {
        return Finding::ok("memory", "not known on this system");
    }
    let text = format!(
        "{} can be allocated, by all limits of machine, container and process",
        size(left)
    );
    let remedy = "ask the container or the job for more memory, give fewer `--threads`, or take a smaller model";
    match left {
        left if left < LEAST_MEMORY => Finding::fault("memory", text, remedy),
        left if left < MUCH_MEMORY => Finding::warning("memory", text, remedy),
        _ => Finding::ok("memory", text),
    }
}
