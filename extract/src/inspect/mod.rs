//! Contents and problems of a download. No model is needed.

mod contents;
mod problems;

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use cache::{Labels, Split, Task};
use common::text::slashed;
use serde::Serialize;

pub use self::contents::{Files, Inspected, Pixels, files, pixels};
pub use self::problems::Problem;
use crate::dataset::{Dataset, SampleNotes};
use crate::split::{self, Member, Overlap, SplitRule, overlaps};

/// Contents and problems of a download.
#[derive(Clone, Debug, Serialize)]
pub struct Findings {
    /// Name of the dataset.
    pub dataset: String,
    /// Folder that paths are relative to.
    pub root: PathBuf,
    /// Kind of the labels.
    pub task: Task,
    /// Split rule.
    pub rule: SplitRule,
    /// Reason why the rule failed; the splits are then the official ones.
    pub rule_error: Option<String>,
    /// Number of samples.
    pub samples: usize,
    /// Number of known patients.
    pub patients: usize,
    /// Number of samples without a patient.
    pub without_patient: usize,
    /// Samples and patients in each split that is not empty.
    pub splits: Vec<SplitCount>,
    /// Samples of each class; `None` if the classes are in masks and not all were read.
    pub classes: Option<Vec<ClassCount>>,
    /// Samples without any known label.
    pub unlabelled: PerSplit,
    /// The files.
    pub files: Files,
    /// Number of samples that were read, readable or not.
    pub read: usize,
    /// Samples that cannot be read.
    pub unreadable: Vec<Unreadable>,
    /// Patients in several splits.
    pub overlaps: Vec<Overlap>,
    /// True if that is allowed.
    pub overlap_allowed: bool,
    /// Samples with the same pixels; `None` if not all were read.
    pub duplicates: Option<Vec<Duplicate>>,
    /// Warnings.
    pub warnings: Vec<String>,
}

/// Size of a split.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SplitCount {
    /// Split; `None` for samples in no split.
    pub split: Option<Split>,
    /// Number of samples.
    pub samples: usize,
    /// Number of patients.
    pub patients: usize,
}

/// Number of samples of a class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClassCount {
    /// The class.
    pub class: String,
    /// In each split.
    pub samples: PerSplit,
}

/// A number for each split.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PerSplit {
    /// In train.
    pub train: usize,
    /// In val.
    pub val: usize,
    /// In test.
    pub test: usize,
    /// In no split.
    pub none: usize,
}

/// A sample that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unreadable {
    /// The sample.
    pub sample: String,
    /// Reason.
    pub reason: String,
    /// True if one of its files is missing or empty.
    pub lacks_file: bool,
}

/// Samples with the same pixels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Duplicate {
    /// The samples, at least two.
    pub samples: Vec<String>,
    /// True if they are in several splits.
    pub leaks: bool,
}

/// Input of [`Findings::new`].
#[derive(Debug)]
pub struct Inspection {
    /// Rule that split the dataset.
    pub rule: SplitRule,
    /// Reason why that rule failed.
    pub rule_error: Option<String>,
    /// True if a patient may be in several splits.
    pub overlap_allowed: bool,
    /// The files.
    pub files: Files,
    /// Samples that were read, in order.
    pub inspected: Vec<Inspected>,
}

/// All splits and none, in the order of tables.
pub const SPLITS: [Option<Split>; 4] = {
    let [train, val, test] = Split::ALL;
    [Some(train), Some(val), Some(test), None]
};

impl PerSplit {
    /// The number for one split, or for none.
    pub fn of(&self, split: Option<Split>) -> usize {
        match split {
            Some(Split::Train) => self.train,
            Some(Split::Val) => self.val,
            Some(Split::Test) => self.test,
            None => self.none,
        }
    }

    fn add(&mut self, split: Option<Split>) {
        *match split {
            Some(Split::Train) => &mut self.train,
            Some(Split::Val) => &mut self.val,
            Some(Split::Test) => &mut self.test,
            None => &mut self.none,
        } += 1;
    }
}

impl Findings {
    /// The findings for a dataset whose samples are split.
    pub fn new(dataset: &Dataset, inspection: Inspection) -> Findings {
        let Inspection {
            rule,
            rule_error,
            overlap_allowed,
            files,
            inspected,
        } = inspection;
        let members = Member::of_samples(&dataset.samples);
        let splits: Vec<Option<Split>> = dataset.samples.iter().map(|s| s.split).collect();
        let patients: HashSet<&String> =
            members.iter().filter_map(|m| m.patient.as_ref()).collect();
        let (classes, unlabelled) = classes(dataset, &inspected);
        let mut warnings = dataset.warnings.clone();
        warnings.extend(split::warnings(&rule, &members, &splits));
        warnings.extend(sample_notes(dataset, &inspected));
        Findings {
            dataset: dataset.name.clone(),
            root: dataset.root.clone(),
            task: dataset.task,
            rule,
            rule_error,
            samples: members.len(),
            patients: patients.len(),
            without_patient: members.iter().filter(|m| m.patient.is_none()).count(),
            splits: split_counts(&members, &splits),
            classes,
            unlabelled,
            read: inspected.len(),
            unreadable: unreadable(dataset, &inspected, &files),
            files,
            overlaps: overlaps(&members, &splits),
            overlap_allowed,
            duplicates: duplicates(dataset, &inspected),
            warnings,
        }
    }
}

