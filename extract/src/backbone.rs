//! The backbone: the one ONNX Runtime session. Nothing else in the program knows ONNX Runtime.

use std::path::{Path, PathBuf};

use cache::{Mask, ModelMeta, SliceMeta, TokenBatch, Tokens, sha256_file};
use ndarray::{Array, Array4, Dimension};
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{HasSelectedOutputs, OutputSelector, RunOptions, Session, SessionOutputs};
use ort::value::{TensorElementType, TensorRef, ValueType};

use crate::model::ModelCard;
use crate::{Error, runtime};

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
}

/// A loaded backbone.
pub struct Backbone {
    session: Session,
    outputs: RunOptions<HasSelectedOutputs>,
    file: PathBuf,
    meta: ModelMeta,
    options: BackboneOptions,
}

impl Backbone {
    /// Loads the export of `card` in the project at `home`, and ONNX Runtime itself.
    ///
    /// # Errors
    ///
    /// [`Error::NoRuntime`] and [`Error::RuntimeLoad`] if ONNX Runtime is missing or too old,
    /// [`Error::NoExport`] if the model has not been exported for this size, [`Error::ModelHash`]
    /// and [`Error::ModelLoad`] if the file is damaged or no ONNX, and [`Error::ModelOutput`] if
    /// the graph is not what its card says.
    pub fn load(
        home: &Path,
        card: &ModelCard,
        options: BackboneOptions,
    ) -> Result<Backbone, Error> {
        let file = card.onnx_file(home, options.image_size);
        let meta = check_file(card, &file, &options)?;
        let session = open_session(home, &file, options.threads)?;
        check_graph(&session, &file, card, &options)?;
        let outputs = selected(&options).map_err(load_error(&file))?;
        Ok(Backbone {
            session,
            outputs,
            file,
            meta,
            options,
        })
    }

    /// Name and hash of the model, as a cache records them.
    pub fn meta(&self) -> &ModelMeta {
        &self.meta
    }

    /// Embeds a batch of slices.
    ///
    /// `batch.pixels` is `[B, 3, S, S]`. The result's tokens are as in [`TokenBatch`]: without
    /// register tokens, oldest block first. Slices and masks pass through.
    ///
    /// # Errors
    ///
    /// [`Error::Run`] if the run fails (out of memory, wrong `S`).
    pub fn embed(&mut self, batch: SliceBatch) -> Result<TokenBatch, Error> {
        let file = &self.file;
        let pixels = batch.pixels.as_standard_layout();
        let input = TensorRef::from_array_view(pixels.view()).map_err(run_error(file))?;
        let outputs = self
            .session
            .run_with_options(ort::inputs![INPUT => input], &self.outputs)
            .map_err(run_error(file))?;
        let layers = self.options.layers;
        let patch = match self.options.tokens {
            Tokens::Cls => Vec::new(),
            Tokens::All => tokens::<ndarray::Ix3>(&outputs, "patch", layers, file)?,
        };
        Ok(TokenBatch {
            cls: tokens::<ndarray::Ix2>(&outputs, "cls", layers, file)?,
            mean: tokens::<ndarray::Ix2>(&outputs, "mean", layers, file)?,
            patch,
            slices: batch.slices,
            masks: batch.masks,
        })
    }
}

/// One array per layer, oldest first.
fn tokens<D: Dimension>(
    outputs: &SessionOutputs<'_>,
    kind: &str,
    layers: u32,
    file: &Path,
) -> Result<Vec<Array<f32, D>>, Error> {
    let array = |layer: u32| {
        let name = format!("{kind}_{layer}");
        let value = outputs
            .get(&name)
            .ok_or_else(|| wrong_output(file, &name, "missing", "present"))?;
        let array = value.try_extract_array::<f32>().map_err(run_error(file))?;
        let shape = format!("{:?}", array.shape());
        let array = array
            .into_dimensionality::<D>()
            .map_err(|_| wrong_output(file, &name, &shape, "one axis more or less"))?;
        Ok(array.to_owned())
    };
    (1..=layers).rev().map(array).collect()
}

fn check_file(
    card: &ModelCard,
    file: &Path,
    options: &BackboneOptions,
) -> Result<ModelMeta, Error> {
    if options.layers == 0 || options.layers > card.layers {
        return Err(Error::Layers {
            model: card.name.clone(),
            found: options.layers,
            most: card.layers,
        });
    }
    let size = options.image_size;
    card.grid(size)?;
    if !file.is_file() {
        return Err(Error::NoExport {
            path: file.to_path_buf(),
            name: card.name.clone(),
            size,
        });
    }
    let found = sha256_file(file)?;
    match card.onnx_sha256.get(&size.to_string()) {
        Some(expected) if *expected != found => Err(Error::ModelHash {
            path: file.to_path_buf(),
            found,
            expected: expected.clone(),
            name: card.name.clone(),
            size,
        }),
        _ => Ok(ModelMeta {
            name: card.name.clone(),
            sha256: found,
        }),
    }
}

