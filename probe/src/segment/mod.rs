//! Segmentation: decoders over the patch tokens of a cache.
//!
//! Patch tokens do not fit into memory, so that [`evaluate`] takes a path of its own from a cache to run
//! records: `Cases` are slices with their label maps; a `Stream` reads tokens in batches; decoders of all
//! learning rates learn from each batch; the best on `val` is trained again on `train` and `val`; and
//! [`Volume`]s of `test` are measured.

mod about;
mod apply;
mod cases;
mod checkpoint;
mod draw;
mod evaluated;
mod fit;
mod given;
mod graph;
mod kinds;
mod label_maps;
mod masks;
mod measures;
mod options;
mod overlaps;
mod overlay;
mod parts;
mod pictures;
mod predict;
pub(crate) mod resolution;
mod saved;
mod stack;
mod state_dict;
mod task;
mod train;
mod volume;
mod volume_table;

use cache::CacheReader;

pub use self::about::About;
pub use self::apply::{Applying, apply, of_decoder};
pub use self::evaluated::Evaluated;
pub use self::fit::TrainingStore;
pub use self::given::{check_splits, evaluate_run, key_of_run};
pub(crate) use self::measures::few_patients;
pub use self::measures::measures_by_volume;
pub use self::options::Options;
pub use self::overlaps::{Overlap, Overlaps, read_volumes};
pub use self::resolution::Resolution;
pub use self::saved::SavedDecoder;
use self::task::Task;
pub use self::volume::{Distances, Volume};
pub use self::volume_table::{VolumeRow, VolumeTable};
use crate::Error;
use crate::evaluate::Settings;

/// Evaluates decoders on a cache: a result per number of shots.
///
/// # Errors
///
/// [`Error::Cache`] if the cache has no patch tokens or too few layers, [`SegmentError::NoMasks`](crate::error::SegmentError::NoMasks),
/// [`SegmentError::UnnamedValues`](crate::error::SegmentError::UnnamedValues), [`SegmentError::NoMaskedSlices`](crate::error::SegmentError::NoMaskedSlices) if a part is empty, [`SegmentError::ClassAbsent`](crate::error::SegmentError::ClassAbsent) if a class
/// of `test` or `val` is not in the training data, [`SegmentError::UnevenLayers`](crate::error::SegmentError::UnevenLayers) if a U-Net's layers differ,
/// [`SegmentError::Diverged`](crate::error::SegmentError::Diverged), and [`FileError::Output`](crate::error::FileError::Output) if a file cannot be written.
pub fn evaluate(
    reader: &CacheReader,
    options: &Options,
    settings: &Settings,
    store: &TrainingStore<'_>,
) -> Result<Vec<Evaluated>, Error> {
    store.steps.say("reading masks");
    let task = Task::open(reader, options, settings)?;
    let identity = options.identity(reader, settings)?;
    options
        .shots
        .iter()
        .map(|&shots| task.shots(shots, &identity, store))
        .collect()
}
