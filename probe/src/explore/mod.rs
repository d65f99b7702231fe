//! What a cache holds, for looking at: principal components of patches, nearest neighbours and maps; and how often
//! neighbours are of the same class.

mod chosen;
mod embedded;
mod map;
mod nearest;
mod page;
mod patches;
mod retrieve;

use cache::{CacheReader, Split};
use serde_json::{Map, Value};

pub use self::chosen::Choice;
pub use self::embedded::Embedding;
pub use self::map::{MapOptions, Mapped, Method, map};
pub use self::nearest::{Nearest, NearestOptions, Neighbour, Shown, nearest};
pub use self::patches::{Cut, Painted, PatchOptions, paint};
pub use self::retrieve::{ALL_OTHERS, Queries, RetrieveOptions, retrieve};
use crate::Error;
use crate::evaluate::{Identity, NOTHING_CHOSEN, Settings, blank};
use crate::examples::{Pool, Unit};
use crate::metrics::measures::Confidence;
use crate::protocol::Protocol;
use crate::record::RunRecord;

/// Settings of a look at all examples, whatever split they are in.
fn settings(unit: Unit, pool: Option<Pool>, confidence: Option<Confidence>) -> Settings {
    Settings {
        protocol: Protocol::Strict,
        unit: Some(unit),
        pool,
        split_name: None,
        fit: Vec::new(),
        eval: Split::Test,
        val_share: None,
        control: None,
        seed: confidence.map_or(0, |confidence| confidence.seed),
        confidence,
        per_patient: false,
    }
}

/// A record of a look at all examples, and its key, by which files are named.
fn record(
    reader: &CacheReader,
    settings: &Settings,
    options: Map<String, Value>,
) -> Result<RunRecord, Error> {
    let identity: Identity = settings.identity(reader, options, NOTHING_CHOSEN, &[])?;
    Ok(RunRecord {
        split: "all".into(),
        ..blank(reader, settings, &identity)
    })
}
