//! What a training needs: tokens, weights, memory, and to be the only one.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use cache::CacheMeta;
use serde_json::{Value, json};

use super::{RESIDUAL, change_header, extracted, record};
use crate::lab::{Lab, Run, changed_at, program, project, runtime};

/// A project whose `tiny-vit` has a card with `changes`.
fn home(lab: &Lab, changes: &[(&str, &str)]) {
    let models = project().join("onnx_models");
    let mut card = fs::read_to_string(models.join("tiny-vit.toml")).unwrap();
    for (before, after) in changes {
        assert!(card.contains(before));
        card = card.replace(before, after);
    }
    lab.write("home/onnx_models/tiny-vit.toml", card);
    let weights = fs::read(models.join("tiny-vit.safetensors")).unwrap();
    lab.write("home/onnx_models/tiny-vit.safetensors", weights);
}

/// A cache of the model of the project in `home`.
fn of_home(changes: &[(&str, &str)], tokens: &str) -> Lab {
    let lab = Lab::new();
    home(&lab, changes);
    extract(&lab, tokens);
    lab
}

fn extract(lab: &Lab, tokens: &str) {
    let manifest = lab.manifest(30);
    let mut command = lab.extract_command("manifest", &manifest);
    command
        .env("SLICEBANK_HOME", lab.path("home"))
        .env("ORT_DYLIB_PATH", runtime());
    Run::of(command.args(["--tokens", tokens])).expect(0);
}

fn adapt(lab: &Lab, models: &Path, more: &[&str]) -> Run {
    let words = ["--epochs", "2", "--models", models.to_str().unwrap()];
    lab.probe_with("adapt", &[&words[..], more].concat())
}

fn set_meta(lab: &Lab, change: impl FnOnce(&mut CacheMeta)) {
    let mut meta = CacheMeta::read(&lab.cache()).unwrap();
    change(&mut meta);
    let text = serde_json::to_string(&meta).unwrap();
    fs::write(lab.cache().join("meta.json"), text).unwrap();
}

const RAW: [(&str, &str); 1] = [("final_norm = true", "final_norm = false")];

#[test]
fn patch_tokens_of_a_model_without_a_last_norm_serve_as_residual_ones() {
    let [residual, all] = ["residual", "all"].map(|tokens| {
        let lab = of_home(&RAW, tokens);
        adapt(&lab, &lab.path("home/onnx_models"), &["--blocks", "2"]).expect(0);
        record(&lab)
    });
    assert_eq!(all["metrics"], residual["metrics"]);
    assert_eq!(
        all["params"]["train_loss"],
        residual["params"]["train_loss"]
    );
    let lab = of_home(&RAW, "cls");
    adapt(&lab, &lab.path("home/onnx_models"), &[])
        .expect_error(2, &["no tokens of single patches", "`--tokens all`"]);
    let mean = [RAW[0], ("cls = \"token\"", "cls = \"mean\"")];
    let lab = of_home(&mean, "all");
    adapt(&lab, &lab.path("home/onnx_models"), &[])
        .expect_error(2, &["no CLS token", "`--tokens residual`"]);
}

#[test]
fn weights_are_compared_by_their_own_hash_if_the_cache_has_it() {
    let lab = extracted(&RESIDUAL);
    let weights = project().join("onnx_models/tiny-vit.safetensors");
    let sha256 = common::sha256_file(&weights).unwrap();
    let meta = CacheMeta::read(&lab.cache()).unwrap();
    assert_eq!(meta.model.weights_sha256.as_ref(), Some(&sha256));
    let models = lab.path("home/onnx_models");
    home(&lab, &[("epsilon = 1e-6", "epsilon = 1e-5")]);
    let run = adapt(&lab, &models, &[]).expect(0);
    assert!(
        run.stderr.contains("the card or the program has changed"),
        "{run:#?}"
    );
    home(&lab, &RAW);
    adapt(&lab, &models, &["--blocks", "1"])
        .expect_error(2, &["another card", "`final_norm` was true, and is false"]);
    let mut other = fs::read(&weights).unwrap();
    let last = other.len() - 3;
    other[last] ^= 1;
    home(&lab, &[]);
    lab.write("home/onnx_models/tiny-vit.safetensors", other);
    adapt(&lab, &models, &["--blocks", "1"]).expect_error(2, &["other weights", "sha256", &sha256]);
    set_meta(&lab, |meta| meta.model.weights_sha256 = None);
    let run = adapt(&lab, &models, &["--blocks", "1"])
        .expect_error(2, &["with other weights, or with another card"]);
    assert!(!run.stderr.contains("sha256"), "{run:#?}");
    lab.write("home/onnx_models/tiny-vit.safetensors", "weights");
    adapt(&lab, &models, &["--blocks", "1"]).expect_error(
        2,
        &["tiny-vit.safetensors", "give their folder as `--models`"],
    );
    adapt(&lab, &project().join("onnx_models"), &["--blocks", "1"]).expect(0);
}

#[test]
fn registers_that_a_cache_of_patch_tokens_lacks_are_named() {
    let changes = [
        RAW[0],
        ("cls = \"token\"", "cls = \"token\"\nregisters = 4"),
        ("parameters = 96096", "parameters = 96224"),
    ];
    let of = |tokens: &str| {
        let lab = Lab::new();
        home(&lab, &changes);
        let weights = lab.path("home/onnx_models/tiny-vit.safetensors");
        change_header(&weights, |header, data| {
            let offsets = [data.len(), data.len() + 4 * 4 * 32];
            data.resize(offsets[1], 0);
            header["embeddings.register_tokens"] =
                json!({"dtype": "F32", "shape": [1, 4, 32], "data_offsets": offsets});
        });
        extract(&lab, tokens);
        adapt(&lab, &lab.path("home/onnx_models"), &["--blocks", "1"])
    };
    of("all").expect_error(2, &["none of the 4 registers", "`--tokens residual`"]);
    of("residual").expect(0);
}

