//! The description of an imported cache.

use std::path::{Path, PathBuf};

use cache::{CacheMeta, FORMAT_VERSION, Imported, ModelMeta, PatchDtype, Task};
use common::text::printable;
use serde_json::{Value, json};

use super::import::Import;
use super::tokens::TokenReader;
use crate::Error;

/// Word for what is not known of tokens that another program computed.
const UNKNOWN: &str = "unknown";

/// Approximate size of a shard's tensors in bytes.
const SHARD_BYTES: usize = 256 << 20;

/// Most rows of a shard.
const SHARD_ROWS: usize = 16_384;

/// Approximate size of the numbers of a batch in bytes.
const BATCH_BYTES: usize = 16 << 20;

/// Most rows of a batch.
const BATCH_ROWS: usize = 256;

/// What the rows of an import are, beside their tokens.
pub(super) struct RowsMeta {
    pub(super) task: Task,
    pub(super) classes: Vec<String>,
    /// Origin of the splits, as in a cache's `split`.
    pub(super) split: String,
    pub(super) samples: u64,
    pub(super) sha256: String,
}

/// Folder of the cache.
///
/// # Errors
///
/// [`Error::Options`] if a name cannot be that of a folder.
pub(super) fn dir(import: &Import<'_>) -> Result<PathBuf, Error> {
    for (option, name) in [("dataset", import.dataset), ("model", import.model)] {
        if name.is_empty() || name.starts_with('.') || name.contains(['/', '\\', '@']) {
            return Err(Error::Options {
                found: format!("`{}` is not a name", printable(name)),
                hint: format!("give `--{option}` another, without `/` and `@`"),
            });
        }
    }
    let model = format!("{}@{}", import.model, import.image_size);
    Ok(import.caches.join(import.dataset).join(model))
}

/// Describes the cache.
pub(super) fn describe(
    import: &Import<'_>,
    tokens: &TokenReader,
    rows: RowsMeta,
    imported: Imported,
) -> CacheMeta {
    let shape = tokens.shape();
    let mut meta = CacheMeta {
        format_version: FORMAT_VERSION,
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
        dataset: import.dataset.to_owned(),
        task: rows.task,
        classes: rows.classes,
        has_masks: false,
        mask_classes: Vec::new(),
        ignored_mask_value: None,
        has_placement: false,
        has_pictures: false,
        has_provenance: true,
        split: Some(rows.split),
        part: None,
        samples: rows.samples,
        samples_sha256: rows.sha256,
        provider: UNKNOWN.to_owned(),
        precision: UNKNOWN.to_owned(),
        imported: Some(imported),
        onnxruntime_version: None,
        model: ModelMeta {
            name: import.model.to_owned(),
            sha256: UNKNOWN.to_owned(),
            final_norm: None,
            weights_sha256: None,
        },
        image_size: import.image_size,
        tokens: tokens.tokens(),
        layers: 1,
        width: shape.cls,
        grid: shape.grid,
        shapes: vec![shape],
        dtype: "f16".to_owned(),
        first_tokens: 0,
        patch_dtype: PatchDtype::F16,
        preprocess: unknown_recipe(import.image_size),
        parity: None,
        added: None,
        batch_size: 1,
        shard_rows: 1,
        rows: 0,
        shards: Vec::new(),
        pending: Vec::new(),
        skipped: Vec::new(),
        complete: false,
        writer: None,
    };
    // Numbers in single precision take twice as much.
    let bytes = meta.token_bytes().max(1);
    let batch = (BATCH_BYTES / (2 * bytes)).clamp(1, BATCH_ROWS) as u32;
    let shard = (SHARD_BYTES / bytes).clamp(1, SHARD_ROWS) as u32;
    meta.batch_size = batch;
    meta.shard_rows = shard.next_multiple_of(batch);
    meta
}

/// A recipe with all keys that the format asks for. Pixels are not normalised by a mean of 0 and a deviation of 1.
fn unknown_recipe(image_size: u32) -> Value {
    json!({
        "image_size": image_size,
        "slicing": UNKNOWN,
        "intensity": UNKNOWN,
        "resize": UNKNOWN,
        "rescale": UNKNOWN,
        "mean": [0, 0, 0],
        "std": [1, 1, 1],
        "non_finite": UNKNOWN,
    })
}

/// The name that the cache's `split` has for splits of a table.
pub(super) fn split_of(table: Option<&Path>) -> String {
    table.map_or("none".to_owned(), |table| {
        format!("file:{}", crate::dataset::files::name(table))
    })
}
