//! Caches for tests.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use cache::{
    CacheMeta, CacheReader, CacheWriter, Labels, LayerShape, ModelMeta, SliceMeta, Split, Task,
    TokenBatch, Tokens,
};
use common::{Axis, Picture, Placement};
use ndarray::{Array2, Array3, concatenate};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

pub(crate) const WIDTH: u32 = 3;

/// One unlabelled layer of width 1 and a grid of one patch.
pub(crate) fn plain() -> CacheMeta {
    CacheMeta {
        dataset: "data".to_string(),
        samples: 1,
        samples_sha256: "samples".to_string(),
        model: ModelMeta {
            name: "model".to_string(),
            sha256: "model".to_string(),
            final_norm: None,
            weights_sha256: None,
        },
        grid: [1, 1],
        batch_size: 1,
        shard_rows: 3,
        ..tests::meta()
    }
}

/// Two layers, two classes and placements; pictures where there are masks.
pub(crate) fn meta(task: Task, tokens: Tokens, has_masks: bool, shard_rows: u32) -> CacheMeta {
    CacheMeta {
        task,
        classes: vec!["heart".to_string(), "lung, left".to_string()],
        has_masks,
        has_placement: true,
        has_pictures: has_masks,
        tokens,
        layers: 2,
        width: WIDTH,
        grid: [2, 2],
        first_tokens: if tokens == Tokens::Residual { 3 } else { 0 },
        shard_rows,
        ..plain()
    }
}

/// `count` rows from row `first` on; every value is one that f16 keeps exactly.
pub(crate) fn batch(meta: &CacheMeta, first: usize, count: usize) -> TokenBatch {
    let rows = first..first + count;
    let value = |row: usize, layer: usize, at: usize| (row * 7 + layer * 3 + at) as f32 / 8.0;
    let shapes: Vec<LayerShape> = (1..=meta.layers).rev().map(|k| meta.shape(k)).collect();
    let tokens = |kind: usize, width: fn(&LayerShape) -> u32| {
        let layer = |(l, shape)| {
            let shape = (count, width(shape) as usize);
            Array2::from_shape_fn(shape, |(r, d)| value(first + r, l, d + kind))
        };
        shapes.iter().enumerate().map(layer).collect()
    };
    let patch = |l: usize| {
        let width = shapes[l].patch as usize;
        let positions = meta.first_tokens as usize + shapes[l].patches();
        let shape = (count, positions, width);
        Array3::from_shape_fn(shape, |(r, p, d)| -value(first + r, l, p * width + d)).into()
    };
    let layers = match meta.tokens {
        Tokens::All | Tokens::Residual => meta.layers as usize,
        Tokens::Cls => 0,
    };
    TokenBatch {
        slices: rows.clone().map(|row| slice(meta, row)).collect(),
        cls: tokens(0, |shape| shape.cls),
        mean: tokens(1, |shape| shape.patch),
        patch: (0..layers).map(patch).collect(),
        masks: rows.clone().filter(|_| meta.has_masks).map(mask).collect(),
        pictures: rows
            .filter(|_| meta.has_pictures)
            .map(|row| picture(meta, row))
            .collect(),
    }
}

pub(crate) fn slice(meta: &CacheMeta, row: usize) -> SliceMeta {
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
        ][row / 3 % 4],
        labels: match meta.task {
            Task::Unlabelled => Labels::Unlabelled,
            Task::SingleLabel => Labels::Single([Some(0), Some(1), None][row % 3]),
            Task::MultiLabel => Labels::Multi(vec![[Some(1), Some(-1), None][row % 3], Some(0)]),
        },
        height: 2 + row as u32 % 2,
        width: 4,
        spacing_mm: (row % 2 == 1).then_some([1.0, 0.5, 0.25]),
        placement: (meta.has_placement && row % 3 != 2).then(|| placement(row)),
    }
}

fn placement(row: usize) -> Placement {
    let mut affine = [
        [0.1, -2.0, 0.0, 1e-300],
        [0.0, 1.0 / 3.0, 5.0, -70.25],
        [3.0, 0.0, 0.5, 0.0],
    ];
    affine[2][3] = row as f64;
    let stored = [
        (Axis::Column, row.is_multiple_of(2)),
        (Axis::Row, true),
        (Axis::Slice, false),
    ];
    Placement { affine, stored }
}

pub(crate) fn picture(meta: &CacheMeta, row: usize) -> Picture {
    let side = meta.image_size as usize;
    Picture::from_shape_fn((side, side), |(y, x)| (row * 50 + y * 3 + x / 8) as u8)
}

fn mask(row: usize) -> Option<Array2<u16>> {
    let pixels = |(y, x)| (row * 300 + y * 4 + x) as u16;
    (row % 3 != 1).then(|| Array2::from_shape_fn((2 + row % 2, 4), pixels))
}

