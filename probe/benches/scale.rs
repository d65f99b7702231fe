//! Writes a cache of random tokens: `cargo bench --workspace --bench scale -- DIR ROWS WIDTH LAYERS [SHARD_ROWS]`
//! (8192 rows a shard by default). 14 classes, each of which moves one feature of the slices that have it; a hundredth of the rows is
//! `val`, a hundredth `test`; a patient has three rows. `scripts/dev/bench_scale.py` runs probes on it.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

mod data;

use std::path::Path;

use cache::{CacheMeta, CacheWriter, Labels, ModelMeta, SliceMeta, Split, Task, TokenBatch};
use data::uniform;
use ndarray::Array2;

const CLASSES: usize = 14;
const BATCH: usize = 1024;

fn main() {
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|w| w != "--bench")
        .collect();
    let (dir, sizes) = match &words[..] {
        [dir, sizes @ ..] if (3..=4).contains(&sizes.len()) => (dir, sizes),
        _ => {
            println!("usage: scale DIR ROWS WIDTH LAYERS [SHARD_ROWS]");
            return;
        }
    };
    let sizes: Vec<usize> = sizes.iter().map(|word| word.parse().unwrap()).collect();
    let [rows, width, layers] = [sizes[0], sizes[1], sizes[2]];
    let shard_rows = sizes.get(3).copied().unwrap_or(8 * BATCH);
    let batch = BATCH.min(shard_rows);
    let meta = CacheMeta {
        batch_size: batch as u32,
        shard_rows: shard_rows as u32,
        ..meta(rows, width, layers)
    };
    let mut writer = CacheWriter::open(Path::new(dir), meta).unwrap();
    for first in (0..rows).step_by(batch) {
        let count = batch.min(rows - first);
        let tokens = |kind: usize| -> Vec<Array2<f32>> {
            let layer = |layer| tokens(first, count, width, kind * layers + layer);
            (0..layers).map(layer).collect()
        };
        let batch = TokenBatch {
            slices: (first..first + count).map(slice).collect(),
            cls: tokens(0),
            mean: tokens(1),
            patch: vec![],
            masks: vec![],
            pictures: vec![],
        };
        writer.append(&batch).unwrap();
    }
    writer.finish().unwrap();
}

fn meta(rows: usize, width: usize, layers: usize) -> CacheMeta {
    CacheMeta {
        tool_version: "bench".into(),
        dataset: "scale".into(),
        task: Task::MultiLabel,
        classes: (0..CLASSES).map(|class| format!("class {class}")).collect(),
        samples: rows as u64,
        model: ModelMeta {
            name: "random".into(),
            sha256: "0".repeat(64),
            final_norm: None,
            weights_sha256: None,
        },
        image_size: 224,
        layers: layers as u32,
        width: width as u32,
        grid: [16, 16],
        preprocess: tests::recipe(224),
        ..tests::meta()
    }
}

fn has(row: usize, class: usize) -> bool {
    uniform(1, row * CLASSES + class) > 0.3
}

fn slice(row: usize) -> SliceMeta {
    let patient = row / 3;
    SliceMeta {
        patient: Some(format!("p{patient:07}")),
        split: Some(match patient % 100 {
            0 => Split::Test,
            1 => Split::Val,
            _ => Split::Train,
        }),
        labels: Labels::Multi(
            (0..CLASSES)
                .map(|class| Some(has(row, class).into()))
                .collect(),
        ),
        height: 224,
        width: 224,
        ..tests::slice(&format!("{row:07}"))
    }
}

fn tokens(first: usize, count: usize, width: usize, stream: usize) -> Array2<f32> {
    Array2::from_shape_fn((count, width), |(row, feature)| {
        let row = first + row;
        let moved = feature < CLASSES && has(row, feature);
        2.0 * uniform(2 + stream as u64, row * width + feature) + if moved { 0.5 } else { 0.0 }
    })
}
