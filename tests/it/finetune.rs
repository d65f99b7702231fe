//! `scripts/finetune`, and `probe score`, which measures what it predicts.

mod cnn;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use image::{GrayImage, Luma};
use serde_json::Value;

use crate::lab::{Lab, Run, program, project};

/// 20 images with masks of a class each, 12 of them in train, 4 in val and 4 in test.
fn images(lab: &Lab) -> PathBuf {
    let mut csv = String::from("image,label,patient,split,mask\n");
    for i in 0..20 {
        let (class, kind) = (["left", "right"][i as usize % 2], i % 2);
        let split = ["train", "train", "train", "val", "test"][i as usize / 2 % 5];
        lab.png(&format!("images/{i:04}.png"), kind, i);
        let mask = lab.path(&format!("masks/{i:04}.png"));
        fs::create_dir_all(mask.parent().unwrap()).unwrap();
        let inside = |x, y| (8 + 16 * kind..16 + 16 * kind).contains(&x) && (8..24).contains(&y);
        let map = GrayImage::from_fn(40, 32, |x, y| Luma([u8::from(inside(x, y))]));
        map.save(&mask).unwrap();
        csv += &format!("images/{i:04}.png,{class},p{i},{split},masks/{i:04}.png\n");
    }
    lab.write("images.csv", csv)
}

fn extracted(more: &[&str]) -> Lab {
    let lab = Lab::new();
    let root = images(&lab);
    lab.extract("manifest", &root, more).expect(0);
    lab
}

/// The script for a cache of a lab, with its records in the folder `runs`.
fn finetune(lab: &Lab, cache: &Path, runs: &str) -> Command {
    let python = project().join(".venv-finetune/bin/python");
    let what = ".venv-finetune is missing: run the tests with `scripts/test`, which makes it";
    assert!(python.exists(), "{what}");
    let mut command = Command::new(project().join("scripts/finetune"));
    let programs = std::env::current_exe().unwrap();
    let target = programs.ancestors().nth(3).unwrap();
    command.env("CARGO_TARGET_DIR", target);
    command.current_dir(project());
    command.arg(cache).args(["--dataset", "manifest", "--root"]);
    command.arg(lab.path("images.csv"));
    command.arg("--runs").arg(lab.path(runs));
    command.args(["--epochs", "2", "--batch-size", "4", "--threads", "1"]);
    command
}

