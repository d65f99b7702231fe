//! Patients in several splits.

use std::collections::HashMap;
use std::fmt;

use cache::Split;
use common::counted;
use serde::Serialize;

use super::member::Member;
use super::rule::SplitRule;
use crate::Error;

/// Number of patients that a message lists.
const EXAMPLES: usize = 5;

/// A patient with samples in several splits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Overlap {
    /// The patient.
    pub patient: String,
    /// The splits, at least two.
    pub splits: Vec<Split>,
}

impl fmt::Display for Overlap {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let splits: Vec<&str> = self.splits.iter().map(|split| split.name()).collect();
        write!(f, "`{}` in {}", self.patient, splits.join(" and "))
    }
}

/// The splits of patients.
#[derive(Default)]
pub(crate) struct PatientSplits {
    /// For each patient its number, in order of first appearance, and whether it is in each split.
    found: HashMap<Box<str>, (usize, [bool; 3])>,
}

impl PatientSplits {
    /// Notes that a patient has a sample in a split.
    pub(crate) fn add(&mut self, patient: &str, split: Split) {
        if let Some((_, seen)) = self.found.get_mut(patient) {
            seen[split as usize] = true;
            return;
        }
        let mut seen = [false; 3];
        seen[split as usize] = true;
        self.found.insert(patient.into(), (self.found.len(), seen));
    }

    /// The patients in several splits, in order of first appearance.
    pub(crate) fn overlaps(self) -> Vec<Overlap> {
        let all = self.found.into_iter();
        let several = all.filter(|(_, (_, seen))| seen.iter().filter(|is_in| **is_in).count() > 1);
        let mut several: Vec<_> = several.collect();
        several.sort_by_key(|(_, (number, _))| *number);
        let overlap = |(patient, (_, seen)): (Box<str>, (usize, [bool; 3]))| {
            let splits = Split::ALL.into_iter().zip(seen);
            let splits = splits.filter(|(_, is_in)| *is_in);
            Overlap {
                patient: patient.into(),
                splits: splits.map(|(split, _)| split).collect(),
            }
        };
        several.into_iter().map(overlap).collect()
    }
}

/// The patients in several splits, in order of first appearance; `splits` has one entry per member.
pub fn overlaps(members: &[Member], splits: &[Option<Split>]) -> Vec<Overlap> {
    let mut found = PatientSplits::default();
    for (member, split) in members.iter().zip(splits) {
        if let (Some(patient), Some(split)) = (&member.patient, split) {
            found.add(patient, *split);
        }
    }
    found.overlaps()
}

/// Refuses patients in several splits; if they are allowed, gives a warning. `hint` is the advice of the error.
///
/// # Errors
///
/// [`Error::PatientOverlap`].
pub(crate) fn check_overlaps(
    overlaps: &[Overlap],
    allowed: bool,
    hint: &'static str,
) -> Result<Option<String>, Error> {
    let count = overlaps.len();
    match (count, allowed) {
        (0, _) => Ok(None),
        (_, true) => Ok(Some(format!("patients in several splits: {count}"))),
        (_, false) => Err(Error::PatientOverlap {
            count,
            examples: overlaps
                .iter()
                .take(EXAMPLES)
                .map(Overlap::to_string)
                .collect::<Vec<_>>()
                .join(", "),
            hint,
        }),
    }
}

/// Warnings of `splits`, one entry per member: unknown patients although the rule divides by patient, and
/// no sample in any split although the rule is not `none`.
pub fn warnings(rule: &SplitRule, members: &[Member], splits: &[Option<Split>]) -> Vec<String> {
    let is_undivided = *rule != SplitRule::None && splits.iter().all(Option::is_none);
    let undivided = is_undivided.then(|| {
        let fitting = super::fitting(rule, members);
        format!(
            "no sample is in a split, and `probe` trains and measures by splits: extract with `--split {fitting}`, \
             or divide the finished cache by `extract split --dataset NAME --rule {fitting} --name main`, and give \
             `probe` `--split main`"
        )
    });
    unknown_patients(rule, members)
        .into_iter()
        .chain(undivided)
        .collect()
}

fn unknown_patients(rule: &SplitRule, members: &[Member]) -> Option<String> {
    let unknown = members.iter().filter(|m| m.patient.is_none()).count();
    (rule.is_by_patient() && unknown > 0).then(|| {
        let all = counted(members.len(), "sample");
        format!(
            "{unknown} of {all} have no patient: `{rule}` divides these by sample, and images of one \
             patient may be in two splits"
        )
    })
}
