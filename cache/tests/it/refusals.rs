//! Invalid caches, and changes that a run may not make.

use std::fs;
use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use cache::{CacheMeta, CacheReader, CacheWriter, Error, Task, Tokens};
use common::Picture;
use ndarray::Array2;

use crate::made::{WIDTH, batch, forge, meta, plain, small, without_checksums, write};

#[test]
fn an_unfinished_cache_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let meta = meta(Task::SingleLabel, Tokens::Cls, false, 2);
    let mut writer = CacheWriter::open(dir.path(), meta.clone()).unwrap();
    writer.append(&batch(&meta, 0, 3)).unwrap();
    drop(writer);
    let error = CacheReader::open(dir.path()).unwrap_err();
    assert!(matches!(error, Error::Incomplete { rows: 2, .. }));
}

#[test]
fn a_missing_short_or_foreign_shard_is_refused() {
    let (dir, _) = small();
    let shard = dir.path().join("cls/00001.parquet");
    let bytes = fs::read(&shard).unwrap();
    let opened = || CacheReader::open(dir.path()).unwrap_err();
    fs::write(&shard, &bytes[1..]).unwrap();
    assert!(matches!(opened(), Error::Shard { .. }));
    fs::write(&shard, vec![0; bytes.len()]).unwrap();
    assert!(matches!(opened(), Error::Parquet { .. }));
    fs::copy(dir.path().join("cls/00002.parquet"), &shard).unwrap();
    assert!(matches!(opened(), Error::Shard { .. }));
    fs::remove_file(&shard).unwrap();
    assert!(matches!(opened(), Error::Shard { .. }));
}

#[test]
fn swapped_shards_are_told_by_their_row_numbers() {
    let (dir, _) = small();
    without_checksums(dir.path());
    let shard = |index: usize| dir.path().join(format!("cls/{index:05}.parquet"));
    let (first, second) = (fs::read(shard(0)).unwrap(), fs::read(shard(1)).unwrap());
    assert_eq!(first.len(), second.len());
    fs::write(shard(0), second).unwrap();
    fs::write(shard(1), first).unwrap();
    let error = CacheReader::open(dir.path()).unwrap().cls(1).unwrap_err();
    assert!(error.to_string().contains("row number is 2"), "{error}");
}

#[test]
fn sizes_that_no_cache_has_are_refused_before_anything_is_allocated() {
    let (dir, _) = small();
    without_checksums(dir.path());
    let path = dir.path().join("meta.json");
    let text = fs::read_to_string(&path).unwrap();
    for (from, to) in [
        ("\"layers\": 2", "\"layers\": 4000000000"),
        ("\"width\": 3", "\"width\": 4000000000"),
        ("\"width\": 3", "\"width\": 0"),
    ] {
        assert!(text.contains(from), "no {from}");
        fs::write(&path, text.replace(from, to)).unwrap();
        let error = CacheReader::open(dir.path()).unwrap_err();
        assert!(error.to_string().contains("meta.json"), "{error}");
    }
}

#[test]
fn a_complete_cache_without_rows_is_refused() {
    let (dir, mut meta) = small();
    meta.complete = true;
    let text = serde_json::to_string(&meta).unwrap();
    fs::write(dir.path().join("meta.json"), text).unwrap();
    let error = CacheReader::open(dir.path()).unwrap_err().to_string();
    assert!(error.contains("complete cache is 0"), "{error}");
}

#[test]
fn a_changed_byte_is_found_by_verify() {
    let (dir, _) = small();
    let shard = dir.path().join("mean/00000.parquet");
    let mut bytes = fs::read(&shard).unwrap();
    bytes[30] ^= 1;
    fs::write(&shard, bytes).unwrap();
    let error = CacheReader::open(dir.path()).unwrap_err();
    assert!(error.to_string().contains("mean/00000.parquet"), "{error}");
    without_checksums(dir.path());
    let error = CacheReader::open(dir.path()).unwrap().verify().unwrap_err();
    assert!(error.to_string().contains("mean/00000.parquet"), "{error}");
}

#[test]
fn another_version_or_no_json_is_refused() {
    let (dir, _) = small();
    let path = dir.path().join("meta.json");
    fs::write(&path, "{\"format_version\": 99}").unwrap();
    let error = CacheReader::open(dir.path()).unwrap_err();
    assert!(matches!(
        error,
        Error::Version {
            found: 99,
            expected: 1,
            ..
        }
    ));
    fs::write(&path, "{\"format").unwrap();
    let error = CacheReader::open(dir.path()).unwrap_err();
    assert!(matches!(error, Error::Meta { .. }));
}

#[test]
fn another_recipe_is_refused_by_the_name_of_its_field() {
    let (dir, mut meta) = small();
    meta.preprocess["intensity"] = "voi".into();
    let Err(Error::Mismatch {
        field,
        found,
        expected,
        ..
    }) = CacheWriter::open(dir.path(), meta)
    else {
        panic!("the cache was opened");
    };
    assert_eq!(
        (&*field, &*found, &*expected),
        ("preprocess.intensity", "\"minmax\"", "\"voi\"")
    );
}

