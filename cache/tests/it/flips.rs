//! Changed bytes: `verify` finds each, and none changes what is read without an error.

use std::fs;
use std::path::{Path, PathBuf};

use cache::{CacheReader, CacheWriter, Depth, Error, Split, Task, Tokens, verify, write_split};
use tempfile::TempDir;

use crate::made::{batch, meta, without_checksums};

/// A cache with all tables, two shards and a named split.
fn whole() -> TempDir {
    let dir = TempDir::new().unwrap();
    let meta = meta(Task::MultiLabel, Tokens::All, true, 4);
    let mut writer = CacheWriter::open(dir.path(), meta.clone()).unwrap();
    writer.append(&batch(&meta, 0, 6)).unwrap();
    writer.finish().unwrap();
    let splits = [("sample 0", Some(Split::Test)), ("sample 1", None)];
    let splits = splits.map(|(sample, split)| (sample.to_owned(), split));
    write_split(dir.path(), "other", "by hand", &splits).unwrap();
    dir
}

/// All that a reader can be asked for, as text.
fn content(dir: &Path) -> Result<String, Error> {
    let reader = CacheReader::open(dir)?;
    let mut found = format!("{:?}", reader.slices_with_split("other")?.0);
    found += &format!("{:?} {:?}", reader.slices()?, reader.meta());
    for layer in 1..=2 {
        found += &format!("{:?}{:?}", reader.cls(layer)?, reader.mean(layer)?);
    }
    let patches = reader.patches(&[1, 2])?;
    for group in patches.groups() {
        for row in patches.read(group, |_| true)? {
            for layer in 0..2 {
                let mut tokens = [0.0; 12];
                row.copy_to(layer, &mut tokens)?;
                found += &format!("{} {tokens:?}", row.number);
            }
        }
    }
    for shard in 0..reader.meta().shards.len() {
        found += &format!("{:?}", reader.patch(2, shard)?);
        for part in reader.masks(shard)? {
            found += &format!("{:?}", part?);
        }
        for part in reader.pictures(shard)? {
            found += &format!("{:?}", part?);
        }
    }
    Ok(found)
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if fs::metadata(&path).unwrap().len() > 0 {
            found.push(path);
        }
    }
    found.sort();
    found
}

#[test]
fn of_a_thousand_changed_bytes_each_is_found_and_none_changes_what_is_read() {
    let dir = whole();
    let expected = content(dir.path()).unwrap();
    assert!(
        verify(dir.path(), Depth::Full, 2)
            .unwrap()
            .faults
            .is_empty()
    );
    assert!(
        verify(dir.path(), Depth::Quick, 2)
            .unwrap()
            .faults
            .is_empty()
    );
    let files = files(dir.path());
    let mut state: u64 = 1;
    let mut below = |end: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) as usize) % end
    };
    for number in 0..1000 {
        let path = &files[number % files.len()];
        let bytes = fs::read(path).unwrap();
        let (at, change) = (below(bytes.len()), 1 + below(255) as u8);
        let mut changed = bytes.clone();
        changed[at] ^= change;
        fs::write(path, &changed).unwrap();
        let what = format!("{}: byte {at} changed by {change}", path.display());
        let faults = verify(dir.path(), Depth::Full, 1);
        assert!(faults.is_ok_and(|found| !found.faults.is_empty()), "{what}");
        if let Ok(found) = content(dir.path()) {
            assert!(found == expected, "{what}");
        }
        fs::write(path, &bytes).unwrap();
    }
    assert_eq!(content(dir.path()).unwrap(), expected);
}

#[test]
fn missing_checksums_are_a_fault_and_those_of_earlier_versions_are_not_asked_for() {
    let dir = whole();
    let sums = dir.path().join("checksums/cls/00001.crc32");
    fs::remove_file(&sums).unwrap();
    let faults = verify(dir.path(), Depth::Quick, 1).unwrap().faults;
    assert_eq!(faults.len(), 1);
    assert_eq!(faults[0].shard, Some(1));
    let error = content(dir.path()).unwrap_err().to_string();
    assert!(error.contains("00001.crc32"), "{error}");

    let dir = whole();
    let expected = content(dir.path()).unwrap();
    without_checksums(dir.path());
    let expected = expected.replace("has_checksums: true", "has_checksums: false");
    assert_eq!(content(dir.path()).unwrap(), expected);
    assert!(
        verify(dir.path(), Depth::Full, 1)
            .unwrap()
            .faults
            .is_empty()
    );
}

#[test]
fn a_replaced_split_has_its_own_checksums_and_one_without_them_is_read() {
    let dir = whole();
    let splits = [("sample 0", None), ("sample 1", Some(Split::Val))];
    let splits = splits.map(|(sample, split)| (sample.to_owned(), split));
    write_split(dir.path(), "other", "another rule", &splits).unwrap();
    assert!(
        verify(dir.path(), Depth::Full, 1)
            .unwrap()
            .faults
            .is_empty()
    );
    // As after a stop between writing the split and its checksums.
    fs::remove_file(dir.path().join("checksums/splits/other.crc32")).unwrap();
    let reader = CacheReader::open(dir.path()).unwrap();
    assert_eq!(reader.named_split("other").unwrap().rule, "another rule");
}

#[test]
#[cfg(unix)]
fn checksums_without_end_are_refused_before_they_are_read() {
    let dir = whole();
    let sums = dir.path().join("checksums/mean/00000.crc32");
    fs::remove_file(&sums).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &sums).unwrap();
    let error = CacheReader::open(dir.path()).unwrap_err().to_string();
    assert!(error.contains("size in bytes is 0"), "{error}");
}
