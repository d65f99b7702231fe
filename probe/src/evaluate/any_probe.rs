//! Probes without their types.

use std::fmt::Debug;

use cache::CacheReader;

use super::evaluated::Evaluated;
use super::few_shot::few_shot;
use super::probe::Probe;
use super::settings::Settings;
use super::shots::FewShot;
use super::whole::evaluate;
use crate::Error;
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
