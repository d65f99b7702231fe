//! Saved weights, as other programs load them.

use std::fs::{self, File};
use std::process::Command;

use cache::{CacheReader, Split};
use polars::prelude::{ParquetReader, SerReader};
use serde_json::Value;

use super::{RESIDUAL, extracted, record};
use crate::lab::{Lab, Run, program, project, runtime};

/// The values of a tensor of a safetensors file.
fn values(path: &std::path::Path, name: &str) -> Vec<f32> {
    let (header, first) = onnx_models::read_header(path).unwrap();
    let info = header.info(name).unwrap();
    let bytes = fs::read(path).unwrap();
    let (from, to) = info.data_offsets;
    let bytes = &bytes[first as usize + from..first as usize + to];
    let numbers = bytes.chunks_exact(4);
    numbers
        .map(|four| f32::from_le_bytes(four.try_into().unwrap()))
        .collect()
}

/// The score of the second class of each evaluated case.
pub(super) fn scores(lab: &Lab, record: &Value) -> Vec<f64> {
    let file = lab
        .path("runs")
        .join(record["predictions"].as_str().unwrap());
    let frame = ParquetReader::new(File::open(file).unwrap())
        .finish()
        .unwrap();
    let column = frame.column("score/right").unwrap().f64().unwrap().clone();
    column.iter().map(Option::unwrap).collect()
}

/// Extraction with the weights of the checkpoint, in which the saved tensors replace those of the same name.
fn extract_with(lab: &Lab, saved: &std::path::Path) -> Lab {
    let models = project().join("onnx_models");
    let weights = models.join("tiny-vit.safetensors");
    let (header, first) = onnx_models::read_header(&weights).unwrap();
    let (changed, changed_first) = onnx_models::read_header(saved).unwrap();
    let (mut bytes, new) = (fs::read(&weights).unwrap(), fs::read(saved).unwrap());
    for (name, info) in changed.tensors() {
        let old = header.info(&name).unwrap();
        assert_eq!((old.dtype, &old.shape), (info.dtype, &info.shape), "{name}");
        let (from, to) = info.data_offsets;
        let new = &new[changed_first as usize + from..changed_first as usize + to];
        bytes[first as usize + old.data_offsets.0..][..new.len()].copy_from_slice(new);
    }
    let other = Lab::new();
    other.write("home/onnx_models/tiny-vit.safetensors", bytes);
    let card = fs::read(models.join("tiny-vit.toml")).unwrap();
    other.write("home/onnx_models/tiny-vit.toml", card);
    let mut command = other.extract_command("manifest", &lab.path("images.csv"));
    command
        .env("SLICEBANK_HOME", other.path("home"))
        .env("ORT_DYLIB_PATH", runtime());
    Run::of(&mut command).expect(0);
    other
}

#[test]
fn a_checkpoint_with_the_saved_tensors_gives_the_scores_of_the_record() {
    let lab = extracted(&RESIDUAL);
    for (method, lr) in [("bitfit", "0.01"), ("full", "0.001")] {
        let words = ["--blocks", "2", "--method", method, "--lr", lr];
        lab.probe_with("adapt", &[&words[..], &["--epochs", "3"]].concat())
            .expect(0);
        let record = record(&lab);
        let folder = lab
            .path("runs")
            .join(record["params"]["adapter"].as_str().unwrap());
        let other = extract_with(&lab, &folder.join("model.safetensors"));
        let reader = CacheReader::open(&other.cache()).unwrap();
        let (slices, cls) = (reader.slices().unwrap(), reader.cls(1).unwrap());
        let head = folder.join("head.safetensors");
        let (weight, bias) = (values(&head, "weight"), values(&head, "bias"));
        let is_test = |row: &usize| slices[*row].split == Some(Split::Test);
        let found: Vec<f64> = (0..slices.len())
            .filter(is_test)
            .map(|row| {
                let terms = cls.row(row).into_iter().zip(&weight).map(|(x, w)| x * w);
                let logit = f64::from(terms.sum::<f32>() + bias[0]);
                1.0 / (1.0 + (-logit).exp())
            })
            .collect();
        let expected = scores(&lab, &record);
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(&expected) {
            assert!(
                (found - expected).abs() < 4e-3,
                "{method}: {found} {expected}"
            );
        }
        // Without the saved tensors the scores are others.
        let frozen = CacheReader::open(&lab.cache()).unwrap().cls(1).unwrap();
        assert!(frozen != cls);
    }
}

#[test]
fn adapters_of_each_family_give_the_same_scores_in_peft() {
    let python = project().join(".venv-finetune/bin/python");
    let what = ".venv-finetune is missing: run the tests with `scripts/test`, which makes it";
    assert!(python.is_file(), "{what}");
    let probe = program("probe");
    let programs = std::path::Path::new(probe.get_program()).parent().unwrap();
    let mut command = Command::new(python);
    command
        .arg(project().join("scripts/dev/check_peft.py"))
        .env("PROGRAMS", programs);
    let run = Run::of(&mut command).expect(0);
    for family in [
        "vit ",
        "mae",
        "msn",
        "dinov2-swiglu",
        "dinov2-reg",
        "clip",
        "siglip",
    ] {
        assert!(run.stdout.contains(family), "no {family}: {run:#?}");
    }
}
