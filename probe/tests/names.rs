//! Names out of caches: what `probe` prints and says stays on its lines and without effect on a
//! terminal.
#![allow(clippy::unwrap_used)]

mod caches;

use std::fs;
use std::path::{Path, PathBuf};

use cache::{CacheMeta, Labels, SliceMeta};
use clap::Parser;
use common::text::Printable;
use probe::cli::Cli;
use serde_json::Value;

/// A name that clears the screen, turns text around and begins a line.
fn evil(what: &str) -> String {
    format!("{what}\u{1b}[2J\u{202e}\u{9b}31m\r\nFORGED | {what}")
}

/// A cache of a dataset of [`caches`] by two backbones, in which all names are evil.
fn write(root: &Path, dataset: &str) {
    for (seed, model) in (1..).zip(["tiny", "other"]) {
        let change = |meta: &mut CacheMeta| {
            meta.dataset = evil(dataset);
            meta.model.name = evil(model);
            meta.classes.iter_mut().for_each(|name| *name = evil(name));
            let named = meta.mask_classes.iter_mut();
            named.for_each(|class| class.name = evil(&class.name));
        };
        let change_slice = |slice: &mut SliceMeta| {
            slice.sample = evil(&slice.sample);
            slice.image = evil(&slice.image);
            slice.patient = slice.patient.as_deref().map(evil);
        };
        let folder = format!("{}@32", evil(model));
        let dir = root.join("cache").join(evil(dataset)).join(folder);
        caches::write_as(&dir, dataset, model, seed, change, change_slice);
    }
}

/// Everything that a command printed, as on a terminal.
#[derive(Default)]
struct Shown(Vec<u8>);

impl Shown {
    fn run(&mut self, root: &Path, words: &[&str]) -> Result<String, String> {
        let [cache, runs] = ["cache", "runs"].map(|name| root.join(name).display().to_string());
        let mut line = [&["probe"], words].concat();
        if words[0] != "compare" {
            line.extend(["--cache", &cache]);
        }
        line.extend(["--runs", &runs]);
        let (mut out, mut messages) = (Printable(Vec::new()), Printable(Vec::new()));
        let outcome = probe::run(Cli::try_parse_from(line).unwrap(), &mut out, &mut messages);
        self.0.extend(&out.0);
        self.0.extend(&messages.0);
        match outcome {
            Ok(_) => Ok(String::from_utf8(out.0).unwrap()),
            Err(error) => {
                use std::io::Write;
                writeln!(Printable(&mut self.0), "error: {error}").unwrap();
                Err(error.to_string())
            }
        }
    }

    #[track_caller]
    fn check(self) -> String {
        let text = String::from_utf8(self.0).unwrap();
        let is_unsafe = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
        assert!(!text.contains(is_unsafe), "{text}");
        let forged = text
            .lines()
            .find(|line| line.trim_start().starts_with("FORGED"));
        assert_eq!(forged, None, "{text}");
        text
    }
}

fn heads(root: &Path, probe: &str) -> Vec<PathBuf> {
    let text = fs::read_to_string(root.join(format!("runs/{probe}.jsonl"))).unwrap();
    let records = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let heads = records.filter_map(|record| Some(root.join("runs").join(record["head"].as_str()?)));
    heads.collect()
}

