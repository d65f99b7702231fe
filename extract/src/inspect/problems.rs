//! Problems of a download.

use cache::Split;
use common::text::printable;
use serde::Serialize;

use super::Findings;
use crate::split::Overlap;

/// A problem of a download.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// True if something is missing, rather than wrong.
    pub is_lack: bool,
    /// Name of the problem.
    pub what: String,
    /// All places, one or more lines each.
    pub places: Vec<String>,
    /// Hint for the user.
    pub hint: &'static str,
}

impl Findings {
    /// The problems; empty if there are none.
    pub fn problems(&self) -> Vec<Problem> {
        let leaks = self.duplicates.iter().flatten().filter(|d| d.leaks);
        let leaks: Vec<String> = leaks.map(|d| d.samples.join(" = ")).collect();
        let unreadable = self.unreadable.iter().filter(|u| !u.lacks_file);
        let unreadable = unreadable.map(|u| format!("{}: {}", printable(&u.sample), u.reason));
        let overlaps = self.overlaps.iter().filter(|_| !self.overlap_allowed);
        let all = [
            lack(
                "missing files",
                self.files.missing.clone(),
                "download or copy the missing files",
            ),
            lack(
                "files of 0 bytes",
                self.files.empty.clone(),
                "download or copy the empty files again",
            ),
            Problem {
                places: unreadable.collect(),
                ..wrong(
                    "unreadable samples",
                    Vec::new(),
                    "fix or replace the unreadable files; `extract` skips their samples",
                )
            },
            wrong(
                "split rule that cannot be applied",
                self.rule_error.iter().cloned().collect(),
                "complete the download, or give another `--split`",
            ),
            wrong(
                "patients in several splits",
                overlaps.map(Overlap::to_string).collect(),
                "split by patient, for instance with `--split random:0.7:0.1:0.2`, or allow it with `--allow-patient-overlap`",
            ),
            wrong(
                "identical images in several splits",
                leaks,
                "delete copies, or keep them in one split with `--split file:PATH`",
            ),
            wrong(
                "classes without samples in a split",
                self.absent_classes(),
                "a class without samples in train or test cannot be trained or measured: give another `--split`",
            ),
        ];
        let found = all.into_iter().filter(|problem| !problem.places.is_empty());
        found.collect()
    }

    /// Classes of which train or test have labels but no sample, as `CLASS in SPLIT`.
    fn absent_classes(&self) -> Vec<String> {
        let labelled = |split: Split| {
            let counted = self.splits.iter().find(|count| count.split == Some(split));
            let samples = counted.map_or(0, |count| count.samples);
            samples > self.unlabelled.of(Some(split))
        };
        let splits = [Split::Train, Split::Test].into_iter();
        let splits: Vec<Split> = splits.filter(|split| labelled(*split)).collect();
        let classes = self.classes.iter().flatten();
        classes
            .flat_map(|class| {
                let absent = splits
                    .iter()
                    .filter(|split| class.samples.of(Some(**split)) == 0);
                absent.map(|split| format!("{} in {}", class.class, split.name()))
            })
            .collect()
    }
}

fn lack(what: &str, places: Vec<String>, hint: &'static str) -> Problem {
    let places = places.iter().map(|place| printable(place).into_owned());
    Problem {
        is_lack: true,
        what: what.to_owned(),
        places: places.collect(),
        hint,
    }
}

fn wrong(what: &str, places: Vec<String>, hint: &'static str) -> Problem {
    Problem {
        is_lack: false,
        ..lack(what, places, hint)
    }
}
