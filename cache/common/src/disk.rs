//! Free space of disks, and sizes as text.

use std::path::Path;

/// Bytes that this user can still write to the file system of `path`, or of its nearest parent that exists;
/// `None` where the system does not tell, and of URLs. Quotas of users and groups are not part of it.
#[cfg(unix)]
pub fn free_bytes(path: &Path) -> Option<u64> {
    if path.to_string_lossy().contains(":/") {
        return None;
    }
    let path = std::path::absolute(path).ok()?;
    let there = path.ancestors().find(|folder| folder.exists())?;
    let found = rustix::fs::statvfs(there).ok()?;
    found.f_bavail.checked_mul(found.f_frsize)
}

/// Not known on this system.
#[cfg(not(unix))]
pub fn free_bytes(_: &Path) -> Option<u64> {
    None
}

/// A number of bytes with three digits and a decimal unit: `4.12 GB`.
pub fn size(bytes: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB", "PB"];
    let (mut number, mut unit) = (bytes as f64, 0);
    while number >= 999.5 && unit + 1 < units.len() {
        number /= 1000.0;
        unit += 1;
    }
    let digits = match number {
        _ if unit == 0 => 0,
        n if n < 9.995 => 2,
        n if n < 99.95 => 1,
        _ => 0,
    };
    format!("{number:.digits$} {}", units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits() {
        let of = [0, 999, 1000, 4_120_000_000, 99_960_000, 999_600_000];
        let texts = ["0 B", "999 B", "1.00 kB", "4.12 GB", "100 MB", "1.00 GB"];
        assert_eq!(of.map(size), texts);
    }

    #[test]
    fn a_folder_that_is_not_there_has_the_space_of_its_parent() {
        let folder = tempfile::tempdir().unwrap();
        let free = free_bytes(&folder.path().join("a/b"));
        assert!(free.is_some_and(|free| free > 0));
        assert_eq!(free_bytes(Path::new("s3://bucket/caches")), None);
    }
}
