//! Records of evaluations: what counts as recorded, and what is compared.
#![allow(clippy::unwrap_used)]

mod caches;

use std::fs;
use std::path::PathBuf;

use clap::Parser;
use probe::cli::{Cli, Outcome};
use probe::evaluate::EVALUATION_VERSION;
use serde_json::Value;

struct Lab(tempfile::TempDir);

/// The output of a command.
struct Ran {
    outcome: Outcome,
    records: Vec<Value>,
    messages: String,
}

impl Lab {
    /// The cache of a dataset by each of some backbones.
    fn new(dataset: &str, models: &[&str]) -> Lab {
        let lab = Lab(tempfile::tempdir().unwrap());
        for (seed, model) in (1..).zip(models) {
            caches::write(&lab.path("cache"), dataset, model, seed);
        }
        lab
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn try_run(&self, command: &str) -> anyhow::Result<Ran> {
        let mut line = vec!["probe".to_owned()];
        line.extend(command.split_whitespace().map(Into::into));
        if !command.starts_with("compare") {
            line.extend(["--cache".into(), self.path("cache").display().to_string()]);
        }
        line.extend(["--runs".into(), self.path("runs").display().to_string()]);
        line.extend(["--format", "json"].map(Into::into));
        if !command.starts_with("few-shot") {
            line.extend(["--bootstrap", "20"].map(Into::into));
        }
        let (mut out, mut messages) = (Vec::new(), Vec::new());
        let outcome = probe::run(Cli::parse_from(&line), &mut out, &mut messages)?;
        let lines = String::from_utf8(out).unwrap();
        let records = lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap());
        Ok(Ran {
            outcome,
            records: records.collect(),
            messages: String::from_utf8(messages).unwrap(),
        })
    }

    fn run(&self, command: &str) -> Ran {
        self.try_run(command).unwrap()
    }

    fn lines(&self, probe: &str) -> Vec<String> {
        let text = fs::read_to_string(self.path(&format!("runs/{probe}.jsonl"))).unwrap();
        text.lines().map(Into::into).collect()
    }
}

fn key(ran: &Ran) -> &str {
    ran.records[0]["key"].as_str().unwrap()
}

