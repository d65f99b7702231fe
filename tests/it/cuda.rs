//! `extract --provider cuda` by ONNX Runtime's real GPU library, with stand-ins for CUDA's libraries.
//!
//! Kernels of the stand-ins do nothing, so tokens are compared for graphs that only copy.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use cache::CacheReader;

use crate::lab::{Lab, Run, program, project};

/// Slices of the dataset: two full batches of 8 and one that is not.
const SLICES: u32 = 20;

/// A graph whose tokens are its pixels: `[B, 3, 14, 14]` as `[B, 588]`. With the argument `kernel`,
/// `cls_1` is the sum of two, which takes a kernel.
const COPIES: &str = r#"
import sys
import numpy as np
from onnx import TensorProto, helper, numpy_helper

out, kind = sys.argv[1:]
whole = lambda name, values: numpy_helper.from_array(np.array(values, np.int64), name)
constants = [whole("row", [0, 588]), whole("patch", [0, 1, 588])]
reshape = lambda shape, to: helper.make_node("Reshape", ["pixels", shape], [to])
nodes = [reshape("row", "mean_1"), reshape("patch", "patch_1")]
if kind == "kernel":
    nodes += [reshape("row", "half"), helper.make_node("Add", ["half", "half"], ["cls_1"])]
else:
    nodes.append(reshape("row", "cls_1"))
value = lambda name, *shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shape])
outputs = [value("cls_1", 588), value("mean_1", 588), value("patch_1", 1, 588)]
graph = helper.make_graph(nodes, "copies", [value("pixels", 3, 14, 14)], outputs, constants)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
open(out, "wb").write(model.SerializeToString())
"#;

/// A model of one's own, and a dataset for it.
struct Copies {
    lab: Lab,
    onnx: PathBuf,
    card: PathBuf,
}

impl Copies {
    fn new(kind: &str) -> Copies {
        let lab = Lab::new();
        lab.manifest(SLICES);
        let onnx = lab.write("copies.onnx", "");
        let python = project().join(".venv-test/bin/python");
        Run::of(
            Command::new(python)
                .args(["-c", COPIES])
                .arg(&onnx)
                .arg(kind),
        )
        .expect(0);
        let card = fs::read_to_string(project().join("onnx_models/tiny-vit.toml")).unwrap();
        let card = card[..card.find("[[source]]").unwrap()]
            .replace("name = \"tiny-vit\"", "name = \"copies\"")
            .replace("width = 32", "width = 588")
            .replace("image_size = 56", "image_size = 14")
            .replace("layers = 5", "layers = 1");
        let card = lab.write("copies.toml", card);
        Copies { lab, onnx, card }
    }

    /// The command that extracts by a provider into the folder `into`, with the stand-ins at `libraries`.
    fn extract(&self, provider: &str, into: &str, libraries: &Path) -> Command {
        let mut command = program("extract");
        command
            .arg("--onnx")
            .arg(&self.onnx)
            .arg("--card")
            .arg(&self.card)
            .args(["--name", "images", "--dataset", "manifest", "--root"])
            .arg(self.lab.path("images.csv"))
            .arg("--cache")
            .arg(self.lab.path(into))
            .args(["--tokens", "all", "--provider", provider])
            .env("ORT_DYLIB_PATH", libraries.join("libonnxruntime.so.1.31.1"))
            .env("LD_LIBRARY_PATH", libraries);
        command
    }

    fn reader(&self, cache: &str) -> CacheReader {
        CacheReader::open(&self.lab.path(cache).join("images/copies@14")).unwrap()
    }
}

fn stand_in() -> PathBuf {
    let folder = project().join("runtime/cuda-stand-in");
    let what =
        "runtime/cuda-stand-in is missing: run the tests with `scripts/test`, which makes it";
    assert!(folder.is_dir(), "{what}");
    fs::canonicalize(folder).unwrap()
}