/// Warnings of odd images and masks.
fn sample_notes(dataset: &Dataset, inspected: &[Inspected]) -> Vec<String> {
    let mut notes = SampleNotes::default();
    for inspected in inspected {
        if let Ok(pixels) = &inspected.outcome {
            notes.note(&dataset.samples[inspected.sample].id, &pixels.oddities);
        }
    }
    notes.warnings()
}

fn split_counts(members: &[Member], splits: &[Option<Split>]) -> Vec<SplitCount> {
    let counts = SPLITS.map(|split| {
        let pairs = members.iter().zip(splits);
        let inside = pairs
            .filter(|(_, of)| **of == split)
            .map(|(member, _)| member);
        let patients: HashSet<&String> =
            inside.clone().filter_map(|m| m.patient.as_ref()).collect();
        SplitCount {
            split,
            samples: inside.count(),
            patients: patients.len(),
        }
    });
    counts
        .into_iter()
        .filter(|count| count.samples > 0)
        .collect()
}

/// Samples of each class, and those without any label.
fn classes(dataset: &Dataset, inspected: &[Inspected]) -> (Option<Vec<ClassCount>>, PerSplit) {
    let mut unlabelled = PerSplit::default();
    if dataset.labels_from_mask && inspected.len() < dataset.samples.len() {
        return (None, unlabelled);
    }
    let mut counts = vec![PerSplit::default(); dataset.classes.len()];
    let mut count = |split: Option<Split>, labels: &Labels| {
        let present = present(labels);
        if present.is_none() {
            unlabelled.add(split);
        }
        for class in present.into_iter().flatten() {
            if let Some(count) = counts.get_mut(class) {
                count.add(split);
            }
        }
    };
    if dataset.labels_from_mask {
        inspected.iter().for_each(|inspected| {
            if let Ok(pixels) = &inspected.outcome {
                count(dataset.samples[inspected.sample].split, &pixels.labels);
            }
        });
    } else {
        dataset
            .samples
            .iter()
            .for_each(|s| count(s.split, &s.labels));
    }
    let classes = dataset.classes.iter().cloned().zip(counts);
    let classes = classes.map(|(class, samples)| ClassCount { class, samples });
    (Some(classes.collect()), unlabelled)
}

/// The classes that are present; `None` if no label is known.
fn present(labels: &Labels) -> Option<Vec<usize>> {
    match labels {
        Labels::Unlabelled => None,
        Labels::Single(class) => class.map(|class| vec![class as usize]),
        Labels::Multi(states) if states.iter().all(Option::is_none) => None,
        Labels::Multi(states) => {
            let classes = (0..states.len()).filter(|class| states[*class] == Some(1));
            Some(classes.collect())
        }
    }
}

fn unreadable(dataset: &Dataset, inspected: &[Inspected], files: &Files) -> Vec<Unreadable> {
    let lacking: HashSet<&String> = files.missing.iter().chain(&files.empty).collect();
    let failed = inspected.iter().filter_map(|inspected| {
        let reason = inspected.outcome.as_ref().err()?.clone();
        let sample = &dataset.samples[inspected.sample];
        let lacks_file = sample.files().any(|file| lacking.contains(&slashed(file)));
        Some(Unreadable {
            sample: sample.id.clone(),
            reason,
            lacks_file,
        })
    });
    failed.collect()
}

/// Samples with equal pixels, in the order of the first of each.
fn duplicates(dataset: &Dataset, inspected: &[Inspected]) -> Option<Vec<Duplicate>> {
    if inspected.len() < dataset.samples.len() {
        return None;
    }
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut of_hash: HashMap<&str, usize> = HashMap::new();
    for inspected in inspected {
        let pixels = inspected.outcome.as_ref().ok();
        let Some(hash) = pixels.and_then(|pixels| pixels.sha256.as_deref()) else {
            continue;
        };
        match of_hash.get(hash) {
            Some(group) => groups[*group].push(inspected.sample),
            None => {
                of_hash.insert(hash, groups.len());
                groups.push(vec![inspected.sample]);
            }
        }
    }
    groups.retain(|group| group.len() > 1);
    let duplicate = |group: Vec<usize>| {
        let samples = || group.iter().map(|k| &dataset.samples[*k]);
        let splits: HashSet<Split> = samples().filter_map(|sample| sample.split).collect();
        Duplicate {
            samples: samples().map(|sample| sample.id.clone()).collect(),
            leaks: splits.len() > 1,
        }
    };
    Some(groups.into_iter().map(duplicate).collect())
}

#[cfg(test)]
mod tests;
