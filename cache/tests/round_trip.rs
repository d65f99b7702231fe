//! What is written is what is read, whatever the shapes and wherever a run stopped.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use cache::{
    CacheMeta, CacheReader, CacheWriter, Error, FORMAT_VERSION, Labels, ModelMeta, Position,
    Skipped, SliceMeta, Split, Task, TokenBatch, Tokens,
};
use ndarray::{Array2, Array3, Axis, concatenate};
use proptest::prelude::*;

const WIDTH: usize = 3;
const GRID: [u32; 2] = [2, 2];

fn meta(task: Task, tokens: Tokens, has_masks: bool, shard_rows: u32) -> CacheMeta {
    CacheMeta {
        format_version: FORMAT_VERSION,
        tool_version: "test".to_string(),
        dataset: "data".to_string(),
        task,
        classes: vec!["heart".to_string(), "lung, left".to_string()],
        has_masks,
        mask_classes: Vec::new(),
        split: None,
        samples: 1,
        samples_sha256: "samples".to_string(),
        model: ModelMeta {
            name: "model".to_string(),
            sha256: "model".to_string(),
        },
        image_size: 28,
        tokens,
        layers: 2,
        width: WIDTH as u32,
        grid: GRID,
        dtype: "f16".to_string(),
        preprocess: serde_json::json!({"intensity": {"low": 1, "high": 2}}),
        provider: "cpu".to_string(),
        precision: "fp32".to_string(),
        batch_size: 1,
        shard_rows,
        rows: 0,
        shards: Vec::new(),
        skipped: Vec::new(),
        complete: false,
    }
}

/// `count` rows from row `first` on; every value is one that f16 keeps exactly.
fn batch(meta: &CacheMeta, first: usize, count: usize) -> TokenBatch {
    let rows = first..first + count;
    let value = |row: usize, layer: usize, at: usize| (row * 7 + layer * 3 + at) as f32 / 8.0;
    let tokens = |kind: usize| {
        let layer =
            |l| Array2::from_shape_fn((count, WIDTH), |(r, d)| value(first + r, l, d + kind));
        (0..meta.layers as usize).map(layer).collect()
    };
    let patch = |l| {
        let shape = (count, meta.patches(), WIDTH);
        Array3::from_shape_fn(shape, |(r, p, d)| -value(first + r, l, p * WIDTH + d))
    };
    let layers = match meta.tokens {
        Tokens::All => meta.layers as usize,
        Tokens::Cls => 0,
    };
    TokenBatch {
        slices: rows.clone().map(|row| slice(meta, row)).collect(),
        cls: tokens(0),
        mean: tokens(1),
        patch: (0..layers).map(patch).collect(),
        masks: rows.filter(|_| meta.has_masks).map(mask).collect(),
    }
}

fn slice(meta: &CacheMeta, row: usize) -> SliceMeta {
    SliceMeta {
        sample: format!("sample {}", row / 3),
        image: format!("a/{row}.png"),
        patient: row.is_multiple_of(2).then(|| format!("p{row}")),
        slice: (row % 3) as u32,
        view: 0,
        split: [
            None,
            Some(Split::Train),
            Some(Split::Val),
            Some(Split::Test),
        ][row % 4],
        labels: match meta.task {
            Task::Unlabelled => Labels::Unlabelled,
            Task::SingleLabel => Labels::Single([Some(0), Some(1), None][row % 3]),
            Task::MultiLabel => Labels::Multi(vec![[Some(1), Some(-1), None][row % 3], Some(0)]),
        },
        height: 2 + row as u32 % 2,
        width: 4,
        spacing_mm: (row % 2 == 1).then_some([1.0, 0.5, 0.25]),
    }
}

fn mask(row: usize) -> Option<Array2<u16>> {
    let pixels = |(y, x)| (row * 300 + y * 4 + x) as u16;
    (row % 3 != 1).then(|| Array2::from_shape_fn((2 + row % 2, 4), pixels))
}

fn assert_holds(dir: &Path, meta: &CacheMeta, rows: usize) {
    let reader = CacheReader::open(dir).unwrap();
    reader.verify().unwrap();
    let all = batch(meta, 0, rows);
    assert_eq!(reader.slices().unwrap(), all.slices);
    let shards = reader.meta().shards.len();
    for layer in 1..=meta.layers {
        let at = (meta.layers - layer) as usize;
        assert_eq!(reader.cls(layer).unwrap(), all.cls[at]);
        assert_eq!(reader.mean(layer).unwrap(), all.mean[at]);
        if meta.tokens == Tokens::All {
            let parts: Vec<_> = (0..shards)
                .map(|s| reader.patch(layer, s).unwrap())
                .collect();
            let parts: Vec<_> = parts.iter().map(|part| part.view()).collect();
            assert_eq!(concatenate(Axis(0), &parts).unwrap(), all.patch[at]);
        }
    }
    if meta.has_masks {
        let masks = (0..shards).flat_map(|s| reader.masks(s).unwrap());
        assert!(masks.eq(all.masks));
    }
}

fn write(dir: &Path, meta: &CacheMeta, batches: &[usize]) {
    let mut writer = CacheWriter::open(dir, meta.clone()).unwrap();
    let mut first = 0;
    for &count in batches {
        writer.append(&batch(meta, first, count)).unwrap();
        first += count;
    }
    writer.finish().unwrap();
}

fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push((
                path.to_string_lossy().into_owned(),
                fs::read(&path).unwrap(),
            )),
        }
    }
    let prefix = format!("{}/", dir.display());
    found
        .iter_mut()
        .for_each(|(name, _)| *name = name.replace(&prefix, ""));
    found.sort();
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_is_written_is_read(
        batches in prop::collection::vec(1_usize..6, 1..6),
        shard_rows in 1_u32..9,
        task in prop::sample::select(vec![Task::Unlabelled, Task::SingleLabel, Task::MultiLabel]),
        tokens in prop::sample::select(vec![Tokens::Cls, Tokens::All]),
        has_masks: bool,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let meta = meta(task, tokens, has_masks, shard_rows);
        write(dir.path(), &meta, &batches);
        assert_holds(dir.path(), &meta, batches.iter().sum());
    }

    #[test]
    fn a_stopped_writer_goes_on_to_the_same_bytes(stop in 0_usize..20, shard_rows in 1_u32..9) {
        let (whole, stopped) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let meta = meta(Task::MultiLabel, Tokens::All, true, shard_rows);
        write(whole.path(), &meta, &[1; 20]);

        let mut writer = CacheWriter::open(stopped.path(), meta.clone()).unwrap();
        (0..stop).for_each(|row| writer.append(&batch(&meta, row, 1)).unwrap());
        drop(writer);
        let mut writer = CacheWriter::open(stopped.path(), meta.clone()).unwrap();
        let done = stop - stop % shard_rows as usize;
        prop_assert_eq!(writer.meta().rows, done as u64);
        let last = done.checked_sub(1).map(|row| slice(&meta, row));
        let position = last.map(|s| Position { sample: s.sample, slice: s.slice, view: s.view });
        prop_assert_eq!(writer.position().unwrap(), position);
        (done..20).for_each(|row| writer.append(&batch(&meta, row, 1)).unwrap());
        writer.finish().unwrap();
        prop_assert!(files(whole.path()) == files(stopped.path()));
    }
}

fn small() -> (tempfile::TempDir, CacheMeta) {
    let dir = tempfile::tempdir().unwrap();
    let meta = meta(Task::SingleLabel, Tokens::Cls, false, 2);
    write(dir.path(), &meta, &[5]);
    (dir, meta)
}

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
    let path = dir.path().join("meta.json");
    let text = fs::read_to_string(&path).unwrap();
    for (from, to) in [
        ("\"layers\": 2", "\"layers\": 4000000000"),
        ("\"width\": 3", "\"width\": 4000000000"),
        ("\"width\": 3", "\"width\": 0"),
    ] {
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
fn a_file_of_the_user_s_own_is_left_alone() {
    let (dir, meta) = small();
    let [notes, part] = ["cls/notes.txt", "cls/00007.parquet.part"].map(|f| dir.path().join(f));
    fs::write(&notes, "mine").unwrap();
    fs::write(&part, "left by a stop").unwrap();
    CacheWriter::open(dir.path(), meta).unwrap();
    assert!(notes.exists() && !part.exists());
}

#[test]
fn a_changed_byte_is_found_by_verify() {
    let (dir, _) = small();
    let shard = dir.path().join("mean/00000.parquet");
    let mut bytes = fs::read(&shard).unwrap();
    bytes[30] ^= 1;
    fs::write(&shard, bytes).unwrap();
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
    meta.preprocess["intensity"]["high"] = 3.into();
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
        ("preprocess.intensity.high", "2", "3")
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
    batch.cls[0] = Array2::zeros((2, WIDTH + 1));
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
fn a_skipped_sample_is_noted_once_and_forgotten_when_it_arrives() {
    let dir = tempfile::tempdir().unwrap();
    let meta = meta(Task::SingleLabel, Tokens::Cls, false, 2);
    let mut writer = CacheWriter::open(dir.path(), meta.clone()).unwrap();
    for sample in ["sample 0", "other", "other"] {
        let (sample, reason) = (sample.to_string(), "damaged".to_string());
        writer.skip(Skipped { sample, reason });
    }
    writer.append(&batch(&meta, 0, 1)).unwrap();
    let skipped = writer.finish().unwrap().skipped;
    assert_eq!(skipped.len(), 1);
    assert_eq!(skipped[0].sample, "other");
}

#[test]
fn caches_are_found_two_folders_down() {
    let (root, meta) = (tempfile::tempdir().unwrap(), small().1);
    for name in ["b/m@28", "a/m@28"] {
        write(&root.path().join(name), &meta, &[1]);
    }
    fs::create_dir_all(root.path().join("c/empty")).unwrap();
    let found = CacheReader::find(root.path()).unwrap();
    assert_eq!(
        found,
        [root.path().join("a/m@28"), root.path().join("b/m@28")]
    );
}

/// A cache of format version 1, as `extract` wrote it from three images: it opens for ever.
#[test]
fn version_1_is_read() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1");
    let reader = CacheReader::open(&golden).unwrap();
    reader.verify().unwrap();
    let meta = reader.meta();
    assert_eq!((meta.rows, meta.layers, meta.width), (3, 2, 32));
    let slices = reader.slices().unwrap();
    assert_eq!(slices[2].image, "3.png");
    assert_eq!(slices[1].labels, Labels::Multi(vec![Some(1), Some(0)]));
    assert_eq!(reader.patch(1, 0).unwrap().dim(), (2, 16, 32));
    assert_eq!(reader.masks(0).unwrap()[1].as_ref().unwrap()[[2, 3]], 1);
    let norm = reader.cls(1).unwrap().mapv(|v| v * v).sum();
    assert!((norm - NORM_V1).abs() < 1e-3, "{norm}");
}

const NORM_V1: f32 = 112.5392;
