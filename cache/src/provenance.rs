//! What a Parquet file says of its own making, in its key-value metadata.
//!
//! It repeats keys of `meta.json` that never change once the cache has rows, so that the files of a run that was
//! stopped and resumed, joined from parts or repaired equal those of an undisturbed run.

use parquet::file::metadata::KeyValue;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::CacheMeta;
use crate::schema::Table;

/// Key of the provenance in a file's metadata.
const KEY: &str = "slicebank";

/// What made the tables that were added to a finished cache, where it differs from what made the others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Added {
    /// Names of these tables.
    pub tables: Vec<String>,
    /// The version of the program.
    pub tool_version: String,
    /// The version of ONNX Runtime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub onnxruntime_version: Option<String>,
    /// Difference of tokens from those of the CPU in f32, if it was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parity: Option<Value>,
}

impl Added {
    /// What made the tables of the cache that `added` describes.
    pub(crate) fn of(tables: &[Table], added: &CacheMeta) -> Added {
        Added {
            tables: tables.iter().map(|table| table.name().to_owned()).collect(),
            tool_version: added.tool_version.clone(),
            onnxruntime_version: added.onnxruntime_version.clone(),
            parity: added.parity.clone(),
        }
    }

    /// Whether it tells no more than the keys of `meta` do.
    pub(crate) fn is_same(&self, meta: &CacheMeta) -> bool {
        self.tool_version == meta.tool_version
            && self.onnxruntime_version == meta.onnxruntime_version
            && self.parity == meta.parity
    }
}

/// The metadata of the files of a table; of the records of source files without `table`. Caches of earlier
/// versions have none.
pub(crate) fn of(meta: &CacheMeta, table: Option<Table>) -> Vec<KeyValue> {
    if !meta.has_provenance {
        return Vec::new();
    }
    let is_of_table = |added: &&Added| {
        table.is_some_and(|table| added.tables.iter().any(|name| name == table.name()))
    };
    let made = match meta.added.as_ref().filter(is_of_table) {
        Some(added) => added,
        None => &Added::of(&[], meta),
    };
    let mut value = json!({
        "tool_version": made.tool_version,
        "onnxruntime_version": made.onnxruntime_version,
        "dataset": meta.dataset,
        "model": meta.model,
        "image_size": meta.image_size,
        "preprocess": meta.preprocess,
        "provider": meta.provider,
        "precision": meta.precision,
        "imported": meta.imported,
        "parity": made.parity,
    });
    if let Value::Object(keys) = &mut value {
        keys.retain(|_, value| !value.is_null());
    }
    vec![KeyValue::new(KEY.to_owned(), value.to_string())]
}
