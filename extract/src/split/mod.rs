//! Splits of samples into train, val and test.
//!
//! Rules need no pixels: [`assign`] works on the samples of a dataset and on those of a finished cache.

mod draw;
mod file;
mod limit;
mod member;
mod names;
mod overlap;
pub(crate) mod rule;

use std::collections::{BTreeSet, HashMap};

use cache::{Labels, Split};
use common::counted;
use common::draw::equidistant;

pub use self::limit::limit;
pub use self::member::Member;
pub(crate) use self::names::{Key, Names, alike};
pub use self::overlap::{Overlap, overlaps, warnings};
pub(crate) use self::overlap::{PatientSplits, check_overlaps};
pub use self::rule::SplitRule;
use crate::Error;
use crate::dataset::Sample;

/// The split of each member.
///
/// `skipped` are ids of known samples that are not members: the table of [`SplitRule::File`] may contain
/// them. No other rule reads a file.
///
/// # Errors
///
/// [`Error::Unsplittable`] if the rule asks for more than there is, or for unknown official splits or
/// folds; for [`SplitRule::File`], errors of the table, and if it does not give one split for every sample.
pub fn assign(
    rule: &SplitRule,
    members: &[Member],
    skipped: &[&str],
) -> Result<Vec<Option<Split>>, Error> {
    let official = || members.iter().map(|member| member.official).collect();
    let split = Splitting { rule, members };
    match rule {
        SplitRule::Official => Ok(official()),
        SplitRule::OfficialLast(count) => split.official_last(*count, official()),
        SplitRule::OfficialPart { part, seed } => split.official_part(*part, *seed, official()),
        SplitRule::Systematic(picks) => split.systematic(picks),
        SplitRule::Random { parts, seed } => split.random(*parts, *seed),
        SplitRule::KFold { folds, fold, seed } => split.kfold(*folds, *fold, *seed),
        SplitRule::Folds(fold) => split.official_folds(*fold),
        SplitRule::File(path) => file::assign(path, members, skipped),
        SplitRule::None => Ok(vec![None; members.len()]),
    }
}

/// Divides a dataset's samples by a rule; leaves them unchanged on an error.
///
/// # Errors
///
/// As [`assign`].
pub fn divide(samples: &mut [Sample], rule: &SplitRule) -> Result<(), Error> {
    let splits = assign(rule, &Member::of_samples(samples), &[])?;
    for (sample, split) in samples.iter_mut().zip(splits) {
        sample.split = split;
    }
    Ok(())
}

/// Divides a dataset's samples by a rule that keeps patients together, unless overlaps are allowed; gives
/// warnings.
///
/// # Errors
///
/// As [`assign`], and [`Error::PatientOverlap`].
pub fn divide_checked(
    samples: &mut [Sample],
    rule: &SplitRule,
    allow_overlap: bool,
) -> Result<Vec<String>, Error> {
    divide(samples, rule)?;
    let members = Member::of_samples(samples);
    let splits: Vec<Option<Split>> = samples.iter().map(|sample| sample.split).collect();
    let hint = "split by patient, for instance with `--split random:0.7:0.1:0.2`";
    let overlap = check_overlaps(&overlaps(&members, &splits), allow_overlap, hint)?;
    // What has neither labels nor masks is for `probe predict` and maps, which need no split.
    let is_plain = |sample: &Sample| sample.labels == Labels::Unlabelled && sample.mask.is_empty();
    let odd = if *rule == SplitRule::Official && samples.iter().all(is_plain) {
        Vec::new()
    } else {
        warnings(rule, &members, &splits)
    };
    Ok(overlap.into_iter().chain(odd).collect())
}

/// A common rule that can divide the members, where `rule` does not.
fn fitting(rule: &SplitRule, members: &[Member]) -> &'static str {
    Splitting { rule, members }.fitting()
}

struct Splitting<'a> {
    rule: &'a SplitRule,
    members: &'a [Member],
}

