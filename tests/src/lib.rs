//! Descriptions of small caches and changes of files, for the tests and benchmarks of all crates.

mod changed;

use cache::{CacheMeta, FORMAT_VERSION, Labels, ModelMeta, SliceMeta, Task, Tokens};
use serde_json::{Value, json};

pub use self::changed::run_changed;

/// A cache of unlabelled slices with CLS tokens of one layer, of width 1.
pub fn meta() -> CacheMeta {
    CacheMeta {
        format_version: FORMAT_VERSION,
        tool_version: "test".into(),
        dataset: "test".into(),
        task: Task::Unlabelled,
        classes: vec![],
        has_masks: false,
        mask_classes: vec![],
        ignored_mask_value: None,
        has_placement: false,
        has_pictures: false,
        has_provenance: false,
        split: None,
        part: None,
        samples: 30,
        samples_sha256: "0".repeat(64),
        model: ModelMeta {
            name: "tiny".into(),
            sha256: "0".repeat(64),
            final_norm: None,
            weights_sha256: None,
        },
        image_size: 28,
        tokens: Tokens::Cls,
        layers: 1,
        width: 1,
        grid: [2, 2],
        shapes: vec![],
        dtype: "f16".into(),
        first_tokens: 0,
        patch_dtype: cache::PatchDtype::F16,
        preprocess: recipe(28),
        provider: "cpu".into(),
        precision: "fp32".into(),
        imported: None,
        onnxruntime_version: None,
        parity: None,
        added: None,
        batch_size: 16,
        shard_rows: 16,
        rows: 0,
        shards: vec![],
        pending: vec![],
        skipped: vec![],
        complete: false,
        writer: None,
    }
}

/// A recipe from voxels to pixels.
pub fn recipe(image_size: usize) -> Value {
    json!({
        "image_size": image_size,
        "slicing": "axial",
        "intensity": "minmax",
        "resize": "bicubic-squash",
        "rescale": "bounds",
        "mean": [0.5, 0.5, 0.5],
        "std": [0.2, 0.2, 0.2],
        "non_finite": "error",
    })
}

/// An unlabelled image `SAMPLE.png`.
pub fn slice(sample: &str) -> SliceMeta {
    SliceMeta {
        sample: sample.into(),
        image: format!("{sample}.png"),
        patient: None,
        slice: 0,
        view: 0,
        split: None,
        labels: Labels::Unlabelled,
        height: 28,
        width: 28,
        spacing_mm: None,
        placement: None,
    }
}
