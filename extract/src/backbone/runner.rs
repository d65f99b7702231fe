//! One session and its results.

use std::marker::PhantomData;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cache::{LayerShape, Numbers, PatchTokens, TokenBatch, Tokens};
use half::f16;
use half::slice::HalfFloatSliceExt;
use ndarray::{Array2, Array4};
use ort::session::{Session, SessionOutputs};
use ort::value::{DynValue, PrimitiveTensorElementType};

use super::binding::{self, Bindings, Bound, Outputs};
use super::device::Provider;
use super::session::{self, SessionSpec};
use super::{load_error, provider_error, run_error, wrong_output};
use crate::ModelError;

/// A session for one run at a time.
pub(super) struct Runner {
    pub(super) session: Session,
    pub(super) bindings: Arc<Bindings>,
    outputs: Outputs,
    pub(super) shapes: Vec<LayerShape>,
    /// Tokens before the patches in residual tokens.
    pub(super) first_tokens: u32,
    /// Number of operators that run on the CPU although a GPU was selected.
    pub(super) on_cpu: usize,
}

impl Runner {
    /// Opens a session, and checks its graph.
    pub(super) fn open(spec: SessionSpec<'_>) -> Result<Runner, ModelError> {
        let SessionSpec {
            card,
            exported,
            options,
            gpu,
            run,
            ..
        } = spec;
        let file = &exported.path;
        let (session, on_cpu) = spec.open()?;
        let shapes = session::check(&session, file, card, options)?;
        let first_tokens = session::first_tokens(&session, file, options, &shapes)?;
        let device = options.device;
        let is_gpu = device.provider.is_gpu();
        let bind = || {
            let run = is_gpu.then_some(run);
            let memory = binding::memory(is_gpu.then_some(gpu))?;
            Ok((Bindings::new(&session, run)?, memory))
        };
        let (bindings, memory) = bind().map_err(|error: ort::Error| {
            if is_gpu {
                provider_error(device, error.into())
            } else {
                load_error(file)(error)
            }
        })?;
        Ok(Runner {
            session,
            bindings: Arc::new(bindings),
            outputs: Outputs {
                names: session::outputs(options),
                memory,
                // TensorRT builds its engine in the first run, which takes an unknown time.
                limit: match device.provider {
                    Provider::Tensorrt => Duration::ZERO,
                    Provider::Cpu | Provider::Cuda => options.run_limit,
                },
            },
            shapes,
            first_tokens,
            on_cpu,
        })
    }

    /// The tokens of `pixels`, `[B, 3, S, S]`.
    pub(super) fn tokens(
        &mut self,
        pixels: Array4<f32>,
        file: &Path,
        tokens: Tokens,
    ) -> Result<TokenBatch, ModelError> {
        let bound = self.bindings.bind(pixels).map_err(run_error(file))?;
        self.tokens_of_bound(bound, file, tokens)
    }

    /// The tokens of bound pixels.
    pub(super) fn tokens_of_bound(
        &mut self,
        mut bound: Bound,
        file: &Path,
        tokens: Tokens,
    ) -> Result<TokenBatch, ModelError> {
        let (slices, computed) = (bound.slices, bound.computed);
        let found = self.outputs.run(&mut self.session, &mut bound);
        let found = found.map_err(|error| match error {
            Some(error) => run_error(file)(error),
            None => ModelError::TooSlow {
                path: file.to_path_buf(),
                slices,
                seconds: self.outputs.limit.as_secs(),
            },
        })?;
        let mut found = RunOutputs {
            outputs: found,
            slices,
            computed,
            shapes: &self.shapes,
            first_tokens: self.first_tokens as usize,
            file,
        };
        Ok(TokenBatch {
            cls: found.flat("cls", |shape| shape.cls)?,
            mean: found.flat("mean", |shape| shape.patch)?,
            patch: match tokens {
                Tokens::Cls => Vec::new(),
                Tokens::All => found.positions("patch", 0)?,
                Tokens::Residual => found.positions("residual", found.first_tokens)?,
            },
            slices: Vec::new(),
            masks: Vec::new(),
            pictures: Vec::new(),
        })
    }
}

