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
        /// What the system says.
        source: io::Error,
    },
    /// `$SLICEBANK_HOME` is no folder.
    #[error("`{}`: `SLICEBANK_HOME` names no folder\nhint: create the folder, or unset the variable", shown(.0))]
    NoHome(PathBuf),
    /// ONNX Runtime is not installed.
    #[error(
        "ONNX Runtime's library was not found; searched: {searched}\nhint: run `scripts/install_onnxruntime`", searched = shown(searched)
    )]
    NoRuntime {
        /// Where it was looked for.
        searched: String,
    },
    /// ONNX Runtime cannot be loaded, or is too old.
    #[error("`{}`: {source}\nhint: run `scripts/install_onnxruntime`, and unset `ORT_DYLIB_PATH` if it is set", shown(path), source = shown(&source.to_string()))]
    RuntimeLoad {
        /// The library.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// ONNX Runtime cannot load the model.
    #[error("`{}`: {source}\nhint: {hint}", shown(path), source = shown(&source.to_string()))]
    ModelLoad {
        /// The ONNX file.
        path: PathBuf,
        /// What to do.
        hint: &'static str,
        /// What ONNX Runtime says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The graph is not what its card says.
    #[error("`{}`: the graph's `{name}` is {found}, expected {expected}\nhint: export the model again, or correct its card", shown(path), name = shown(name), found = shown(found), expected = shown(expected))]
    ModelOutput {
        /// The ONNX file.
        path: PathBuf,
        /// The input or output.
        name: String,
        /// What it is.
        found: String,
        /// What the card wants.
        expected: String,
    },
    /// The backbone failed on a batch.
    #[error("`{}`: {source}\nhint: {hint}", shown(path), source = shown(&source.to_string()))]
    Run {
        /// The ONNX file.
        path: PathBuf,
        /// What to do.
        hint: &'static str,
        /// What ONNX Runtime says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A run of the backbone took too long.
    #[error(
        "`{}`: the backbone took more than {seconds} s for {}, and was stopped\nhint: if the model or the machine is so slow, give a higher `--run-limit`, or 0 for none", shown(path), counted(*slices, "slice")
    )]
    TooSlow {
        /// The ONNX file.
        path: PathBuf,
        /// How many slices.
        slices: usize,
        /// The limit.
        seconds: u64,
    },
    /// A provider cannot run here.
    #[error(
        "the provider `{provider}` cannot run here: {source}\nhint: `libcuda` is NVIDIA's driver, `libnvinfer` and `libnvonnxparser` are TensorRT's; `scripts/install_onnxruntime --gpu` installs the rest; the GPU needs memory for the model (try a smaller `--batch-size`), a compute capability that ONNX Runtime was built for (7.5, 8.0, 8.6, 8.9, 9.0 and 12.0), and a number that exists (`--gpu`); `--provider cpu` needs none of it", source = shown(&source.to_string())
    )]
    Provider {
        /// The provider.
        provider: &'static str,
        /// What ONNX Runtime says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A provider does not compute so.
    #[error(
        "the provider `{provider}` does not compute in `{precision}`\nhint: `cpu` computes in `fp32`{}, `cuda` and `tensorrt` in `fp32` and `mixed16`",
        INT8
    )]
    Precision {
        /// The provider.
        provider: &'static str,
        /// The precision asked for.
        precision: &'static str,
    },
    /// TensorRT cannot be given so many weights.
    #[error(
        "`{model}`: its weights have {bytes} bytes in `{precision}`, expected at most 2147483647 for TensorRT, which is given them in one message of protobuf\nhint: give `--provider cuda`{}", if *precision == "fp32" { ", or `--precision mixed16`, which halves them" } else { "" }
    )]
    TensorrtSize {
        /// The model.
        model: String,
        /// The precision.
        precision: &'static str,
        /// Of the weights.
        bytes: u64,
    },
    /// The device gives other tokens than the processor in f32.
    #[error(
        "the parity gate: over {slices} slices, the smallest cosine of a token with that of the processor in fp32 is {cosine:.6}, expected at least {bound} (relative RMS without massive channels {relative_rms:.4})\nhint: choose another `--precision` or `--provider`, or, if that is near enough, a lower `--parity-bound`"
    )]
    Parity {
        /// How many slices were compared.
        slices: usize,
        /// The smallest cosine.
        cosine: f64,
        /// The bound.
        bound: f64,
        /// The largest relative root mean square of the difference.
        relative_rms: f64,
    },
    /// The processor in f32 gives tokens that are no numbers.
    #[error("`{}`: gives NaN or infinity on the processor in fp32\nhint: the weights are damaged, or not those that the card describes: give others to `extract export --weights FILE`", shown(.0))]
    NotFinite(PathBuf),
    /// A file is of no format of weights.
    #[error("`{}`: its name says no format of weights, expected one that ends with `.safetensors`, `.{known}`\nhint: give the file another name if it is one of these", shown(path), known = shown(known))]
    WeightsKind {
        /// The file.
        path: PathBuf,
        /// What can be converted.
        known: String,
    },
    /// A folder holds no weights, or more than one file of them.
    #[error("`{}`: found `{found}` in this folder, expected one file of weights\nhint: name the file itself", shown(path), found = shown(found))]
    WeightsFolder {
        /// The folder.
        path: PathBuf,
        /// The files in it that may hold weights.
        found: String,
    },
    /// None of the places that the card names has the weights.
    #[error(
        "`{name}`: its weights could not be had ({access}); tried in turn:{failures}\nhint: get them yourself, and give them to `extract export {name} --weights FILE`", name = shown(name), access = shown(access)
    )]
    NoWeights {
        /// The model.
        name: String,
        /// What the card says of who may have them.
        access: String,
        /// A line for each place.
        failures: String,
    },
    /// A file is another one than was to be had.
    #[error("`{}`: the sha256 is `{found}`, expected `{expected}`\nhint: the file is damaged or another one: get it again", shown(path), found = shown(found), expected = shown(expected))]
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
        /// What was asked for.
        url: String,
        /// What went wrong.
        what: String,
    },
    /// Another process downloads the same file.
    #[error(
        "`{}`: another process downloads this file\nhint: wait until it is done",
        shown(path)
    )]
    Downloading {
        /// What both would write.
        path: PathBuf,
    },
    /// The project's scripts are missing.
    #[error("`{}`: no such script\nhint: run `extract` in a checkout of the project, or set `SLICEBANK_HOME` to one", shown(.0))]
    NoScript(PathBuf),
    /// A script failed.
    #[error("`{}`: {reason}\nhint: see what it says above; the script can be run by itself", shown(path), reason = shown(reason))]
    Script {
        /// The script.
        path: PathBuf,
        /// How it ended.
        reason: String,
    },
    /// A model's graph is not to be had in this form.
    #[error(
        "`{name}`: there is no graph `{flavour}` of this model: only vision transformers that are built from a checkpoint have it\nhint: choose `--precision fp32` and the provider `cpu` or `cuda`", name = shown(name)
    )]
    NoFlavour {
        /// The model.
        name: String,
        /// The form.
        flavour: &'static str,
    },
}

/// What to do where the system's words do not say it. Models are kept in the project's folder, which
/// may belong to somebody else or lie on a disk of its own.
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
    /// A closure for `map_err` that says which file the system failed on.
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> ModelError {
        let path = path.to_path_buf();
        move |source| ModelError::Io { path, source }
    }
}
