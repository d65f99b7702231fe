//! Layers whose tokens differ in width and grid.

use std::fs;

use cache::{CacheMeta, CacheReader, CacheWriter, Error, LayerShape, Task, Tokens};
use proptest::prelude::*;

use crate::made::{assert_holds, files, meta, write};

/// Shapes of two layers, oldest first.
fn shapes() -> impl Strategy<Value = Vec<LayerShape>> {
    let shape = (1_u32..5, 1_u32..5, 1_u32..4, 1_u32..4);
    let shape = shape.prop_map(|(cls, patch, rows, columns)| LayerShape {
        cls,
        patch,
        grid: [rows, columns],
    });
    prop::collection::vec(shape, 2)
}

fn with_shapes(meta: CacheMeta, shapes: Vec<LayerShape>) -> CacheMeta {
    let last = shapes[1];
    CacheMeta {
        width: last.cls,
        grid: last.grid,
        shapes,
        ..meta
    }
}

fn uneven() -> CacheMeta {
    let shape = |cls, patch, side| LayerShape {
        cls,
        patch,
        grid: [side, side],
    };
    let meta = meta(Task::SingleLabel, Tokens::All, false, 2);
    with_shapes(meta, vec![shape(2, 2, 4), shape(5, 3, 2)])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn layers_of_any_shapes_are_read_as_written(
        batches in prop::collection::vec(1_usize..6, 1..6),
        shard_rows in 1_u32..9,
        tokens in prop::sample::select(vec![Tokens::Cls, Tokens::All, Tokens::Residual]),
        shapes in shapes(),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let meta = with_shapes(meta(Task::SingleLabel, tokens, false, shard_rows), shapes);
        write(dir.path(), &meta, &batches);
        assert_holds(dir.path(), &meta, batches.iter().sum());
    }
}

#[test]
fn layers_of_one_shape_are_written_without_shapes() {
    let (given, plain) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let meta = meta(Task::SingleLabel, Tokens::All, true, 2);
    write(plain.path(), &meta, &[5]);
    let shapes = vec![meta.shape(2), meta.shape(1)];
    write(given.path(), &with_shapes(meta, shapes), &[5]);
    assert!(files(given.path()) == files(plain.path()));
}

#[test]
fn a_layer_s_tokens_take_their_own_room() {
    assert_eq!(uneven().token_bytes(), 2 * (5 + 3 + 12 + 2 + 2 + 32));
    let plain = meta(Task::SingleLabel, Tokens::Cls, false, 2);
    assert_eq!(plain.token_bytes(), 2 * (2 * 2 * 3));
}

#[test]
fn shapes_that_no_cache_has_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &uneven(), &[2]);
    let path = dir.path().join("meta.json");
    let text = fs::read_to_string(&path).unwrap();
    let refused = |change: &dyn Fn(&mut CacheMeta), what: &str| {
        let mut meta: CacheMeta = serde_json::from_str(&text).unwrap();
        change(&mut meta);
        fs::write(&path, serde_json::to_string(&meta).unwrap()).unwrap();
        let error = CacheReader::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    };
    refused(
        &|meta| meta.shapes.truncate(1),
        "number of shapes is 1, expected 2",
    );
    refused(&|meta| meta.shapes[0].cls = 0, "width of a CLS token is 0");
    refused(
        &|meta| meta.shapes[0].patch = 1 << 21,
        "width of a patch token",
    );
    refused(
        &|meta| meta.shapes[0].grid = [u32::MAX; 2],
        "bytes of patch tokens",
    );
    refused(
        &|meta| meta.width = 4,
        "the last shape's cls is 5, expected 4",
    );
    refused(
        &|meta| meta.grid = [2, 3],
        "the last shape's grid is 2, expected 3",
    );
    refused(&|meta| meta.shapes[0].cls = 1, "schema");
}

#[test]
fn a_run_of_other_shapes_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &uneven(), &[2]);
    let mut run = uneven();
    run.shapes.clear();
    let refused = CacheWriter::open(dir.path(), run.clone()).err().unwrap();
    assert!(matches!(refused, Error::Mismatch { field, .. } if field == "shapes"));
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &run, &[2]);
    let refused = CacheWriter::open(dir.path(), uneven()).err().unwrap();
    assert!(matches!(refused, Error::Mismatch { field, .. } if field == "shapes"));
}
