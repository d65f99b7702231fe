//! Results of every probe on small caches: where they change, `EVALUATION_VERSION` must.
#![allow(clippy::unwrap_used)]

mod caches;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use probe::cli::Cli;
use probe::evaluate::EVALUATION_VERSION;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The variable that writes the results anew.
const WRITE: &str = "SLICEBANK_WRITE_GOLDEN";
/// Differences between processors: sums of f32 are of other orders.
const TOLERANCE: f64 = 1e-4;
/// The same of segmentations, where a pixel more or less counts.
const PIXELS: f64 = 5e-3;

const CLASSIFICATION: [&str; 18] = [
    "knn --k 3,7",
    "knn --features cls+mean-patch",
    // A graph of few examples leads to all of them, on every processor.
    "knn --k 5 --index hnsw",
    "knn --k 5 --vote majority",
    "knn --k 5 --vote distance",
    "knn --k 5 --vote softmax --temperature 0.2 --eval val",
    "knn --k 5 --per-patient",
    "knn --k 5 --unit volume --pool max",
    "knn --k 5 --control shuffled-labels",
    "knn --k 5 --control metadata-only",
    "linear --epochs 4 --batch-size 16 --lr 0.1,0.01 --blocks 1,2",
    "linear --epochs 4 --batch-size 16 --lr 0.1 --blocks 1 --per-patient --train train",
    "logreg --C 0.01,1,100",
    "few-shot --head linear --epochs 4 --batch-size 4 --lr 0.1 --blocks 1 --shots 2,all --repeats 2",
    "few-shot --head knn --k 3 --shots 2,all --repeats 2",
    "few-shot --head logreg --C 0.1,10 --shots 4 --repeats 2",
    "few-shot --head centroid --shots 2,all --repeats 2",
    "few-shot --head centroid --shots 3 --repeats 2 --draw examples",
];

/// Commands of the probes that [`CLASSIFICATION`] does not name.
fn others() -> Vec<String> {
    let is_named = |name: &str| {
        CLASSIFICATION
            .iter()
            .any(|line| line.split(' ').any(|w| w == name))
    };
    let others = probe::cli::probe_names().filter(|name| !is_named(name));
    others
        .flat_map(|name| {
            let few = format!("few-shot --head {name} --shots 4 --repeats 2");
            [name.to_owned(), few]
        })
        .collect()
}

/// Commands for exclusive classes.
const SINGLE_LABEL: [&str; 2] = [
    "linear --epochs 4 --batch-size 16 --lr 0.1,0.01 --blocks 1,2 --select accuracy",
    "logreg --C 0.01,1,100 --select accuracy",
];

const SEGMENTATION: [&str; 3] = [
    "segment --decoder linear --epochs 4 --batch-size 4 --lr 0.05,0.5",
    "segment --decoder unet --epochs 4 --batch-size 4 --lr 0.05,0.1 --loss dice-ce",
    "segment --decoder linear --epochs 4 --batch-size 4 --lr 0.5 --shots 2 --repeats 2",
];

/// The results in a record.
const PARTS: [&str; 9] = [
    "metrics",
    "ci",
    "spread",
    "setting",
    "n_train",
    "n_test",
    "chosen",
    "chosen_on",
    "warnings",
];

/// The results of each evaluation, by the paths of their values.
type Results = BTreeMap<String, BTreeMap<String, Value>>;

#[derive(Deserialize, Serialize)]
struct Golden {
    evaluation_version: u32,
    results: Results,
}

struct Lab {
    folder: tempfile::TempDir,
    results: Results,
}

impl Lab {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a command on a dataset, keeps its results, and returns its records.
    fn run(&mut self, command: &str, dataset: &str) -> Vec<Value> {
        let (cache, runs) = (self.path("cache"), self.path("runs"));
        let words = command.split_whitespace();
        let mut line = vec!["probe".to_owned()];
        line.extend(words.map(Into::into));
        for (option, value) in [("--cache", &cache), ("--runs", &runs)] {
            line.extend([option.into(), value.display().to_string()]);
        }
        line.extend(["--dataset", dataset, "--format", "json"].map(Into::into));
        let is_spread = command.starts_with("segment") && command.contains("--shots 2");
        let has_intervals = !is_spread && !command.contains("--control shuffled-labels");
        if has_intervals {
            line.extend(["--bootstrap", "20"].map(Into::into));
        }
        let (mut out, mut messages) = (Vec::new(), Vec::new());
        probe::run(Cli::parse_from(&line), &mut out, &mut messages).unwrap();
        let messages = String::from_utf8(messages).unwrap();
        let lines = String::from_utf8(out).unwrap();
        let records: Vec<Value> = lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert!(!records.is_empty(), "{command} on {dataset}: {messages}");
        let command = command.replace(&format!("{}/", runs.display()), "");
        for (number, record) in records.iter().enumerate() {
            let protocol = record["protocol"].as_str().unwrap();
            let mut numbers = BTreeMap::new();
            for part in PARTS {
                flatten(part, &record[part], &mut numbers);
            }
            let name = format!("{dataset}: {command}: {protocol} {number}");
            self.results.insert(name, numbers);
        }
        records
    }

