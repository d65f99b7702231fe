//! `probe predict` with trained blocks.

use std::fs;

use serde_json::Value;

use super::files::scores;
use super::{RESIDUAL, extracted, record};
use crate::lab::{Lab, Run, project};

fn predicted(lab: &Lab) -> Value {
    let records = fs::read_to_string(lab.path("runs/predict.jsonl")).unwrap();
    serde_json::from_str(records.lines().last().unwrap()).unwrap()
}

fn extract_as(lab: &Lab, name: &str, more: &[&str]) {
    let root = lab.path("images.csv");
    Run::of(lab.extract_as(name, "manifest", &root).args(more)).expect(0);
}

#[test]
fn trained_blocks_give_the_scores_of_the_record_and_are_applied_to_other_caches() {
    let lab = extracted(&RESIDUAL);
    extract_as(&lab, "others", &RESIDUAL);
    for method in ["lora", "bitfit", "full"] {
        let words = ["--method", method, "--blocks", "2", "--epochs", "2"];
        let on_train = ["--dataset", "images", "--lr", "0.001"];
        lab.probe_with("adapt", &[&words[..], &on_train].concat())
            .expect(0);
        let trained = record(&lab);
        let name = trained["name"].as_str().unwrap();
        lab.probe_with("predict", &["--head", name, "--dataset", "images"])
            .expect(0);
        let again = predicted(&lab);
        let expected = scores(&lab, &trained);
        assert_eq!(scores(&lab, &again), expected, "{method}");
        for measure in ["auroc_macro", "brier", "f1_macro"] {
            assert_eq!(again["metrics"][measure], trained["metrics"][measure]);
        }
        // The same images under another name: all of them, the test images with the same scores.
        let words = ["--head", "latest", "--dataset", "others"];
        lab.probe_with("predict", &words).expect(0);
        let others = predicted(&lab);
        assert_eq!(others["params"]["scored"], 30);
        let others = scores(&lab, &others);
        let test: Vec<f64> = others.into_iter().skip(2).step_by(3).collect();
        assert_eq!(test, expected, "{method}");
    }
}

#[test]
fn trained_blocks_that_cannot_be_applied_are_refused() {
    let lab = extracted(&RESIDUAL);
    extract_as(&lab, "bare", &["--tokens", "cls"]);
    let words = ["--dataset", "images", "--blocks", "2", "--epochs", "1"];
    lab.probe_with("adapt", &words).expect(0);
    lab.probe_with("linear", &["--dataset", "images", "--epochs", "1"])
        .expect(0);
    let folder = record(&lab)["params"]["adapter"].clone();
    let folder = lab.path("runs").join(folder.as_str().unwrap());
    let predict = |words: &[&str]| lab.probe_with("predict", words);
    predict(&["--head", "adapt-", "--dataset", "bare"])
        .expect_error(2, &["bare", "`--tokens residual`"]);
    predict(&["--head", folder.to_str().unwrap()])
        .expect_error(2, &["trained blocks", "the name of the run"]);
    let models = project().join("onnx_models");
    let models = ["--models", models.to_str().unwrap()];
    predict(&[&["--head", "linear-"], &models[..]].concat())
        .expect_error(2, &["reads no weights", "leave out --models"]);
    let file = folder.join("adapter_model.safetensors");
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let words = ["--head", "adapt-", "--dataset", "images"];
    predict(&words).expect_error(2, &["adapter_model.safetensors"]);
    fs::remove_file(&file).unwrap();
    predict(&words).expect_error(2, &["adapter_model.safetensors"]);
    fs::write(&file, whole).unwrap();
    predict(&[&words[..], &models].concat()).expect(0);
}
