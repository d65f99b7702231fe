//! Fine-tuning of CNNs.

use std::fs;
use std::process::Command;

use serde_json::Value;

use super::{finetune, images, last, number};
use crate::lab::{Lab, Run, program, project, runtime};
use crate::report::data;

const MODEL: &str = "densenet201";

/// A project's folder with the card of a CNN, random weights, and its graph for inputs of 224 pixels.
fn home(lab: &Lab) {
    let card = fs::read(project().join(format!("onnx_models/{MODEL}.toml"))).unwrap();
    let card = lab.write(&format!("home/onnx_models/{MODEL}.toml"), card);
    let mut python = Command::new(project().join(".venv-finetune/bin/python"));
    // The package `onnx` is that of the tests' own Python.
    let packages = fs::read_dir(project().join(".venv-test/lib")).unwrap();
    let packages = packages.flatten().next().unwrap().path();
    let code = "import runpy, site, sys; site.addsitedir(sys.argv.pop(1)); \
                runpy.run_path(sys.argv.pop(1), run_name='__main__')";
    python
        .args(["-c", code])
        .arg(packages.join("site-packages"));
    python.arg(project().join("tests/it/finetune/cnn.py"));
    python.env("PYTHONPATH", project().join("scripts"));
    Run::of(python.arg(card).arg("224")).expect(0);
}

#[test]
fn a_cnn_is_trained_and_stands_in_table_4() {
    let lab = Lab::new();
    home(&lab);
    let root = images(&lab);
    let mut extract = program("extract");
    extract.args(["--model", MODEL, "--dataset", "manifest", "--tokens", "cls"]);
    extract
        .args(["--name", "nih-chest-xray", "--root"])
        .arg(&root);
    extract.arg("--cache").arg(lab.path("cache"));
    let set = |command: &mut Command| {
        command.env("SLICEBANK_HOME", lab.path("home"));
        command.env("ORT_DYLIB_PATH", runtime());
        Run::of(command)
    };
    set(&mut extract).expect(0);
    let cache = lab.path(&format!("cache/nih-chest-xray/{MODEL}@224"));
    let run = |words: &[&str]| {
        let mut command = finetune(&lab, &cache, "runs");
        command.arg("--models").arg(lab.path("home/onnx_models"));
        set(command.args(words))
    };
    run(&[]).expect_error(2, &[MODEL, "CNN", "--method full"]);
    run(&["--method", "full", "--epochs", "1"]).expect(0);
    let record = last(&lab, "runs");
    assert_eq!(record["model"], MODEL);
    // All but the head of ImageNet's classes, and a head of one output.
    let parameters = 18_092_928 + 1_921;
    assert_eq!(number(&record, "trainable_parameters"), parameters);
    assert_eq!(number(&record, "parameters"), parameters);
    let auroc = record["metrics"]["auroc_macro"].as_f64().unwrap();

    let page = lab.path("report.html");
    let mut report = program("probe");
    report.args(["report", "--runs"]).arg(lab.path("runs"));
    Run::of(report.arg("--out").arg(&page)).expect(0);
    let tables = data(&fs::read_to_string(page).unwrap());
    let [header, first] = [0, 1].map(|row| tables["table-4-strict"][row].as_array().unwrap());
    let ours = "NIH Chest X-ray, fine-tuning ours";
    let at = header.iter().position(|name| name == ours).unwrap();
    assert_eq!(first[1], "DenseNet201");
    let value: f64 = first[at].as_str().unwrap().parse().unwrap();
    assert!((value - auroc).abs() < 1e-3, "{first:?}");

    // Its weights are those of a backbone that is fine-tuned in turn.
    let folder = record["params"]["adapter"].as_str().unwrap();
    let folder = lab.path("runs").join(folder);
    let from = ["--from", folder.to_str().unwrap()];
    run(&[&["--method", "bitfit", "--epochs", "1"], &from[..]].concat()).expect(0);
    let record: Value = last(&lab, "runs");
    assert_eq!(record["params"]["continued"], true);
    assert!(number(&record, "trainable_parameters") < parameters / 50);
}
