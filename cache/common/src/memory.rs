//! Memory that is available to this process, by all limits that Linux reports.

use std::fs;
use std::path::{Path, PathBuf};

/// Bytes that can still be allocated: the least of the machine's available memory, the rest of the limits
/// of the process's control groups (set by containers and job schedulers) and the rest of its own limit
/// (`ulimit -v`). `u64::MAX` if the system reports none of them.
pub fn available_memory() -> u64 {
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let machine = kibibytes(&text("/proc/meminfo"), "MemAvailable:");
    let held = kibibytes(&text("/proc/self/status"), "VmSize:").unwrap_or_default();
    let own = address_space(&text("/proc/self/limits")).map(|limit| limit.saturating_sub(held));
    let groups = groups(&text("/proc/self/cgroup"));
    let left_in_groups = groups
        .iter()
        .filter_map(|(folder, names)| left_in_group(folder, names));
    [machine, own]
        .into_iter()
        .flatten()
        .chain(left_in_groups)
        .min()
        .unwrap_or(u64::MAX)
}

/// Number on the line that begins with `name`, in bytes.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let number: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    number.checked_mul(1024)
}

/// Soft limit of the address space, if there is one.
fn address_space(limits: &str) -> Option<u64> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max address space"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Names of the files of a group with its limit, its usage and the parts of that.
type Names = [&'static str; 3];

const SECOND: Names = ["memory.max", "memory.current", "memory.stat"];
const FIRST: Names = [
    "memory.limit_in_bytes",
    "memory.usage_in_bytes",
    "memory.stat",
];

/// Folders of the control groups (version 1 or 2) that limit memory, and of all their parent groups.
fn groups(text: &str) -> Vec<(PathBuf, Names)> {
    let mut groups = Vec::new();
    for line in text.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
            continue;
        };
        let (root, names) = match controllers {
            "" => ("/sys/fs/cgroup", SECOND),
            _ if controllers.split(',').any(|name| name == "memory") => {
                ("/sys/fs/cgroup/memory", FIRST)
            }
            _ => continue,
        };
        let path = Path::new(path.trim_start_matches('/'));
        groups.extend(
            path.ancestors()
                .map(|part| (Path::new(root).join(part), names)),
        );
    }
    groups
}

/// Bytes that a group can still allocate; cached file pages count as free.
fn left_in_group(folder: &Path, [limit, held, parts]: &Names) -> Option<u64> {
    let read = |name: &str| fs::read_to_string(folder.join(name)).ok();
    let number = |text: String| text.trim().parse::<u64>().ok();
    let limit = number(read(limit)?)?;
    let held = number(read(held)?)?;
    let parts = read(parts).unwrap_or_default();
    let files = ["active_file ", "inactive_file "].map(|name| {
        let size = parts.lines().find_map(|line| line.strip_prefix(name));
        size.and_then(|size| size.trim().parse().ok())
            .unwrap_or(0u64)
    });
    Some(limit.saturating_sub(held.saturating_sub(files.iter().sum())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_linux_writes_them() {
        let status = "MemTotal:       16384 kB\nMemAvailable:    2048 kB\n";
        assert_eq!(kibibytes(status, "MemAvailable:"), Some(2 << 20));
        let limits = |limit| {
            format!("Max file size unlimited\nMax address space  {limit}  unlimited bytes\n")
        };
        assert_eq!(address_space(&limits("4096")), Some(4096));
        assert_eq!(address_space(&limits("unlimited")), None);
    }

    #[test]
    fn groups_of_both_versions_limit_with_all_groups_that_they_are_part_of() {
        let folders = |text: &str| -> Vec<String> {
            let groups = groups(text).into_iter();
            groups
                .map(|(folder, _)| folder.display().to_string())
                .collect()
        };
        assert_eq!(
            folders("0::/jobs/7\n"),
            [
                "/sys/fs/cgroup/jobs/7",
                "/sys/fs/cgroup/jobs",
                "/sys/fs/cgroup/"
            ]
        );
        assert_eq!(
            folders("5:cpu:/a\n4:hugetlb,memory:/b\n"),
            ["/sys/fs/cgroup/memory/b", "/sys/fs/cgroup/memory/"]
        );
    }

    #[test]
    fn what_a_group_may_take_is_its_limit_less_what_it_holds_but_for_copies_of_files() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("memory.max", "1000\n");
        write("memory.current", "700\n");
        assert_eq!(left_in_group(folder.path(), &SECOND), Some(300));
        write(
            "memory.stat",
            "anon 100\ninactive_file 400\nactive_file 200\n",
        );
        assert_eq!(left_in_group(folder.path(), &SECOND), Some(900));
        write("memory.max", "max\n");
        assert_eq!(left_in_group(folder.path(), &SECOND), None);
    }

    #[test]
    fn something_is_left() {
        assert!(available_memory() > 0);
    }
}
