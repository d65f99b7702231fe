//! Named splits: written beside a finished cache, and read in place of its own.

use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
use cache::{CacheReader, CacheWriter, SliceMeta, Split, TokenBatch, write_split};
use ndarray::Array2;
use parquet::arrow::ArrowWriter;
use proptest::prelude::*;
use tempfile::TempDir;

use crate::made::plain;

/// A cache of samples `s0`, `s1`, … with two slices each, all in train.
struct Made(TempDir);

impl Made {
    fn new(samples: usize) -> Made {
        let made = Made(TempDir::new().unwrap());
        let mut writer = CacheWriter::open(&made.dir(), plain()).unwrap();
        writer.append(&batch(samples)).unwrap();
        writer.finish().unwrap();
        made
    }

    fn dir(&self) -> PathBuf {
        self.0.path().join("data/model@28")
    }

    fn reader(&self) -> CacheReader {
        CacheReader::open(&self.dir()).unwrap()
    }

    /// A file of the folder `splits` that another program wrote.
    fn write_foreign(&self, name: &str, columns: Vec<(&str, ArrayRef, bool)>) {
        fs::create_dir_all(self.dir().join("splits")).unwrap();
        let rows = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
        let file = File::create(self.dir().join(format!("splits/{name}.parquet"))).unwrap();
        let mut writer = ArrowWriter::try_new(file, rows.schema(), None).unwrap();
        writer.write(&rows).unwrap();
        writer.close().unwrap();
    }

    #[track_caller]
    fn refused(&self, name: &str, words: &[&str]) {
        let text = self
            .reader()
            .slices_with_split(name)
            .unwrap_err()
            .to_string();
        for word in words.iter().chain(&["hint:"]) {
            assert!(text.contains(word), "no `{word}` in {text}");
        }
    }
}

fn batch(samples: usize) -> TokenBatch {
    let slice = |row: usize| SliceMeta {
        slice: row as u32 % 2,
        split: Some(Split::Train),
        ..tests::slice(&format!("s{}", row / 2))
    };
    TokenBatch {
        slices: (0..2 * samples).map(slice).collect(),
        cls: vec![Array2::zeros((2 * samples, 1))],
        mean: vec![Array2::zeros((2 * samples, 1))],
        patch: Vec::new(),
        masks: Vec::new(),
        pictures: Vec::new(),
    }
}

fn named(splits: &[Option<Split>]) -> Vec<(String, Option<Split>)> {
    let samples = splits.iter().enumerate();
    samples
        .map(|(k, split)| (format!("s{k}"), *split))
        .collect()
}

#[test]
fn a_split_that_is_written_again_is_replaced_and_the_default_stays() {
    let made = Made::new(2);
    assert_eq!(made.reader().splits().unwrap(), [""; 0]);
    let write = |name: &str, rule: &str, splits: &[Option<Split>]| {
        write_split(&made.dir(), name, rule, &named(splits)).unwrap();
    };
    write("b", "random:0.5:0:0.5", &[Some(Split::Val), None]);
    write("a.1", "none", &[None, None]);
    write("b", "kfold:3:0", &[Some(Split::Test), Some(Split::Train)]);
    assert_eq!(made.reader().splits().unwrap(), ["a.1", "b"]);
    let split = made.reader().named_split("b").unwrap();
    assert_eq!(split.rule, "kfold:3:0");
    assert_eq!(split.of["s0"], Some(Split::Test));
    let path = made.dir().join("splits/b.parquet");
    assert_eq!(split.sha256, common::sha256_file(&path).unwrap());
    let slices = made.reader().slices().unwrap();
    assert!(slices.iter().all(|slice| slice.split == Some(Split::Train)));
    assert!(
        cache::verify(made.reader().dir(), cache::Depth::Full, 1)
            .unwrap()
            .faults
            .is_empty()
    );
}

