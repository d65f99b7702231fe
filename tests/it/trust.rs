//! `probe trust` on caches with planted signals, and on one without.

use std::fs;
use std::path::Path;

use cache::{CacheMeta, CacheWriter, SliceMeta, Split, TokenBatch};
use ndarray::Array2;
use serde_json::Value;

use crate::lab::{Lab, Run, program};

/// Samples of a cache, two of each patient; the first 80 are `train`, the others `test`.
const SAMPLES: usize = 120;

/// What the tokens know.
#[derive(Clone, Copy, Default)]
struct Plan {
    /// Of the site, which is that of every other patient.
    site: f32,
    /// Of the patient.
    patient: f32,
    /// Whether the last three samples of `test` are nearly the first three of `train`.
    duplicates: bool,
    /// A shift of all tokens.
    shift: f32,
    /// Another cache has other noise.
    seed: u32,
}

fn site(sample: usize) -> usize {
    sample / 2 % 2
}

/// A number in `[-1, 1)` that follows from its arguments.
fn noise(seed: u32, row: usize, column: usize) -> f32 {
    let mut state =
        seed ^ (row as u32).wrapping_mul(2_654_435_761) ^ (column as u32).wrapping_mul(40_503);
    for _ in 0..3 {
        state = (state ^ (state >> 16)).wrapping_mul(0x045d_9f3b);
    }
    (state >> 8) as f32 / (1 << 23) as f32 - 1.0
}

impl Plan {
    fn token(&self, row: usize, column: usize) -> f32 {
        let from = match row {
            117.. if self.duplicates => row - 117,
            _ => row,
        };
        let small = if from == row {
            0.0
        } else {
            0.001 * noise(9, row, column)
        };
        let of_patient = self.patient * noise(77, from / 2, column);
        let of_site = if column == 0 {
            self.site * site(from) as f32
        } else {
            0.0
        };
        noise(self.seed, from, column) + of_patient + of_site + self.shift + small
    }

    fn write(&self, lab: &Lab, dataset: &str, has_patients: bool) {
        let slice = |row: usize| SliceMeta {
            patient: has_patients.then(|| format!("p{}", row / 2)),
            split: Some(if row < 80 { Split::Train } else { Split::Test }),
            height: 28 + 4 * site(row) as u32,
            ..tests::slice(&format!("s{row:03}"))
        };
        let meta = CacheMeta {
            dataset: dataset.into(),
            samples: SAMPLES as u64,
            width: 16,
            ..tests::meta()
        };
        let mut writer =
            CacheWriter::open(&lab.path(&format!("cache/{dataset}/tiny@28")), meta).unwrap();
        let tokens = Array2::from_shape_fn((SAMPLES, 16), |(row, column)| self.token(row, column));
        let batch = TokenBatch {
            slices: (0..SAMPLES).map(slice).collect(),
            cls: vec![tokens.clone()],
            mean: vec![tokens],
            patch: vec![],
            masks: vec![],
            pictures: vec![],
        };
        writer.append(&batch).unwrap();
        writer.finish().unwrap();
    }
}

/// Adds the label set `site` to a cache.
fn add_sites(lab: &Lab, dataset: &str) {
    let mut csv = String::from("sample,label\n");
    for sample in 0..SAMPLES {
        csv += &format!("s{sample:03},<b>site {}</b>\n", site(sample));
    }
    let table = lab.write("sites.csv", csv);
    let mut relabel = program("extract");
    relabel.args([
        "relabel",
        &format!("{dataset}/tiny@28"),
        "--name",
        "site",
        "--labels",
    ]);
    Run::of(relabel.arg(table).arg("--cache").arg(lab.path("cache"))).expect(0);
}

fn trust(lab: &Lab, words: &[&str]) -> Run {
    lab.probe_with("trust", &[words, &["--permutations", "99"]].concat())
}

fn records(runs: &Path) -> Vec<Value> {
    let text = fs::read_to_string(runs.join("trust.jsonl")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The record with this setting.
#[track_caller]
fn record<'a>(records: &'a [Value], setting: &str) -> &'a Value {
    let found = records.iter().find(|record| record["setting"] == setting);
    found.unwrap_or_else(|| panic!("no `{setting}` in {records:#?}"))
}

