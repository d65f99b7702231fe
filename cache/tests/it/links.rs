//! Links in a cache that somebody else made, through which a writer would reach files outside of it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use cache::{
    CacheLock, CacheMeta, CacheReader, CacheWriter, Depth, Error, LabelWriter, Locked, NewLabels,
    Task, Tokens, merge, part_dir, verify, write_split,
};

use crate::made::{files, meta, write};

/// A cache, and a folder outside of it with files of the names that caches have.
struct Made {
    root: tempfile::TempDir,
}

impl Made {
    fn new() -> Made {
        let made = Made {
            root: tempfile::tempdir().unwrap(),
        };
        write(&made.cache(), &plain(), &[2]);
        for folder in ["", "zz", "zz/slices", "slices", "cls", "1-of-2"] {
            let folder = made.outside().join(folder);
            fs::create_dir_all(&folder).unwrap();
            for name in ["00007.parquet", "00007.parquet.part", "thesis.doc"] {
                fs::write(folder.join(name), "precious").unwrap();
            }
        }
        made
    }

    fn cache(&self) -> PathBuf {
        self.root.path().join("cache")
    }

    fn outside(&self) -> PathBuf {
        self.root.path().join("outside")
    }
}

fn plain() -> CacheMeta {
    meta(Task::SingleLabel, Tokens::Cls, false, 2)
}

/// Every operation that changes files of a cache, as far as they do not begin with the same lock.
fn changes(dir: &Path) -> Vec<Option<Error>> {
    let new = NewLabels {
        made_by: "table:a.csv".into(),
        task: Task::SingleLabel,
        classes: plain().classes,
        masks: None,
    };
    let relabelled = CacheReader::open(dir).map(|reader| {
        let writer = LabelWriter::create(&reader, ("zz", true), new, dir);
        writer.map(drop).err()
    });
    vec![
        CacheLock::of(dir).err(),
        Locked::of(dir)
            .and_then(|locked| locked.delete_files(&locked.leftovers()?))
            .err(),
        CacheWriter::open(dir, plain()).map(drop).err(),
        relabelled.unwrap_or_else(Some),
    ]
}

#[test]
fn folders_that_are_links_are_refused_and_nothing_outside_changes() {
    let links = [
        "labels",
        "labels/zz",
        "labels/zz/slices",
        "labels/cls/slices",
        "pending",
        "pending/slices",
        "checksums",
        "checksums/cls",
        "checksums/labels",
        "cls",
        "slices",
        "sources",
        "splits",
        "repair",
        "extension",
        "extension/cls",
        "parts",
        "parts/1-of-2",
    ];
    for name in links {
        let made = Made::new();
        let (cache, outside) = (made.cache(), made.outside());
        let link = cache.join(name);
        // A folder that is there is moved outside, so that what is read through the link is sound.
        let moved = outside.join("moved");
        let target = match fs::rename(&link, &moved) {
            Ok(()) => moved,
            Err(_) => outside.clone(),
        };
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(&target, &link).unwrap();
        let before = files(&outside);
        for error in changes(&cache) {
            let text = error.unwrap().to_string();
            assert!(text.contains("a link"), "{name}: {text}");
        }
        for depth in [Depth::Quick, Depth::Full] {
            let faults = verify(&cache, depth, 1).unwrap().faults;
            let is_told = |error: &Error| matches!(error, Error::Link { path } if *path == link);
            assert!(faults.iter().any(|of| is_told(&of.error)), "{name}");
        }
        if name.starts_with("parts") {
            assert!(merge(&cache, 1).is_err(), "{name}");
            assert!(CacheLock::of(&part_dir(&cache, 1, 2)).is_err(), "{name}");
        }
        if name == "splits" {
            let samples = CacheReader::open(&cache).unwrap().slices().unwrap();
            let mut samples: Vec<_> = samples.into_iter().map(|row| (row.sample, None)).collect();
            samples.dedup();
            let error = write_split(&cache, "a", "none", &samples).unwrap_err();
            assert!(matches!(error, Error::Link { .. }), "{error}");
        }
        assert!(before == files(&outside), "{name}");
    }
}

#[test]
fn a_lock_that_is_no_file_is_neither_followed_nor_waited_for() {
    let made = Made::new();
    let lock = made.cache().join(".lock");
    let target = made.outside().join("thesis.doc");
    let refused = || {
        for error in changes(&made.cache()) {
            let text = error.unwrap().to_string();
            assert!(
                text.contains(".lock") && text.contains("it is a link"),
                "{text}"
            );
        }
        fs::remove_file(&lock).unwrap();
    };
    fs::remove_file(&lock).unwrap();
    symlink(&target, &lock).unwrap();
    refused();
    assert_eq!(fs::read(&target).unwrap(), b"precious");
    let missing = made.outside().join("missing");
    symlink(&missing, &lock).unwrap();
    refused();
    assert!(!missing.exists());
    assert!(
        Command::new("mkfifo")
            .arg(&lock)
            .status()
            .unwrap()
            .success()
    );
    refused();
    Locked::of(&made.cache()).unwrap();
}

#[test]
fn a_file_in_the_making_that_is_a_link_is_deleted_and_not_followed() {
    let made = Made::new();
    let target = made.outside().join("thesis.doc");
    let part = made.cache().join("cls/00001.parquet.part");
    symlink(&target, &part).unwrap();
    symlink(
        made.outside().join("missing"),
        made.cache().join("cls/00002.parquet.part"),
    )
    .unwrap();
    let locked = Locked::of(&made.cache()).unwrap();
    let left = locked.leftovers().unwrap();
    assert_eq!(left.files.len(), 2);
    locked.delete_files(&left).unwrap();
    assert!(!part.is_symlink());
    assert_eq!(fs::read(&target).unwrap(), b"precious");
}
