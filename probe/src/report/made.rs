//! How the results were made: caches, settings, versions and commands.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::read::{Study, backbone, parameter};
use super::table::{Cell, Column, Table};
use crate::compare::{brief, flatten, short};
use crate::record::RunRecord;

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
        .map(|(name, value)| format!("{name} {}", short(value)))
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
        .map(|(name, value)| format!("{name}={}", brief(value)))
        .collect();
    pairs.join(" ")
}

/// Commands that evaluate the same caches with the same probes and protocols.
fn commands(study: &Study) -> Table {
    let mut found: BTreeMap<String, Vec<&RunRecord>> = BTreeMap::new();
    for record in study.results() {
        found.entry(command(record)).or_default().push(record);
    }
    let rows = found.into_iter().map(|(command, records)| {
        let backbones: BTreeSet<String> = records.iter().map(|record| backbone(record)).collect();
        let backbones: Vec<String> = backbones.into_iter().collect();
        vec![
            command.into(),
            Cell::Count(records.len()),
            backbones.join(", ").into(),
        ]
    });
    Table {
        id: "commands".into(),
        title: "Commands".into(),
        caption: "Commands for the same caches, with the options that name them; each evaluates the backbones of the last column. Options that differ from the defaults are in the settings above and in the records."
            .into(),
        columns: vec![
            Column::text("command"),
            Column::number("records"),
            Column::text("backbones"),
        ],
        rows: rows.collect(),
    }
}

fn command(record: &RunRecord) -> String {
    let split = record.split_name.as_deref().unwrap_or_default();
    if split.starts_with("kfold:") {
        return "probe study FILE.toml, whose folds are measured together".into();
    }
    if record.probe == "finetune" {
        return fine_tuning(record);
    }
    let mut words = vec!["probe".to_owned(), record.probe.clone()];
    let parameters = match record.probe.as_str() {
        "segment" => &["decoder"][..],
        "few-shot" | "predict" => &["head"][..],
        _ => &[],
    };
    for name in parameters {
        words.extend(parameter(record, name).map(|value| format!("--{name} {}", quoted(value))));
    }
    words.push(format!("--dataset {}", quoted(&record.dataset)));
    words.push(format!("--protocol {}", quoted(&record.protocol)));
    words.extend(
        record
            .control
            .iter()
            .map(|control| format!("--control {}", quoted(control))),
    );
    words.extend(
        record
            .split_name
            .iter()
            .map(|name| format!("--split {}", quoted(name))),
    );
    words.extend(
        record
            .labels_name
            .iter()
            .map(|name| format!("--labels {}", quoted(name))),
    );
    words.join(" ")
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
        quoted(&cache),
        "--root DIR".into(),
    ];
    if is_scratch {
        words.push(format!("--model {}", quoted(&record.model)));
    } else {
        let options = ["method", "decoder"];
        let given = options
            .iter()
            .filter_map(|name| Some((name, parameter(record, name)?)));
        words.extend(given.map(|(name, value)| format!("--{name} {}", quoted(value))));
    }
    words.push(format!("--protocol {}", quoted(&record.protocol)));
    words.join(" ")
}

/// A word for a POSIX shell.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./@=,:+".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}
