//! Records with the same settings: only these are ranked and drawn beside each other.

use std::collections::{BTreeMap, BTreeSet};

use common::counted;
use serde_json::{Map, Value};

use super::cells::task;
use super::read::backbone;
use crate::compare::{differences, shortened, traits};
use crate::record::RunRecord;

/// Results of one kind of evaluation, by whether they can be compared.
#[derive(Debug, Default)]
pub(super) struct Alike<'a> {
    /// Of each task, the records with equal settings, in the order given.
    pub(super) compared: Vec<&'a RunRecord>,
    /// The tasks of the other records, with the settings in which they differ from these.
    left_out: Vec<(String, Vec<String>)>,
}

/// Records of a task with equal settings.
struct Group<'a> {
    settings: Map<String, Value>,
    backbones: BTreeSet<String>,
    records: Vec<&'a RunRecord>,
    /// Place of the last record among all.
    last: usize,
}

impl<'a> Alike<'a> {
    /// Takes for each task the settings with records of the most backbones; of several, those recorded last. Settings
    /// that are chosen for a backbone, such as a learning rate, do not count, as in [`crate::compare`].
    pub(super) fn of(records: impl Iterator<Item = &'a RunRecord>) -> Alike<'a> {
        let mut tasks: BTreeMap<String, Vec<Group<'a>>> = BTreeMap::new();
        for (last, record) in records.enumerate() {
            let settings = settings(record);
            let groups = tasks.entry(task(record)).or_default();
            let at = groups.iter().position(|group| group.settings == settings);
            let at = at.unwrap_or_else(|| {
                groups.push(Group {
                    settings,
                    backbones: BTreeSet::new(),
                    records: Vec::new(),
                    last,
                });
                groups.len() - 1
            });
            let group = &mut groups[at];
            group.backbones.insert(backbone(record));
            group.records.push(record);
            group.last = last;
        }
        let mut found = Alike::default();
        for (task, mut groups) in tasks {
            groups.sort_by_key(|group| (group.backbones.len(), group.last));
            let Some(chosen) = groups.pop() else {
                continue;
            };
            for group in groups {
                let differences = differences(&group.settings, &chosen.settings);
                let others = group.records.iter();
                found
                    .left_out
                    .extend(others.map(|_| (task.clone(), differences.clone())));
            }
            found.compared.extend(chosen.records);
        }
        found
    }

    /// A sentence about the records of these tasks that are left out, after a space; empty without any. `what` names
    /// what they are records of.
    pub(super) fn note(&self, what: &str, is_shown: impl Fn(&String) -> bool) -> String {
        let others = self.left_out.iter().filter(|(task, _)| is_shown(task));
        let count = others.clone().count();
        if count == 0 {
            return String::new();
        }
        let differences: BTreeSet<&String> = others.flat_map(|(_, of)| of).collect();
        let differences: Vec<String> = differences.into_iter().cloned().collect();
        format!(
            " Left out: {} of {what} with other settings than most backbones or than the newest: {}. They are in the table of all results.",
            counted(count, "record"),
            shortened(&differences, "difference")
        )
    }
}

/// Settings that must be equal. Numbers of shots need not be: each is a point of its own.
pub(super) fn settings(record: &RunRecord) -> Map<String, Value> {
    let mut settings = traits(record);
    settings.retain(|name, _| {
        let last = name.rsplit('.').next();
        !matches!(last, Some("shots" | "repeats"))
    });
    settings
}