pub(crate) fn assert_holds(dir: &Path, meta: &CacheMeta, rows: usize) {
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
            assert_eq!(
                concatenate(ndarray::Axis(0), &parts).unwrap(),
                all.patch[at].to_f32()
            );
        }
    }
    if meta.tokens == Tokens::Residual {
        assert_residuals(&reader, &all);
    }
    if meta.has_masks {
        let masks = (0..shards).flat_map(|s| reader.masks(s).unwrap());
        let masks = masks.flat_map(Result::unwrap);
        assert!(masks.eq(all.masks));
    }
    if meta.has_pictures {
        let pictures = (0..shards).flat_map(|s| reader.pictures(s).unwrap());
        let pictures = pictures.flat_map(Result::unwrap);
        assert!(pictures.eq(all.pictures));
    }
}

pub(crate) fn write(dir: &Path, meta: &CacheMeta, batches: &[usize]) {
    let mut writer = CacheWriter::open(dir, meta.clone()).unwrap();
    let mut first = 0;
    for &count in batches {
        writer.append(&batch(meta, first, count)).unwrap();
        first += count;
    }
    writer.finish().unwrap();
}

/// All files but `history.json`, which has times.
pub(crate) fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if !path.ends_with("history.json") {
            found.push((
                path.to_string_lossy().into_owned(),
                fs::read(&path).unwrap(),
            ));
        }
    }
    let prefix = format!("{}/", dir.display());
    found
        .iter_mut()
        .for_each(|(name, _)| *name = name.replace(&prefix, ""));
    found.sort();
    found
}

pub(crate) fn small() -> (tempfile::TempDir, CacheMeta) {
    let dir = tempfile::tempdir().unwrap();
    let meta = meta(Task::SingleLabel, Tokens::Cls, false, 2);
    write(dir.path(), &meta, &[5]);
    (dir, meta)
}

/// Makes a cache one of an earlier version, which has no checksums: they would hide what else refuses
/// changed files.
pub(crate) fn without_checksums(dir: &Path) {
    let mut meta = CacheMeta::read(dir).unwrap();
    let files = meta.shards.iter_mut().flat_map(|s| s.tables.values_mut());
    files.for_each(|file| file.has_checksums = false);
    let text = serde_json::to_string_pretty(&meta).unwrap();
    fs::write(dir.join("meta.json"), text).unwrap();
    fs::remove_dir_all(dir.join("checksums")).unwrap();
}

/// Replaces columns in the only shard of a table, as somebody would who changes a cache by hand.
pub(crate) fn forge(dir: &Path, table: &str, changes: &[(&str, ArrayRef)]) {
    if dir.join("checksums").is_dir() {
        without_checksums(dir);
    }
    let path = dir.join(table).join("00000.parquet");
    let rows = ParquetRecordBatchReaderBuilder::try_new(File::open(&path).unwrap()).unwrap();
    let rows: Vec<RecordBatch> = rows.build().unwrap().map(Result::unwrap).collect();
    let rows = arrow::compute::concat_batches(&rows[0].schema(), &rows).unwrap();
    let mut columns = rows.columns().to_vec();
    for (name, column) in changes {
        columns[rows.schema().index_of(name).unwrap()] = Arc::clone(column);
    }
    let rows = RecordBatch::try_new(rows.schema(), columns).unwrap();
    let file = File::create(&path).unwrap();
    let properties =
        WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default()));
    let mut writer = ArrowWriter::try_new(file, rows.schema(), Some(properties.build())).unwrap();
    writer.write(&rows).unwrap();
    writer.close().unwrap();
    told_size(dir, table);
}

/// Writes the size of a table's only shard into `meta.json`.
fn told_size(dir: &Path, table: &str) {
    let mut meta = CacheMeta::read(dir).unwrap();
    let file = meta.shards[0].tables.get_mut(table).unwrap();
    file.bytes = fs::metadata(dir.join(table).join("00000.parquet"))
        .unwrap()
        .len();
    fs::write(dir.join("meta.json"), serde_json::to_string(&meta).unwrap()).unwrap();
}

fn assert_residuals(reader: &CacheReader, all: &TokenBatch) {
    let layers: Vec<u32> = (1..=reader.meta().layers).rev().collect();
    let residuals = reader.residuals(&layers).unwrap();
    let groups: Vec<_> = residuals.groups().iter().collect();
    let rows = residuals
        .read_all(&groups, |_| true)
        .flat_map(Result::unwrap);
    let rows: Vec<_> = rows.collect();
    assert_eq!(rows.len(), all.slices.len());
    for (at, expected) in all.patch.iter().enumerate() {
        let expected = expected.to_f32();
        for (row, expected) in rows.iter().zip(expected.outer_iter()) {
            let mut found = vec![0.0; expected.len()];
            row.copy_to(at, &mut found).unwrap();
            assert!(found.iter().eq(&expected));
        }
    }
}
