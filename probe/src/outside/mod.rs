//! Results of trainings outside of this program, which `scripts/finetune` writes: scores of cases or label maps of
//! slices, measured and recorded as those of probes.

mod classes;
mod run;

use std::path::Path;

use cache::CacheReader;

pub use self::classes::{check_splits, evaluate, key};
pub use self::run::{Run, Task};
use crate::Error;

/// File of the scores of cases in the folder of a training.
pub const SCORES: &str = "scores.parquet";
/// File of the label maps of slices in the folder of a training.
pub const MASKS: &str = "masks.parquet";

/// Refuses a cache that the training was not of.
///
/// # Errors
///
/// [`Error::ScoresOfOtherCache`]
pub(crate) fn check_cache(reader: &CacheReader, run: &Run, folder: &Path) -> Result<(), Error> {
    if reader.sha256() == run.cache_sha256 {
        return Ok(());
    }
    Err(Error::ScoresOfOtherCache {
        path: folder.into(),
        cache: reader.dir().into(),
    })
}
