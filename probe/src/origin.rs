//! What a saved head or decoder was trained on, and what that says of the caches it is applied to.

use std::collections::BTreeSet;

use cache::{CacheReader, SliceMeta, Split, TokenRecipe, counted};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::evaluate::Settings;
use crate::examples::join;

/// What a head or decoder was trained on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// The dataset's name.
    pub dataset: String,
    /// sha256 of its samples, with their patients, splits and labels; not known of heads of earlier versions.
    #[serde(default)]
    pub samples_sha256: Option<String>,
    /// The backbone and the whole recipe of the tokens.
    pub tokens: TokenRecipe,
    /// The name of the split of the samples; `None` for that of the extraction.
    pub split_name: Option<String>,
    /// sha256 of the named split's file, in hex.
    pub split_sha256: Option<String>,
    /// Splits that it was fitted on or chosen by.
    pub seen: Vec<Split>,
}

/// Relation of a cache to the dataset that a head or decoder was trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// It has the name and the samples.
    Same,
    /// It has the name, and other samples: another dataset, or the same one in part, grown or split
    /// anew.
    Namesake,
    /// It has another name.
    Other,
}

/// Which cases of a cache a head or decoder is applied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// All.
    All,
    /// Those of [`Settings::eval`].
    Split,
}

/// Differences in the recipe of tokens that are let pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// None.
    Refused,
    /// All, with a warning each.
    Warned,
}

impl Origin {
    pub(crate) fn new(
        reader: &CacheReader,
        settings: &Settings,
        split_sha256: Option<String>,
        seen: &[Split],
    ) -> Origin {
        let meta = reader.meta();
        let is_seen = |split: &Split| seen.contains(split);
        Origin {
            dataset: meta.dataset.clone(),
            samples_sha256: Some(meta.samples_sha256.clone()),
            tokens: meta.token_recipe(),
            split_name: settings.split_name.clone(),
            split_sha256,
            seen: Split::ALL.into_iter().filter(is_seen).collect(),
        }
    }

    /// Relation of a cache to the dataset that was trained on.
    pub fn relation(&self, reader: &CacheReader) -> Relation {
        let meta = reader.meta();
        let samples = self.samples_sha256.as_ref();
        match self.dataset == meta.dataset {
            true if samples.is_none_or(|samples| *samples == meta.samples_sha256) => Relation::Same,
            true => Relation::Namesake,
            false => Relation::Other,
        }
    }

    /// Compares the tokens of a cache with those that were trained on; returns warnings.
    ///
    /// # Errors
    ///
    /// [`Error::HeadTokens`] for the first field that differs, if differences are refused.
    pub(crate) fn check(
        &self,
        reader: &CacheReader,
        mismatch: Mismatch,
    ) -> Result<Vec<String>, Error> {
        let differences = reader.meta().token_recipe().differences(&self.tokens);
        match (differences.first(), mismatch) {
            (Some(of), Mismatch::Refused) => Err(Error::HeadTokens {
                path: reader.dir().into(),
                field: of.field.clone(),
                found: of.found.to_string(),
                expected: of.expected.to_string(),
            }),
            _ => Ok(differences
                .iter()
                .map(|of| {
                    format!(
                        "tokens of another `{}` than the head was trained on: found {}, expected {}",
                        of.field, of.found, of.expected
                    )
                })
                .collect()),
        }
    }

    /// What a reader of the figures must know of evaluated cases of the dataset that was trained on.
    ///
    /// # Errors
    ///
    /// [`Error::Cache`] if the cache cannot be read.
    pub(crate) fn overlap<'a>(
        &self,
        reader: &CacheReader,
        evaluated: impl Iterator<Item = &'a str>,
    ) -> Result<Option<String>, Error> {
        let relation = self.relation(reader);
        if relation == Relation::Other {
            return Ok(None);
        }
        let Some(slices) = self.slices(reader)? else {
            let split = self.split_name.as_deref().unwrap_or_default();
            return Ok(Some(format!(
                "the cache no longer has the split `{split}` that the head was trained by: it is not known which cases it has seen"
            )));
        };
        let is_seen = |slice: &&SliceMeta| slice.split.is_some_and(|s| self.seen.contains(&s));
        let seen: BTreeSet<&str> = slices.iter().filter(is_seen).map(cluster).collect();
        let evaluated: BTreeSet<&str> = evaluated.collect();
        let both = evaluated.intersection(&seen).count();
        let of = counted(evaluated.len(), "patient");
        let seen = join(&self.seen);
        Ok((both > 0).then(|| match relation {
            Relation::Namesake => format!(
                "the head was trained on a dataset of this name with other samples or another split: if it is the same data, it may have seen {both} of {of} (now in {seen}), and figures are too good"
            ),
            _ => format!(
                "the head has seen {both} of {of} (trained or chosen on {seen}): figures are too good"
            ),
        }))
    }

    /// The cache's slices in the splits that were trained by; `None` if it has no such split (any more).
    fn slices(&self, reader: &CacheReader) -> Result<Option<Vec<SliceMeta>>, Error> {
        let Some(name) = &self.split_name else {
            return Ok(Some(reader.slices()?));
        };
        if !reader.splits()?.contains(name) {
            return Ok(None);
        }
        let (slices, split) = reader.slices_with_split(name)?;
        Ok((Some(split.sha256) == self.split_sha256).then_some(slices))
    }
}

/// What is independent of other slices: the patient, or the sample where no patient is known.
pub(crate) fn cluster(slice: &SliceMeta) -> &str {
    slice.patient.as_deref().unwrap_or(&slice.sample)
}