fn number(record: &Value, measure: &str) -> f64 {
    record["metrics"][measure]
        .as_f64()
        .unwrap_or_else(|| panic!("no {measure} in {record:#}"))
}

#[test]
fn planted_sites_patients_and_duplicates_are_found() {
    let lab = Lab::new();
    let plan = Plan {
        site: 5.0,
        patient: 2.0,
        duplicates: true,
        ..Plan::default()
    };
    plan.write(&lab, "planted", true);
    add_sites(&lab, "planted");
    let run = trust(&lab, &[]).expect(0);
    let records = records(&lab.path("runs"));
    for column in ["column site", "column size"] {
        let found = record(&records, column);
        assert!(number(found, "auroc_macro") > 0.95, "{found:#}");
        assert!(number(found, "balanced_accuracy") > 0.85);
        assert_eq!(number(found, "p"), 0.01);
        assert_eq!(found["params"]["permuted"], "patients");
        let [low, high] = [0, 1].map(|end| found["ci"]["auroc_macro"][end].as_f64().unwrap());
        assert!(low <= number(found, "auroc_macro") && number(found, "auroc_macro") <= high);
    }
    assert_eq!(
        record(&records, "column site")["params"]["classes"][0],
        "<b>site 0</b>"
    );
    let patients = record(&records, "patients");
    assert!(
        number(patients, "rank1") > 0.8 && number(patients, "p") == 0.01,
        "{patients:#}"
    );
    assert!((number(patients, "chance_rank1") - 1.0 / 119.0).abs() < 1e-9);
    let duplicates = record(&records, "duplicates");
    assert_eq!(number(duplicates, "duplicates"), 3.0);
    let pair = &duplicates["params"]["pairs"][0];
    assert_eq!(pair["first"]["split"], "test");
    assert_eq!(pair["second"]["split"], "train");
    // Long cells are wrapped.
    let words: Vec<&str> = run.stdout.split_whitespace().collect();
    let text = words.join(" ");
    for word in [
        "site",
        "size",
        "patients",
        "duplicates",
        "s117",
        "no values of `spacing`",
    ] {
        assert!(text.contains(word), "no {word} in {}", run.stdout);
    }
    assert!(
        run.stdout.lines().all(|line| line.chars().count() <= 80),
        "{}",
        run.stdout
    );
}

#[test]
fn nothing_is_found_where_nothing_is() {
    let lab = Lab::new();
    Plan::default().write(&lab, "null", true);
    Plan {
        seed: 5,
        ..Plan::default()
    }
    .write(&lab, "same", true);
    trust(&lab, &["--dataset", "null", "--against", "same"]).expect(0);
    let records = records(&lab.path("runs"));
    let size = record(&records, "column size");
    assert!(
        (number(size, "auroc_macro") - 0.5).abs() < 0.2 && number(size, "p") > 0.05,
        "{size:#}"
    );
    let patients = record(&records, "patients");
    assert!(
        number(patients, "rank1") < 0.05 && number(patients, "p") > 0.05,
        "{patients:#}"
    );
    assert_eq!(number(record(&records, "duplicates"), "duplicates"), 0.0);
    let drift = record(&records, "drift to same/tiny@28");
    assert!(
        number(drift, "p") > 0.05 && number(drift, "p_energy") > 0.05,
        "{drift:#}"
    );
    assert!(
        (number(drift, "auroc_macro") - 0.5).abs() < 0.15,
        "{drift:#}"
    );
}

#[test]
fn a_shifted_cache_drifts() {
    let lab = Lab::new();
    Plan::default().write(&lab, "a", true);
    Plan {
        seed: 5,
        shift: 0.4,
        ..Plan::default()
    }
    .write(&lab, "b", true);
    let run = trust(&lab, &["--against", "b", "--dataset", "a"]).expect(0);
    let found = records(&lab.path("runs"));
    let drift = record(&found, "drift to b/tiny@28");
    assert!(
        number(drift, "auroc_macro") > 0.9 && number(drift, "p") == 0.01,
        "{drift:#}"
    );
    assert_eq!(number(drift, "p_energy"), 0.01);
    assert!(run.stdout.contains("drift to b"), "{}", run.stdout);
    let again = trust(&lab, &["--against", "b", "--dataset", "a"]).expect(0);
    assert!(
        again.stderr.contains("is recorded already"),
        "{}",
        again.stderr
    );
    assert_eq!(records(&lab.path("runs")).len(), found.len());
}