fn records(lab: &Lab, runs: &str) -> Vec<Value> {
    let lines = fs::read_to_string(lab.path(runs).join("finetune.jsonl")).unwrap();
    lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn last(lab: &Lab, runs: &str) -> Value {
    records(lab, runs).pop().unwrap()
}

fn number(record: &Value, name: &str) -> u64 {
    record["params"][name]
        .as_u64()
        .unwrap_or_else(|| panic!("{name}: {record:#}"))
}

#[test]
fn every_method_is_recorded_as_probes_are() {
    let lab = extracted(&[]);
    // 6 blocks of width 32: in each, weights of 12,288 numbers and biases of 288 besides norms.
    for (method, least, most) in [
        ("head-only", 33, 33),
        ("bitfit", 2_000, 4_000),
        ("lora", 100_000, 200_000),
        ("full", 90_000, 100_000),
    ] {
        let run = Run::of(finetune(&lab, &lab.cache(), "runs").args(["--method", method]));
        let run = run.expect(0);
        assert!(run.stdout.contains(method), "{run:#?}");
        let record = last(&lab, "runs");
        let trained = number(&record, "trainable_parameters");
        assert!((least..=most).contains(&trained), "{method}: {trained}");
        assert!(number(&record, "parameters") >= trained);
        assert!(number(&record, "peak_memory_bytes") > 1 << 20);
        assert!(record["seconds"].as_f64().unwrap() > 0.0);
        assert_eq!(record["params"]["method"], method);
        assert_eq!(
            (&record["n_train"], &record["n_test"]),
            (&12.into(), &4.into())
        );
        assert!(record["metrics"]["auroc_macro"].is_number(), "{record:#}");
        assert!(record["ci"]["auroc_macro"].is_array(), "{record:#}");
        let scores = record["predictions"].as_str().unwrap();
        assert!(lab.path("runs").join(scores).is_file());
    }
    // What is recorded is neither trained nor recorded again.
    let again = Run::of(finetune(&lab, &lab.cache(), "runs").args(["--method", "full"])).expect(0);
    assert!(again.stderr.contains("recorded already"), "{again:#?}");
    assert!(!again.stderr.contains("epoch 1"), "{again:#?}");
    assert_eq!(records(&lab, "runs").len(), 4);
}

#[test]
fn records_are_compared_and_reported() {
    let lab = extracted(&[]);
    let root = lab.path("images.csv");
    lab.extract("manifest", &root, &["--image-size", "112"])
        .expect(0);
    for cache in [lab.cache(), lab.path("cache/images/tiny-vit@112")] {
        let mut command = finetune(&lab, &cache, "runs");
        Run::of(command.args(["--method", "head-only", "--augment", "none"])).expect(0);
    }
    let run = lab.compare(&["--format", "json"]).expect(0);
    let pair: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(pair["probe"], "finetune");
    assert_eq!(pair["cases"], 4);
    let mut report = program("probe");
    report.args(["report", "--runs"]).arg(lab.path("runs"));
    report.arg("--out").arg(lab.path("report.html"));
    Run::of(&mut report).expect(0);
    let page = fs::read_to_string(lab.path("report.html")).unwrap();
    let command = "scripts/finetune embeddings/images/tiny-vit@56 --root DIR --method head-only";
    assert!(page.contains(command), "no `{command}`");
}

#[test]
fn a_killed_training_goes_on_and_ends_as_an_undisturbed_one() {
    let lab = extracted(&[]);
    let train = |runs: &str| {
        let mut command = finetune(&lab, &lab.cache(), runs);
        command.args(["--method", "lora", "--epochs", "6", "--save-every", "0"]);
        command
    };
    Run::of(&mut train("whole")).expect(0);
    let mut killed = train("runs");
    let mut child = killed
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let started = Instant::now();
    let state = || {
        let files = fs::read_dir(lab.path("runs/training"))
            .into_iter()
            .flatten();
        files
            .flatten()
            .any(|file| file.path().extension().is_some_and(|end| end == "pt"))
    };
    while !state() {
        assert!(
            started.elapsed() < Duration::from_secs(300),
            "no state was saved"
        );
        assert!(
            child.try_wait().unwrap().is_none(),
            "it ended before it was stopped"
        );
        thread::sleep(Duration::from_millis(2));
    }
    // The launcher has become Python.
    child.kill().unwrap();
    child.wait().unwrap();
    // The time of all processes is that of the record.
    let set = "import sys, torch; file = sys.argv[1]; state = torch.load(file); \
               state['seconds'] += 1000; torch.save(state, file)";
    let files = fs::read_dir(lab.path("runs/training")).unwrap();
    let mut files = files.map(|file| file.unwrap().path());
    let file = files.find(|file| file.extension().is_some_and(|end| end == "pt"));
    let mut python = Command::new(project().join(".venv-finetune/bin/python"));
    Run::of(python.args(["-c", set]).arg(file.unwrap())).expect(0);
    let run = Run::of(&mut train("runs")).expect(0);
    assert!(run.stderr.contains("goes on after step"), "{run:#?}");
    assert!(!state(), "the state is left");
    let [whole, resumed] = ["whole", "runs"].map(|runs| last(&lab, runs));
    assert_eq!(whole["metrics"], resumed["metrics"]);
    assert!(resumed["seconds"].as_f64().unwrap() >= 1000.0);
    let scores = |runs: &str| {
        let key = fs::read_dir(lab.path(runs).join("adapters"))
            .unwrap()
            .next()
            .unwrap();
        let folder = key.unwrap().path();
        [
            "scores.parquet",
            "adapter_model.safetensors",
            "head.safetensors",
        ]
        .map(|file| fs::read(folder.join(file)).unwrap())
    };
    assert!(scores("whole") == scores("runs"));
}

#[test]
fn decoders_on_a_trained_encoder_and_a_network_from_scratch_segment() {
    let lab = extracted(&[]);
    for (words, model, decoder) in [
        (&["--decoder", "linear"][..], "tiny-vit", Some("linear")),
        (
            &["--decoder", "unet", "--method", "bitfit"],
            "tiny-vit",
            Some("unet"),
        ),
        (
            &["--decoder", "linear", "--protocol", "paper"],
            "tiny-vit",
            Some("linear"),
        ),
        (&["--model", "unet", "--epochs", "1"], "unet", None),
    ] {
        Run::of(finetune(&lab, &lab.cache(), "runs").args(words)).expect(0);
        let record = last(&lab, "runs");
        assert_eq!(record["model"], model);
        assert_eq!(record["params"]["decoder"].as_str(), decoder);
        // Pooled pixels have no intervals.
        let warns = record.to_string().contains("4 patients evaluated");
        assert_eq!(warns, record["protocol"] == "strict", "{record:#}");
        let is_paper = record["protocol"] == "paper";
        let measure = ["dice_macro", "dice_jaccard_mean"][usize::from(is_paper)];
        let value = record["metrics"][measure].as_f64();
        assert!(
            value.is_some_and(|value| (0.0..=1.0).contains(&value)),
            "{record:#}"
        );
        assert!(record["params"]["val_dice"].is_number());
    }
    let scratch = last(&lab, "runs");
    // The number of the study's table 6 is that of one class.
    assert_eq!(number(&scratch, "parameters"), 31_113_282);
    assert_eq!(number(&scratch, "trainable_parameters"), 31_113_282);
}

#[test]
fn networks_have_the_parameters_of_the_study_and_are_loaded_as_they_were_saved() {
    let scripts = project().join("scripts");
    let mut python = Command::new(project().join(".venv-finetune/bin/python"));
    let path = [
        scripts.clone(),
        scripts.join("dev"),
        project().join("python"),
    ];
    python.env("PYTHONPATH", std::env::join_paths(path).unwrap());
    let run = Run::of(python.arg(scripts.join("dev/check_finetune.py"))).expect(0);
    assert!(run.stdout.contains("dinov3-s16: 10 adapters"), "{run:#?}");
}

#[test]
fn several_processes_train_as_one() {
    let lab = extracted(&[]);
    let value = |runs: &str, more: &[&str]| {
        let mut command = finetune(&lab, &lab.cache(), runs);
        // Batches of 5 of 12 images: parts of unequal size, the last of one image for the first process.
        command.args(["--method", "full", "--lr", "0.001", "--batch-size", "11"]);
        Run::of(command.args(more)).expect(0);
        let record = last(&lab, runs);
        assert_eq!(number(&record, "processes") as usize, more.len().max(1));
        record["metrics"]["brier"].as_f64().unwrap()
    };
    let (one, two) = (value("one", &[]), value("two", &["--processes", "2"]));
    assert!((one - two).abs() < 1e-4, "{one} {two}");
}

#[test]
fn adapters_of_the_last_blocks_are_continued() {
    let lab = extracted(&["--tokens", "residual"]);
    let words = [
        "--blocks", "2", "--method", "lora", "--epochs", "1", "--rank", "4",
    ];
    lab.probe_with("adapt", &words).expect(0);
    let adapter = fs::read_dir(lab.path("runs/adapters"))
        .unwrap()
        .next()
        .unwrap();
    let adapter = adapter.unwrap().path();
    let run = |more: &[&str]| {
        let mut command = finetune(&lab, &lab.cache(), "tuned");
        Run::of(command.arg("--from").arg(&adapter).args(more))
    };
    run(&["--method", "full"]).expect_error(2, &["low-rank adapters", "`full`"]);
    run(&[]).expect(0);
    let record = last(&lab, "tuned");
    assert_eq!(record["params"]["continued"], true);
    // Of 2 blocks: 3 layers of 32 and 32, 32 and 128 twice; and the head.
    assert_eq!(
        number(&record, "trainable_parameters"),
        2 * 4 * (3 * 64 + 2 * 160) + 33
    );
}

#[test]
fn what_does_not_fit_is_refused() {
    let lab = extracted(&[]);
    let models = project().join("onnx_models");
    let card = fs::read_to_string(models.join("tiny-vit.toml")).unwrap();
    let mut weights = fs::read(models.join("tiny-vit.safetensors")).unwrap();
    let end = weights.len();
    weights[end - end / 2..].fill(0);
    lab.write("models/tiny-vit.toml", &card);
    lab.write("models/tiny-vit.safetensors", weights);
    let run = |more: &[&str]| Run::of(finetune(&lab, &lab.cache(), "runs").args(more));
    let other = lab.path("models");
    let other = ["--models", other.to_str().unwrap()];
    run(&other).expect_error(2, &["tiny-vit.safetensors", "sha256"]);
    let card: Vec<&str> = card
        .lines()
        .filter(|line| !line.starts_with("sha256"))
        .collect();
    lab.write("models/tiny-vit.toml", card.join("\n"));
    run(&other).expect_error(2, &["tiny-vit.safetensors", "CLS tokens differ"]);
    run(&["--method", "full", "--lr", "1e30", "--optimiser", "sgd"])
        .expect_error(2, &["the loss is", "step", "rates"]);
    assert!(!lab.path("runs/finetune.jsonl").exists());

    let words = ["--rule", "random:0.5:0:0.5", "--name", "bare"];
    Run::of(lab.split("images").args(words)).expect(0);
    run(&["--split", "bare"]).expect_error(2, &["no slice", "`val`"]);
    run(&["--method", "head-only"]).expect(0);
    let folder = fs::read_dir(lab.path("runs/adapters"))
        .unwrap()
        .next()
        .unwrap();
    let root = lab.path("images.csv");
    lab.extract("manifest", &root, &["--image-size", "112"])
        .expect(0);
    let folder = folder.unwrap().path();
    let score = |size: &str| {
        let mut score = program("probe");
        score
            .arg("score")
            .arg(&folder)
            .arg("--cache")
            .arg(lab.path("cache"));
        score.arg("--runs").arg(lab.path("other"));
        Run::of(score.args(["--image-size", size])).expect(2)
    };
    let run = score("112");
    assert!(run.stderr.contains("scores of another cache"), "{run:#?}");
    for (file, content) in [("scores.parquet", "PAR1"), ("run.json", "{}")] {
        let whole = fs::read(folder.join(file)).unwrap();
        fs::write(folder.join(file), content).unwrap();
        let run = score("56");
        let text = format!("{file}`: cannot read it");
        assert!(run.stderr.contains(&text), "{run:#?}");
        fs::write(folder.join(file), whole).unwrap();
    }
    assert!(!lab.path("other/finetune.jsonl").exists());
}
