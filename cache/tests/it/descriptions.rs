//! Descriptions (`meta.json`) that no cache may have.

use std::fs;
use std::path::Path;

use cache::{CacheMeta, CacheReader, CacheWriter, Error, MaskClass, Tokens};

use crate::made::{plain, write};

/// Opens a cache whose description was changed.
fn changed(dir: &Path, change: &dyn Fn(&mut CacheMeta)) -> Result<(), Error> {
    let mut meta = CacheMeta::read(dir).unwrap();
    change(&mut meta);
    let text = serde_json::to_string(&meta).unwrap();
    fs::write(dir.join("meta.json"), text).unwrap();
    CacheReader::open(dir).map(drop)
}

/// Expects `word` in the error of a reader and of a writer for a changed description.
#[track_caller]
fn assert_refused(change: &dyn Fn(&mut CacheMeta), word: &str) {
    let (dir, anew) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(dir.path(), &plain(), &[3, 1]);
    let opened = changed(dir.path(), change);
    let mut meta = plain();
    change(&mut meta);
    for found in [opened, CacheWriter::open(anew.path(), meta).map(drop)] {
        let text = found.unwrap_err().to_string();
        assert!(text.contains("meta.json") && text.contains(word), "{text}");
    }
}

#[test]
fn descriptions_that_no_cache_may_have_are_refused_before_and_after() {
    type Change = fn(&mut CacheMeta);
    let changes: [(Change, &str); 9] = [
        (
            |meta| meta.dtype = "f4".into(),
            "`dtype` is `f4`, expected `f16`",
        ),
        (
            |meta| meta.batch_size = 0,
            "`batch_size` is 0, expected at least 1",
        ),
        (|meta| meta.shard_rows = 0, "`shard_rows` is 0"),
        (
            |meta| meta.batch_size = 2,
            "`shard_rows` is 3, expected a multiple",
        ),
        (
            |meta| meta.preprocess = serde_json::json!({}),
            "null for `image_size`",
        ),
        (
            |meta| meta.preprocess["image_size"] = 224.into(),
            "224 for `image_size`",
        ),
        (
            |meta| meta.preprocess["resize"] = 1.into(),
            "1 for `resize`, expected a word",
        ),
        (
            |meta| meta.preprocess["std"] = vec![1.0].into(),
            "[1.0] for `std`, expected three numbers",
        ),
        (|meta| meta.image_size = 56, "28 for `image_size`"),
    ];
    for (change, word) in changes {
        assert_refused(&change, word);
    }
}

/// Numbers that a writer finds itself.
#[test]
fn counts_that_do_not_fit_the_tables_are_refused() {
    type Change = fn(&mut CacheMeta);
    let changes: [(Change, &str); 3] = [
        (
            |meta| meta.samples = 1_000_000_000_000,
            "`samples` is 1000000000000, expected at most 4",
        ),
        (|meta| meta.shard_rows = 4, "a shard is 3 rows, expected 4"),
        (|meta| meta.tokens = Tokens::Cls, "one of the table `patch`"),
    ];
    for (change, word) in changes {
        let dir = tempfile::tempdir().unwrap();
        let all = CacheMeta {
            tokens: Tokens::All,
            ..plain()
        };
        write(dir.path(), &all, &[3, 1]);
        let text = changed(dir.path(), &change).unwrap_err().to_string();
        assert!(text.contains("meta.json") && text.contains(word), "{text}");
    }
}

#[test]
fn classes_that_no_cache_may_have_are_refused_before_and_after() {
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    assert_refused(&|meta| meta.classes = names(&["a", "b", "a"]), "`a` twice");
    assert_refused(
        &|meta| meta.classes = names(&["a\n", "a\n"]),
        "`a\\n` twice",
    );
    assert_refused(
        &|meta| meta.classes = names(&[&"x".repeat(5000)]),
        "5000 bytes",
    );
    let many = (0..20_000).map(|class| class.to_string());
    assert_refused(
        &|meta| meta.classes = many.clone().collect(),
        "number of classes is 20000, expected at most 4096",
    );
    let structure = |value, name: &str| MaskClass {
        value,
        name: name.to_owned(),
    };
    let same = |of: [MaskClass; 2]| move |meta: &mut CacheMeta| meta.mask_classes = of.to_vec();
    assert_refused(&same([structure(1, "a"), structure(1, "b")]), "`1` twice");
    assert_refused(&same([structure(1, "a"), structure(2, "a")]), "`a` twice");
}