/// The outputs of a run.
struct RunOutputs<'a> {
    outputs: SessionOutputs<'a>,
    /// Number of slices of the batch.
    slices: usize,
    /// Number of slices that were computed: more if the batch was filled up.
    computed: usize,
    shapes: &'a [LayerShape],
    /// Tokens before the patches in residual tokens.
    first_tokens: usize,
    file: &'a Path,
}

impl RunOutputs<'_> {
    /// The names of the outputs of a kind, with the shapes of their layers, the last block last.
    fn layers(&self, kind: &str) -> Vec<(String, LayerShape)> {
        let layers = (1..=self.shapes.len()).rev().zip(self.shapes);
        layers
            .map(|(layer, shape)| (format!("{kind}_{layer}"), *shape))
            .collect()
    }

    /// CLS tokens or means, `[B, D]` per layer.
    fn flat(
        &mut self,
        kind: &str,
        width: impl Fn(&LayerShape) -> u32,
    ) -> Result<Vec<Array2<f32>>, ModelError> {
        let layers = self.layers(kind).into_iter().map(|(name, shape)| {
            let width = width(&shape) as usize;
            let value = self.take(&name, &[width])?;
            let mut tokens = Array2::zeros((self.slices, width));
            let count = tokens.len();
            let out = tokens.as_slice_mut().unwrap_or_default();
            match value.try_extract_tensor::<f32>() {
                Ok((_, values)) => out.copy_from_slice(&values[..count]),
                Err(_) => {
                    let values = value.try_extract_tensor::<f16>();
                    let (_, values) = values.map_err(run_error(self.file))?;
                    values[..count].convert_to_f32_slice(out);
                }
            }
            Ok(tokens)
        });
        layers.collect()
    }

    /// Tokens of single positions, `first` before the patches; they stay in ONNX Runtime's memory.
    fn positions(&mut self, kind: &str, first: usize) -> Result<Vec<PatchTokens>, ModelError> {
        let layers = self.layers(kind).into_iter().map(|(name, shape)| {
            let axes = [first + shape.patches(), shape.patch as usize];
            let value = self.take(&name, &axes)?;
            let numbers = if value.try_extract_tensor::<f16>().is_ok() {
                Numbers::f16(TensorBytes::<f16>::new(value))
            } else {
                value
                    .try_extract_tensor::<f32>()
                    .map_err(run_error(self.file))?;
                Numbers::f32(TensorBytes::<f32>::new(value))
            };
            let mut tokens = PatchTokens::new(&numbers, axes);
            tokens.truncate(self.slices);
            Ok(tokens)
        });
        layers.collect()
    }

    /// The output `name`, whose shape is checked: a graph may compute another one than it declares.
    fn take(&mut self, name: &str, axes: &[usize]) -> Result<DynValue, ModelError> {
        let value = self.outputs.remove(name);
        let value = value.ok_or_else(|| wrong_output(self.file, name, "missing", "present"))?;
        let expected = [&[self.computed], axes].concat();
        let found = value.dtype().tensor_shape().map(|shape| {
            let axes = shape.iter().map(|&axis| usize::try_from(axis).unwrap_or(0));
            axes.collect::<Vec<_>>()
        });
        if found.as_ref() != Some(&expected) {
            let found = found.map_or("no tensor".to_string(), |found| format!("{found:?}"));
            let expected = format!("{expected:?}");
            return Err(wrong_output(self.file, name, &found, &expected));
        }
        Ok(value)
    }
}

/// A tensor of ONNX Runtime as bytes.
struct TensorBytes<T> {
    value: DynValue,
    of: PhantomData<T>,
}

impl<T> TensorBytes<T> {
    fn new(value: DynValue) -> TensorBytes<T> {
        TensorBytes {
            value,
            of: PhantomData,
        }
    }
}

impl<T: PrimitiveTensorElementType + bytemuck::NoUninit> AsRef<[u8]> for TensorBytes<T> {
    fn as_ref(&self) -> &[u8] {
        let values = self.value.try_extract_tensor::<T>();
        values.map_or(&[], |(_, values)| bytemuck::cast_slice(values))
    }
}
