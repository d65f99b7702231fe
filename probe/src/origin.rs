//! Training data of a saved head or decoder, and its relation to the caches it is applied to.

use std::collections::BTreeSet;

use cache::{CacheReader, Split, TokenRecipe};
use common::counted;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::examples::{Who, join};

/// Training data of a head or decoder.
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
    /// The name of the labels made after extraction; `None` for those of the extraction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels_name: Option<String>,
    /// sha256 of their description, in hex; not known of heads of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels_sha256: Option<String>,
    /// Splits used for fitting or selection.
    pub seen: Vec<Split>,
    /// Hashes of the patients used for fitting or selection, of samples if no patients are known.
    pub seen_cases: BTreeSet<String>,
}

/// Relation of a cache to the dataset that a head or decoder was trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// It has the name and the samples.
    Same,
    /// It has the name, but other samples: another dataset, or a changed version of the same one.
    Namesake,
    /// It has another name.
    Other,
}

/// Cases of a cache that a head or decoder is applied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// All.
    All,
    /// Those of the evaluated split.
    Split,
}

/// Handling of differences in the recipe of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// An error.
    Refused,
    /// A warning for each difference.
    Warned,
}

impl Origin {
    pub(crate) fn new<'a>(
        reader: &CacheReader,
        (split_name, split_sha256): (Option<String>, Option<String>),
        seen: &[Split],
        cases: impl Iterator<Item = Who<'a>>,
    ) -> Origin {
        let meta = reader.meta();
        let is_seen = |split: &Split| seen.contains(split);
        Origin {
            dataset: meta.dataset.clone(),
            samples_sha256: Some(meta.samples_sha256.clone()),
            tokens: meta.token_recipe(),
            split_name,
            split_sha256,
            labels_name: reader.labels().map(|set| set.name.clone()),
            labels_sha256: reader.labels().map(|set| set.sha256.clone()),
            seen: Split::ALL.into_iter().filter(is_seen).collect(),
            seen_cases: cases
                .collect::<BTreeSet<_>>()
                .into_iter()
                .map(hash)
                .collect(),
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
    /// [`Error::HeadTokens`] for the first field that differs, if differences are errors.
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

    /// Warning about evaluated cases that were used for training or selection, whatever the name of the
    /// dataset.
    pub(crate) fn overlap<'a>(
        &self,
        reader: &CacheReader,
        evaluated: impl Iterator<Item = Who<'a>>,
    ) -> Option<String> {
        let evaluated: BTreeSet<Who<'a>> = evaluated.collect();
        let is_patient = |who: &Who<'_>| matches!(who, Who::Patient(_));
        let word = if evaluated.iter().any(is_patient) {
            "patient"
        } else {
            "sample"
        };
        let is_seen = |who: &&Who<'_>| self.seen_cases.contains(&hash(**who));
        let both = evaluated.iter().filter(is_seen).count();
        let (of, seen) = (counted(evaluated.len(), word), join(&self.seen));
        (both > 0).then(|| match self.relation(reader) {
            Relation::Same => format!(
                "the head has seen {both} of {of} (trained or chosen on {seen}): figures are too good"
            ),
            Relation::Namesake | Relation::Other => format!(
                "the head has seen {both} of {of} by their names (trained or chosen on {seen} of `{}`): unless these are others of the same name, figures are too good",
                self.dataset
            ),
        })
    }
}

/// First 64 bits of the SHA-256 of a patient or sample, as stored in heads.
fn hash(who: Who<'_>) -> String {
    let text = match who {
        Who::Patient(name) => format!("patient {name}"),
        Who::Sample(name) => format!("sample {name}"),
    };
    common::sha256_bytes(text.as_bytes())[..16].into()
}
