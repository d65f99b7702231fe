use crate::error::MeasureError;
use std::path::Path;

use cache::{CacheMeta, CacheReader, CacheWriter, TokenBatch, Tokens};
use ndarray::{Array2, Array3};

use super::*;

const ROWS: usize = 30;

fn meta() -> CacheMeta {
    CacheMeta {
        samples: ROWS as u64,
        tokens: Tokens::All,
        layers: 2,
        width: 2,
        batch_size: 3,
        shard_rows: 3,
        ..::tests::meta()
    }
}

/// Tokens of layer `k` of row `r` are `r + k / 4`, in ten shards.
fn stream(dir: &Path, layers: &[u32], batch: usize) -> Stream {
    let mut writer = CacheWriter::open(dir, meta()).unwrap();
    for first in (0..ROWS).step_by(3) {
        let token = |layer: usize| {
            Array3::from_shape_fn((3, 4, 2), |(at, ..)| {
                (first + at) as f32 + layer as f32 / 4.0
            })
            .into()
        };
        let flat = || vec![Array2::zeros((3, 2)); 2];
        let batch = TokenBatch {
            slices: (first..first + 3)
                .map(|row| ::tests::slice(&format!("{row:02}")))
                .collect(),
            cls: flat(),
            mean: flat(),
            patch: vec![token(2), token(1)],
            masks: vec![],
            pictures: vec![],
        };
        writer.append(&batch).unwrap();
    }
    writer.finish().unwrap();
    open(dir, layers, batch)
}

fn open(dir: &Path, layers: &[u32], batch: usize) -> Stream {
    let reader = CacheReader::open(dir).unwrap();
    let patches = reader.patches(layers).unwrap();
    Stream::new(patches, vec![8; layers.len()], batch, None)
}

fn order(stream: &Stream, rows: &[usize], order: Order) -> Vec<usize> {
    let mut all = Vec::new();
    let pass = stream.pass(rows, order, |batch| {
        for (at, &row) in batch.rows.iter().enumerate() {
            for (layer, tokens) in batch.tokens.iter().enumerate() {
                let expected = row as f32 + [0.5, 0.25][layer];
                assert!(tokens[8 * at..][..8].iter().all(|&token| token == expected));
            }
        }
        all.extend(&batch.rows);
        Ok(())
    });
    pass.unwrap();
    all
}

#[test]
fn each_row_comes_once_a_pass_in_an_order_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let stream = stream(dir.path(), &[2, 1], 4);
    let wanted: Vec<usize> = (0..ROWS).filter(|row| row % 5 != 3).collect();
    assert_eq!(order(&stream, &wanted, Order::Stored), wanted);
    let shuffled = |seed, pass| order(&stream, &wanted, Order::Shuffled { seed, pass });
    let first = shuffled(1, 0);
    assert_ne!(first, wanted);
    assert_eq!(first, shuffled(1, 0));
    assert!(first != shuffled(1, 1) && first != shuffled(2, 0));
    let mut sorted = first;
    sorted.sort_unstable();
    assert_eq!(sorted, wanted);
}

#[test]
fn batches_are_full_but_for_the_last_and_an_error_ends_the_pass() {
    let dir = tempfile::tempdir().unwrap();
    let stream = stream(dir.path(), &[2, 1], 4);
    let rows: Vec<usize> = (0..ROWS).collect();
    for order in [Order::Stored, Order::Shuffled { seed: 0, pass: 0 }] {
        let mut sizes = Vec::new();
        let pass = stream.pass(&rows, order, |batch| {
            sizes.push(batch.rows.len());
            Ok(())
        });
        pass.unwrap();
        assert_eq!(sizes, [4, 4, 4, 4, 4, 4, 4, 2]);
        let mut batches = 0;
        let pass = stream.pass(&rows, order, |_| {
            batches += 1;
            Err(Error::Measure(MeasureError::NoCases))
        });
        assert!(matches!(pass, Err(Error::Measure(MeasureError::NoCases))) && batches == 1);
    }
}

#[test]
fn a_shard_that_is_gone_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let stream = stream(dir.path(), &[2, 1], 4);
    std::fs::remove_file(dir.path().join("patch/00004.parquet")).unwrap();
    let rows: Vec<usize> = (0..ROWS).collect();
    let error = stream.pass(&rows, Order::Stored, |_| Ok(())).unwrap_err();
    assert!(error.to_string().contains("patch/00004.parquet"), "{error}");
}

#[test]
fn a_token_that_is_no_number_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    stream(dir.path(), &[2, 1], 4);
    // As earlier versions wrote it: checksums would find the change first.
    let path = dir.path().join("meta.json");
    let mut meta: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    for shard in meta["shards"].as_array_mut().unwrap() {
        shard["tables"]["patch"]["has_checksums"] = false.into();
    }
    std::fs::write(&path, meta.to_string()).unwrap();
    let stream = open(dir.path(), &[2, 1], 4);
    let shard = dir.path().join("patch/00002.parquet");
    let mut bytes = std::fs::read(&shard).unwrap();
    let row: Vec<u8> = [half::f16::from_f32(7.5); 8]
        .map(half::f16::to_le_bytes)
        .concat();
    let at = bytes.windows(16).position(|bytes| bytes == row).unwrap();
    bytes[at + 4..at + 6].copy_from_slice(&half::f16::NAN.to_le_bytes());
    std::fs::write(&shard, bytes).unwrap();
    let rows: Vec<usize> = (0..ROWS).collect();
    let error = stream.pass(&rows, Order::Stored, |_| Ok(())).unwrap_err();
    let error = error.to_string();
    assert!(
        error.contains("patch/00002.parquet") && error.contains("row 7"),
        "{error}"
    );
}
