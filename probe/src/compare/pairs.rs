//! Pairs of comparable records, and reasons why others are not compared.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use common::counted;
use common::text::argument;
use serde_json::{Map, Value};

use super::Kind;
use super::written::{flatten, option, value, written};
use crate::record::RunRecord;

/// Maximum number of differences that a message lists.
const NAMED: usize = 4;

/// Role of a `k` that was chosen among several.
const CHOSEN: &str = "chosen";

/// The name of the hash of samples, patients, splits and labels.
const EXAMPLES: &str = "samples, splits or labels";

/// Name and image size of a backbone.
type Backbone<'a> = (&'a str, u32);

/// Records of the same evaluation on two backbones.
#[derive(Clone, Copy, Debug)]
pub struct Pair<'a> {
    /// The backbone that is first by name.
    pub first: &'a RunRecord,
    /// The other one.
    pub second: &'a RunRecord,
}

/// Pairs of records, and messages about records without a pair.
#[derive(Clone, Debug, Default)]
pub struct Pairs<'a> {
    /// In the order in which their evaluations were first recorded.
    pub pairs: Vec<Pair<'a>>,
    /// Messages about records that are not compared.
    pub left_out: Vec<String>,
}

/// Records of one evaluation, the latest of each backbone.
struct Group<'a> {
    traits: Map<String, Value>,
    records: BTreeMap<Backbone<'a>, &'a RunRecord>,
}

impl<'a> Pairs<'a> {
    /// Pairs records that differ only in the backbone and in the settings chosen for it, and whose scores are
    /// in `runs`, or which have the measures of several draws. Of several results of an evaluation, such as those
    /// of each `k`, equal ones are paired, and chosen ones with each other.
    pub fn of(records: &'a [RunRecord], runs: &Path) -> Pairs<'a> {
        let mut left_out = Vec::new();
        let is_comparable = |record: &&RunRecord| {
            let file = record.predictions.as_ref();
            Kind::of(record).is_some() && file.is_none_or(|file| runs.join(file).is_file())
        };
        let (scored, unscored): (Vec<_>, Vec<_>) = records.iter().partition(is_comparable);
        left_out.extend(unscored.into_iter().map(without_scores));
        let mut groups: Vec<Group<'a>> = Vec::new();
        let mut earlier = 0;
        for record in scored {
            earlier += usize::from(insert(&mut groups, record, &role(record)));
            if record.probe == "knn" && record.chosen == Some(true) {
                insert(&mut groups, record, CHOSEN);
            }
        }
        if earlier > 0 {
            let records = counted(earlier, "earlier record");
            left_out.push(format!("{records} of the same settings, backbone and data"));
        }
        let mut found = Pairs {
            pairs: Vec::new(),
            left_out,
        };
        groups.iter().for_each(|group| found.pair(group));
        found.left_out.extend(missing(records, &groups));
        found
    }

    fn pair(&mut self, group: &Group<'a>) {
        let all: Vec<&RunRecord> = group.records.values().copied().collect();
        for (i, &first) in all.iter().enumerate() {
            for &second in &all[i + 1..] {
                let is_known = |pair: &Pair<'_>| {
                    std::ptr::eq(pair.first, first) && std::ptr::eq(pair.second, second)
                };
                if !self.pairs.iter().any(is_known) {
                    self.pairs.push(Pair { first, second });
                }
            }
        }
    }
}

/// Puts a record into its group; returns whether it replaces an earlier one.
fn insert<'a>(groups: &mut Vec<Group<'a>>, record: &'a RunRecord, role: &str) -> bool {
    let mut traits = traits(record);
    traits.insert("result".into(), role.into());
    let at = groups.iter().position(|group| group.traits == traits);
    let at = at.unwrap_or_else(|| {
        groups.push(Group {
            traits,
            records: BTreeMap::new(),
        });
        groups.len() - 1
    });
    groups[at]
        .records
        .insert(backbone(record), record)
        .is_some()
}

fn backbone(record: &RunRecord) -> Backbone<'_> {
    (&record.model, record.image_size)
}

/// Setting that distinguishes a result from others of its evaluation. Chosen settings, such as a learning
/// rate, depend on the backbone and do not count.
pub(crate) fn role(record: &RunRecord) -> String {
    match record.probe.as_str() {
        "knn" | "few-shot" => record.setting.clone(),
        "segment" => match record.params.get("shots").and_then(Value::as_u64) {
            Some(shots) => format!("shots={shots}"),
            None => String::new(),
        },
        _ => String::new(),
    }
}

/// Settings that must be equal, by flat names.
pub(crate) fn traits(record: &RunRecord) -> Map<String, Value> {
    let mut traits = Map::new();
    flatten("", &record.settings, &mut traits);
    traits.insert("dataset".into(), record.dataset.clone().into());
    traits.insert("probe".into(), record.probe.clone().into());
    traits.insert(EXAMPLES.into(), record.examples_sha256.clone().into());
    traits
}

fn without_scores(record: &RunRecord) -> String {
    let again = command(record);
    let reason = match (&record.predictions, &record.control) {
        (Some(file), _) if Kind::of(record).is_some() => {
            format!("its scores `{file}` are missing; `{again} --force` evaluates it again")
        }
        (Some(_), _) => "it has no labels to measure by".into(),
        (None, Some(control)) => format!("a mean over draws of the control `{control}`"),
        (None, None) => format!("neither scores nor draws are kept; `{again} --force` keeps them"),
    };
    format!("{}: {reason}", described(record))
}

