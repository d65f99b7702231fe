//! `extract --provider cuda` by ONNX Runtime's real GPU library, with stand-ins for CUDA's libraries.
//!
//! Kernels of the stand-ins do nothing, so tokens are compared for graphs that only copy.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use cache::CacheReader;

use crate::graphs;
use crate::lab::{Lab, Run, program, project, unfinished};

/// Slices of the dataset: two full batches of 8 and one that is not.
const SLICES: u32 = 20;

/// Bytes of the pixels of a batch, and as many of each kind of tokens.
const BATCH_BYTES: usize = 8 * 3 * 14 * 14 * size_of::<f32>();

/// A model of one's own, and a dataset for it.
pub struct Copies {
    lab: Lab,
    onnx: PathBuf,
    pub card: PathBuf,
}

impl Copies {
    pub fn new(kind: &str) -> Copies {
        Copies::of_side(kind, 14)
    }

    fn of_side(kind: &str, side: u32) -> Copies {
        let lab = Lab::new();
        lab.manifest(SLICES);
        let onnx = graphs::write(&lab, "copies.onnx", &[kind, &side.to_string()]);
        let card = graphs::card(
            "copies",
            &[
                ("width = 32", &format!("width = {}", 3 * side * side)),
                ("patch_size = 14", &format!("patch_size = {side}")),
                ("image_size = 56", &format!("image_size = {side}")),
                ("layers = 5", "layers = 1"),
            ],
        );
        let card = lab.write("copies.toml", card);
        Copies { lab, onnx, card }
    }

    /// The command that extracts in batches of 8 by a provider into the folder `into`, with the stand-ins
    /// at `libraries`.
    pub fn extract(&self, provider: &str, into: &str, libraries: &Path) -> Command {
        let mut command = self.extract_in_any_batches(provider, into, libraries);
        command.args(["--batch-size", "8"]);
        command
    }