#[test]
fn names_in_tables_records_and_warnings_of_all_commands_stay_on_their_line() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    for dataset in ["three", "multi", "masks"] {
        write(root, dataset);
    }
    let quick = ["--epochs", "1", "--lr", "0.1"];
    let few = ["few-shot", "--head", "centroid", "--shots", "2,all"];
    let mut commands = vec![
        vec![
            "knn",
            "--k",
            "3,5",
            "--per-class",
            "--protocol",
            "paper,strict",
        ],
        [&["linear", "--blocks", "1"], &quick[..]].concat(),
        vec!["logreg", "--C", "1,1e5"],
        few.to_vec(),
        [&["segment"], &quick[..]].concat(),
        // Whole names, which narrower tables wrap.
        vec!["compare", "--wide"],
    ];
    let json: Vec<_> = commands
        .iter()
        .map(|words| [&words[..], &["--format", "json"]].concat())
        .collect();
    commands.extend(json);
    for words in commands {
        let words: Vec<&str> = if words.contains(&"json") {
            words
                .into_iter()
                .filter(|word| !["--per-class", "--wide"].contains(word))
                .collect()
        } else {
            words
        };
        let mut shown = Shown::default();
        let out = shown.run(root, &words).unwrap();
        let text = shown.check();
        assert!(text.contains("\\nFORGED | "), "{words:?}: {text}");
        if words.contains(&"json") {
            assert!(out.lines().count() > 1, "{words:?}");
            for line in out.lines() {
                let record: Value = serde_json::from_str(line).unwrap();
                let dataset = record["dataset"].as_str().unwrap();
                assert!(dataset.contains("\r\nFORGED | "), "{line}");
            }
        }
    }
    for probe in ["linear", "segment"] {
        let head = heads(root, probe)[0].display().to_string();
        for eval in ["all", "test"] {
            let mut shown = Shown::default();
            let out = shown
                .run(root, &["predict", "--head", &head, "--eval", eval])
                .unwrap();
            assert!(out.contains("\\nFORGED | "), "{out}");
            shown.check();
        }
    }
    let maps = walk(&root.join("runs/label_maps")).into_iter();
    let maps: Vec<PathBuf> = maps.filter(|path| path.is_file()).collect();
    assert!(!maps.is_empty());
    for path in maps {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(!name.contains(char::is_control), "{name:?}");
    }
}

/// All that is below a folder.
fn walk(folder: &Path) -> Vec<PathBuf> {
    let below = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    below
        .flat_map(|path| {
            if path.is_dir() {
                walk(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

#[test]
fn names_in_errors_stay_on_their_line() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    for dataset in ["three", "multi", "masks"] {
        write(root, dataset);
    }
    let one_class = |slice: &mut SliceMeta| slice.labels = Labels::Single(Some(0));
    let named = |meta: &mut CacheMeta| meta.classes.iter_mut().for_each(|name| *name = evil(name));
    let torn = |slice: &mut SliceMeta| {
        slice.sample = evil(&slice.sample);
        slice.labels = Labels::Single(Some(slice.slice));
    };
    let path = |name: &str| root.join("cache").join(evil(name)).join("tiny@32");
    caches::write_as(&path("one class"), "three", "tiny", 1, named, one_class);
    caches::write_as(&path("torn"), "three", "tiny", 1, named, torn);
    let damaged = path("damaged");
    fs::create_dir_all(&damaged).unwrap();
    fs::write(damaged.join("meta.json"), "{}").unwrap();
    // One that can be measured.
    caches::write(&root.join("cache"), "two", "tiny", 1);
    let mut shown = Shown::default();
    for words in [
        &["knn", "--k", "3", "--unit", "volume"][..],
        &["knn", "--k", "3000"],
        &["knn", "--k", "3", "--exclude-self"],
        &[
            "linear", "--select", "accuracy", "--epochs", "1", "--blocks", "1",
        ],
        &["linear", "--blocks", "9"],
        &["knn", "--split", "none"],
        &["segment", "--epochs", "1"],
        &["knn", "--dataset", "none"],
        &["knn", "--model", "none"],
        &["compare", "--dataset", "none"],
        &["compare", "--model", "none"],
        &["compare"],
    ] {
        let _ = shown.run(root, words);
    }
    let text = shown.check();
    for words in [
        "of different classes",
        "all training examples are of the class",
        "exceeds the",
        "`--exclude-self` has no effect",
        "accuracy needs exclusive classes",
        "no layer 9",
        "no split `none`",
        "not a cache description",
        "no dataset `none`",
        "no model `none`",
    ] {
        assert!(text.contains(words), "no `{words}` in {text}");
    }
}