#[test]
fn the_state_is_kept_until_the_record_is_written() {
    let lab = extracted(&RESIDUAL);
    let words = ["--blocks", "1", "--epochs", "2"];
    // A file where the folder of predictions should be: all that comes before the record fails.
    let blocked = lab.path("runs/predictions");
    fs::create_dir_all(lab.path("runs")).unwrap();
    fs::write(&blocked, "").unwrap();
    lab.probe_with("adapt", &words)
        .expect_error(2, &["predictions"]);
    fs::remove_file(&blocked).unwrap();
    // The time of all processes is that of the record.
    for state in fs::read_dir(lab.path("runs/training")).unwrap() {
        change_header(&state.unwrap().path(), |header, _| {
            let text = header["__metadata__"]["slicebank.adapting"].as_str();
            let mut state: Value = serde_json::from_str(text.unwrap()).unwrap();
            assert!(state["seconds"].as_f64().unwrap() > 0.0);
            state["seconds"] = 1000.into();
            header["__metadata__"]["slicebank.adapting"] = state.to_string().into();
        });
    }
    let run = lab.probe_with("adapt", &words).expect(0);
    assert!(run.stderr.contains("goes on after epoch 2"), "{run:#?}");
    assert_eq!(fs::read_dir(lab.path("runs/training")).unwrap().count(), 0);
    assert!(record(&lab)["seconds"].as_f64().unwrap() >= 2000.0);
}

#[test]
fn equal_trainings_at_the_same_time_are_refused() {
    let lab = extracted(&RESIDUAL);
    let words = ["--blocks", "1", "--epochs", "1"];
    lab.probe_with("adapt", &words).expect(0);
    let key = record(&lab)["key"].as_str().unwrap().to_owned();
    let path = lab.path(&format!("runs/training/adapt-{key}.lock"));
    let lock = File::create(&path).unwrap();
    lock.try_lock().unwrap();
    let again = [&words[..], &["--force"]].concat();
    lab.probe_with("adapt", &again)
        .expect_error(2, &["another process trains", &key, "wait until it ends"]);
    drop(lock);
    lab.probe_with("adapt", &again).expect(0);
    assert!(!path.exists());
}

#[test]
fn states_that_no_training_needs_are_removed() {
    let lab = extracted(&RESIDUAL);
    let words = ["--blocks", "1", "--epochs", "1"];
    lab.probe_with("adapt", &words).expect(0);
    let key = record(&lab)["key"].as_str().unwrap().to_owned();
    let state = |name: &str| {
        let path = lab.path(&format!("runs/training/{name}"));
        fs::write(&path, "state").unwrap();
        path
    };
    let recorded = state(&format!("adapt-{key}-choice.safetensors"));
    let old = state("adapt-00000000000000aa-training.safetensors");
    changed_at(&old, 1_600_000_000);
    let killed = state("adapt-00000000000000bb.lock");
    let fresh = state("adapt-00000000000000bb-choice.safetensors");
    let of_others = state("00000000000000cc-choice.safetensors");
    changed_at(&of_others, 1_600_000_000);
    let run = lab.probe_with("adapt", &words).expect(0);
    assert!(
        run.stderr.contains("removed 1 file of trainings"),
        "{run:#?}"
    );
    let there = [&recorded, &old, &killed, &fresh, &of_others].map(|path| path.exists());
    assert_eq!(there, [false, false, false, true, true]);
}

#[test]
fn a_training_that_learns_nothing_says_so() {
    let lab = extracted(&RESIDUAL);
    let words = ["--blocks", "1", "--method", "bitfit", "--epochs", "3"];
    let idle = [&words[..], &["--lr", "1e-30", "--head-lr", "1e-30"]].concat();
    let run = lab.probe_with("adapt", &idle).expect(0);
    let record = record(&lab);
    let warnings = record["warnings"].to_string();
    for said in [
        "the training did not help: auroc_macro",
        "the loss never fell",
    ] {
        assert!(
            run.stderr.contains(said) && warnings.contains(said),
            "{run:#?}"
        );
    }
    let params = &record["params"];
    assert_eq!(params["start_val_auroc_macro"], params["val_auroc_macro"]);
    assert_eq!(params["train_loss"].as_array().unwrap().len(), 3);
    let run = lab
        .probe_with("adapt", &[&words[..], &["--lr", "0.01"]].concat())
        .expect(0);
    assert!(!run.stderr.contains("the loss never fell"), "{run:#?}");
}

#[cfg(target_os = "linux")]
#[test]
fn too_little_memory_is_said_before_the_first_step_with_options_that_fit() {
    let lab = extracted(&RESIDUAL);
    let program = program("probe");
    let limited = |kibibytes: u32, more: &str| {
        let line = format!(
            "ulimit -v {kibibytes}; exec {} adapt --cache {} --runs {} --threads 1 --epochs 1 {more}",
            program.get_program().display(),
            lab.path("cache").display(),
            lab.path("runs").display(),
        );
        let mut shell = Command::new("bash");
        Run::of(shell.args(["-c", &line]).current_dir(project()))
    };
    let run = limited(300_000, "--rank 1024").expect_error(
        2,
        &["the training takes at least", "are available", "`--blocks"],
    );
    assert!(!lab.path("runs/adapt.jsonl").exists(), "{run:#?}");
    limited(300_000, "--blocks 1").expect(0);
}
