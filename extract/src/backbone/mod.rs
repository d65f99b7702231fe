//! The backbone: the one ONNX Runtime session. Nothing else in the program knows ONNX Runtime.

mod buffers;
mod device;
mod runtime;
mod session;

use std::path::Path;

use cache::{LayerShape, Mask, ModelMeta, SliceMeta, TokenBatch, Tokens};
use half::f16;
use ndarray::{Array, Array4, ArrayViewD, Axis, Dimension, Slice};
use ort::session::{HasSelectedOutputs, OutputSelector, RunOptions, Session, SessionOutputs};
use ort::value::TensorRef;

use self::buffers::Buffers;
pub use self::device::{Device, Precision, Provider};
pub use self::runtime::Runtime;
use crate::export::Exported;
use crate::model::{ModelCard, ModelError};

/// The ONNX file's input, `[B, 3, S, S]`.
const INPUT: &str = "pixels";

/// Slices ready for the backbone.
#[derive(Debug)]
pub struct SliceBatch {
    /// `[B, 3, S, S]`, normalised as the model card says.
    pub pixels: Array4<f32>,
    /// `B` rows.
    pub slices: Vec<SliceMeta>,
    /// One per slice, or empty where the dataset has no masks.
    pub masks: Vec<Option<Mask>>,
}

/// How a backbone is run.
#[derive(Clone, Debug)]
pub struct BackboneOptions {
    /// Input height and width in pixels.
    pub image_size: u32,
    /// How many of the last blocks are kept, `L`.
    pub layers: u32,
    /// Which tokens are kept.
    pub tokens: Tokens,
    /// Threads of one run; 0 for as many as there are cores.
    pub threads: usize,
    /// Most slices of a run.
    pub batch_size: u32,
    /// Where and how precisely it computes.
    pub device: Device,
}

/// A loaded backbone.
pub struct Backbone {
    session: Session,
    /// What a GPU reads from and writes to; the processor takes arrays as they are.
    buffers: Option<Buffers>,
    outputs: RunOptions<HasSelectedOutputs>,
    exported: Exported,
    shapes: Vec<LayerShape>,
    options: BackboneOptions,
}

impl Backbone {
    /// Loads a graph of `card`.
    ///
    /// # Errors
    ///
    /// [`ModelError::Layers`], [`ModelError::Provider`] if the provider cannot run here,
    /// [`ModelError::ModelLoad`] if the file is damaged or no ONNX, and [`ModelError::ModelOutput`]
    /// if the graph is not what its card says.
    pub fn load(
        runtime: &Runtime,
        card: &ModelCard,
        exported: &Exported,
        options: BackboneOptions,
    ) -> Result<Backbone, ModelError> {
        check_layers(card, &options)?;
        let session = session::open(runtime, card, exported, &options)?;
        let file = &exported.path;
        let shapes = session::check(&session, file, card, &options)?;
        let buffers = match options.device.provider.is_gpu() {
            true => Some(Buffers::new(&session, &options).map_err(load_error(file))?),
            false => None,
        };
        Ok(Backbone {
            outputs: selected(&options).map_err(load_error(file))?,
            exported: exported.clone(),
            session,
            buffers,
            shapes,
            options,
        })
    }

    /// Name and hash of the model, as a cache records them.
    pub fn meta(&self) -> &ModelMeta {
        &self.exported.meta
    }

    /// How it is run.
    pub fn options(&self) -> &BackboneOptions {
        &self.options
    }

    /// The shape of each layer's tokens, oldest first.
    pub fn shapes(&self) -> &[LayerShape] {
        &self.shapes
    }

    /// Embeds a batch of slices, at most as many as `batch_size` says.
    ///
    /// `batch.pixels` is `[B, 3, S, S]`. The result's tokens are as in [`TokenBatch`]: without
    /// register tokens, oldest block first. Slices and masks pass through.
    ///
    /// # Errors
    ///
    /// [`ModelError::Run`] if the run fails (out of memory, wrong `S`).
    pub fn embed(&mut self, batch: SliceBatch) -> Result<TokenBatch, ModelError> {
        let failed = run_error(&self.exported.path);
        let pixels = batch.pixels.as_standard_layout();
        let rows = pixels.len_of(Axis(0));
        let computed = match &self.buffers {
            Some(_) => self.options.batch_size as usize,
            None => rows,
        };
        let outputs = match &mut self.buffers {
            Some(buffers) => buffers.run(&mut self.session, pixels.view()),
            None => TensorRef::from_array_view(pixels.view()).and_then(|input| {
                let inputs = ort::inputs![INPUT => input];
                self.session.run_with_options(inputs, &self.outputs)
            }),
        };
        let outputs = Outputs {
            outputs: outputs.map_err(&failed)?,
            rows,
            computed,
            shapes: &self.shapes,
            file: &self.exported.path,
        };
        Ok(TokenBatch {
            cls: outputs.tokens("cls", |shape| vec![shape.cls])?,
            mean: outputs.tokens("mean", |shape| vec![shape.patch])?,
            patch: match self.options.tokens {
                Tokens::Cls => Vec::new(),
                Tokens::All => outputs.tokens("patch", |shape| {
                    vec![shape.grid[0] * shape.grid[1], shape.patch]
                })?,
            },
            slices: batch.slices,
            masks: batch.masks,
        })
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

fn check_layers(card: &ModelCard, options: &BackboneOptions) -> Result<(), ModelError> {
    if (1..=card.layers).contains(&options.layers) {
        return Ok(());
    }
    Err(ModelError::Layers {
        model: card.name.clone(),
        found: options.layers,
        most: card.layers,
    })
}

fn selected(options: &BackboneOptions) -> ort::Result<RunOptions<HasSelectedOutputs>> {
    let names = session::outputs(options).into_iter();
    let selector = names.fold(OutputSelector::no_default(), OutputSelector::with);
    Ok(RunOptions::new()?.with_outputs(selector))
}

fn wrong_output(file: &Path, name: &str, found: &str, expected: &str) -> ModelError {
    ModelError::ModelOutput {
        path: file.to_path_buf(),
        name: name.to_string(),
        found: found.to_string(),
        expected: expected.to_string(),
    }
}

fn load_error(file: &Path) -> impl Fn(ort::Error) -> ModelError {
    let path = file.to_path_buf();
    move |source| ModelError::ModelLoad {
        path: path.clone(),
        source: Box::new(source),
    }
}

fn run_error(file: &Path) -> impl Fn(ort::Error) -> ModelError {
    let path = file.to_path_buf();
    move |source| ModelError::Run {
        path: path.clone(),
        source: Box::new(source),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patch_outputs_are_asked_for_only_when_kept() {
        let mut options = BackboneOptions {
            image_size: 56,
            layers: 2,
            tokens: Tokens::Cls,
            threads: 1,
            batch_size: 1,
            device: Device::REFERENCE,
        };
        assert_eq!(
            session::outputs(&options),
            ["cls_1", "mean_1", "cls_2", "mean_2"]
        );
        options.tokens = Tokens::All;
        assert!(session::outputs(&options).contains(&"patch_2".to_string()));
    }
}
