//! Metadata of samples as classes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use cache::{CacheReader, Labels, SliceMeta};
use common::Placement;
use common::text::argument;

use super::Caches;
use super::decode::FOLDS;
use super::subject::Subject;
use crate::Error;
use crate::examples::Case;

/// Columns that follow from the slices of every cache.
pub const BUILT_IN: [&str; 4] = ["size", "spacing", "orientation", "split"];

/// Most classes that are told apart: the most frequent ones.
const MOST: usize = 20;

/// A column with few enough values to be predicted as classes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Column {
    /// The class of each sample; `None` if it is not known or of no class.
    pub(super) values: Vec<Option<usize>>,
    /// Names of the classes, the most frequent first.
    pub(super) classes: Vec<String>,
}

impl Column {
    /// Samples of each class.
    pub(super) fn counts(&self) -> Vec<usize> {
        let count = |class| {
            self.values
                .iter()
                .filter(|value| **value == Some(class))
                .count()
        };
        (0..self.classes.len()).map(count).collect()
    }

    /// Samples of no class.
    pub(super) fn left_out(&self) -> usize {
        self.values.iter().filter(|value| value.is_none()).count()
    }

    /// Makes classes of words: of those that as many patients have as there are folds, the most frequent.
    ///
    /// # Errors
    ///
    /// Why there are not two of them.
    fn of(name: &str, words: &[Option<String>], who: &[&str]) -> Result<Column, String> {
        let mut found: BTreeMap<&str, (usize, BTreeSet<&str>)> = BTreeMap::new();
        for (word, who) in words.iter().zip(who) {
            if let Some(word) = word {
                let (count, patients) = found.entry(word).or_default();
                *count += 1;
                patients.insert(who);
            }
        }
        if found.is_empty() {
            return Err(format!("the cache has no values of `{name}`"));
        }
        if found.len() == 1 {
            let value = found.keys().next().copied().unwrap_or_default();
            return Err(format!("all samples have the same `{name}`: {value}"));
        }
        let frequent = found
            .iter()
            .filter(|(_, (_, patients))| patients.len() >= FOLDS);
        let mut frequent: Vec<(&str, usize)> =
            frequent.map(|(word, (count, _))| (*word, *count)).collect();
        frequent.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        frequent.truncate(MOST);
        if frequent.len() < 2 {
            return Err(format!(
                "`{name}` has {} values, of which {} of at least {FOLDS} patients, which is too few to tell apart",
                found.len(),
                frequent.len()
            ));
        }
        let class: HashMap<&str, usize> = frequent
            .iter()
            .enumerate()
            .map(|(i, (word, _))| (*word, i))
            .collect();
        let values: Vec<Option<usize>> = words
            .iter()
            .map(|word| class.get(word.as_deref()?).copied())
            .collect();
        Ok(Column {
            values,
            classes: frequent.iter().map(|(word, _)| word.to_string()).collect(),
        })
    }
}

/// A column by its name, or why it cannot be predicted.
///
/// # Errors
///
/// [`Error::Cache`] if a label set cannot be read.
pub(super) fn column(
    name: &str,
    subject: &Subject,
    caches: &Caches<'_>,
) -> Result<Result<Column, String>, Error> {
    let set = caches
        .sets
        .iter()
        .find(|set| set.labels().is_some_and(|labels| labels.name == name));
    let words: Vec<Option<String>> = if let Some(set) = set {
        match label_words(set, subject)? {
            Ok(words) => words,
            Err(why) => return Ok(Err(why)),
        }
    } else if BUILT_IN.contains(&name) {
        let pairs = subject.slices.iter().zip(&subject.cases);
        pairs
            .map(|(slice, case)| match name {
                "split" => case.split.map(|split| split.name().to_owned()),
                _ => word(name, slice),
            })
            .collect()
    } else {
        let dir = caches.reader.dir();
        let root = dir.parent().and_then(Path::parent);
        let below = root.and_then(|root| dir.strip_prefix(root).ok());
        return Ok(Err(format!(
            "the cache has no column `{name}`: `extract relabel {} --name {name} --labels TABLE` adds it",
            argument(below.unwrap_or(dir)),
        )));
    };
    let who: Vec<&str> = subject.cases.iter().map(Case::cluster).collect();
    Ok(Column::of(name, &words, &who))
}

/// The value of a column of `slices`.
fn word(name: &str, slice: &SliceMeta) -> Option<String> {
    match name {
        "size" => Some(format!("{}×{}", slice.height, slice.width)),
        "spacing" => slice
            .spacing_mm
            .map(|mm| mm.map(|mm| format!("{mm:.3}")).join("×") + " mm"),
        _ => slice.placement.as_ref().map(Placement::stored_words),
    }
}

/// The class that each sample has in a label set; none if its slices differ.
fn label_words(
    set: &CacheReader,
    subject: &Subject,
) -> Result<Result<Vec<Option<String>>, String>, Error> {
    let classes = &set.meta().classes;
    let mut labels: HashMap<String, Option<u32>> = HashMap::new();
    for slice in set.slices()? {
        let label = match slice.labels {
            Labels::Single(label) => label,
            Labels::Unlabelled => None,
            Labels::Multi(_) => {
                let name = set.labels().map_or("", |labels| &labels.name);
                return Ok(Err(format!(
                    "the label set `{name}` may have several classes per sample, expected one: make it with a column `label`"
                )));
            }
        };
        let known = labels.entry(slice.sample).or_insert(label);
        if *known != label {
            *known = None;
        }
    }
    let word = |sample: &str| {
        let label = (*labels.get(sample)?)?;
        classes.get(label as usize).cloned()
    };
    Ok(Ok(subject
        .cases
        .iter()
        .map(|case| word(&case.sample))
        .collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(words: &[&str]) -> Result<Column, String> {
        let words: Vec<Option<String>> = words
            .iter()
            .map(|word| (!word.is_empty()).then(|| word.to_string()))
            .collect();
        let who: Vec<String> = (0..words.len()).map(|i| format!("p{i}")).collect();
        let who: Vec<&str> = who.iter().map(String::as_str).collect();
        Column::of("site", &words, &who)
    }

    #[test]
    fn rare_and_unknown_values_are_left_out() {
        let words = [["b"; 6].as_slice(), &["a"; 5], &["c"; 4], &[""]].concat();
        let column = of(&words).unwrap();
        assert_eq!(column.classes, ["b", "a"]);
        assert_eq!(column.counts(), [6, 5]);
        assert_eq!(column.left_out(), 5);
    }

    #[test]
    fn a_column_that_cannot_be_predicted_says_why() {
        assert!(of(&["", ""]).unwrap_err().contains("no values of `site`"));
        assert!(of(&["a", "a", ""]).unwrap_err().ends_with("same `site`: a"));
        let few = [["b"; 6].as_slice(), &["a"; 4]].concat();
        assert!(
            of(&few)
                .unwrap_err()
                .contains("2 values, of which 1 of at least 5 patients")
        );
    }
}
