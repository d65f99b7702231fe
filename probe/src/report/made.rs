//! How the results were made: caches, settings, versions and commands.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use common::text::argument;
use serde_json::{Map, Value};

use super::read::{Study, backbone, is_other, parameter};
use super::table::{Cell, Column, Table};
use crate::compare::{flatten, value, written};
use crate::record::RunRecord;

/// What stands for the command of a record of an earlier version.
const NOT_RECORDED: &str = "not recorded";

/// Tables of caches, of evaluations and of commands.
pub(super) fn tables(study: &Study) -> Vec<Table> {
    if study.records.is_empty() {
        return Vec::new();
    }
    vec![caches(study), evaluations(study), commands(study)]
}

/// A row per cache: dataset, backbone and recipe.
fn caches(study: &Study) -> Table {
    let mut found: BTreeMap<(&str, String, &str), BTreeSet<String>> = BTreeMap::new();
    for record in &study.records {
        let place = (
            record.dataset.as_str(),
            backbone(record),
            record.cache_sha256.as_str(),
        );
        found.entry(place).or_default().insert(recipe(record));
    }
    let rows = found
        .into_iter()
        .map(|((dataset, backbone, sha256), recipes)| {
            let recipes: Vec<String> = recipes.into_iter().collect();
            let short: String = sha256.chars().take(16).collect();
            vec![
                dataset.into(),
                backbone.into(),
                recipes.join("; ").into(),
                short.into(),
            ]
        });
    Table {
        id: "caches".into(),
        title: "Caches".into(),
        caption: "Tokens that the results were computed from. The recipe turns voxels into pixels; the hash is the start of the sha256 of meta.json."
            .into(),
        columns: ["dataset", "backbone", "recipe", "meta.json"].map(Column::text).to_vec(),
        rows: rows.collect(),
    }
}

fn recipe(record: &RunRecord) -> String {
    let recipe = record.settings.get("recipe").and_then(Value::as_object);
    let pairs = recipe.into_iter().flatten();
    let pairs: Vec<String> = pairs
        .filter_map(|(name, found)| Some(format!("{name} {}", value(name, found)?)))
        .collect();
    pairs.join(", ")
}

/// A row per probe and protocol: settings that all of its records share, versions and times.
fn evaluations(study: &Study) -> Table {
    let mut groups: BTreeMap<(&str, &str), Vec<&RunRecord>> = BTreeMap::new();
    for record in &study.records {
        let place = (record.probe.as_str(), record.protocol.as_str());
        groups.entry(place).or_default().push(record);
    }
    let rows = groups.into_iter().map(|((probe, protocol), records)| {
        let list = |of: fn(&RunRecord) -> String| -> String {
            let known: BTreeSet<String> = records.iter().map(|record| of(record)).collect();
            known.into_iter().collect::<Vec<_>>().join(", ")
        };
        let seconds: f64 = records.iter().map(|record| record.seconds).sum();
        vec![
            probe.into(),
            protocol.into(),
            Cell::Count(records.len()),
            shared(&records).into(),
            list(|record| record.seed.to_string()).into(),
            list(|record| format!("{} ({})", record.tool_version, record.evaluation_version))
                .into(),
            list(|record| record.time.chars().take(10).collect()).into(),
            format!("{seconds:.0}").into(),
        ]
    });
    let mut columns = [
        "probe",
        "protocol",
        "records",
        "settings of all",
        "seed",
        "version",
        "days",
        "seconds",
    ]
    .map(Column::text)
    .to_vec();
    columns[2].is_number = true;
    columns[7].is_number = true;
    Table {
        id: "evaluations".into(),
        title: "Evaluations".into(),
        caption: "Settings that all records of a probe and protocol share; those in which they differ are in the records. Version of Slicebank, and in parentheses the version of the evaluation, which rises when results change. Records of one search share its seconds."
            .into(),
        columns,
        rows: rows.collect(),
    }
}

/// Settings that are equal in all of the records, without those of the table's other columns.
fn shared(records: &[&RunRecord]) -> String {
    let flat = |record: &RunRecord| {
        let mut flat = Map::new();
        flatten("", &record.settings, &mut flat);
        flat.retain(|name, value| {
            let is_known = ["probe", "protocol", "seed"].contains(&name.as_str());
            !is_known && !name.starts_with("recipe.") && !value.is_null()
        });
        flat
    };
    let Some((first, others)) = records.split_first() else {
        return String::new();
    };
    let mut all = flat(first);
    for record in others {
        let other = flat(record);
        all.retain(|name, value| other.get(name) == Some(value));
    }
    let pairs: Vec<String> = all
        .iter()
        .filter_map(|(name, value)| written(name, value))
        .collect();
    pairs.join(" ")
}

/// The commands that the results are of, as they were typed or as a study runs them.
fn commands(study: &Study) -> Table {
    let mut found: BTreeMap<(String, &str), Vec<&RunRecord>> = BTreeMap::new();
    let is_result = |record: &RunRecord| !is_other(record);
    for record in &study.records {
        if let Some(command) = command(record).or(is_result(record).then(|| NOT_RECORDED.into())) {
            let of = record.study.as_deref().unwrap_or_default();
            found.entry((command, of)).or_default().push(record);
        }
    }
    let rows = found.into_iter().map(|((command, of), records)| {
        let backbones: BTreeSet<String> = records.iter().map(|record| backbone(record)).collect();
        let backbones: Vec<String> = backbones.into_iter().collect();
        vec![
            command.into(),
            of.into(),
            Cell::Count(records.len()),
            backbones.join(", ").into(),
        ]
    });
    Table {
        id: "commands".into(),
        title: "Commands".into(),
        caption: "Commands as they were typed, or as a study runs them, without options of folders, threads and printing; --dataset is added where it was not given. Each evaluates the backbones of the last column, and others of the folder of caches. Study: that of `probe study` which ran the command. Results of all folds together are of the study alone."
            .into(),
        columns: vec![
            Column::text("command"),
            Column::text("study"),
            Column::number("records"),
            Column::text("backbones"),
        ],
        rows: rows.collect(),
    }
}

/// The command of a record, for its dataset alone.
pub(super) fn command(record: &RunRecord) -> Option<String> {
    if record.probe == "finetune" {
        return Some(fine_tuning(record));
    }
    if record.command.is_empty() {
        let of = record.study.as_ref()?;
        return Some(format!("probe study {}", word(of)));
    }
    let mut command = record.command.clone();
    if !command.split(' ').any(|word| word == "--dataset") {
        command += &format!(" --dataset {}", word(&record.dataset));
    }
    Some(command)
}

/// The script that trains a whole backbone, or a network from scratch.
fn fine_tuning(record: &RunRecord) -> String {
    let is_scratch = parameter(record, "method") == Some("scratch");
    let model = if is_scratch {
        "MODEL"
    } else {
        record.model.as_str()
    };
    let cache = format!(
        "embeddings/{}/{model}@{}",
        record.dataset, record.image_size
    );
    let mut words = vec![
        "scripts/finetune".to_owned(),
        word(&cache),
        "--root DIR".into(),
    ];
    if is_scratch {
        words.push(format!("--model {}", word(&record.model)));
    } else {
        let options = ["method", "decoder"];
        let given = options
            .iter()
            .filter_map(|name| Some((name, parameter(record, name)?)));
        words.extend(given.map(|(name, value)| format!("--{name} {}", word(value))));
    }
    words.push(format!("--protocol {}", word(&record.protocol)));
    words.join(" ")
}

/// A word of a command line.
fn word(text: &str) -> String {
    argument(Path::new(text))
}
