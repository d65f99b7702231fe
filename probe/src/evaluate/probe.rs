//! The trait of all probes.

use std::fmt::Debug;

use cache::{CacheReader, Split};
use serde_json::{Map, Value, json};

use super::fitted::Fitted;
use super::identity::Identity;
use super::settings::Settings;
pub(crate) use super::settings::fields;
use super::shots::FewShot;
use super::task::Task;
use crate::Error;
use crate::examples::Examples;
use crate::features::Tokens;
use crate::protocol::Protocol;

/// Share of the patients in `train` that replaces a missing `val`.
pub(crate) const VAL_SHARE: f64 = 0.2;

/// A probe with its options.
pub(crate) trait Probe: Debug + Send + Sync {
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

    /// Tokens to read of a cache with `layers` blocks.
    fn tokens(&self, layers: u32) -> Tokens;

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

    /// Chooses settings and thresholds, if there are any, with a fit to `parts.train` that scores
    /// `parts.val`; fits the probe to `parts.fit` and scores `parts.test`. Returns one result per reported
    /// setting.
    ///
    /// # Errors
    ///
    /// If the data cannot be learned from, or no setting can be chosen.
    fn fit(&self, task: &Task<'_>) -> Result<Vec<Fitted>, Error>;

    /// Reads the examples. If there is no `val`, a part of `train` replaces it, where the protocol allows
    /// this.
    ///
    /// # Errors
    ///
    /// As [`Examples::read`].
    fn examples(&self, reader: &CacheReader, settings: &Settings) -> Result<Examples, Error> {
        let mut examples = Examples::read(
            reader,
            &settings.selection(self.tokens(reader.meta().layers)),
        )?;
        let lacks_val = settings.eval == Split::Test && examples.of(&[Split::Val]).is_empty();
        if lacks_val && settings.protocol.holds_out() && Self::CHOOSES {
            let share = settings.val_share.unwrap_or(Self::VAL_SHARE);
            examples.hold_out(share, settings.seed);
        }
        Ok(examples)
    }

    /// Identity of an evaluation on whole splits, or on `few` examples.
    ///
    /// # Errors
    ///
    /// As [`options`](Self::options) and [`Settings::identity`].
    fn identity(
        &self,
        reader: &CacheReader,
        settings: &Settings,
        few: Option<&FewShot>,
    ) -> Result<Identity, Error> {
        let mut options = Map::from_iter([("probe".to_owned(), json!(Self::NAME))]);
        options.extend(self.options(settings.protocol, reader)?);
        options.extend(few.map(|few| ("few_shot".to_owned(), json!(few))));
        settings.identity(reader, options, Self::VAL_SHARE, &[])
    }

    /// Checks options that depend on each other.
    ///
    /// # Errors
    ///
    /// If one option leaves another without effect.
    fn check(&self) -> anyhow::Result<()> {
        Ok(())
    }
}
