//! ONNX Runtime's library, and graphs that it cannot load, cannot hold or never finishes.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::lab::{Lab, Run, program, project, runtime};
use crate::models::{extract_own, models};

#[test]
fn a_library_that_was_cut_short_is_refused_before_it_is_loaded() {
    let lab = Lab::new();
    let whole = fs::read(runtime()).unwrap();
    let manifest = lab.manifest(3);
    for length in [whole.len() / 2, whole.len() - 1] {
        let library = lab.write("libonnxruntime.so.1", &whole[..length]);
        let mut command = lab.extract_command("manifest", &manifest);
        Run::of(command.env("ORT_DYLIB_PATH", library)).expect_error(
            2,
            &["libonnxruntime.so.1", "cut short", "install_onnxruntime"],
        );
    }
}

/// A graph whose tokens wait for a loop of 2^62 rounds (argument `loop`) or for 2^48 bytes
/// (`memory`), or that is of a version of ONNX to come (`version`).
const GRAPH: &str = r#"
import sys
import numpy as np
from onnx import TensorProto, helper, numpy_helper

out, kind = sys.argv[1:]
whole = lambda name, values: numpy_helper.from_array(np.array(values, np.int64), name)
kernel = numpy_helper.from_array(np.full((32, 3, 14, 14), 0.1, np.float32), "w")
constants = [kernel, whole("shape", [0, 32, 16]), whole("one", [1])]
value = lambda name, *shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
nodes = [
    helper.make_node("Conv", ["pixels", "w"], ["map"], strides=[14, 14]),
    helper.make_node("Reshape", ["map", "shape"], ["rows"]),
    helper.make_node("Transpose", ["rows"], ["patch_1"], perm=[0, 2, 1]),
    helper.make_node("ReduceMean", ["patch_1", "one"], ["mean_1"], keepdims=0),
]
if kind == "loop":
    constants += [whole("rounds", 2**62), numpy_helper.from_array(np.array(True), "go")]
    inputs = [
        helper.make_tensor_value_info("round", TensorProto.INT64, []),
        helper.make_tensor_value_info("before", TensorProto.BOOL, []),
        value("x", "batch", 32),
    ]
    outputs = [helper.make_tensor_value_info("after", TensorProto.BOOL, []), value("y", "batch", 32)]
    steps = [
        helper.make_node("Identity", ["before"], ["after"]),
        helper.make_node("Sin", ["x"], ["y"]),
    ]
    body = helper.make_graph(steps, "body", inputs, outputs)
    nodes.append(helper.make_node("Loop", ["rounds", "go", "mean_1"], ["cls_1"], body=body))
elif kind == "memory":
    constants.append(whole("many", [2**46]))
    nodes += [
        helper.make_node("Shape", ["mean_1"], ["axes"]),
        helper.make_node("Max", ["axes", "many"], ["huge"]),
        helper.make_node("ReduceMax", ["huge"], ["length"], keepdims=1),
        helper.make_node("ConstantOfShape", ["length"], ["zeros"]),
        helper.make_node("ReduceSum", ["zeros"], ["zero"], keepdims=0),
        helper.make_node("Add", ["mean_1", "zero"], ["cls_1"]),
    ]
else:
    nodes.append(helper.make_node("Identity", ["mean_1"], ["cls_1"]))
outputs = [value("cls_1", "batch", 32), value("mean_1", "batch", 32), value("patch_1", "batch", 16, 32)]
graph = helper.make_graph(nodes, "graph", [value("pixels", "batch", 3, 56, 56)], outputs, constants)
version = 99 if kind == "version" else 9
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=version)
open(out, "wb").write(model.SerializeToString())
"#;

fn graph(lab: &Lab, kind: &str) -> [PathBuf; 2] {
    let onnx = lab.write("own/graph.onnx", "");
    let mut command = Command::new(project().join(".venv-test/bin/python"));
    Run::of(command.args(["-c", GRAPH]).arg(&onnx).arg(kind)).expect(0);
    let card = fs::read_to_string(models().join("tiny-vit.toml")).unwrap();
    let card = card[..card.find("[[source]]").unwrap()].replace("layers = 5", "layers = 1");
    let card = card.replace("name = \"tiny-vit\"", "name = \"mine\"");
    [onnx, lab.write("mine.toml", card)]
}

#[test]
fn a_graph_that_never_ends_is_stopped() {
    let lab = Lab::new();
    extract_own(&lab, &graph(&lab, "loop"), &["--run-limit", "1"]).expect_error(
        2,
        &["graph.onnx", "more than 1 s for 3 slices", "--run-limit"],
    );
}

#[test]
fn memory_that_cannot_be_had_and_versions_to_come_are_no_damage() {
    let lab = Lab::new();
    extract_own(&lab, &graph(&lab, "memory"), &[])
        .expect_error(2, &["graph.onnx", "memory ran out", "--batch-size"]);
    extract_own(&lab, &graph(&lab, "version"), &[])
        .expect_error(2, &["graph.onnx", "IR version", "newer version of ONNX"]);
}

#[test]
fn more_threads_than_cores_are_warned_of_and_do_not_compute() {
    let lab = Lab::new();
    let manifest = lab.manifest(3);
    let run = lab
        .extract("manifest", &manifest, &["--threads", "1000"])
        .expect(0);
    assert!(run.stderr.contains("warning: 1000 threads"), "{run:?}");
    let run = lab
        .extract("manifest", &manifest, &["--threads", "1"])
        .expect(0);
    assert!(!run.stderr.contains("warning"), "{run:?}");
}

/// As where nothing can be written: not even the file that keeps others out.
#[test]
fn a_finished_cache_is_said_to_be_complete_without_a_write() {
    let lab = Lab::new();
    let manifest = lab.manifest(3);
    lab.extract("manifest", &manifest, &[]).expect(0);
    let lock = lab.cache().join(".lock");
    fs::remove_file(&lock).unwrap();
    let run = lab.extract("manifest", &manifest, &[]).expect(0);
    assert!(run.stderr.contains("already complete"), "{run:?}");
    assert!(!lock.exists());
}

#[test]
fn what_onnx_runtime_logs_is_plain_and_only_what_was_asked_for() {
    let lab = Lab::new();
    let manifest = lab.manifest(3);
    let run = |level: Option<&str>| {
        let mut command = lab.extract_command("manifest", &manifest);
        command.args(["--provider", "cpu"]).env_remove("ORT_LOG");
        command.envs(level.map(|level| ("ORT_LOG", level)));
        let run = Run::of(&mut command).expect(0);
        fs::remove_dir_all(lab.path("cache")).unwrap();
        run.stderr
    };
    assert!(!run(None).contains("onnxruntime:"));
    let log = run(Some("info"));
    assert!(log.contains("onnxruntime: Info: "), "{log}");
    assert!(!log.contains('\u{1b}'), "{log}");
}

#[test]
fn a_model_s_name_with_a_slip_is_recognised() {
    let mut command = program("extract");
    let run = Run::of(command.args(["models", "dinov2-s41"]));
    run.expect_error(2, &["dinov2-s41", "dinov2-s14", "vgg19"]);
}
