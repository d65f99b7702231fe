//! Comparison of a cache with the run that continues it.

use std::path::Path;

use serde_json::Value;

use super::{CacheMeta, ModelMeta};
use crate::Error;
use crate::recipe::{Difference, differences};

/// The fields of `meta.json` that change while a cache grows or between releases; all others must
/// agree between a cache and the run that continues it.
const PROGRESS: [&str; 11] = [
    "tool_version",
    "onnxruntime_version",
    "has_provenance",
    "parity",
    "added",
    "rows",
    "shards",
    "pending",
    "skipped",
    "complete",
    "writer",
];

impl CacheMeta {
    /// Compares the fields that a continued run may not change.
    pub(crate) fn check_same(&self, run: &CacheMeta, dir: &Path) -> Result<(), Error> {
        let (cache, run) = (values(self), values(run));
        // Keys that an earlier version did not write stand for what the run has.
        let is_fixed = |of: &Difference| {
            let key = of.field.split('.').next().unwrap_or_default();
            cache.get(key).is_some() && !PROGRESS.contains(&key)
        };
        match differences("", &cache, &run).into_iter().find(is_fixed) {
            None => Ok(()),
            Some(of) if of.field.starts_with("samples") => {
                Err(Error::OtherSamples { path: dir.into() })
            }
            Some(of) => Err(Error::Mismatch {
                path: dir.into(),
                field: of.field,
                found: of.found.to_string(),
                expected: of.expected.to_string(),
            }),
        }
    }
}

/// Keys of `meta.json` for the comparison, with the shapes of all layers and with optional keys, and without
/// `model.final_norm` and `model.weights_sha256`, which follow from the hash of the graph.
fn values(meta: &CacheMeta) -> Value {
    let layers = (1..=meta.layers).rev();
    let shapes = layers.map(|layer| meta.shape(layer)).collect();
    let meta = CacheMeta {
        shapes,
        model: ModelMeta {
            final_norm: None,
            weights_sha256: None,
            ..meta.model.clone()
        },
        ..meta.clone()
    };
    let mut values = serde_json::to_value(&meta).unwrap_or_default();
    if let Value::Object(values) = &mut values {
        values.insert("has_placement".to_string(), meta.has_placement.into());
        values.insert("has_pictures".to_string(), meta.has_pictures.into());
        if let Ok(dtype) = serde_json::to_value(meta.patch_dtype) {
            values.insert("patch_dtype".to_string(), dtype);
        }
        values.insert("first_tokens".to_string(), meta.first_tokens.into());
        let ignored = meta.ignored_mask_value.into();
        values.insert("ignored_mask_value".to_string(), ignored);
    }
    values
}