#[test]
fn a_list_that_is_not_the_cache_s_samples_is_not_written() {
    let made = Made::new(2);
    let refused = |splits: &[(&str, Option<Split>)], word: &str| {
        let splits: Vec<_> = splits
            .iter()
            .map(|(s, split)| (s.to_string(), *split))
            .collect();
        let text = write_split(&made.dir(), "a", "none", &splits)
            .unwrap_err()
            .to_string();
        assert!(text.contains(word) && text.contains("hint:"), "{text}");
    };
    refused(
        &[("s0", None)],
        "1 sample of the cache not named, for instance `s1`",
    );
    refused(
        &[("s0", None), ("s1", None), ("s2", None)],
        "no sample `s2`",
    );
    refused(
        &[("s0", None), ("s1", None), ("s0", None)],
        "`s0` is named twice",
    );
    assert!(!made.dir().join("splits").exists());
}

#[test]
fn names_stay_inside_the_folder() {
    let made = Made::new(1);
    for name in ["", "../a", "a/b", ".hidden", "a b", &"x".repeat(101)] {
        let written = write_split(&made.dir(), name, "none", &named(&[None]));
        let text = written.unwrap_err().to_string();
        assert!(text.contains("not a name for a split"), "{text}");
        made.refused(name, &["not a name for a split"]);
    }
}

#[test]
fn a_split_that_is_not_there_is_answered_with_those_that_are() {
    let made = Made::new(1);
    made.refused("a", &["no split `a`", "none besides"]);
    write_split(&made.dir(), "b", "none", &named(&[None])).unwrap();
    made.refused("a", &["no split `a`", "`b`", "--name a"]);
}

#[test]
fn a_foreign_file_is_checked() {
    let made = Made::new(2);
    let text = |values: &[&str]| -> ArrayRef { Arc::new(StringArray::from(values.to_vec())) };
    let columns = |samples: &[&str], splits: &[&str]| {
        vec![
            ("sample", text(samples), false),
            ("split", text(splits), true),
        ]
    };
    made.write_foreign("good", columns(&["s1", "s0"], &["val", "test"]));
    let (slices, _) = made.reader().slices_with_split("good").unwrap();
    assert_eq!(slices[0].split, Some(Split::Test));
    made.write_foreign("word", columns(&["s0", "s1"], &["Val", "test"]));
    made.refused("word", &["splits/word.parquet", "`Val` is no split"]);
    made.write_foreign("twice", columns(&["s0", "s0"], &["val", "test"]));
    made.refused("twice", &["`s0` is named twice"]);
    made.write_foreign("other", columns(&["s0", "s9"], &["val", "test"]));
    made.refused("other", &["no sample `s9`"]);
    made.write_foreign("short", columns(&["s0"], &["val"]));
    made.refused("short", &["1 sample of the cache not named"]);
    let numbers: ArrayRef = Arc::new(Int32Array::from(vec![1, 2]));
    let samples = text(&["s0", "s1"]);
    made.write_foreign(
        "type",
        vec![("sample", samples, false), ("split", numbers, true)],
    );
    made.refused("type", &["`split Int32`"]);
    fs::write(made.dir().join("splits/torn.parquet"), "PAR1").unwrap();
    made.refused("torn", &["torn.parquet"]);
}

#[test]
fn an_unfinished_cache_gets_no_split() {
    let made = Made(TempDir::new().unwrap());
    drop(CacheWriter::open(&made.dir(), plain()).unwrap());
    let text = write_split(&made.dir(), "a", "none", &[])
        .unwrap_err()
        .to_string();
    assert!(text.contains("not finished"), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    #[test]
    fn what_is_written_is_what_is_read(
        splits in proptest::collection::vec(0usize..4, 1..20),
        rule in ".{0,40}",
    ) {
        let known = [Some(Split::Train), Some(Split::Val), Some(Split::Test), None];
        let splits: Vec<Option<Split>> = splits.into_iter().map(|k| known[k]).collect();
        let made = Made::new(splits.len());
        write_split(&made.dir(), "a", &rule, &named(&splits)).unwrap();
        let (slices, split) = made.reader().slices_with_split("a").unwrap();
        for (row, slice) in slices.iter().enumerate() {
            prop_assert_eq!(slice.split, splits[row / 2]);
        }
        prop_assert_eq!(&split.rule, &rule);
        prop_assert_eq!(made.reader().named_split("a").unwrap(), split);
    }
}
