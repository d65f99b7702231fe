//! Warnings about intervals of fewer than six patients.

use std::fs;

use serde_json::Value;

use crate::lab::{Lab, Run};
use crate::segment::{QUICK, volumes};

const FEW: &str = "evaluated: the interval claims more than they can tell";

/// Warnings about few patients of the records of a command.
fn warnings(lab: &Lab, probe: &str, more: &[&str]) -> Vec<String> {
    let run = lab.probe_with(probe, &[more, &["--format", "json"]].concat());
    let run = run.expect(0);
    let records = run.stdout.lines();
    let records = records.map(|line| serde_json::from_str::<Value>(line).unwrap());
    let texts = records.flat_map(|record| match &record["warnings"] {
        Value::Array(texts) => texts.clone(),
        _ => Vec::new(),
    });
    let texts = texts.map(|text| text.as_str().unwrap().to_owned());
    texts.filter(|text| text.ends_with(FEW)).collect()
}

#[test]
fn every_command_with_intervals_warns_of_few_patients() {
    let lab = Lab::new();
    lab.extract("manifest", &lab.manifest(12), &[]).expect(0);
    let quick = ["--lr", "0.1", "--epochs", "1"];
    let four = [format!("4 patients {FEW}")];
    assert_eq!(warnings(&lab, "linear", &quick), four);
    assert_eq!(warnings(&lab, "predict", &["--head", "latest"]), four);
    assert_eq!(warnings(&lab, "retrieve", &["--k", "1"]), four);
    for probe in ["linear", "predict"] {
        let words = match probe {
            "predict" => &["--head", "latest", "--bootstrap", "0"][..],
            _ => &["--lr", "0.1", "--epochs", "1", "--bootstrap", "0"],
        };
        assert_eq!(warnings(&lab, probe, words), [""; 0], "{probe}");
    }
}

#[test]
fn decoders_warn_of_few_patients_where_they_have_intervals() {
    let lab = Lab::new();
    volumes(&lab, &[]).expect(0);
    let of = |more: &[&str]| warnings(&lab, "segment", &[&QUICK[..6], more].concat());
    let three = [format!("3 patients {FEW}")];
    assert_eq!(of(&[]), three);
    assert_eq!(of(&["--protocol", "paper"]), [""; 0]);
    assert_eq!(of(&["--shots", "2", "--repeats", "2"]), [""; 0]);
    assert_eq!(of(&["--bootstrap", "0"]), [""; 0]);
    let head = ["--head", "latest", "--eval", "test"];
    assert_eq!(warnings(&lab, "predict", &head), three);
}

#[test]
fn folds_together_are_warned_of_by_their_own_patients() {
    let lab = Lab::new();
    lab.extract("manifest", &lab.manifest(12), &[]).expect(0);
    for fold in 0..3 {
        let (rule, name) = (format!("kfold:3:{fold}"), format!("fold{fold}"));
        let options = ["--rule", rule.as_str(), "--name", name.as_str()];
        Run::of(lab.split("images").args(options)).expect(0);
    }
    let toml = "models = [\"tiny-vit\"]\ndatasets = [\"images\"]\n[folds]\nimages = 3\n[[probe]]\nname = \"knn\"\nk = 1\n";
    crate::study::study(&lab, toml, "runs", &[]).expect(0);
    let records = fs::read_to_string(lab.path("runs/knn.jsonl")).unwrap();
    let has_warning: Vec<bool> = records.lines().map(|line| line.contains(FEW)).collect();
    assert_eq!(has_warning, [true, true, true, false], "{records}");
}
