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

/// The session, and how many of the graph's operators compute on the processor though a GPU is asked for.
///
/// # Errors
///
/// [`ModelError::ModelLoad`], and [`ModelError::Provider`] also if one of the operators of a vision
/// transformer would compute on the processor, which has kernels for all on a GPU.
pub(super) fn open(
    runtime: &Runtime,
    card: &ModelCard,
    exported: &Exported,
    options: &BackboneOptions,
    threads: usize,
    gpu: u32,
) -> Result<(Session, usize), ModelError> {
    let (device, file) = (options.device, &exported.path);
    let builder = || builder(runtime, card, exported, options, threads, gpu);
    let failed = |error: ort::Error<SessionBuilder>| load_error(file)(error.into());
    let open = |mut builder: SessionBuilder| {
        builder
            .commit_from_file(file)
            .map_err(commit_error(device, file))
    };
    if !device.provider.is_gpu() {
        let session = commit(builder()?, file, device.precision == Precision::Int8);
        return Ok((session.map_err(load_error(file))?, 0));
    }
    let mut strict = builder()?.with_disable_cpu_fallback().map_err(failed)?;
    match strict.commit_from_file(file) {
        Ok(session) => Ok((session, 0)),
        Err(error) if !error.to_string().contains(FALLBACK) => {
            Err(commit_error(device, file)(error))
        }
        Err(_) if card.vit.is_some() => Err(provider_error(
            device,
            "this ONNX Runtime has no kernels for some of the graph's operators: install the version that `scripts/install_onnxruntime --gpu` installs".into(),
        )),
        Err(_) => {
            let count = Arc::new(AtomicUsize::new(0));
            let counting = builder()?
                .with_logger(counter(&count))
                .map_err(failed)?
                .with_log_level(LogLevel::Verbose)
                .map_err(failed)?;
            drop(open(counting)?);
            Ok((open(builder()?)?, count.load(Ordering::Relaxed)))
        }
    }
}

/// What ONNX Runtime says where a node would compute on the processor and must not.
const FALLBACK: &str = "fallback to CPU EP has been explicitly disabled";
/// Precedes, in its log, the number of the nodes that do.
const ON_PROCESSOR: &str = "placed on [CPUExecutionProvider]. Number of nodes: ";

/// A logger that puts the number of nodes on the processor into `count`.
fn counter(count: &Arc<AtomicUsize>) -> LoggerFunction {
    let count = Arc::clone(count);
    Arc::new(move |_, _, _, _, message| {
        let number = message.split_once(ON_PROCESSOR);
        if let Some(number) = number.and_then(|(_, number)| number.trim().parse().ok()) {
            count.store(number, Ordering::Relaxed);
        }
    })
}

/// All that a session is opened with but the graph.
fn builder(
    runtime: &Runtime,
    card: &ModelCard,
    exported: &Exported,
    options: &BackboneOptions,
    threads: usize,
    gpu: u32,
) -> Result<SessionBuilder, ModelError> {
    let device = options.device;
    let file = &exported.path;
    let failed = |error: ort::Error<SessionBuilder>| load_error(file)(error.into());
    let engines = device::engines(&runtime.home, &exported.meta.sha256);
    if device.provider == Provider::Tensorrt {
        fs::create_dir_all(&engines).map_err(ModelError::io(&engines))?;
    }
    let providers = device.providers(gpu, options.batch_size, options.image_size, &engines);
    let builder = Session::builder(&runtime.environment)
        .map_err(load_error(file))?
        .with_execution_providers(providers)
        .map_err(|source| ModelError::Provider {
            provider: device.provider.name(),
            source: cause(&source.to_string()).into(),
        })?
        .with_optimization_level(GraphOptimizationLevel::All)
        .map_err(failed)?
        .with_intra_threads(threads)
        .map_err(failed)?
        .with_prepacking(card.parameters <= plan::MOST_PREPACKED)
        .map_err(failed)?;
    match env::var_os("ORT_PROFILE").filter(|prefix| !prefix.is_empty()) {
        Some(prefix) => builder.with_profiling(prefix).map_err(failed),
        None => Ok(builder),
    }
}

/// Opens the graph on the CPU.
#[cfg(not(feature = "int8-attention"))]
fn commit(mut builder: SessionBuilder, file: &Path, _is_int8: bool) -> ort::Result<Session> {
    builder.commit_from_file(file)
}

/// On a GPU, a graph that cannot be read is the file's fault, and all else is the device's.
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

/// What ONNX Runtime says without where in its source it says so.
pub(super) fn cause(text: &str) -> &str {
    let cause = text.rsplit_once(" : FAIL : ");
    cause.map_or(text, |(_, cause)| cause).trim()
}

/// The names of the outputs that are asked for.
pub(super) fn outputs(options: &BackboneOptions) -> Vec<String> {
    let mut kinds = vec!["cls", "mean"];
    if options.tokens == Tokens::All {
        kinds.push("patch");
    }
    let layers = 1..=options.layers;
    layers
        .flat_map(|layer| kinds.iter().map(move |kind| format!("{kind}_{layer}")))
        .collect()
}

/// The shape of each layer's tokens, oldest first, once all inputs and outputs are what they should
/// be: f32 or f16, only their first axis of any length, widths that agree with one another and, for
/// the last block, widths and grid as the card says; grids are squares.
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

/// The lengths of a graph's tensor but the first, which must be the batch's, `expected` where that
/// says a length.
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
