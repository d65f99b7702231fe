//! Cards, weights and graphs that are damaged or incomplete.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use crate::graphs;
use crate::lab::{Lab, Run, program, project, runtime};
use crate::models::{HUB_SOURCE, export, extract_own, home, models, own, weights};

#[test]
fn weights_that_do_not_fit_leave_those_that_are_there() {
    let lab = Lab::new();
    let home = home(&lab, HUB_SOURCE);
    Run::of(export(&home).arg("--weights").arg(weights())).expect(0);
    let cut = lab.write("cut.safetensors", &fs::read(weights()).unwrap()[..1000]);
    let run = Run::of(export(&home).arg("--weights").arg(cut));
    run.expect_error(2, &["cut.safetensors", "header"]);
    Run::of(
        export(&home)
            .args(["--image-size", "70"])
            .env("HF_HUB_OFFLINE", "1"),
    )
    .expect(0);
}

#[test]
fn only_files_are_weights_and_only_of_known_formats() {
    let lab = Lab::new();
    let home = home(&lab, HUB_SOURCE);
    let pipe = lab.path("pipe.safetensors");
    let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    for wrong in [pipe, PathBuf::from("/dev/zero")] {
        let run = Run::of(export(&home).arg("--weights").arg(&wrong));
        run.expect_error(2, &[&wrong.to_string_lossy(), "no such file, or a folder"]);
    }
    let run = Run::of(export(&home).arg("--weights").arg(lab.path("home")));
    run.expect_error(2, &["/home`", "expected one file of weights"]);
    let plain = lab.write("plain", "weights");
    let run = Run::of(export(&home).arg("--weights").arg(plain));
    run.expect_error(2, &["plain", ".safetensors", ".pth"]);
}

#[test]
fn a_card_with_which_nothing_can_be_computed_is_refused_before_anything_is_made() {
    let lab = Lab::new();
    let own = own(&lab);
    let card = fs::read_to_string(&own[1]).unwrap();
    let changes = [
        ("name = \"mine\"", "name = \"../../mine\"", "`name`"),
        ("heads = 2", "heads = 3", "`heads`"),
        ("std = [0.229", "std = [0.0", "`std`"),
        (
            "cls = \"token\"",
            "cls = \"token\"\nregisters = 4000000000",
            "`registers`",
        ),
    ];
    for (from, to, key) in changes {
        fs::write(&own[1], card.replace(from, to)).unwrap();
        extract_own(&lab, &own, &[]).expect_error(2, &["mine.toml", key]);
    }
    fs::write(&own[1], card.replace("patch_size = 14", "patch_size = 7")).unwrap();
    extract_own(&lab, &own, &[]).expect_error(2, &["graph.onnx", "patch_1", "4 x 4", "8 x 8"]);
    assert!(!lab.path("cache").exists());
    let home = home(&lab, HUB_SOURCE);
    let run = Run::of(export(&home).args(["--image-size", "1400000000"]));
    run.expect_error(2, &["tiny-vit", "1400000000", "at most 3584"]);
}

#[test]
fn a_graph_that_gives_other_rows_than_it_declares_is_an_error() {
    let lab = Lab::new();
    extract_own(&lab, &graphs::one_layer(&lab, "rows"), &[])
        .expect_error(2, &["graph.onnx", "cls_1", "[1, 32]", "[3, 32]"]);
}

#[test]
fn weights_in_a_node_s_attribute_may_not_change_either() {
    let lab = Lab::new();
    let own = graphs::one_layer(&lab, "constant");
    extract_own(&lab, &own, &[]).expect(0);
    let mut other = fs::read(lab.path("own/c")).unwrap();
    other[2] ^= 1;
    lab.write("own/c", other);
    extract_own(&lab, &own, &[]).expect_error(2, &["mine@56", "model.sha256"]);
}

#[test]
fn after_the_parity_gate_has_refused_a_precision_another_can_be_chosen() {
    let lab = Lab::new();
    let manifest = lab.manifest(3);
    let int8 = ["--precision", "int8", "--parity-bound", "1"];
    lab.extract("manifest", &manifest, &int8)
        .expect_error(2, &["parity gate", "another `--precision`"]);
    lab.extract("manifest", &manifest, &[]).expect(0);
    for bound in ["nan", "2", "-1"] {
        let bound = format!("--parity-bound={bound}");
        let run = lab.extract("manifest", &manifest, &[&bound]).expect(2);
        assert!(run.stderr.contains("0..=1"), "{run:?}");
    }
}

#[test]
fn one_export_that_cannot_be_used_does_not_hide_the_other_models() {
    let lab = Lab::new();
    let home = home(&lab, HUB_SOURCE);
    Run::of(export(&home).arg("--weights").arg(weights())).expect(0);
    fs::remove_file(home.join("onnx_models/tiny-vit.safetensors")).unwrap();
    let models = |words: &[&str]| {
        let mut command = program("extract");
        Run::of(
            command
                .arg("models")
                .args(words)
                .env("SLICEBANK_HOME", &home),
        )
        .expect(0)
    };
    let run = models(&["tiny-vit"]);
    assert!(run.stdout.contains("unusable"), "{run:?}");
    let list = models(&["--format", "json"]).stdout;
    let tiny = list
        .lines()
        .find(|line| line.contains("\"tiny-vit\""))
        .unwrap();
    let tiny: serde_json::Value = serde_json::from_str(tiny).unwrap();
    let error = tiny["exports"][0]["error"].as_str().unwrap();
    assert!(error.contains("tiny-vit.safetensors"), "{tiny}");
}