#[test]
fn an_evaluation_that_was_interrupted_is_made_again_and_shown_whole() {
    let lab = Lab::new("two", &["tiny"]);
    let command = "knn --k 1,3,5,7";
    let whole = lab.run(command);
    let (lines, file) = (lab.lines("knn"), lab.path("runs/knn.jsonl"));
    let last = lines[3].len() / 2;
    for torn in [
        lines[..2].join("\n") + "\n",
        lines[..3].join("\n") + "\n" + &lines[3][..last],
    ] {
        fs::write(&file, torn).unwrap();
        let again = lab.run(command);
        assert!(
            again.messages.contains("interrupted evaluation"),
            "{}",
            again.messages
        );
        let settings = |ran: &Ran| {
            ran.records
                .iter()
                .map(|r| r["metrics"].clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(settings(&again), settings(&whole));
        assert_eq!(lab.run(command).records, again.records);
    }
}

#[test]
fn records_of_another_evaluation_version_are_evaluated_again() {
    let lab = Lab::new("two", &["tiny"]);
    let first = lab.run("knn --k 3");
    let current = format!("\"evaluation_version\":{EVALUATION_VERSION}");
    let older = lab
        .lines("knn")
        .join("\n")
        .replace(&current, "\"evaluation_version\":1");
    fs::write(lab.path("runs/knn.jsonl"), older).unwrap();
    let again = lab.run("knn --k 3");
    assert!(
        again
            .messages
            .contains("1 record of another evaluation version"),
        "{}",
        again.messages
    );
    assert_ne!(again.records[0]["time"], first.records[0]["time"]);
    assert_eq!(lab.lines("knn").len(), 2);
}

#[test]
fn defaults_are_part_of_a_key_and_equal_settings_are_equal_however_they_are_said() {
    let lab = Lab::new("two", &["tiny"]);
    let run = |words: &str| lab.run(&format!("knn --k 3 {words}"));
    let default = run("");
    for words in [
        "--vote softmax",
        "--vote softmax --temperature 0.07",
        "--unit slice",
        "--pool mean",
    ] {
        let same = run(words);
        // The dataset's unit is `volume`.
        assert_eq!(
            key(&same) == key(&default),
            words != "--unit slice",
            "{words}"
        );
        assert_eq!(
            same.messages.contains("recorded already"),
            words != "--unit slice"
        );
    }
    for words in [
        "--vote majority",
        "--seed 1",
        "--level 0.9",
        "--layer 2",
        "--train train",
        "--protocol paper",
    ] {
        assert_ne!(key(&run(words)), key(&default), "{words}");
    }
    let settings = &default.records[0]["settings"];
    assert_eq!(settings["vote"]["softmax"]["temperature"], 0.07);
    assert_eq!(
        (&settings["unit"], &settings["exclude_self"]),
        (&"volume".into(), &true.into())
    );
}

#[test]
fn a_head_is_known_by_its_content() {
    let lab = Lab::new("two", &["tiny"]);
    let train = |seed: u32| {
        let ran = lab.run(&format!(
            "linear --epochs 1 --blocks 1 --lr 0.1 --seed {seed}"
        ));
        lab.path("runs")
            .join(ran.records[0]["head"].as_str().unwrap())
    };
    let head = lab.path("head.safetensors");
    let apply = || lab.run(&format!("predict --head {}", head.display()));
    fs::copy(train(0), &head).unwrap();
    let first = apply();
    assert!(apply().messages.contains("recorded already"));
    fs::copy(train(1), &head).unwrap();
    let second = apply();
    assert_ne!(key(&first), key(&second));
    assert_ne!(
        first.records[0]["metrics"]["brier"],
        second.records[0]["metrics"]["brier"]
    );
}

#[test]
fn only_what_differs_in_nothing_but_the_backbone_is_compared() {
    let lab = Lab::new("two", &["tiny", "other"]);
    lab.run("knn --k 3,5");
    lab.run("knn --k 3 --model tiny --features mean-patch");
    lab.run("knn --k 3 --model other --layer 2");
    lab.run("few-shot --head centroid --shots 2,all --repeats 2");
    let ran = lab.run("compare");
    assert_eq!(ran.outcome, Outcome::Done);
    let alike = ran
        .records
        .iter()
        .filter(|r| r["first"][1] == r["second"][1]);
    let settings: Vec<_> = alike
        .clone()
        .map(|r| r["first"][1].as_str().unwrap())
        .collect();
    assert_eq!(
        settings,
        ["k=3", "k=5", "centroid shots=2", "centroid shots=all"]
    );
    let knn = lab.lines("knn");
    for (comparison, k) in alike.zip([3, 5]) {
        let recorded = |model: &str| {
            let lines = knn
                .iter()
                .map(|line| serde_json::from_str::<Value>(line).unwrap());
            let mut of = lines.filter(|r| r["model"] == model && r["params"]["k"] == k);
            of.next().unwrap()["metrics"]["auroc_macro"].clone()
        };
        let figures = &comparison["recorded"];
        assert_eq!(
            (&figures[0], &figures[1]),
            (&recorded("other"), &recorded("tiny"))
        );
        assert_eq!(comparison["values"], *figures);
    }
    for reason in [
        "no record of other@32: only one with",
        "no record of tiny@32: only one with",
        "features=cls (not mean-patch)",
    ] {
        assert!(ran.messages.contains(reason), "{reason}: {}", ran.messages);
    }
    let drawn = ran.records.iter().find(|r| r["unit"] == "draw").unwrap();
    assert_eq!(
        (&drawn["units"], &drawn["probe"]),
        (&2.into(), &"few-shot".into())
    );
    assert!(drawn["ci"][0].as_f64() <= drawn["difference"].as_f64());
}

#[test]
fn p_values_are_corrected_for_all_pairs_of_the_table() {
    let lab = Lab::new("two", &["tiny", "other", "third"]);
    lab.run("knn --k 3");
    let ran = lab.run("compare");
    let mut p: Vec<[f64; 2]> = ran
        .records
        .iter()
        .map(|r| ["p", "p_holm"].map(|name| r[name].as_f64().unwrap()))
        .collect();
    p.sort_by(|a, b| a[0].total_cmp(&b[0]));
    assert_eq!(p.len(), 3);
    assert!((p[0][1] - (3.0 * p[0][0]).min(1.0)).abs() < 1e-12, "{p:?}");
    assert!(p.windows(2).all(|pair| pair[0][1] <= pair[1][1]), "{p:?}");
    assert!(
        ran.messages
            .contains("when corrected for 3 tests\nhint: `--bootstrap 1200`"),
        "{}",
        ran.messages
    );
}

#[test]
fn scores_that_are_gone_or_replaced_are_named() {
    let lab = Lab::new("two", &["tiny", "other"]);
    let ran = lab.run("knn --k 3");
    let file = |at: usize| {
        lab.path("runs")
            .join(ran.records[at]["predictions"].as_str().unwrap())
    };
    fs::copy(file(0), file(1)).unwrap();
    let error = lab.try_run("compare").err().unwrap().to_string();
    assert!(error.contains("no scores of two backbones"), "{error}");
    fs::remove_file(file(1)).unwrap();
    lab.run("knn --k 5");
    let ran = lab.run("compare");
    assert!(
        ran.messages.contains(
            "are missing; `probe knn --dataset two --model tiny --image-size 32 --force`"
        ),
        "{}",
        ran.messages
    );
    assert_eq!(ran.records.len(), 1);
}

#[test]
fn an_unknown_name_is_answered_with_what_there_is() {
    let lab = Lab::new("two", &["tiny"]);
    lab.run("knn --k 3");
    for (command, expected) in [
        (
            "compare --model tinny",
            "no model `tinny` (did you mean `tiny`?)\nhint: there is `tiny`",
        ),
        (
            "compare --probe knnn",
            "no probe `knnn` (did you mean `knn`?)",
        ),
        (
            "knn --dataset twoo",
            "no dataset `twoo` (did you mean `two`?); there is `two/tiny@32`",
        ),
    ] {
        let error = lab.try_run(command).err().unwrap().to_string();
        assert!(error.contains(expected), "{command}: {error}");
    }
}

#[test]
fn a_learning_curve_is_recorded_once_or_its_refusal_with_the_reason() {
    let lab = Lab::new("two", &["tiny"]);
    let command = "few-shot --head centroid --shots 1,2 --repeats 2 --curve";
    for _ in 0..2 {
        let ran = lab.run(command);
        let curve = ran.records.last().unwrap();
        assert_eq!(curve["probe"], "curve");
        let refused = curve["params"]["refused"].as_str().unwrap();
        assert!(refused.contains("needs at least 4"), "{refused}");
        assert_eq!(
            curve["params"]["points"][0]["draws"]
                .as_array()
                .unwrap()
                .len(),
            2
        );
        assert_eq!(lab.lines("curve").len(), 1);
    }
    lab.run(&format!("{command} --target 0.8"));
    assert_eq!(lab.lines("curve").len(), 2);
    let shuffled = lab.try_run(&format!("{command} --control shuffled-labels"));
    let error = shuffled.err().unwrap().to_string();
    assert!(
        error.contains("no learning curve") && error.contains("hint:"),
        "{error}"
    );
}

#[test]
fn draws_that_take_all_patients_are_not_tested() {
    let lab = Lab::new("two", &["first", "second"]);
    let options = "--epochs 2 --batch-size 4 --lr 0.1 --blocks 1 --repeats 3";
    lab.run(&format!("few-shot {options} --shots 2,500"));
    let found = lab.run("compare").records;
    let of = |shots: &str| {
        let is_of = |record: &&Value| record["first"][1].as_str().unwrap().ends_with(shots);
        found.iter().find(is_of).unwrap()
    };
    assert!(of("shots=2")["p"].is_number(), "{found:?}");
    let all = of("shots=500");
    assert!(all["difference"].is_number() && all["p"].is_null() && all["ci"].is_null());
    assert!(
        all["method"]
            .as_str()
            .unwrap()
            .contains("the same training patients")
    );
}

#[test]
fn single_folds_are_a_family_of_their_own() {
    let lab = Lab::new("two", &["first", "second"]);
    lab.run("knn --k 1");
    // The same results as those of two folds.
    let file = lab.path("runs/knn.jsonl");
    let mut text = fs::read_to_string(&file).unwrap();
    for line in text.clone().lines() {
        for fold in ["fold0", "fold1"] {
            let mut record: Value = serde_json::from_str(line).unwrap();
            record["split_name"] = fold.into();
            record["settings"]["split_name"] = fold.into();
            record["key"] = format!("{fold}{}", record["key"]).into();
            text += &format!("{record}\n");
        }
    }
    fs::write(&file, text).unwrap();
    let together = lab.run("compare");
    assert!(
        together.messages.contains("4 records of single folds"),
        "{}",
        together.messages
    );
    let p = |record: &Value, name: &str| record[name].as_f64().unwrap();
    assert_eq!(together.records.len(), 1);
    assert_eq!(
        p(&together.records[0], "p"),
        p(&together.records[0], "p_holm")
    );
    let folds = lab.run("compare --folds");
    assert_eq!(folds.records.len(), 2, "{}", folds.messages);
    let corrected = (2.0 * p(&folds.records[0], "p")).min(1.0);
    assert!((p(&folds.records[0], "p_holm") - corrected).abs() < 1e-12);
}
