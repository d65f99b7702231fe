//! Choices of an extraction that have a default.

use std::time::Duration;

use cache::PatchDtype;

use crate::part::DatasetPart;

/// Choices of an extraction that have a default.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Whether to store pictures of slices; `None` for those with masks and patch tokens.
    pub pictures: Option<bool>,
    /// Part of the dataset to extract; `None` for the whole.
    pub part: Option<DatasetPart>,
    /// Element type of patch tokens; `None` for that of the cache that is there, else `f16`.
    pub patch_dtype: Option<PatchDtype>,
    /// Rows per shard, rounded up to whole batches; `None` for 1024, or fewer if tokens are large.
    pub shard_rows: Option<u32>,
    /// Time after which slices are saved, also if their shard is not full.
    pub save_every: Duration,
    /// Time to wait for another process that writes the cache; `None` until it has ended.
    pub wait: Option<Duration>,
    /// Whether samples that were skipped, and can be read now, are taken into the cache.
    pub retry_skipped: bool,
    /// Whether the cache's history names host, user and paths.
    pub record_host: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            pictures: None,
            part: None,
            patch_dtype: None,
            shard_rows: None,
            save_every: Duration::from_secs(60),
            wait: None,
            retry_skipped: false,
            record_host: false,
        }
    }
}