impl Splitting<'_> {
    fn official_last(
        &self,
        count: usize,
        mut splits: Vec<Option<Split>>,
    ) -> Result<Vec<Option<Split>>, Error> {
        let train = self.train_without_val(&splits)?;
        let rest = train.len().checked_sub(count).filter(|rest| *rest > 0);
        let rest = rest.ok_or_else(|| {
            let found = counted(train.len(), "official train sample");
            self.too_few(found, count.saturating_add(1))
        })?;
        for &member in &train[rest..] {
            splits[member] = Some(Split::Val);
        }
        Ok(splits)
    }

    fn official_part(
        &self,
        part: f64,
        seed: u64,
        mut splits: Vec<Option<Split>>,
    ) -> Result<Vec<Option<Split>>, Error> {
        let train = self.train_without_val(&splits)?;
        let units = self.units(train.into_iter());
        let count = share(part, units.len());
        if count == 0 || count == units.len() {
            let found = format!("{} in the official train split", self.counted(&units));
            return Err(self.too_few(found, (1.0 / part.min(1.0 - part)).ceil() as usize));
        }
        for unit in &draw::shuffled(units.len(), seed)[..count] {
            for &member in &units[*unit] {
                splits[member] = Some(Split::Val);
            }
        }
        Ok(splits)
    }

    /// The official train samples, in order.
    fn train_without_val(&self, splits: &[Option<Split>]) -> Result<Vec<usize>, Error> {
        let of = |wanted: Split| {
            let members = (0..splits.len()).filter(|&k| splits[k] == Some(wanted));
            members.collect::<Vec<_>>()
        };
        match of(Split::Val).len() {
            0 => Ok(of(Split::Train)),
            count => Err(self.unsplittable(
                format!("{} in val already", counted(count, "sample")),
                "official splits without val",
                "use `official`, or list the splits in a table: `file:PATH`",
            )),
        }
    }

    fn systematic(&self, picks: &[(Split, usize)]) -> Result<Vec<Option<Split>>, Error> {
        let units = self.units(self.drawn());
        let counts = picks.iter().map(|(_, count)| *count);
        let asked = counts.fold(0, usize::saturating_add);
        let names_train = picks.iter().any(|(split, _)| *split == Split::Train);
        let least = asked.saturating_add(usize::from(!names_train));
        if units.len() < least {
            return Err(self.too_few(self.counted(&units), least));
        }
        let mut left: Vec<usize> = (0..units.len()).collect();
        let mut of_units = vec![(!names_train).then_some(Split::Train); units.len()];
        for &(split, count) in picks {
            let mut picked = equidistant(left.len(), count).into_iter().peekable();
            let mut position = 0..;
            left.retain(|&unit| {
                let is_picked = position.next() == picked.peek().copied();
                if is_picked {
                    picked.next();
                    of_units[unit] = Some(split);
                }
                !is_picked
            });
        }
        Ok(self.spell_out(&units, |unit| of_units[unit]))
    }

    fn random(&self, parts: [f64; 3], seed: u64) -> Result<Vec<Option<Split>>, Error> {
        let units = self.units(self.drawn());
        let Some(ends) = ends_of_parts(parts, units.len()) else {
            let smallest = parts.into_iter().filter(|part| *part > 0.0);
            let smallest = smallest.fold(1.0, f64::min);
            let least = (1.0 / smallest).ceil() as usize;
            return Err(self.too_few(self.counted(&units), least.max(units.len() + 1)));
        };
        let order = draw::shuffled(units.len(), seed);
        let mut of_units = vec![None; units.len()];
        for (position, unit) in order.into_iter().enumerate() {
            of_units[unit] = ends.iter().position(|end| position < *end);
        }
        Ok(self.spell_out(&units, |unit| Some(Split::ALL[of_units[unit]?])))
    }

    fn kfold(&self, folds: u16, fold: u16, seed: u64) -> Result<Vec<Option<Split>>, Error> {
        let units = self.units(self.drawn());
        let folds = usize::from(folds);
        if units.len() < folds {
            return Err(self.too_few(self.counted(&units), folds));
        }
        let mut of_units = vec![0; units.len()];
        for (position, unit) in draw::shuffled(units.len(), seed).into_iter().enumerate() {
            of_units[unit] = position % folds;
        }
        let test = usize::from(fold);
        let val = (test + 1) % folds;
        Ok(self.spell_out(&units, |unit| Some(by_fold(of_units[unit], test, val))))
    }

    fn official_folds(&self, fold: u16) -> Result<Vec<Option<Split>>, Error> {
        let folds: BTreeSet<u16> = self.members.iter().filter_map(|m| m.fold).collect();
        let known: Vec<String> = folds.iter().map(u16::to_string).collect();
        if folds.len() < 3 || !folds.contains(&fold) {
            let found = if folds.is_empty() {
                "no official folds".to_owned()
            } else {
                format!("the official folds {}", known.join(", "))
            };
            return Err(self.unsplittable(
                found,
                &format!("at least 3, and {fold} among them"),
                &format!("divide by patient yourself, for instance by `{}`; for a cache, show the download: `--root DIR`", self.fitting()),
            ));
        }
        let after = folds
            .iter()
            .find(|after| **after > fold)
            .or(folds.first())
            .copied();
        let val = after.unwrap_or(fold);
        let splits = self.members.iter().map(|member| member.fold);
        Ok(splits.map(|of| Some(by_fold(of?, fold, val))).collect())
    }

    /// Members that are drawn: all except those that are always in test.
    fn drawn(&self) -> impl Iterator<Item = usize> {
        (0..self.members.len()).filter(|&k| !self.members[k].is_test_image())
    }

    /// Groups of members in order of first appearance: those of a patient, or one without a patient.
    fn units(&self, members: impl Iterator<Item = usize>) -> Vec<Vec<usize>> {
        let mut units: Vec<Vec<usize>> = Vec::new();
        let mut of_patient: HashMap<&str, usize> = HashMap::new();
        for member in members {
            let next = units.len();
            let unit = match &self.members[member].patient {
                Some(patient) => *of_patient.entry(patient).or_insert(next),
                None => next,
            };
            match units.get_mut(unit) {
                Some(unit) => unit.push(member),
                None => units.push(vec![member]),
            }
        }
        units
    }

    fn spell_out(
        &self,
        units: &[Vec<usize>],
        split: impl Fn(usize) -> Option<Split>,
    ) -> Vec<Option<Split>> {
        let always = |member: &Member| member.is_test_image().then_some(Split::Test);
        let mut splits: Vec<Option<Split>> = self.members.iter().map(always).collect();
        for (k, unit) in units.iter().enumerate() {
            unit.iter().for_each(|&member| splits[member] = split(k));
        }
        splits
    }

    fn counted(&self, units: &[Vec<usize>]) -> String {
        let known = |unit: &&Vec<usize>| self.members[unit[0]].patient.is_some();
        let patients = units.iter().filter(known).count();
        let (samples, patients_counted) = (units.len() - patients, counted(patients, "patient"));
        match samples {
            0 => patients_counted,
            _ if patients == 0 => counted(samples, "sample"),
            _ => format!(
                "{patients_counted} and {} without one",
                counted(samples, "sample")
            ),
        }
    }

    fn too_few(&self, found: String, least: usize) -> Error {
        let expected = format!("at least {least}");
        let hint = format!(
            "`--split {}` divides what there is (`--rule` of `extract split`); for the rest of a download, `extract datasets NAME --root DIR` lists what is missing",
            self.fitting()
        );
        self.unsplittable(found, &expected, &hint)
    }

    /// A common rule that can divide the members.
    fn fitting(&self) -> &'static str {
        let train =
            (0..self.members.len()).filter(|&k| self.members[k].official == Some(Split::Train));
        let of_train = self.units(train).len();
        let parts = [
            (0.1, "official:val=0.1"),
            (0.2, "official:val=0.2"),
            (0.5, "official:val=0.5"),
        ];
        let of_train = parts.into_iter().find(|(part, _)| {
            let count = share(*part, of_train);
            count > 0 && count < of_train
        });
        let is_official = matches!(
            self.rule,
            SplitRule::OfficialLast(_) | SplitRule::OfficialPart { .. }
        );
        let drawn = self.units(self.drawn()).len();
        if let Some((_, of_train)) = of_train.filter(|_| is_official) {
            of_train
        } else if ends_of_parts([0.7, 0.1, 0.2], drawn).is_some() {
            "random:0.7:0.1:0.2"
        } else if drawn >= 3 {
            "kfold:3:0"
        } else {
            "none"
        }
    }

    fn unsplittable(&self, found: String, expected: &str, hint: &str) -> Error {
        Error::Unsplittable {
            rule: self.rule.to_string(),
            found,
            expected: expected.to_owned(),
            hint: hint.to_owned(),
        }
    }
}

/// The ends of train, val and test if `of` units are divided in these parts; `None` if a part above 0 would
/// be empty.
fn ends_of_parts(parts: [f64; 3], of: usize) -> Option<[usize; 3]> {
    let ends = [share(parts[0], of), share(parts[0] + parts[1], of), of];
    let sizes = [ends[0], ends[1] - ends[0], ends[2] - ends[1]];
    let is_empty = |k: usize| parts[k] > 0.0 && sizes[k] == 0;
    (!(0..3).any(is_empty)).then_some(ends)
}

/// The nearest whole number to a part of `of`.
fn share(part: f64, of: usize) -> usize {
    ((part * of as f64).round_ties_even() as usize).min(of)
}

fn by_fold<T: PartialEq>(of: T, test: T, val: T) -> Split {
    if of == test {
        Split::Test
    } else if of == val {
        Split::Val
    } else {
        Split::Train
    }
}

#[cfg(test)]
mod tests;