fn open_session(home: &Path, file: &Path, threads: usize) -> Result<Session, Error> {
    let library = runtime::find(home)?;
    let builder = ort::init_from(&library).map_err(|source| Error::RuntimeLoad {
        path: library,
        source: Box::new(source),
    })?;
    let environment = builder
        .with_telemetry(false)
        .build()
        .map_err(load_error(file))?;
    let mut session = Session::builder(&environment)
        .map_err(load_error(file))?
        .with_optimization_level(GraphOptimizationLevel::All)
        .map_err(|e| load_error(file)(e.into()))?
        .with_intra_threads(threads)
        .map_err(|e| load_error(file)(e.into()))?;
    session.commit_from_file(file).map_err(load_error(file))
}

fn selected(options: &BackboneOptions) -> ort::Result<RunOptions<HasSelectedOutputs>> {
    let names = output_names(options).into_iter();
    let selector = names.fold(OutputSelector::no_default(), |selector, (name, _)| {
        selector.with(name)
    });
    Ok(RunOptions::new()?.with_outputs(selector))
}

/// The outputs that are asked for, with their number of axes.
fn output_names(options: &BackboneOptions) -> Vec<(String, usize)> {
    let mut kinds = vec![("cls", 2), ("mean", 2)];
    if options.tokens == Tokens::All {
        kinds.push(("patch", 3));
    }
    let layers = 1..=options.layers;
    layers
        .flat_map(|layer| {
            kinds
                .iter()
                .map(move |(k, axes)| (format!("{k}_{layer}"), *axes))
        })
        .collect()
}

fn check_graph(
    session: &Session,
    file: &Path,
    card: &ModelCard,
    options: &BackboneOptions,
) -> Result<(), Error> {
    let size = i64::from(options.image_size);
    let inputs = session.inputs().iter();
    let mut inputs = inputs.map(|input| (input.name(), input.dtype()));
    check_tensor(file, INPUT, inputs.find(|i| i.0 == INPUT), &[3, size, size])?;
    let width = i64::from(card.width);
    let [rows, columns] = card.grid(options.image_size)?.map(i64::from);
    for (name, axes) in output_names(options) {
        let outputs = session.outputs().iter();
        let mut outputs = outputs.map(|output| (output.name(), output.dtype()));
        let expected = match axes {
            2 => vec![width],
            _ => vec![rows * columns, width],
        };
        let found = outputs.find(|output| output.0 == name);
        check_tensor(file, &name, found, &expected)?;
    }
    Ok(())
}

/// Whether a graph's tensor is `[B, expected…]` of f32.
fn check_tensor(
    file: &Path,
    name: &str,
    found: Option<(&str, &ValueType)>,
    expected: &[i64],
) -> Result<(), Error> {
    let wanted = format!("f32 [batch, {}]", join(expected));
    match found {
        None => Err(wrong_output(file, name, "missing", &wanted)),
        Some((_, ValueType::Tensor { ty, shape, .. })) => {
            let fits = *ty == TensorElementType::Float32
                && shape.len() == expected.len() + 1
                && shape[0] == -1
                && shape[1..] == *expected;
            match fits {
                true => Ok(()),
                false => {
                    let found = format!("{ty:?} [{}]", join(shape));
                    Err(wrong_output(file, name, &found, &wanted))
                }
            }
        }
        Some((_, other)) => Err(wrong_output(file, name, &format!("{other:?}"), &wanted)),
    }
}

fn join(shape: &[i64]) -> String {
    let axes: Vec<_> = shape.iter().map(i64::to_string).collect();
    axes.join(", ")
}

fn wrong_output(file: &Path, name: &str, found: &str, expected: &str) -> Error {
    Error::ModelOutput {
        path: file.to_path_buf(),
        name: name.to_string(),
        found: found.to_string(),
        expected: expected.to_string(),
    }
}

fn load_error(file: &Path) -> impl Fn(ort::Error) -> Error {
    let path = file.to_path_buf();
    move |source| Error::ModelLoad {
        path: path.clone(),
        source: Box::new(source),
    }
}

fn run_error(file: &Path) -> impl Fn(ort::Error) -> Error {
    let path = file.to_path_buf();
    move |source| Error::Run {
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
        };
        let names = |options: &_| {
            let names = output_names(options).into_iter();
            names.map(|(name, _)| name).collect::<Vec<_>>()
        };
        assert_eq!(names(&options), ["cls_1", "mean_1", "cls_2", "mean_2"]);
        options.tokens = Tokens::All;
        assert!(names(&options).contains(&"patch_2".to_string()));
    }
}
