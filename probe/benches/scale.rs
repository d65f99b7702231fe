//! Writes a cache of random tokens: `cargo bench -p probe --bench scale -- DIR ROWS WIDTH LAYERS`.
//! 14 classes, each of which moves one feature of the slices that have it; a hundredth of the rows is
//! `val`, a hundredth `test`; a patient has three rows. `scripts/dev/bench_scale.py` runs probes on it.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

mod data;

use std::path::Path;

use cache::{
    CacheMeta, CacheWriter, FORMAT_VERSION, Labels, ModelMeta, SliceMeta, Split, Task, TokenBatch,
    Tokens,
};
use data::uniform;
use ndarray::Array2;
use serde_json::json;

const CLASSES: usize = 14;
const BATCH: usize = 1024;

fn main() {
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|w| w != "--bench")
        .collect();
    let [dir, rows, width, layers] = &words[..] else {
        println!("usage: scale DIR ROWS WIDTH LAYERS");
        return;
    };
    let [rows, width, layers] = [rows, width, layers].map(|word| word.parse().unwrap());
    let mut writer = CacheWriter::open(Path::new(dir), meta(rows, width, layers)).unwrap();
    for first in (0..rows).step_by(BATCH) {
        let count = BATCH.min(rows - first);
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
        format_version: FORMAT_VERSION,
        tool_version: "bench".into(),
        dataset: "scale".into(),
        task: Task::MultiLabel,
        classes: (0..CLASSES).map(|class| format!("class {class}")).collect(),
        has_masks: false,
        mask_classes: vec![],
        ignored_mask_value: None,
        has_placement: false,
        has_pictures: false,
        split: None,
        samples: rows as u64,
        samples_sha256: "0".repeat(64),
        model: ModelMeta {
            name: "random".into(),
            sha256: "0".repeat(64),
            final_norm: None,
        },
        image_size: 224,
        tokens: Tokens::Cls,
        layers: layers as u32,
        width: width as u32,
        grid: [16, 16],
        shapes: vec![],
        dtype: "f16".into(),
        preprocess: json!({"image_size": 224, "slicing": "axial", "intensity": "minmax", "resize": "bicubic-squash",
            "rescale": "bounds", "mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2], "non_finite": "error"}),
        provider: "cpu".into(),
        precision: "fp32".into(),
        onnxruntime_version: None,
        parity: None,
        batch_size: BATCH as u32,
        shard_rows: 8 * BATCH as u32,
        rows: 0,
        shards: vec![],
        skipped: vec![],
        complete: false,
    }
}

fn has(row: usize, class: usize) -> bool {
    uniform(1, row * CLASSES + class) > 0.3
}

fn slice(row: usize) -> SliceMeta {
    let patient = row / 3;
    SliceMeta {
        sample: format!("{row:07}"),
        image: format!("{row:07}.png"),
        patient: Some(format!("p{patient:07}")),
        slice: 0,
        view: 0,
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
        spacing_mm: None,
        placement: None,
    }
}

fn tokens(first: usize, count: usize, width: usize, stream: usize) -> Array2<f32> {
    Array2::from_shape_fn((count, width), |(row, feature)| {
        let row = first + row;
        let moved = feature < CLASSES && has(row, feature);
        2.0 * uniform(2 + stream as u64, row * width + feature) + if moved { 0.5 } else { 0.0 }
    })
}
