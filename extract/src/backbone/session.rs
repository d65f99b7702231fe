//! Opening a graph with ONNX Runtime, and checking it against its card.

use std::env;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cache::{LayerShape, Tokens};
use onnx_models::ModelCard;
use ort::ErrorCode;
use ort::logging::{LogLevel, LoggerFunction};
use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::value::{TensorElementType, ValueType};

#[cfg(feature = "int8-attention")]
use super::attention::commit;
use super::device::{self, Device, Precision, Provider};
use super::{BackboneOptions, INPUT, Runtime, load_error, plan, provider_error, wrong_output};
use crate::ModelError;
use crate::export::Exported;

/// The graph and the options of a session.
#[derive(Clone, Copy)]
pub(super) struct SessionSpec<'a> {
    pub(super) runtime: &'a Runtime,
    pub(super) card: &'a ModelCard,
    pub(super) exported: &'a Exported,
    pub(super) options: &'a BackboneOptions,
    pub(super) threads: usize,
    /// Number of the GPU, if the device is one.
    pub(super) gpu: u32,
    /// Slices of a run.
    pub(super) run: usize,
}

impl SessionSpec<'_> {
    /// Opens a session; the second value is the number of the graph's operators that run on the CPU although a
    /// GPU was selected.
    ///
    /// # Errors
    ///
    /// [`ModelError::ModelLoad`], and [`ModelError::Provider`], also if an operator of a vision transformer
    /// would run on the CPU: GPUs have kernels for all of them.
    pub(super) fn open(self) -> Result<(Session, usize), ModelError> {
        let (device, file) = (self.options.device, &self.exported.path);
        if !device.provider.is_gpu() {
            let session = commit(self.builder()?, file, device.precision == Precision::Int8);
            return Ok((session.map_err(load_error(file))?, 0));
        }
        let mut strict = self
            .builder()?
            .with_disable_cpu_fallback()
            .map_err(load_error(file))?;
        match strict.commit_from_file(file) {
            Ok(session) => Ok((session, 0)),
            Err(error) if !error.to_string().contains(FALLBACK) => {
                Err(commit_error(device, file)(error))
            }
            Err(_) if self.card.vit.is_some() => Err(provider_error(
                device,
                "this ONNX Runtime has no kernels for some of the graph's operators: install the version that `scripts/install_onnxruntime --gpu` installs".into(),
            )),
            Err(_) => self.open_with_fallback(),
        }
    }

    /// Opens a session some of whose operators run on the CPU, and counts them.
    fn open_with_fallback(self) -> Result<(Session, usize), ModelError> {
        let (device, file) = (self.options.device, &self.exported.path);
        let open = |mut builder: SessionBuilder| {
            let session = builder.commit_from_file(file);
            session.map_err(commit_error(device, file))
        };
        let count = Arc::new(AtomicUsize::new(0));
        let counting = self
            .builder()?
            .with_logger(counter(&count))
            .map_err(load_error(file))?
            .with_log_level(LogLevel::Verbose)
            .map_err(load_error(file))?;
        drop(open(counting)?);
        Ok((open(self.builder()?)?, count.load(Ordering::Relaxed)))
    }

    /// A builder with all options, without the graph.
    fn builder(self) -> Result<SessionBuilder, ModelError> {
        let SessionSpec {
            runtime,
            exported,
            options,
            ..
        } = self;
        let device = options.device;
        let file = &exported.path;
        let engines = device::engines(&runtime.home, &exported.meta.sha256);
        if device.provider == Provider::Tensorrt {
            fs::create_dir_all(&engines).map_err(ModelError::io(&engines))?;
        }
        let providers = device.providers(self.gpu, self.run as u32, options.image_size, &engines);
        let builder = Session::builder(&runtime.environment)
            .map_err(load_error(file))?
            .with_execution_providers(providers)
            .map_err(|source| ModelError::Provider {
                provider: device.provider.name(),
                source: cause(&source.to_string()).into(),
            })?
            .with_optimization_level(GraphOptimizationLevel::All)
            .map_err(load_error(file))?
            .with_intra_threads(self.threads)
            .map_err(load_error(file))?
            .with_prepacking(self.card.parameters <= plan::MOST_PREPACKED)
            .map_err(load_error(file))?;
        match env::var_os("ORT_PROFILE").filter(|prefix| !prefix.is_empty()) {
            Some(prefix) => builder.with_profiling(prefix).map_err(load_error(file)),
            None => Ok(builder),
        }
    }
}

