//! One session, and what it gives for a few slices.

use std::path::Path;
use std::time::Duration;

use cache::{LayerShape, TokenBatch, Tokens};
use half::f16;
use ndarray::{Array, ArrayView4, ArrayViewD, Axis, Dimension, Slice};
use ort::session::{Session, SessionOutputs};

use super::binding::Binding;
use super::device::Provider;
use super::{
    BackboneOptions, Runtime, load_error, provider_error, run_error, session, wrong_output,
};
use crate::export::Exported;
use crate::model::{ModelCard, ModelError};

/// A session that takes one run at a time.
pub(super) struct Runner {
    pub(super) session: Session,
    pub(super) binding: Binding,
    pub(super) shapes: Vec<LayerShape>,
}

impl Runner {
    pub(super) fn open(
        runtime: &Runtime,
        card: &ModelCard,
        exported: &Exported,
        options: &BackboneOptions,
        threads: usize,
    ) -> Result<Runner, ModelError> {
        let file = &exported.path;
        let session = session::open(runtime, card, exported, options, threads)?;
        let shapes = session::check(&session, file, card, options)?;
        let device = options.device;
        let binding = Binding::new(&session, options).map_err(|error| {
            if device.provider.is_gpu() {
                provider_error(device, error.into())
            } else {
                load_error(file)(error)
            }
        })?;
        Ok(Runner {
            binding,
            session,
            shapes,
        })
    }

    /// The tokens of `pixels`, `[B, 3, S, S]`, in standard layout.
    pub(super) fn tokens(
        &mut self,
        pixels: ArrayView4<'_, f32>,
        file: &Path,
        options: &BackboneOptions,
    ) -> Result<TokenBatch, ModelError> {
        let rows = pixels.len_of(Axis(0));
        let computed = match self.binding.is_padded() {
            true => options.batch_size as usize,
            false => rows,
        };
        // TensorRT builds its engine in the first run, which takes as long as it takes.
        let limit = match options.device.provider {
            Provider::Tensorrt => Duration::ZERO,
            Provider::Cpu | Provider::Cuda => options.run_limit,
        };
        let outputs = self.binding.run(&mut self.session, pixels, limit);
        let outputs = outputs.map_err(|error| match error {
            Some(error) => run_error(file)(error),
            None => ModelError::TooSlow {
                path: file.to_path_buf(),
                slices: rows,
                seconds: limit.as_secs(),
            },
        })?;
        let outputs = Outputs {
            outputs,
            rows,
            computed,
            shapes: &self.shapes,
            file,
        };
        outputs.batch(options.tokens)
    }
}

/// What a run gives.
struct Outputs<'a> {
    outputs: SessionOutputs<'a>,
    /// Number of slices that were asked for.
    rows: usize,
    /// Number of slices that were computed: more where a batch was filled up.
    computed: usize,
    shapes: &'a [LayerShape],
    file: &'a Path,
}

impl Outputs<'_> {
    /// All of them, without slices, masks and pictures.
    fn batch(&self, tokens: Tokens) -> Result<TokenBatch, ModelError> {
        Ok(TokenBatch {
            cls: self.tokens("cls", |shape| vec![shape.cls])?,
            mean: self.tokens("mean", |shape| vec![shape.patch])?,
            patch: match tokens {
                Tokens::Cls => Vec::new(),
                Tokens::All => self.tokens("patch", |shape| {
                    vec![shape.grid[0] * shape.grid[1], shape.patch]
                })?,
            },
            slices: Vec::new(),
            masks: Vec::new(),
            pictures: Vec::new(),
        })
    }

    /// The tokens of a kind, an array per layer, oldest first, of `axes` after the batch.
    fn tokens<D: Dimension>(
        &self,
        kind: &str,
        axes: impl Fn(&LayerShape) -> Vec<u32>,
    ) -> Result<Vec<Array<f32, D>>, ModelError> {
        let layers = (1..=self.shapes.len()).rev().zip(self.shapes);
        layers
            .map(|(layer, shape)| self.array(&format!("{kind}_{layer}"), &axes(shape)))
            .collect()
    }

    fn array<D: Dimension>(&self, name: &str, axes: &[u32]) -> Result<Array<f32, D>, ModelError> {
        let missing = || wrong_output(self.file, name, "missing", "present");
        let value = self.outputs.get(name).ok_or_else(missing)?;
        let array = match value.try_extract_array::<f32>() {
            Ok(array) => self.rows(name, array, axes)?.to_owned(),
            Err(_) => {
                let array = value.try_extract_array::<f16>();
                let array = array.map_err(run_error(self.file))?;
                self.rows(name, array, axes)?.mapv(f16::to_f32)
            }
        };
        let wrong = || wrong_output(self.file, name, "of other axes", "as it was declared");
        array.into_dimensionality::<D>().map_err(|_| wrong())
    }

    /// The rows that were asked for. What a graph declares is not always what it computes.
    fn rows<'v, T>(
        &self,
        name: &str,
        mut array: ArrayViewD<'v, T>,
        axes: &[u32],
    ) -> Result<ArrayViewD<'v, T>, ModelError> {
        let axes = axes.iter().map(|&n| n as usize);
        let expected: Vec<usize> = std::iter::once(self.computed).chain(axes).collect();
        if array.shape() != expected {
            let [found, expected] = [array.shape(), &expected].map(|shape| format!("{shape:?}"));
            return Err(wrong_output(self.file, name, &found, &expected));
        }
        array.slice_axis_inplace(Axis(0), Slice::from(..self.rows));
        Ok(array)
    }
}