/// The command that evaluates a backbone, without the options that differ from their defaults.
fn command(record: &RunRecord) -> String {
    let head = match record.params.get("head").and_then(Value::as_str) {
        Some(head) if record.probe == "few-shot" => format!(" --head {head}"),
        _ => String::new(),
    };
    let split = match &record.split_name {
        Some(name) if name.starts_with("kfold:") => return "probe study FILE.toml".into(),
        Some(name) => format!(" --split {}", argument(name.as_ref())),
        None => String::new(),
    };
    format!(
        "probe {}{head} --dataset {} --model {} --image-size {}{split}",
        record.probe,
        argument(record.dataset.as_ref()),
        argument(record.model.as_ref()),
        record.image_size
    )
}

fn described(record: &RunRecord) -> String {
    format!(
        "{} {} ({}) of {}@{} on {}",
        record.probe,
        record.protocol,
        record.setting,
        record.model,
        record.image_size,
        record.dataset
    )
}

/// Messages about backbones without a record of an evaluation, with the most similar record: one for all settings of
/// which the same is to be said.
fn missing<'a>(records: &'a [RunRecord], groups: &[Group<'a>]) -> Vec<String> {
    let backbones: BTreeSet<Backbone<'_>> = records.iter().map(backbone).collect();
    let mut told: Vec<([String; 2], Vec<String>)> = Vec::new();
    for group in groups
        .iter()
        .filter(|group| group.traits["result"] != CHOSEN)
    {
        let Some(first) = group.records.values().next() else {
            continue;
        };
        let found: Vec<String> = group.records.keys().map(named).collect();
        let begin = format!("{} {}", first.probe, first.protocol);
        for lacking in backbones.iter().filter(|b| !group.records.contains_key(b)) {
            let end = format!(
                "of {} on {}: no record of {}: {}",
                shortened(&found, ""),
                first.dataset,
                named(lacking),
                instead(first, lacking, group, groups)
            );
            let texts = [begin.clone(), end];
            let setting = first.setting.clone();
            match told.iter_mut().find(|(same, _)| *same == texts) {
                Some((_, settings)) => settings.push(setting),
                None => told.push((texts, vec![setting])),
            }
        }
    }
    let messages = told.iter().map(|([begin, end], settings)| {
        format!("{begin} ({}) {end}", shortened(settings, "setting"))
    });
    messages.collect()
}

/// What there is in place of a record of a backbone in a group, or the command that makes it.
fn instead(
    first: &RunRecord,
    lacking: &Backbone<'_>,
    group: &Group<'_>,
    groups: &[Group<'_>],
) -> String {
    let others = groups.iter().filter(|other| {
        other.records.contains_key(lacking)
            && ["dataset", "probe"]
                .iter()
                .all(|name| other.traits[*name] == group.traits[*name])
    });
    let differences = others.map(|other| differences(&other.traits, &group.traits));
    if let Some(differences) = differences.min_by_key(Vec::len) {
        return format!("only one with {}", shortened(&differences, "difference"));
    }
    let wanted = RunRecord {
        model: lacking.0.to_owned(),
        image_size: lacking.1,
        ..first.clone()
    };
    match first.probe.as_str() {
        "predict" => "run `probe predict --head` with a head of that backbone".into(),
        _ => format!("run `{}` with the same options", command(&wanted)),
    }
}

fn named((model, size): &Backbone<'_>) -> String {
    format!("{model}@{size}")
}

/// `option=value (not value)` for each trait in which two evaluations differ.
pub(crate) fn differences(found: &Map<String, Value>, wanted: &Map<String, Value>) -> Vec<String> {
    let names: BTreeSet<&String> = found.keys().chain(wanted.keys()).collect();
    let differ = names
        .iter()
        .copied()
        .filter(|name| found.get(*name) != wanted.get(*name));
    let written_of = |name: &str| [found, wanted].map(|of| written(name, of.get(name)?));
    let options: Vec<_> = names.iter().map(|name| written_of(name)).collect();
    let is_told = |name: &str| {
        let [Some(found), Some(wanted)] = [found, wanted].map(|of| of.get(name)?.as_str()) else {
            return false;
        };
        let words = |text: &str, other: &str| -> String {
            let words = text
                .split(' ')
                .filter(|word| !other.split(' ').any(|of| of == *word));
            words.collect::<Vec<_>>().join(" ")
        };
        options.contains(&[Some(words(found, wanted)), Some(words(wanted, found))])
    };
    differ
        // The result repeats an option of which there is one value.
        .filter(|name| *name != "result" || !is_told(name))
        .map(|name| {
            let [found, wanted] = [found, wanted].map(|of| value(name, of.get(name)?));
            let option = option(name);
            match (name.as_str(), found, wanted) {
                (EXAMPLES, ..) => format!("other {EXAMPLES}"),
                ("result", found, wanted) => {
                    let [found, wanted] = [found, wanted].map(Option::unwrap_or_default);
                    format!("{found} (not {wanted})")
                }
                (_, Some(found), Some(wanted)) => format!("{option}={found} (not {wanted})"),
                (_, Some(found), None) => format!("{option}={found} (not without)"),
                (_, None, wanted) => {
                    format!("no {option} (not {})", wanted.unwrap_or_default())
                }
            }
        })
        .collect()
}

/// The first texts of a list, and the number of the others, which are called `what`.
pub(crate) fn shortened(texts: &[String], what: &str) -> String {
    let first = texts[..texts.len().min(NAMED)].join(", ");
    match texts.len().saturating_sub(NAMED) {
        0 => first,
        more if what.is_empty() => format!("{first} and {more} more"),
        more => format!("{first} and {}", counted(more, &format!("more {what}"))),
    }
}

#[cfg(test)]
mod tests;
