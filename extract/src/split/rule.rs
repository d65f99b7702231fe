//! Split rules and their syntax.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use cache::Split;
use serde::{Deserialize, Serialize};

use crate::Error;

/// Largest accepted difference of the sum of fractions from 1.
const SUM_TOLERANCE: f64 = 1e-6;

/// Fewest folds: one for each of train, val and test.
const FEWEST_FOLDS: u16 = 3;

/// A rule that divides samples; written as words with colons between them.
///
/// "By patient" means that all samples of a patient are in the same split; a sample without a patient is a
/// group of its own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum SplitRule {
    /// `official`: the splits in the dataset's files.
    #[default]
    Official,
    /// `official:val=COUNT`: the official splits; the last samples of train become val.
    OfficialLast(usize),
    /// `official:val=PART[:SEED]`: the official splits; this part of train's patients becomes val.
    OfficialPart {
        /// Above 0, below 1.
        part: f64,
        /// Random seed.
        seed: u64,
    },
    /// `systematic:test=70,val=50`: by patient, these numbers, evenly spaced over the patients that earlier
    /// parts left, in order of first appearance. The rest is train, or in no split if train is given.
    Systematic(Vec<(Split, usize)>),
    /// `random:TRAIN:VAL:TEST[:SEED]`: by patient, with these fractions.
    Random {
        /// Fractions of train, val and test; their sum is 1.
        parts: [f64; 3],
        /// Random seed.
        seed: u64,
    },
    /// `kfold:FOLDS:FOLD[:SEED]`: by patient, in FOLDS folds; FOLD (from 0) is test, the next is val and the
    /// others are train.
    KFold {
        /// Number of folds, at least 3.
        folds: u16,
        /// Test fold.
        fold: u16,
        /// Random seed.
        seed: u64,
    },
    /// `folds:FOLD`: the same with the official folds; samples in no fold are in no split.
    Folds(u16),
    /// `file:PATH`: the splits in a CSV or Parquet table.
    File(PathBuf),
    /// `none`: no splits.
    None,
}

impl SplitRule {
    /// True if the rule divides by patient, so that unknown patients matter.
    pub fn is_by_patient(&self) -> bool {
        use SplitRule::{KFold, OfficialPart, Random, Systematic};
        matches!(
            self,
            OfficialPart { .. } | Systematic(_) | Random { .. } | KFold { .. }
        )
    }
}

impl FromStr for SplitRule {
    type Err = Error;

    fn from_str(word: &str) -> Result<SplitRule, Error> {
        let wrong = |expected: &str| Error::BadSplitRule {
            word: word.to_owned(),
            expected: expected.to_owned(),
        };
        let (name, rest) = match word.split_once(':') {
            Some((name, rest)) => (name, Some(rest)),
            None => (word, None),
        };
        let (rule, form) = match (name, rest) {
            ("official", None) => (Some(SplitRule::Official), ""),
            ("none", None) => (Some(SplitRule::None), ""),
            ("official", Some(rest)) => (
                official(rest),
                "`official:val=COUNT`, or `official:val=PART` with a part like 0.1 and perhaps `:SEED`",
            ),
            ("systematic", Some(rest)) => (
                systematic(rest),
                "`systematic:test=COUNT,val=COUNT`: counts from 1 for some of `train`, `val` and `test`, each once",
            ),
            ("random", Some(rest)) => (
                random(rest),
                "`random:TRAIN:VAL:TEST`, parts that sum to 1, and perhaps `:SEED`",
            ),
            ("kfold", Some(rest)) => (
                kfold(rest),
                "`kfold:FOLDS:FOLD` with at least 3 folds, counted from 0, and perhaps `:SEED`",
            ),
            ("folds", Some(rest)) => (
                rest.parse().ok().map(SplitRule::Folds),
                "`folds:FOLD`, counted from 0",
            ),
            ("file", Some(path)) => (
                (!path.is_empty()).then(|| SplitRule::File(path.into())),
                "`file:PATH`",
            ),
            _ => (
                None,
                "`official`, `systematic:…`, `random:…`, `kfold:…`, `folds:…`, `file:…` or `none`",
            ),
        };
        rule.ok_or_else(|| wrong(form))
    }
}

/// `val=COUNT` or `val=PART[:SEED]`.
fn official(rest: &str) -> Option<SplitRule> {
    let value = rest.strip_prefix("val=")?;
    if let Ok(count) = value.parse() {
        return (count > 0).then_some(SplitRule::OfficialLast(count));
    }
    let (part, seed) = match value.split_once(':') {
        Some((part, seed)) => (part, seed.parse().ok()?),
        None => (value, 0),
    };
    let part: f64 = part.parse().ok()?;
    (part > 0.0 && part < 1.0).then_some(SplitRule::OfficialPart { part, seed })
}

fn systematic(rest: &str) -> Option<SplitRule> {
    let mut picks: Vec<(Split, usize)> = Vec::new();
    for pick in rest.split(',') {
        let (name, count) = pick.split_once('=')?;
        let split = Split::ALL.into_iter().find(|split| split.name() == name)?;
        let count = count.parse().ok().filter(|count| *count > 0)?;
        if picks.iter().any(|(taken, _)| *taken == split) {
            return None;
        }
        picks.push((split, count));
    }
    Some(SplitRule::Systematic(picks))
}