    fn extract_in_any_batches(&self, provider: &str, into: &str, libraries: &Path) -> Command {
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

    fn reader(&self, into: &str) -> CacheReader {
        CacheReader::open(&self.cache(into)).unwrap()
    }

    fn cache(&self, into: &str) -> PathBuf {
        let caches = CacheReader::find(&self.lab.path(into)).unwrap();
        assert_eq!(caches.len(), 1, "{caches:?}");
        caches[0].clone()
    }

    /// The bytes of all tables.
    fn tables(&self, into: &str) -> Vec<Vec<u8>> {
        let tables = ["slices", "cls", "mean", "patch"];
        let file = |table| self.cache(into).join(table).join("00000.parquet");
        tables.map(|table| fs::read(file(table)).unwrap()).into()
    }
}

pub fn stand_in() -> PathBuf {
    let folder = project().join("runtime/cuda-stand-in");
    let what =
        "runtime/cuda-stand-in is missing: run the tests with `scripts/test`, which makes it";
    assert!(folder.is_dir(), "{what}");
    fs::canonicalize(folder).unwrap()
}

#[test]
fn every_batch_passes_through_a_gpu_in_order() {
    let copies = Copies::new("copy");
    Run::of(&mut copies.extract("cpu", "cpu", &stand_in())).expect(0);
    Run::of(&mut copies.extract("cuda", "cuda", &stand_in())).expect(0);

    let (cpu, cuda) = (copies.reader("cpu"), copies.reader("cuda"));
    assert_eq!(cuda.meta().provider, "cuda");
    assert_eq!(cuda.meta().rows, u64::from(SLICES));
    assert_eq!(cuda.cls(1).unwrap(), cpu.cls(1).unwrap());
    assert_eq!(cuda.mean(1).unwrap(), cpu.mean(1).unwrap());

    assert_eq!(cuda.slices().unwrap(), cpu.slices().unwrap());
    let patch = |reader: &CacheReader| reader.patch(1, 0).unwrap();
    assert_eq!(patch(&cuda), patch(&cpu));
}

#[test]
fn each_batch_is_copied_to_the_gpu_once_and_its_tokens_once_back() {
    let copies = Copies::new("copy");
    let trace = copies.lab.path("trace");
    let mut cuda = copies.extract("cuda", "cuda", &stand_in());
    cuda.args(["--parity-slices", "0"]);
    Run::of(cuda.env("STAND_IN_TRACE", &trace)).expect(0);

    let trace = fs::read_to_string(trace).unwrap();
    // 1 is cudaMemcpyHostToDevice, 2 cudaMemcpyDeviceToHost.
    let copied = |kind: &str| -> Vec<usize> {
        let lines = trace
            .lines()
            .map(|line| line.split(' ').collect::<Vec<_>>());
        let of_kind = lines.filter(|words| words[0] == "copy" && words[2] == kind);
        of_kind.map(|words| words[1].parse().unwrap()).collect()
    };
    // The two slices that are tried first are a batch each. Tokens are CLS tokens, means and patches.
    let batches = 2 + SLICES.div_ceil(8) as usize;
    assert_eq!(copied("1"), vec![BATCH_BYTES; batches], "{trace}");
    assert_eq!(copied("2"), vec![BATCH_BYTES; 3 * batches], "{trace}");
}

#[test]
fn tokens_that_a_graph_gives_in_half_precision_are_kept_as_they_are() {
    let extract = |kind| {
        let copies = Copies::new(kind);
        Run::of(&mut copies.extract("cpu", "cpu", &stand_in())).expect(0);
        // Files name the model.
        let reader = copies.reader("cpu");
        let tokens = (reader.cls(1).unwrap(), reader.mean(1).unwrap());
        (tokens, reader.patch(1, 0).unwrap())
    };
    assert_eq!(extract("half"), extract("copy"));
}

#[test]
fn a_cache_does_not_depend_on_the_number_of_gpus() {
    let copies = Copies::new("copy");
    let all = |gpus: &str| {
        let mut command = copies.extract("cuda", gpus, &stand_in());
        command.args(["--gpu", "all"]).env("STAND_IN_GPUS", gpus);
        let run = Run::of(&mut command).expect(0);
        let said = format!("computing on cuda, {gpus} GPU");
        assert!(run.stderr.contains(&said), "{run:#?}");
        copies.tables(gpus)
    };
    let one = all("1");
    assert_eq!(all("2"), one);
    assert_eq!(all("3"), one);
}

#[test]
fn batches_are_halved_once_where_a_gpu_has_too_little_memory_for_them() {
    let copies = Copies::of_side("copy", 112);
    let extract = |into: &str, memory: &str| {
        let mut command = copies.extract_in_any_batches("cuda", into, &stand_in());
        Run::of(command.env("STAND_IN_MEMORY_MB", memory))
    };
    let batch = |into: &str| copies.reader(into).meta().batch_size;
    extract("enough", "1000").expect(0);
    assert_eq!(batch("enough"), 256);
    let halved = extract("less", "120").expect(0);
    let said = "too little memory for batches of 256: using 128";
    assert!(halved.stderr.contains(said), "{halved:#?}");
    assert_eq!(batch("less"), 128);
    assert_eq!(
        copies.reader("less").patch(1, 0).unwrap(),
        copies.reader("enough").patch(1, 0).unwrap()
    );
    extract("little", "30").expect_error(2, &["Failed to allocate memory", "--batch-size"]);

    // A cache that was begun in larger batches is finished in their halves, with a warning.
    unfinished(&copies.cache("enough"));
    let halved = extract("enough", "120").expect(0);
    assert!(
        halved.stderr.contains("warning: out of memory"),
        "{halved:#?}"
    );
    assert_eq!(batch("enough"), 256);

    // A cache that was begun in smaller batches is finished in them.
    unfinished(&copies.cache("less"));
    extract("less", "1000").expect(0);
    assert_eq!(batch("less"), 128);
}

#[test]
fn memory_that_runs_out_in_the_middle_halves_the_batches_that_follow() {
    let copies = Copies::new("copy");
    let mut whole = copies.extract("cuda", "whole", &stand_in());
    // The files name the parity, which depends on the batch.
    Run::of(whole.args(["--parity-slices", "0"])).expect(0);
    let mut command = copies.extract("cuda", "halved", &stand_in());
    // Two slices are tried before the first batch.
    command.env("STAND_IN_FULL_AT", "4");
    let run = Run::of(command.args(["--parity-slices", "0"])).expect(0);
    assert!(run.stderr.contains("warning: out of memory"), "{run:#?}");
    assert!(run.stdout.contains("12 slices in"), "{run:#?}");
    assert_eq!(copies.tables("halved"), copies.tables("whole"));
}

/// TensorRT finds an engine by the names in a graph, which are the same for other weights.
#[test]
fn engines_of_other_weights_are_in_another_folder() {
    let folder = |kind| {
        let copies = Copies::new(kind);
        fs::create_dir(copies.lab.path("onnx_models")).unwrap();
        let mut command = copies.extract("tensorrt", "tensorrt", &stand_in());
        let home = copies.lab.path("");
        let asked = Run::of(command.env("SLICEBANK_HOME", &home));
        asked.expect_error(2, &["tensorrt", "libnvinfer"]);
        let engines = fs::read_dir(home.join("runtime/tensorrt-engines")).unwrap();
        let names: Vec<_> = engines.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names.len(), 1, "{names:?}");
        names[0].clone()
    };
    assert_eq!(folder("copy"), folder("copy"));
    assert_ne!(folder("copy"), folder("kernel"));
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
