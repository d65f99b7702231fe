//! How samples are divided into train, val and test.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Error;

/// A rule that divides samples; written as words with colons between them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum SplitRule {
    /// `official`: as the dataset's own files say.
    Official,
}

impl FromStr for SplitRule {
    type Err = Error;

    fn from_str(word: &str) -> Result<SplitRule, Error> {
        match word {
            "official" => Ok(SplitRule::Official),
            _ => Err(Error::BadSplitRule {
                word: word.to_owned(),
                expected: "`official`".to_owned(),
            }),
        }
    }
}

impl fmt::Display for SplitRule {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            SplitRule::Official => f.write_str("official"),
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
