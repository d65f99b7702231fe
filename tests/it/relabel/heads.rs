//! Labels of the training of heads.

use super::{by_table, flipped, records};
use crate::lab::{Lab, Run, program};

#[test]
fn a_head_is_measured_on_the_labels_that_it_was_trained_on() {
    let lab = Lab::new();
    lab.extract("manifest", &lab.manifest(24), &[]).expect(0);
    by_table(&lab, "flipped", &flipped(&lab, 24), &[]).expect(0);
    let probe = |words: &[&str]| {
        let mut command = program("probe");
        command.args(words).arg("--cache").arg(lab.path("cache"));
        Run::of(command.arg("--runs").arg(lab.path("runs"))).expect(0)
    };
    let run = probe(&["knn", "--k", "3"]);
    let told = "labels of the extraction; `--labels` names others: flipped";
    assert!(run.stderr.contains(told), "{run:?}");
    let run = probe(&["linear", "--epochs", "2", "--labels", "flipped"]);
    assert!(!run.stderr.contains("--labels"), "{run:?}");
    let trained = &records(&lab, "linear")[0];
    let head = lab.path("runs").join(trained["head"].as_str().unwrap());
    let run = probe(&["predict", "--head", head.to_str().unwrap()]);
    let told = "labels `flipped`, as in the training of the head";
    assert!(run.stderr.contains(told), "{run:?}");
    let head = head.to_str().unwrap();
    probe(&["predict", "--head", head, "--labels", "original"]);
    let applied = records(&lab, "predict");
    assert_eq!(applied[0]["labels_name"], "flipped");
    assert_eq!(
        applied[0]["metrics"]["accuracy"],
        trained["metrics"]["accuracy"]
    );
    assert!(applied[1].get("labels_name").is_none(), "{}", applied[1]);
}
