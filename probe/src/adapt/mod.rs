//! Adapting the last blocks of a backbone to the labels of a cache, from the tokens before these blocks.
//!
//! `Backbone` reads the blocks' weights, after it has checked that the cache is of them; `Residuals` streams tokens of
//! the cache; `Training` trains a [`nn::transformer::Network`] and stops at the best epoch on `val`; the network
//! is trained again on `train` and `val`, and scores `test`. `saved` writes what was trained under the names that
//! other programs know, and reads it for `applied`, by which `probe predict` scores other caches.

mod applied;
mod backbone;
mod checkpoint;
mod fit;
mod memory;
mod names;
mod options;
mod residuals;
mod saved;
mod states;
mod train;

use std::path::Path;

use cache::CacheReader;
use serde_json::{Map, Value};

pub use self::applied::{Blocks, Folders};
pub(crate) use self::options::{LoraOptions, MOST_BLOCKS, MOST_EXAMPLES, MOST_RANK, Rule};
pub use self::options::{Method, Options};
use crate::Error;
use crate::evaluate::{AnyProbe, Evaluated, Fitted, Probe, Settings, Task, fields};
use crate::features::{Features, Tokens};
use crate::progress::Steps;
use crate::protocol::Protocol;

/// Files and messages of adaptations.
#[derive(Clone, Copy)]
pub struct Store<'a> {
    /// The folder of run records.
    pub runs: &'a Path,
    /// The folder of model cards and weights.
    pub models: &'a Path,
    /// Whether trainings begin anew.
    pub force: bool,
    /// Shows the progress of a training.
    pub say: &'a (dyn Fn(&str) + Sync),
    /// Prints a line that stays.
    pub tell: &'a (dyn Fn(&str) + Sync),
}

/// The key of the evaluation of an adaptation.
///
/// # Errors
///
/// [`Error::Cache`] if the slices of the cache or the named split cannot be read.
pub fn key(options: &Options, reader: &CacheReader, settings: &Settings) -> Result<String, Error> {
    let adapt = Adapt {
        options,
        store: None,
    };
    adapt.key(reader, settings, None)
}

/// Checks that a cache has the splits that an adaptation needs.
///
/// # Errors
///
/// [`Error::EmptySplit`], and those of reading slices.
pub fn check_splits(
    options: &Options,
    reader: &CacheReader,
    settings: &Settings,
) -> Result<(), Error> {
    let adapt = Adapt {
        options,
        store: None,
    };
    AnyProbe::check_splits(&adapt, reader, settings, false)
}

/// Adapts the backbone of a cache and evaluates it.
///
/// # Errors
///
/// [`Error::Cache`] and [`AdaptError::NoResidual`](crate::error::AdaptError::NoResidual) if the cache lacks tokens before these blocks, [`Error::Backbone`] and
/// [`AdaptError::OtherWeights`](crate::error::AdaptError::OtherWeights) if the weights are missing or not those of the cache, [`AdaptError::Memory`](crate::error::AdaptError::Memory),
/// [`AdaptError::Training`](crate::error::AdaptError::Training), [`AdaptError::Diverged`](crate::error::AdaptError::Diverged), those of other probes, and [`FileError::Output`](crate::error::FileError::Output) if a file cannot be
/// written.
pub fn evaluate(
    options: &Options,
    reader: &CacheReader,
    settings: &Settings,
    store: Store<'_>,
) -> Result<Vec<Evaluated>, Error> {
    let say = store.say;
    let show = |_: Option<f64>, text: &str| say(text);
    let adapt = Adapt {
        options,
        store: Some(store),
    };
    let earlier = if store.force {
        0.0
    } else {
        states::seconds(store.runs, &key(options, reader, settings)?)
    };
    let mut all = adapt.evaluate(reader, settings, None, &Steps::new(&show))?;
    for evaluated in &mut all {
        evaluated.record.seconds += earlier;
    }
    Ok(all)
}

/// Removes the states of the trainings of the evaluation `key`, once its record is in the folder `runs`.
pub fn forget(runs: &Path, key: &str) {
    states::forget(runs, key);
}

/// Removes states that no training needs: those of evaluations that `is_recorded`, and those that are 30 days old, of
/// which it tells.
pub fn sweep(runs: &Path, is_recorded: impl Fn(&str) -> bool, tell: &mut dyn FnMut(&str)) {
    states::sweep(runs, is_recorded, tell);
}

/// The adaptation as a probe. Without a store it has a key alone.
#[derive(Debug)]
struct Adapt<'a> {
    options: &'a Options,
    store: Option<Store<'a>>,
}

impl std::fmt::Debug for Store<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("runs", &self.runs)
            .finish_non_exhaustive()
    }
}

impl Probe for Adapt<'_> {
    const NAME: &'static str = "adapt";

    fn tokens(&self, _: u32) -> Tokens {
        Features::Cls.tokens(1)
    }

    fn options(&self, _: Protocol, _: &CacheReader) -> Result<Map<String, Value>, Error> {
        Ok(fields(self.options))
    }

    fn fit(&self, task: &Task<'_>) -> Result<Vec<Fitted>, Error> {
        match self.store {
            Some(store) => Ok(vec![fit::fit(self.options, task, store)?]),
            None => Ok(Vec::new()),
        }
    }
}