    /// Applies a head or decoder, whose file has another name each time.
    fn predict(&mut self, head: &str, dataset: &str, what: &str) {
        for eval in ["all", "test"] {
            let before = std::mem::take(&mut self.results);
            self.run(&format!("predict --head {head} --eval {eval}"), dataset);
            let found = std::mem::replace(&mut self.results, before);
            let (_, numbers) = found.into_iter().next().unwrap();
            let name = format!("{dataset}: {what} --eval {eval}");
            self.results.insert(name, numbers);
        }
    }
}

/// Numbers and words by their paths.
fn flatten(path: &str, value: &Value, into: &mut BTreeMap<String, Value>) {
    let inner = |name: &dyn std::fmt::Display| format!("{path}.{name}");
    match value {
        Value::Object(map) => map
            .iter()
            .for_each(|(name, v)| flatten(&inner(name), v, into)),
        Value::Array(all) => (0..)
            .zip(all)
            .for_each(|(i, v): (u32, _)| flatten(&inner(&i), v, into)),
        Value::Null => {}
        plain => drop(into.insert(path.into(), plain.clone())),
    }
}

fn head(records: &[Value], runs: &Path) -> String {
    let file = records.iter().find_map(|record| record["head"].as_str());
    runs.join(file.unwrap()).display().to_string()
}

fn results() -> Results {
    let mut lab = Lab {
        folder: tempfile::tempdir().unwrap(),
        results: BTreeMap::new(),
    };
    for (seed, dataset) in (1..).zip(["two", "three", "multi", "masks"]) {
        caches::write(&lab.path("cache"), dataset, "tiny", seed);
    }
    let runs = lab.path("runs");
    for dataset in ["two", "three", "multi"] {
        let others = others();
        for command in CLASSIFICATION
            .into_iter()
            .chain(others.iter().map(String::as_str))
        {
            let records = lab.run(&format!("{command} --protocol paper,strict"), dataset);
            if command.starts_with("linear --epochs 4 --batch-size 16 --lr 0.1,0.01") {
                lab.predict(&head(&records, &runs), dataset, "predict");
            }
        }
    }
    for dataset in ["two", "three"] {
        for command in SINGLE_LABEL {
            lab.run(&format!("{command} --protocol paper,strict"), dataset);
        }
    }
    for command in SEGMENTATION {
        let records = lab.run(&format!("{command} --protocol paper,strict"), "masks");
        if !command.contains("--shots") {
            let decoder = command.split(' ').nth(2).unwrap();
            let name = format!("predict {decoder}");
            lab.predict(&head(&records, &runs), "masks", &name);
        }
    }
    lab.results
}

/// The differences of `found` from `expected`.
fn differences(found: &Results, expected: &Results) -> Vec<String> {
    let mut differences = Vec::new();
    for (name, expected) in expected {
        let tolerance = if name.starts_with("masks") {
            PIXELS
        } else {
            TOLERANCE
        };
        let nothing = BTreeMap::new();
        let found = found.get(name).unwrap_or(&nothing);
        for (number, expected) in expected {
            let is_near = |found: &Value| match (found.as_f64(), expected.as_f64()) {
                (Some(found), Some(expected)) => {
                    (found - expected).abs() <= tolerance * expected.abs().max(1.0)
                }
                _ => found == expected,
            };
            let value = found.get(number);
            if !value.is_some_and(is_near) {
                differences.push(format!("{name}: {number}: {value:?}, expected {expected}"));
            }
        }
        let new = found
            .keys()
            .filter(|number| !expected.contains_key(*number));
        differences.extend(new.map(|number| format!("{name}: {number}: not expected")));
    }
    differences
}

#[test]
fn results_change_with_the_evaluation_version_only() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/versions.json");
    let golden: Golden = match fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text).unwrap(),
        Err(_) => Golden {
            evaluation_version: 0,
            results: BTreeMap::new(),
        },
    };
    let found = results();
    let differences = if golden.evaluation_version == EVALUATION_VERSION {
        differences(&found, &golden.results)
    } else {
        Vec::new()
    };
    let first: Vec<_> = differences.iter().take(20).collect();
    assert!(
        differences.is_empty(),
        "{} results are others than those of version {EVALUATION_VERSION}: {first:#?}\nIf that is meant, \
         raise EVALUATION_VERSION in probe/src/version.rs, so that recorded runs are evaluated \
         again, say so in CHANGELOG.md, and run this test with {WRITE}=1.",
        differences.len(),
    );
    if std::env::var_os(WRITE).is_some() {
        let golden = Golden {
            evaluation_version: EVALUATION_VERSION,
            results: found,
        };
        let text = serde_json::to_string_pretty(&golden).unwrap();
        return fs::write(&path, text + "\n").unwrap();
    }
    assert!(
        golden.evaluation_version == EVALUATION_VERSION && golden.results.keys().eq(found.keys()),
        "golden/versions.json lacks results of version {EVALUATION_VERSION}: run this test with {WRITE}=1"
    );
}
