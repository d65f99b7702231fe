//! What a cache says of its own making: to any reader of Parquet, and to people.

use std::fs;
use std::path::Path;
use std::process::Command;

use cache::{CacheMeta, CacheReader, History, ShardSources};
use serde_json::{Value, json};

use crate::lab::{Lab, Run, program, project, snapshot};

const SMALL: [&str; 4] = ["--batch-size", "2", "--shard-rows", "4"];

/// Prints the provenance of each Parquet file below a folder as pyarrow reads it, and that of one as DuckDB does.
const READ: &str = "
import json, sys
from pathlib import Path
import duckdb
import pyarrow.parquet as pq

cache = Path(sys.argv[1])
for path in sorted(cache.rglob('*.parquet')):
    pairs = pq.read_metadata(path).metadata
    made = pairs.get(b'slicebank')
    print(json.dumps([str(path.relative_to(cache)), made and json.loads(made)]))
file = cache / 'cls/00000.parquet'
query = f\"SELECT decode(value) FROM parquet_kv_metadata('{file}') WHERE decode(key) = 'slicebank'\"
print(json.dumps(['duckdb', json.loads(duckdb.sql(query).fetchall()[0][0])]))
";

fn provenance(cache: &Path) -> Vec<(String, Value)> {
    let mut python = Command::new(project().join(".venv-test/bin/python"));
    let run = Run::of(python.args(["-c", READ]).arg(cache)).expect(0);
    let lines = run.stdout.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn show(lab: &Lab, more: &[&str]) -> String {
    let mut command = program("extract");
    command.args(["show", "images/tiny-vit@56"]).args(more);
    command.arg("--cache").arg(lab.path("cache"));
    Run::of(&mut command).expect(0).stdout
}

fn over(lab: &Lab, words: &[&str]) -> Run {
    let mut command = program("extract");
    Run::of(command.args(words).arg("--cache").arg(lab.path("cache")))
}

#[test]
fn pyarrow_and_duckdb_read_how_each_file_was_made() {
    let lab = Lab::new();
    let table = lab.manifest(9);
    let int8 = [
        "--precision",
        "int8",
        "--parity-bound",
        "0.5",
        "--tokens",
        "all",
    ];
    let words = [&SMALL[..], &int8].concat();
    lab.extract("manifest", &table, &words).expect(0);
    let labels = lab.write("labels.csv", fs::read_to_string(&table).unwrap());
    let words = [
        "relabel",
        "images/tiny-vit@56",
        "--name",
        "again",
        "--labels",
    ];
    over(&lab, &[&words[..], &[labels.to_str().unwrap()]].concat()).expect(0);
    let text = fs::read_to_string(lab.cache().join("meta.json")).unwrap();
    let meta: Value = serde_json::from_str(&text).unwrap();
    let mut expected = json!({});
    for key in [
        "tool_version",
        "onnxruntime_version",
        "dataset",
        "model",
        "image_size",
        "preprocess",
        "provider",
        "precision",
        "parity",
    ] {
        assert!(!meta[key].is_null(), "{key}");
        expected[key] = meta[key].clone();
    }
    let found = provenance(&lab.cache());
    // Four tables and `sources`, and those of the label set.
    assert!(found.len() > 3 * 5 + 3, "{found:?}");
    for (file, made) in found {
        assert_eq!(made, expected, "{file}");
    }
}

#[test]
fn sessions_of_a_stopped_run_and_of_parts_are_in_the_history() {
    let lab = Lab::new();
    let table = lab.manifest(12);
    let parts = |part| [&SMALL[..], &["--shard", part]].concat();
    lab.extract("manifest", &table, &parts("2/2")).expect(0);
    lab.extract("manifest", &table, &parts("1/2")).expect(0);
    let sessions = History::read(&lab.cache()).unwrap().sessions;
    let told = sessions
        .iter()
        .map(|of| (&*of.action, of.part.as_deref(), of.rows));
    let expected = [
        ("extract", Some("1/2"), 6),
        ("extract", Some("2/2"), 6),
        ("merge", None, 12),
    ];
    assert_eq!(told.collect::<Vec<_>>(), expected);
    assert!(
        sessions
            .iter()
            .all(|of| of.started <= of.saved && of.started.ends_with('Z'))
    );

    // Patch tokens are added, and a shard is repaired.
    lab.extract("manifest", &table, &["--tokens", "all"])
        .expect(0);
    let before = snapshot(&lab.cache());
    fs::write(lab.cache().join("mean/00001.parquet"), "").unwrap();
    let root = table.to_str().unwrap();
    let words = [
        "verify",
        "--repair",
        "--dataset",
        "manifest",
        "--root",
        root,
    ];
    over(&lab, &words).expect(0);
    assert!(snapshot(&lab.cache()) == before);
    let shown = show(&lab, &[]);
    for words in [
        "Z extract part 1/2, 6 slices in ",
        "Z merge, 12 slices in ",
        "Z extend, 12 slices in ",
        "Z repair, ",
        ", cpu, fp32",
    ] {
        assert!(shown.contains(words), "no `{words}` in {shown}");
    }
    let shown: Value = serde_json::from_str(&show(&lab, &["--format", "json"])).unwrap();
    assert_eq!(shown["history"].as_array().unwrap().len(), 5);

    // Nothing but `show` depends on it.
    let file = lab.cache().join("history.json");
    let text = fs::read_to_string(&file)
        .unwrap()
        .replacen("extend", "extant", 1);
    fs::write(&file, text).unwrap();
    let run = over(&lab, &["verify"]).expect(1);
    assert!(run.stdout.contains("history.json"), "{run:?}");
    lab.probe(&["--k", "3"]).expect(0);
    over(&lab, &["show", "images/tiny-vit@56"]).expect_error(2, &["history.json", "delete it"]);
    fs::remove_file(&file).unwrap();
    over(&lab, &["verify"]).expect(0);
}

#[test]
fn added_tables_say_what_made_them_and_are_repaired_to_the_same_bytes() {
    let lab = Lab::new();
    let table = lab.manifest(10);
    let int8 = [
        &SMALL[..],
        &["--precision", "int8", "--parity-bound", "0.5"],
    ]
    .concat();
    let with = |more: &[&str]| lab.extract("manifest", &table, &[&int8[..], more].concat());
    with(&["--parity-slices", "2"]).expect(0);
    with(&["--tokens", "all", "--parity-slices", "3"]).expect(0);
    let meta = CacheMeta::read(&lab.cache()).unwrap();
    let added = meta.added.unwrap();
    assert_eq!(added.tables, ["patch"]);
    let slices = |of: &Option<Value>| of.as_ref().unwrap()["slices"].clone();
    assert_eq!([slices(&meta.parity), slices(&added.parity)], [2, 3]);
    for (file, made) in provenance(&lab.cache()) {
        let expected = if file.starts_with("patch") { 3 } else { 2 };
        assert_eq!(made["parity"]["slices"], expected, "{file}");
    }
    let before = snapshot(&lab.cache());
    for file in ["cls/00001.parquet", "patch/00000.parquet"] {
        fs::write(lab.cache().join(file), "").unwrap();
    }
    let root = table.to_str().unwrap();
    let words = [
        "verify",
        "--repair",
        "--dataset",
        "manifest",
        "--root",
        root,
    ];
    over(&lab, &words).expect(0);
    assert!(snapshot(&lab.cache()) == before);
}

/// Everything in the cache that is text, or in a table of text.
fn words(cache: &Path) -> String {
    let reader = CacheReader::open(cache).unwrap();
    let mut text = String::new();
    for (path, bytes) in snapshot(cache) {
        text += &format!("{} {}\n", path.display(), String::from_utf8_lossy(&bytes));
    }
    for row in reader.slices().unwrap() {
        text += &format!("{row:?}\n");
    }
    for shard in ShardSources::all(cache, reader.meta()) {
        text += &format!("{:?}\n", shard.unwrap().files);
    }
    text + &fs::read_to_string(cache.join("history.json")).unwrap()
}

#[test]
fn hosts_users_and_absolute_paths_are_in_a_cache_only_if_asked_for() {
    let lab = Lab::new();
    let table = lab.manifest(9);
    lab.write("images/0002.png", "no image");
    lab.write("images/0003.png", "");
    let rows = (0..9).map(|k| format!("images/{k:04}.png,{}\n", ["train", "test"][k % 2]));
    let split = "image,split\n".to_owned() + &rows.collect::<String>();
    let rule = format!("file:{}", lab.write("splits.csv", split).display());
    let extract = |more: &[&str]| {
        let mut command = lab.extract_command("manifest", &table);
        command
            .env("USER", "user-of-the-lab")
            .args(["--split", &rule]);
        Run::of(command.args(more)).expect(1)
    };
    extract(&[]);
    over(
        &lab,
        &[
            "split",
            "--dataset",
            "images",
            "--name",
            "mine",
            "--rule",
            &rule,
        ],
    )
    .expect(0);
    let labels = [
        "relabel",
        "images/tiny-vit@56",
        "--name",
        "again",
        "--labels",
    ];
    over(&lab, &[&labels[..], &[table.to_str().unwrap()]].concat()).expect(0);
    let folder = lab
        .path("")
        .to_string_lossy()
        .trim_end_matches('/')
        .to_owned();
    let names = [&*common::process::host(), "user-of-the-lab", &folder];
    let text = words(&lab.cache());
    for name in names {
        assert!(!text.contains(name), "`{name}` in {text}");
    }
    fs::remove_dir_all(lab.cache()).unwrap();
    extract(&["--record-host"]);
    let text = fs::read_to_string(lab.cache().join("history.json")).unwrap();
    for name in names {
        assert!(text.contains(name), "no `{name}` in {text}");
    }
    let shown = show(&lab, &[]);
    // Long lines are folded.
    let words: Vec<&str> = shown.split_whitespace().collect();
    assert!(words.join(" ").contains("user user-of-the-lab"), "{shown}");
}