/// Part of ONNX Runtime's message if a node would run on the CPU although that is disabled.
const FALLBACK: &str = "fallback to CPU EP has been explicitly disabled";
/// Precedes, in ONNX Runtime's log, the number of nodes on the CPU.
const ON_CPU: &str = "placed on [CPUExecutionProvider]. Number of nodes: ";

/// A logger that stores the number of nodes on the CPU in `count`.
fn counter(count: &Arc<AtomicUsize>) -> LoggerFunction {
    let count = Arc::clone(count);
    Arc::new(move |_, _, _, _, message| {
        let number = message.split_once(ON_CPU);
        if let Some(number) = number.and_then(|(_, number)| number.trim().parse().ok()) {
            count.store(number, Ordering::Relaxed);
        }
    })
}

/// Opens the graph on the CPU.
#[cfg(not(feature = "int8-attention"))]
fn commit(mut builder: SessionBuilder, file: &Path, _is_int8: bool) -> ort::Result<Session> {
    builder.commit_from_file(file)
}

/// An error of opening a graph on a GPU: of the file if the graph cannot be read, else of the device.
fn commit_error(device: Device, file: &Path) -> impl Fn(ort::Error) -> ModelError {
    move |error| {
        let is_file = matches!(
            error.code(),
            ErrorCode::NoSuchFile
                | ErrorCode::NoModel
                | ErrorCode::InvalidProtobuf
                | ErrorCode::InvalidGraph
                | ErrorCode::InvalidArgument
        );
        if is_file {
            load_error(file)(error)
        } else {
            provider_error(device, error.into())
        }
    }
}

/// ONNX Runtime's message without the place in its source.
pub(super) fn cause(text: &str) -> &str {
    let cause = text.rsplit_once(" : FAIL : ");
    cause.map_or(text, |(_, cause)| cause).trim()
}

/// Kind of the outputs with tokens of single positions.
pub(super) fn of_positions(tokens: Tokens) -> Option<&'static str> {
    match tokens {
        Tokens::Cls => None,
        Tokens::All => Some("patch"),
        Tokens::Residual => Some("residual"),
    }
}

/// Names of the outputs that are needed.
pub(super) fn outputs(options: &BackboneOptions) -> Vec<String> {
    let mut kinds = vec!["cls", "mean"];
    kinds.extend(of_positions(options.tokens));
    let layers = 1..=options.layers;
    layers
        .flat_map(|layer| kinds.iter().map(move |kind| format!("{kind}_{layer}")))
        .collect()
}

/// Checks the graph's inputs and outputs, and returns the shape of each layer's tokens, the last block last.
/// Outputs must be f32 or f16 with a free first axis. The widths of a layer's outputs must agree, grids must be
/// squares, and the last block must have the card's width and grid.
pub(super) fn check(
    session: &Session,
    file: &Path,
    card: &ModelCard,
    options: &BackboneOptions,
) -> Result<Vec<LayerShape>, ModelError> {
    let size = i64::from(options.image_size);
    let grid = card.grid(options.image_size)?;
    let inputs = session.inputs().iter();
    let inputs: Vec<_> = inputs.map(|input| (input.name(), input.dtype())).collect();
    let pixels = [Some(3), Some(size), Some(size)];
    tensor(file, INPUT, &inputs, &pixels)?;
    let outputs = session.outputs().iter();
    let outputs: Vec<_> = outputs
        .map(|output| (output.name(), output.dtype()))
        .collect();
    let layers = (1..=options.layers).rev();
    layers
        .map(|layer| {
            let last = layer == 1;
            let width = Some(i64::from(card.width)).filter(|_| last);
            let cls = tensor(file, &format!("cls_{layer}"), &outputs, &[width])?[0];
            let mean = tensor(file, &format!("mean_{layer}"), &outputs, &[None])?[0];
            let patch = format!("patch_{layer}");
            let patches = tensor(file, &patch, &outputs, &[None, Some(mean)])?[0];
            let side = patches.isqrt();
            if side * side != patches {
                let found = format!("{patches} patches");
                return Err(wrong_output(file, &patch, &found, "a square grid of them"));
            }
            let expected = i64::from(grid[0]);
            if last && side != expected {
                let found = format!("a grid of {side} x {side} patches");
                let expected = format!("{expected} x {expected}, as `patch_size` says");
                return Err(wrong_output(file, &patch, &found, &expected));
            }
            let [cls, patch, side] = [cls, mean, side].map(|n| u32::try_from(n).unwrap_or(0));
            Ok(LayerShape {
                cls,
                patch,
                grid: [side, side],
            })
        })
        .collect()
}