#[test]
fn a_run_that_kept_nothing_is_begun_anew_with_another_recipe() {
    let dir = tempfile::tempdir().unwrap();
    drop(CacheWriter::open(dir.path(), plain()).unwrap());
    let mut other = plain();
    other.preprocess["intensity"] = "voi".into();
    let writer = CacheWriter::open(dir.path(), other.clone()).unwrap();
    assert_eq!(writer.meta().preprocess, other.preprocess);
    assert_eq!(
        CacheMeta::read(dir.path()).unwrap().preprocess,
        other.preprocess
    );
}

#[test]
fn tokens_that_f16_cannot_keep_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let meta = meta(Task::SingleLabel, Tokens::Cls, false, 2);
    let mut writer = CacheWriter::open(dir.path(), meta.clone()).unwrap();
    for value in [f32::NAN, f32::NEG_INFINITY, 70_000.0] {
        let mut batch = batch(&meta, 0, 2);
        batch.mean[1][[1, 2]] = value;
        let error = writer.append(&batch).unwrap_err().to_string();
        assert!(
            error.contains("sample 0") && error.contains("mean_1"),
            "{error}"
        );
    }
    assert!(writer.is_empty());
}

#[test]
fn a_batch_of_another_width_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let meta = meta(Task::SingleLabel, Tokens::Cls, false, 2);
    let mut writer = CacheWriter::open(dir.path(), meta.clone()).unwrap();
    let mut batch = batch(&meta, 0, 2);
    batch.cls[0] = Array2::zeros((2, WIDTH as usize + 1));
    let error = writer.append(&batch).unwrap_err();
    assert!(matches!(
        error,
        Error::Shape {
            what: "cls shape",
            ..
        }
    ));
}

#[test]
fn a_run_with_pictures_does_not_go_on_with_a_cache_that_has_none_nor_the_other_way_round() {
    for begun in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let run = |has_pictures, has_placement| CacheMeta {
            has_pictures,
            has_placement,
            ..plain()
        };
        write(dir.path(), &run(begun, begun), &[2]);
        for (other, name) in [
            (run(!begun, begun), "has_pictures"),
            (run(begun, !begun), "has_placement"),
        ] {
            let refused = CacheWriter::open(dir.path(), other).err().unwrap();
            assert!(matches!(refused, Error::Mismatch { field, .. } if field == name));
        }
        CacheWriter::open(dir.path(), run(begun, begun)).unwrap();
    }
}

#[test]
fn what_the_graphs_hash_tells_and_the_runtime_may_be_unknown_and_other_ignored_values_may_not() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &plain(), &[2]);
    let mut run = plain();
    run.model.final_norm = Some(false);
    run.model.weights_sha256 = Some("weights".to_string());
    run.onnxruntime_version = Some("1.32.0".to_string());
    let writer = CacheWriter::open(dir.path(), run.clone()).unwrap();
    assert_eq!(*writer.meta(), CacheMeta::read(dir.path()).unwrap());
    drop(writer);
    run.ignored_mask_value = Some(9);
    let refused = CacheWriter::open(dir.path(), run).err().unwrap();
    assert!(matches!(refused, Error::Mismatch { field, .. } if field == "ignored_mask_value"));
}

#[test]
fn pictures_of_another_size_or_number_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let meta = meta(Task::Unlabelled, Tokens::Cls, true, 2);
    let mut writer = CacheWriter::open(dir.path(), meta.clone()).unwrap();
    let mut batch = batch(&meta, 0, 2);
    batch.pictures[1] = Picture::zeros((28, 27));
    let error = writer.append(&batch).unwrap_err().to_string();
    assert!(error.contains("picture shapes"), "{error}");
    batch.pictures.truncate(1);
    writer.append(&batch).unwrap_err();
    assert!(writer.is_empty());
}

#[test]
fn pictures_of_a_size_that_no_cache_has_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        &meta(Task::Unlabelled, Tokens::Cls, true, 2),
        &[2],
    );
    without_checksums(dir.path());
    let path = dir.path().join("meta.json");
    let text = fs::read_to_string(&path).unwrap();
    for (size, what) in [
        ("4000000000", "image size"),
        ("0", "image size"),
        ("27", "schema"),
    ] {
        let changed = text.replace("\"image_size\": 28", &format!("\"image_size\": {size}"));
        fs::write(&path, changed).unwrap();
        let error = CacheReader::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    }
}

#[test]
fn a_placement_that_is_none_is_refused_by_its_row() {
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        &meta(Task::Unlabelled, Tokens::Cls, false, 9),
        &[4],
    );
    let written = |words: [Option<&str>; 4]| {
        let words: ArrayRef = Arc::new(StringArray::from(words.to_vec()));
        forge(dir.path(), "slices", &[("stored_axes", words)]);
        CacheReader::open(dir.path())
    };
    let good = Some("slice- row+ column+");
    // As `made` has it, the third row has no affine.
    assert!(written([good, good, None, good]).is_ok());
    for wrong in [None, Some("slice+ row+ row+"), Some("")] {
        let error = written([good, wrong, None, good]).unwrap_err().to_string();
        assert!(error.contains("wrong in row 1"), "{error}");
    }
    written([good, good, good, good]).unwrap_err();
}