/// A project whose card `stages` is exported by a script, which fails; its graph is there, over the
/// weights of `tiny-vit`.
fn by_script(lab: &Lab) -> PathBuf {
    let python = "[python]\nlibrary = \"torchvision\"\nmodel = \"stages\"\n";
    let card = graphs::card("stages", &[]) + python;
    lab.write("home/onnx_models/stages.toml", card);
    Run::of(program("extract").args(["export", "tiny-vit"])).expect(0);
    let graph = fs::read(models().join("tiny-vit@56.onnx")).unwrap();
    lab.write("home/onnx_models/stages@56.onnx", graph);
    let content = fs::read(weights()).unwrap();
    lab.write("home/onnx_models/tiny-vit.safetensors", &content);
    lab.write("home/onnx_models/stages.safetensors", content)
}

#[test]
fn a_script_s_graph_of_other_weights_than_those_there_is_not_used() {
    let lab = Lab::new();
    let stages = by_script(&lab);
    let extract = || {
        let mut command = program("extract");
        command.args([
            "--model",
            "stages",
            "--name",
            "images",
            "--dataset",
            "manifest",
        ]);
        command.arg("--root").arg(lab.manifest(3));
        command.arg("--cache").arg(lab.path("cache"));
        command.env("SLICEBANK_HOME", lab.path("home"));
        // No environment is made.
        command.env("SLICEBANK_PYTHON", "/no/python3");
        Run::of(command.env("ORT_DYLIB_PATH", runtime()))
    };
    extract().expect(0);
    fs::write(stages, "others").unwrap();
    extract().expect_error(2, &["running", "export_model"]);
}

/// Stands for `export_model`: gives the graph that is there what it is told to, and counts.
const EXPORT: &str = r#"
import pathlib, sys
import onnx
home = pathlib.Path(sys.argv[0]).parent.parent
words = dict(zip(sys.argv[2::2], sys.argv[3::2]))
model = onnx.load(home / "graph.onnx", load_external_data=False)
model.metadata_props.add(key="slicebank.made_by", value=words["--made-by"])
pathlib.Path(words["--out"]).write_bytes(model.SerializeToString())
with open(home / "exports", "a") as file:
    file.write(".")
"#;

#[test]
fn a_script_s_graph_is_made_anew_when_script_or_card_have_changed() {
    let lab = Lab::new();
    by_script(&lab);
    let [graph, card] = [
        "home/onnx_models/stages@56.onnx",
        "home/onnx_models/stages.toml",
    ];
    fs::rename(lab.path(graph), lab.path("home/graph.onnx")).unwrap();
    let python = fs::canonicalize(project())
        .unwrap()
        .join(".venv-test/bin/python");
    let script = lab.write(
        "home/scripts/export_model",
        format!("#!{}{EXPORT}", python.display()),
    );
    fs::set_permissions(script, Permissions::from_mode(0o755)).unwrap();
    let scripts = ["export_model", "originals", "names", "convert_weights"];
    for name in scripts.map(|name| format!("{name}.py")) {
        lab.write(&format!("home/scripts/{name}"), "# first\n");
    }
    lab.write("home/scripts/requirements-models.txt", "torch==1\n");
    let count = |words: &[&str]| {
        let mut command = program("extract");
        command.args(words).env("SLICEBANK_HOME", lab.path("home"));
        Run::of(command.env("ORT_DYLIB_PATH", runtime())).expect(0);
        fs::read(lab.path("home/exports")).unwrap().len()
    };
    let check = || count(&["models", "stages", "--check"]);
    assert_eq!(count(&["export", "stages"]), 1);
    assert_eq!(check(), 1);
    lab.write("home/scripts/originals.py", "# second\n");
    assert_eq!(check(), 2);
    lab.write("home/scripts/requirements-models.txt", "torch==2\n");
    assert_eq!(check(), 3);
    let text = fs::read_to_string(lab.path(card)).unwrap();
    lab.write(card, text.clone() + "num_register_tokens = 4\n");
    assert_eq!(check(), 4);
    lab.write(
        card,
        text.replace("title = \"", "title = \"another ") + "num_register_tokens = 4\n",
    );
    assert_eq!(check(), 4);
}

#[test]
fn weights_with_nan_are_found_before_a_run_and_are_no_integers() {
    let lab = Lab::new();
    let home = home(&lab, HUB_SOURCE);
    let mut content = fs::read(weights()).unwrap();
    let header = 8 + u64::from_le_bytes(*content.first_chunk().unwrap()) as usize;
    let text: serde_json::Value = serde_json::from_slice(&content[8..header]).unwrap();
    let first = text["encoder.layer.2.mlp.fc1.weight"]["data_offsets"][0].as_u64();
    let first = header + first.unwrap() as usize;
    content[first..first + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    let damaged = lab.write("damaged.safetensors", content);
    Run::of(export(&home).arg("--weights").arg(damaged)).expect(0);
    let manifest = lab.manifest(3);
    let extract = |precision: &str, slices: &str| {
        let mut command = lab.extract_command("manifest", &manifest);
        command.args(["--precision", precision, "--parity-slices", slices]);
        command.env("SLICEBANK_HOME", &home);
        Run::of(command.env("ORT_DYLIB_PATH", runtime()))
    };
    extract("fp32", "4").expect_error(2, &["tiny-vit@56", "NaN", "--weights"]);
    extract("fp32", "0").expect_error(2, &["cls_", "NaN"]);
    extract("int8", "0").expect_error(2, &["tiny-vit.safetensors", "NaN"]);
}