#[test]
fn every_batch_passes_through_a_gpu_in_order() {
    let copies = Copies::new("copy");
    let trace = copies.lab.path("trace");
    Run::of(&mut copies.extract("cpu", "cpu", &stand_in())).expect(0);
    let mut cuda = copies.extract("cuda", "cuda", &stand_in());
    Run::of(cuda.env("STAND_IN_TRACE", &trace)).expect(0);

    let (cpu, cuda) = (copies.reader("cpu"), copies.reader("cuda"));
    assert_eq!(cuda.meta().provider, "cuda");
    assert_eq!(cuda.meta().rows, u64::from(SLICES));
    assert_eq!(cuda.cls(1).unwrap(), cpu.cls(1).unwrap());
    assert_eq!(cuda.mean(1).unwrap(), cpu.mean(1).unwrap());

    // cudaMemcpyHostToDevice: the parity gate's batch and those of the run.
    let pixels = 8 * 3 * 14 * 14 * size_of::<f32>();
    let trace = fs::read_to_string(trace).unwrap();
    let copied = trace
        .lines()
        .filter(|line| *line == format!("copy {pixels} 1"));
    assert!(copied.count() >= SLICES.div_ceil(8) as usize, "{trace}");
}

#[test]
fn the_gpu_that_is_asked_for_computes() {
    let copies = Copies::new("copy");
    let second = |gpus: &str, into: &str| {
        let mut command = copies.extract("cuda", into, &stand_in());
        Run::of(command.args(["--gpu", "1"]).env("STAND_IN_GPUS", gpus))
    };
    second("2", "two").expect(0);
    assert_eq!(copies.reader("two").meta().rows, u64::from(SLICES));
    second("1", "one").expect_error(2, &["cuda", "--gpu"]);
}

/// Whatever keeps a GPU from running, `cuda` says and `auto` computes on the processor.
#[track_caller]
fn falls_back(copies: &Copies, libraries: &Path, environment: (&str, &str), reason: &str) {
    let run = |provider| {
        let mut command = copies.extract(provider, provider, libraries);
        Run::of(command.env(environment.0, environment.1))
    };
    let asked = run("cuda").expect_error(2, &["cuda", reason, "--provider cpu"]);
    assert!(!asked.stderr.contains("damaged"), "{asked:#?}");
    let found = run("auto").expect(0);
    assert!(found.stderr.contains("computing on cpu"), "{found:#?}");
    assert_eq!(copies.reader("auto").meta().provider, "cpu");
}

#[test]
fn without_a_gpu_the_processor_computes() {
    falls_back(
        &Copies::new("copy"),
        &stand_in(),
        ("STAND_IN_GPUS", "0"),
        "no CUDA-capable device",
    );
}

#[test]
fn a_gpu_with_too_little_memory_leaves_it_to_the_processor() {
    falls_back(
        &Copies::new("copy"),
        &stand_in(),
        ("STAND_IN_MEMORY_MB", "0"),
        "Failed to allocate memory",
    );
}

#[test]
fn a_gpu_that_the_runtime_has_no_kernels_for_leaves_it_to_the_processor() {
    let copies = Copies::new("kernel");
    falls_back(
        &copies,
        &stand_in(),
        ("STAND_IN_CAPABILITY", "70"),
        "no kernel image",
    );
}

#[test]
fn a_missing_library_is_named() {
    let copies = Copies::new("copy");
    let libraries = copies.lab.path("libraries");
    fs::create_dir(&libraries).unwrap();
    for file in fs::read_dir(stand_in())
        .unwrap()
        .map(|entry| entry.unwrap().path())
    {
        let name = file.file_name().unwrap();
        if name != "libcublasLt.so.13" {
            symlink(&file, libraries.join(name)).unwrap();
        }
    }
    falls_back(
        &copies,
        &libraries,
        ("STAND_IN_GPUS", "1"),
        "libcublasLt.so.13",
    );
}