/// Checks the outputs `residual_K`, and returns the number of tokens before the patches; 0 if they are not needed.
pub(super) fn first_tokens(
    session: &Session,
    file: &Path,
    options: &BackboneOptions,
    shapes: &[LayerShape],
) -> Result<u32, ModelError> {
    if options.tokens != Tokens::Residual {
        return Ok(0);
    }
    let outputs = session.outputs().iter();
    let outputs: Vec<_> = outputs
        .map(|output| (output.name(), output.dtype()))
        .collect();
    let mut first = None;
    for (layer, shape) in (1..=options.layers).rev().zip(shapes) {
        let name = format!("residual_{layer}");
        let width = Some(i64::from(shape.patch));
        let tokens = tensor(file, &name, &outputs, &[None, width])?[0];
        let found = u32::try_from(tokens - shape.patches() as i64);
        let found = found
            .ok()
            .filter(|found| first.is_none_or(|first| first == *found));
        let wrong = || {
            let expected = "CLS, registers and all patches, as many in each layer";
            wrong_output(file, &name, &format!("{tokens} tokens"), expected)
        };
        first = Some(found.ok_or_else(wrong)?);
    }
    Ok(first.unwrap_or(0))
}

/// Checks the input or output `name`, and returns the lengths of its axes after the batch; `None` in `expected`
/// is any length.
fn tensor(
    file: &Path,
    name: &str,
    values: &[(&str, &ValueType)],
    expected: &[Option<i64>],
) -> Result<Vec<i64>, ModelError> {
    let axes = expected
        .iter()
        .map(|axis| axis.map_or("any".to_string(), |n| n.to_string()));
    let wanted = format!("f32 [batch, {}]", axes.collect::<Vec<_>>().join(", "));
    let found = values.iter().find(|value| value.0 == name);
    match found.map(|value| value.1) {
        None => Err(wrong_output(file, name, "missing", &wanted)),
        Some(ValueType::Tensor { ty, shape, .. }) => {
            let kind = if name == INPUT {
                *ty == TensorElementType::Float32
            } else {
                matches!(ty, TensorElementType::Float32 | TensorElementType::Float16)
            };
            let fits = kind
                && shape.len() == expected.len() + 1
                && shape[0] == -1
                && shape[1..]
                    .iter()
                    .zip(expected)
                    .all(|(&n, axis)| n > 0 && axis.is_none_or(|axis| axis == n));
            if fits {
                Ok(shape[1..].to_vec())
            } else {
                let shape: Vec<_> = shape.iter().map(i64::to_string).collect();
                let found = format!("{ty:?} [{}]", shape.join(", "));
                Err(wrong_output(file, name, &found, &wanted))
            }
        }
        Some(other) => Err(wrong_output(file, name, &format!("{other:?}"), &wanted)),
    }
}

#[cfg(test)]
mod tests {
    use super::cause;

    #[test]
    fn the_cause_of_a_failure_is_what_follows_its_place_in_the_source() {
        let text =
            "/onnxruntime_src/a.cc:2043 Get() [ONNXRuntimeError] : 1 : FAIL : no libcuda.so.1\n";
        assert_eq!(cause(text), "no libcuda.so.1");
        assert_eq!(cause("built without it"), "built without it");
    }
}