#[test]
fn answers_do_not_depend_on_the_number_of_threads() {
    let lab = Lab::new();
    Plan {
        site: 1.0,
        patient: 1.0,
        ..Plan::default()
    }
    .write(&lab, "a", true);
    let measures = |threads: &str, runs: &str| {
        let mut command = program("probe");
        command.args([
            "trust",
            "--permutations",
            "20",
            "--threads",
            threads,
            "--cache",
        ]);
        command
            .arg(lab.path("cache"))
            .arg("--runs")
            .arg(lab.path(runs));
        Run::of(&mut command).expect(0);
        let all = records(&lab.path(runs)).into_iter();
        all.map(|record| (record["metrics"].clone(), record["ci"].clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(measures("1", "one"), measures("4", "four"));
}

#[test]
fn what_a_cache_lacks_is_said() {
    let lab = Lab::new();
    Plan::default().write(&lab, "a", false);
    let words = ["--columns", "site,orientation", "--format"];
    let print = |format: &str| {
        trust(&lab, &[&words[..], &[format]].concat())
            .expect(0)
            .stdout
    };
    let reasons = [
        "the cache has no column `site`",
        "no values of `orientation`",
        "names no patients",
    ];
    // A row for each question, with the reason.
    let csv = print("csv");
    assert!(csv.lines().next().unwrap().ends_with(",reason"), "{csv}");
    for reason in reasons {
        assert!(csv.contains(reason), "no `{reason}` in {csv}");
    }
    let markdown = print("markdown").replace("\\`", "`");
    for reason in reasons {
        let rows = markdown.lines().filter(|line| line.contains(reason));
        assert_eq!(
            rows.filter(|line| line.starts_with("| ")).count(),
            1,
            "{markdown}"
        );
    }
    let scale = markdown
        .lines()
        .filter(|line| line.starts_with("For scale"));
    assert_eq!(
        scale
            .filter(|line| line.ends_with("(docs/trust.md)"))
            .count(),
        1,
        "{markdown}"
    );
    // In a terminal, long reasons wrap within their cells.
    let text = print("text");
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
    assert!(text.contains("none: the cache has no"), "{text}");
    assert!(text.lines().next().unwrap().ends_with("samples"), "{text}");
    let records = records(&lab.path("runs"));
    let site = record(&records, "column site");
    assert!(site["metrics"].as_object().unwrap().is_empty());
    assert!(
        site["params"]["why"]
            .as_str()
            .unwrap()
            .contains("`extract relabel a/tiny@28 --name site ")
    );
}

#[test]
fn tokens_of_another_backbone_are_not_compared() {
    let lab = Lab::new();
    Plan::default().write(&lab, "a", true);
    let run = trust(&lab, &["--against", "nothing"]);
    run.expect_error(2, &["nothing/tiny@28"]);
    let other = lab.path("cache/b/other@28");
    let meta = CacheMeta {
        dataset: "b".into(),
        samples: 1,
        ..tests::meta()
    };
    let meta = CacheMeta {
        model: cache::ModelMeta {
            name: "other".into(),
            sha256: "1".repeat(64),
            ..meta.model
        },
        ..meta
    };
    let mut writer = CacheWriter::open(&other, meta).unwrap();
    let tokens = Array2::ones((1, 1));
    let batch = TokenBatch {
        slices: vec![tests::slice("s")],
        cls: vec![tokens.clone()],
        mean: vec![tokens],
        patch: vec![],
        masks: vec![],
        pictures: vec![],
    };
    writer.append(&batch).unwrap();
    writer.finish().unwrap();
    let run = trust(&lab, &["--dataset", "a", "--against", "b/other@28"]);
    run.expect_error(2, &["another backbone or input size", "--against"]);
}
