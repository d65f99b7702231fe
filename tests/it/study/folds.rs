//! Folds that are not pooled or not made.

use std::fs;

use super::study;
use crate::lab::{Lab, Run, program};

fn toml(folds: u32, control: &str) -> String {
    format!(
        "models = [\"tiny-vit\"]\ndatasets = [\"images\"]\n[folds]\nimages = {folds}\n[[probe]]\nname = \"knn\"\nk = 1\nbootstrap = 0\n{control}"
    )
}

/// A cache with the splits of four folds.
fn lab() -> Lab {
    let lab = Lab::new();
    let table = lab.manifest(24);
    lab.extract("manifest", &table, &[]).expect(0);
    for fold in 0..4 {
        let (rule, name) = (format!("kfold:4:{fold}"), format!("fold{fold}"));
        let options = ["--rule", rule.as_str(), "--name", name.as_str()];
        Run::of(lab.split("images").args(options)).expect(0);
    }
    lab
}

#[test]
fn the_listed_commands_replace_splits_of_another_rule_which_extract_leaves() {
    let lab = lab();
    let splits = || {
        let files = fs::read_dir(lab.cache().join("splits")).unwrap();
        let text = |entry: fs::DirEntry| fs::read(entry.path()).unwrap();
        let mut all: Vec<_> = files.map(|file| text(file.unwrap())).collect();
        all.sort();
        all
    };
    let before = splits();
    let run = study(&lab, &toml(3, ""), "runs", &["--extract"]).expect(2);
    let said = "another rule made the splits of their folds";
    assert!(run.stderr.contains(said), "{run:#?}");
    assert!(splits() == before, "{run:#?}");
    let plan = study(&lab, &toml(3, ""), "runs", &["--dry-run"]).expect(0);
    assert_eq!(plan.stdout.matches("cannot run").count(), 3, "{plan:#?}");
    let commands: Vec<&str> = plan
        .stderr
        .lines()
        .filter_map(|line| line.strip_prefix("  extract "))
        .collect();
    assert_eq!(commands.len(), 3, "{plan:#?}");
    for command in commands {
        Run::of(program("extract").args(command.split(' '))).expect(0);
    }
    study(&lab, &toml(3, ""), "runs", &[]).expect(0);
}

#[test]
fn folds_of_a_control_without_scores_name_the_control() {
    let lab = lab();
    let shuffled = "control = \"shuffled-labels\"\npermutations = 2";
    let run = study(&lab, &toml(4, shuffled), "runs", &[]).expect(0);
    let said = "the control `shuffled-labels` has no scores of cases";
    assert!(run.stderr.contains(said), "{run:#?}");
    let run = study(&lab, &toml(4, "control = \"random-features\""), "runs", &[]).expect(0);
    assert!(run.stdout.contains("mean ± sd of folds"), "{run:#?}");
}