fn random(rest: &str) -> Option<SplitRule> {
    let words: Vec<&str> = rest.split(':').collect();
    let (parts, seed) = match words[..] {
        [train, val, test] => ([train, val, test], 0),
        [train, val, test, seed] => ([train, val, test], seed.parse().ok()?),
        _ => return None,
    };
    let mut numbers = [0.0; 3];
    for (number, word) in numbers.iter_mut().zip(parts) {
        *number = word
            .parse()
            .ok()
            .filter(|part| (0.0..=1.0).contains(part))?;
    }
    let is_whole = (numbers.iter().sum::<f64>() - 1.0).abs() < SUM_TOLERANCE;
    is_whole.then_some(SplitRule::Random {
        parts: numbers,
        seed,
    })
}

fn kfold(rest: &str) -> Option<SplitRule> {
    let words: Vec<&str> = rest.split(':').collect();
    let (folds, fold, seed) = match words[..] {
        [folds, fold] => (folds, fold, 0),
        [folds, fold, seed] => (folds, fold, seed.parse().ok()?),
        _ => return None,
    };
    let (folds, fold) = (folds.parse().ok()?, fold.parse().ok()?);
    (folds >= FEWEST_FOLDS && fold < folds).then_some(SplitRule::KFold { folds, fold, seed })
}

impl SplitRule {
    /// The rule as caches store it: a table by its name only, since folders move, and their names may tell whose
    /// they are.
    pub(crate) fn recorded(&self) -> String {
        match self {
            SplitRule::File(path) => {
                let name = path.file_name().unwrap_or_default();
                format!("file:{}", name.to_string_lossy())
            }
            rule => rule.to_string(),
        }
    }
}

impl fmt::Display for SplitRule {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let seed = match self {
            SplitRule::OfficialPart { seed, .. }
            | SplitRule::Random { seed, .. }
            | SplitRule::KFold { seed, .. } => *seed,
            _ => 0,
        };
        match self {
            SplitRule::Official => f.write_str("official")?,
            SplitRule::OfficialLast(count) => write!(f, "official:val={count}")?,
            SplitRule::OfficialPart { part, .. } => write!(f, "official:val={part}")?,
            SplitRule::Systematic(picks) => {
                let picks = picks.iter();
                let picks = picks.map(|(split, count)| format!("{}={count}", split.name()));
                let picks: Vec<String> = picks.collect();
                write!(f, "systematic:{}", picks.join(","))?;
            }
            SplitRule::Random { parts, .. } => {
                write!(f, "random:{}:{}:{}", parts[0], parts[1], parts[2])?;
            }
            SplitRule::KFold { folds, fold, .. } => write!(f, "kfold:{folds}:{fold}")?,
            SplitRule::Folds(fold) => write!(f, "folds:{fold}")?,
            SplitRule::File(path) => write!(f, "file:{}", path.display())?,
            SplitRule::None => f.write_str("none")?,
        }
        match seed {
            0 => Ok(()),
            seed => write!(f, ":{seed}"),
        }
    }
}

impl TryFrom<String> for SplitRule {
    type Error = Error;

    fn try_from(word: String) -> Result<SplitRule, Error> {
        word.parse()
    }
}

impl From<SplitRule> for String {
    fn from(rule: SplitRule) -> String {
        rule.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_kept() {
        for word in [
            "official",
            "official:val=10002",
            "official:val=0.1",
            "official:val=0.25:7",
            "systematic:test=70,val=50",
            "systematic:train=80,val=20,test=50",
            "random:0.7:0.1:0.2",
            "random:0.8:0:0.2:42",
            "kfold:5:0",
            "kfold:5:4:3",
            "folds:2",
            "file:my:splits.csv",
            "none",
        ] {
            let rule: SplitRule = word.parse().unwrap();
            assert_eq!(rule.to_string(), word);
            let json = serde_json::to_string(&rule).unwrap();
            assert_eq!(serde_json::from_str::<SplitRule>(&json).unwrap(), rule);
        }
    }

    #[test]
    fn a_seed_of_0_need_not_be_written() {
        let rule = |word: &str| word.parse::<SplitRule>().unwrap();
        assert_eq!(rule("kfold:5:0:0"), rule("kfold:5:0"));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_the_form_it_should_have() {
        for (word, form) in [
            ("offical", "`official`"),
            ("official:train=3", "`official:val=COUNT`"),
            ("official:val=0", "`official:val=COUNT`"),
            ("official:val=1.5", "`official:val=COUNT`"),
            ("official:val=nan", "`official:val=COUNT`"),
            ("systematic:", "`systematic:test=COUNT"),
            ("systematic:test=0", "`systematic:test=COUNT"),
            ("systematic:test=3,test=4", "each once"),
            ("random:0.7:0.1", "`random:TRAIN:VAL:TEST`"),
            ("random:0.7:0.1:0.1", "sum to 1"),
            ("random:1.5:-0.5:0", "sum to 1"),
            ("kfold:2:0", "at least 3 folds"),
            ("kfold:5:5", "counted from 0"),
            ("folds:x", "`folds:FOLD`"),
            ("file:", "`file:PATH`"),
            ("none:1", "`none`"),
        ] {
            let text = word.parse::<SplitRule>().unwrap_err().to_string();
            assert!(
                text.contains(&format!("`{word}`"))
                    && text.contains(form)
                    && text.contains("hint:"),
                "{text}"
            );
        }
    }
}
