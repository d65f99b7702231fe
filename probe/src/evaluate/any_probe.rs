//! Probes without their types.

use std::fmt::Debug;

use cache::{CacheReader, Split};

use super::evaluated::Evaluated;
use super::few_shot::few_shot;
use super::parts::Parts;
use super::probe::Probe;
use super::settings::Settings;
use super::shots::FewShot;
use super::whole::evaluate;
use crate::Error;
use crate::control::Control;
use crate::progress::Steps;

/// A [`Probe`] of any type, for callers that do not know which.
pub(crate) trait AnyProbe: Debug + Send + Sync {
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

    /// Checks that the cache has labelled examples in the splits that an evaluation, or one on few examples, needs. It
    /// reads no tokens.
    ///
    /// # Errors
    ///
    /// [`Error::EmptySplit`], and those of [`Examples::read`](crate::examples::Examples::read).
    fn check_splits(
        &self,
        reader: &CacheReader,
        settings: &Settings,
        is_few: bool,
    ) -> Result<(), Error>;

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
        steps: &Steps<'_>,
    ) -> Result<Vec<Evaluated>, Error>;
}

impl<P: Probe> AnyProbe for P {
    fn key(
        &self,
        reader: &CacheReader,
        settings: &Settings,
        few: Option<&FewShot>,
    ) -> Result<String, Error> {
        Ok(self.identity(reader, settings, few)?.key)
    }

    fn check_splits(
        &self,
        reader: &CacheReader,
        settings: &Settings,
        is_few: bool,
    ) -> Result<(), Error> {
        let mut bare = Settings {
            control: Some(Control::MetadataOnly),
            ..settings.clone()
        };
        if is_few {
            bare.fit = vec![Split::Train];
        }
        let examples = self.examples(reader, &bare)?;
        let parts = Parts::whole(&examples, &bare)?;
        let needs_val = P::CHOOSES && !P::EVALUATES_VAL && !is_few;
        if needs_val && parts.val.is_empty() {
            return Err(examples.empty_split(&[Split::Val]));
        }
        Ok(())
    }

    fn evaluate(
        &self,
        reader: &CacheReader,
        settings: &Settings,
        few: Option<&FewShot>,
        steps: &Steps<'_>,
    ) -> Result<Vec<Evaluated>, Error> {
        match few {
            None => evaluate(reader, self, settings, steps),
            Some(few) => few_shot(reader, self, settings, few, steps),
        }
    }
}
