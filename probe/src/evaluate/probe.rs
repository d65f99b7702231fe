//! The trait of all probes.

use std::fmt::Debug;

use cache::CacheReader;
use clap::Args;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{Evaluated, FewShot, Fitted, Settings, Task, evaluate, few_shot};
use crate::Error;
use crate::features::Tokens;
use crate::protocol::Protocol;

/// Share of the patients in `train` that replaces a missing `val`.
pub(crate) const VAL_SHARE: f64 = 0.2;

/// A probe with its options, which are its fields: [`Args`] reads them from the command line.
pub(crate) trait Probe: Args + Debug + Sync {
    /// Name in records and on the command line.
    const NAME: &'static str;
    /// Whether it is a command of its own, and not only a head of `few-shot`.
    const IS_COMMAND: bool = true;
    /// Whether it can be evaluated on `val`: nothing else is chosen there.
    const EVALUATES_VAL: bool = false;
    /// Whether it chooses settings or thresholds on `val`.
    const CHOOSES: bool = true;
    /// Share of the patients in `train` that replaces a missing `val`.
    const VAL_SHARE: f64 = VAL_SHARE;

    /// Tokens to read.
    fn tokens(&self) -> Tokens;

    /// Options as they are recorded, with the defaults of the protocol and of the dataset's task filled
    /// in. Evaluations with equal options are equal.
    ///
    /// # Errors
    ///
    /// [`Error::NoEffect`] for an option that has no meaning for the labels of the cache.
    fn options(
        &self,
        protocol: Protocol,
        reader: &CacheReader,
    ) -> Result<Map<String, Value>, Error>;

    /// Fits the probe on `parts.train` and `parts.fit` and scores `parts.test`: one result per reported
    /// setting.
    ///
    /// # Errors
    ///
    /// If the data cannot be learned from, or no setting can be chosen.
    fn fit(&self, task: &Task<'_>) -> Result<Vec<Fitted>, Error>;

    /// Checks options that depend on each other.
    ///
    /// # Errors
    ///
    /// If one option leaves another without effect.
    fn check(&self) -> anyhow::Result<()> {
        Ok(())
    }
}

/// Fields of a struct by name.
pub(crate) fn fields(of: &impl Serialize) -> Map<String, Value> {
    match json!(of) {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// A [`Probe`] of any type.
pub(crate) trait Evaluate: Debug + Sync {
    /// Key of an evaluation on whole splits, or on `few` examples.
    ///
    /// # Errors
    ///
    /// If an option has no meaning for the cache, or the cache cannot be read.
    fn key(
        &self,
        reader: &CacheReader,
        settings: &Settings,
        few: Option<&FewShot>,
    ) -> Result<String, Error>;

    /// Evaluates the probe on whole splits, or on `few` examples.
    ///
    /// # Errors
    ///
    /// As [`evaluate`] and [`few_shot`].
    fn evaluate(
        &self,
        reader: &CacheReader,
        settings: &Settings,
        few: Option<&FewShot>,
    ) -> Result<Vec<Evaluated>, Error>;
}

impl<P: Probe> Evaluate for P {
    fn key(
        &self,
        reader: &CacheReader,
        settings: &Settings,
        few: Option<&FewShot>,
    ) -> Result<String, Error> {
        Ok(settings.of_probe(reader, self, few)?.key)
    }

    fn evaluate(
        &self,
        reader: &CacheReader,
        settings: &Settings,
        few: Option<&FewShot>,
    ) -> Result<Vec<Evaluated>, Error> {
        match few {
            None => evaluate(reader, self, settings),
            Some(few) => few_shot(reader, self, settings, few),
        }
    }
}
