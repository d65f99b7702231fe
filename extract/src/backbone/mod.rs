//! The backbone: ONNX Runtime's sessions. Nothing else in the program knows ONNX Runtime.

mod attention;
mod binding;
mod device;
mod elf;
mod plan;
mod runner;
mod runtime;
mod session;

use std::iter;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use cache::{LayerShape, Mask, ModelMeta, Picture, SliceMeta, TokenBatch, Tokens};
use ndarray::{Array, Array4, Axis, RemoveAxis, concatenate};

pub use self::device::{Device, Precision, Provider};
use self::plan::Plan;
use self::runner::Runner;
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
    /// One per slice, or empty where no pictures are kept.
    pub pictures: Vec<Picture>,
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
    /// Threads; 0 for as many as there are cores.
    pub threads: usize,
    /// Slices of a batch.
    pub batch_size: u32,
    /// Longest time for one run of a session; [`Duration::ZERO`] for no limit. TensorRT has none.
    pub run_limit: Duration,
    /// Where and how precisely it computes.
    pub device: Device,
}

/// A loaded backbone.
pub struct Backbone {
    plan: Plan,
    runners: Vec<Runner>,
    exported: Exported,
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
        let plan = Plan::of(card, &options)?;
        let open = |&threads: &usize| Runner::open(runtime, card, exported, &options, threads);
        let mut backbone = Backbone {
            runners: in_parallel(plan.threads.iter(), open)?,
            exported: exported.clone(),
            plan,
            options,
        };
        if backbone.options.device.provider.is_gpu() {
            backbone.try_gpu()?;
        }
        Ok(backbone)
    }

    /// Embeds one black slice: a GPU without enough memory, or for which the library has no kernels,
    /// fails here and not after hours.
    fn try_gpu(&mut self) -> Result<(), ModelError> {
        let size = self.options.image_size as usize;
        let black = Array4::zeros((1, 3, size, size));
        let (file, options) = (&self.exported.path, &self.options);
        for runner in &mut self.runners {
            runner
                .tokens(black.view(), file, options)
                .map_err(|error| match error {
                    ModelError::Run { source, .. } => provider_error(options.device, source),
                    error => error,
                })?;
        }
        Ok(())
    }

    /// The graph.
    pub fn exported(&self) -> &Exported {
        &self.exported
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
        self.runners.first().map_or(&[], |runner| &runner.shapes)
    }

    /// Embeds a batch of slices, in parts that do not depend on the number of threads.
    ///
    /// `batch.pixels` is `[B, 3, S, S]`. The result's tokens are as in [`TokenBatch`]: without
    /// register tokens, oldest block first. Slices, masks and pictures pass through.
    ///
    /// # Errors
    ///
    /// [`ModelError::Run`] if a run fails (out of memory, wrong `S`), [`ModelError::TooSlow`] if it
    /// takes longer than the limit.
    pub fn embed(&mut self, batch: SliceBatch) -> Result<TokenBatch, ModelError> {
        let pixels = batch.pixels.as_standard_layout();
        let (file, options) = (&self.exported.path, &self.options);
        let parts = pixels.axis_chunks_iter(Axis(0), self.plan.slices);
        let parts = Mutex::new(parts.enumerate());
        let next = || parts.lock().ok().and_then(|mut parts| parts.next());
        let work = |runner: &mut Runner| {
            let embed = |(index, pixels)| Ok((index, runner.tokens(pixels, file, options)?));
            iter::from_fn(next)
                .map(embed)
                .collect::<Result<Vec<_>, _>>()
        };
        let done = in_parallel(self.runners.iter_mut(), work)?;
        let mut done: Vec<(usize, TokenBatch)> = done.into_iter().flatten().collect();
        done.sort_by_key(|part| part.0);
        let parts: Vec<TokenBatch> = done.into_iter().map(|part| part.1).collect();
        Ok(TokenBatch {
            cls: stacked(&parts, |part| &part.cls),
            mean: stacked(&parts, |part| &part.mean),
            patch: stacked(&parts, |part| &part.patch),
            slices: batch.slices,
            masks: batch.masks,
            pictures: batch.pictures,
        })
    }
}

/// What `work` makes of each item, on a thread for each but where there is one only.
fn in_parallel<I: Send, T: Send>(
    items: impl ExactSizeIterator<Item = I>,
    work: impl Fn(I) -> Result<T, ModelError> + Sync,
) -> Result<Vec<T>, ModelError> {
    if items.len() == 1 {
        return items.map(work).collect();
    }
    thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = items.map(|item| scope.spawn(move || work(item))).collect();
        let join = |thread: thread::ScopedJoinHandle<'_, _>| match thread.join() {
            Ok(result) => result,
            Err(panic) => resume_unwind(panic),
        };
        threads.into_iter().map(join).collect()
    })
}

/// The rows of all parts, layer by layer.
fn stacked<D: RemoveAxis>(
    parts: &[TokenBatch],
    layers: impl Fn(&TokenBatch) -> &Vec<Array<f32, D>>,
) -> Vec<Array<f32, D>> {
    let count = parts.first().map_or(0, |part| layers(part).len());
    let layer = |index: usize| {
        let rows = parts.iter().map(|part| layers(part)[index].view());
        concatenate(Axis(0), &rows.collect::<Vec<_>>()).ok()
    };
    (0..count).filter_map(layer).collect()
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

fn wrong_output(file: &Path, name: &str, found: &str, expected: &str) -> ModelError {
    ModelError::ModelOutput {
        path: file.to_path_buf(),
        name: name.to_string(),
        found: found.to_string(),
        expected: expected.to_string(),
    }
}

fn provider_error(device: Device, source: Box<dyn std::error::Error + Send + Sync>) -> ModelError {
    ModelError::Provider {
        provider: device.provider.name(),
        source: session::cause(&source.to_string()).into(),
    }
}

fn load_error(file: &Path) -> impl Fn(ort::Error) -> ModelError {
    let path = file.to_path_buf();
    move |source| ModelError::ModelLoad {
        path: path.clone(),
        hint: advice(&source.to_string())
            .unwrap_or("the file is damaged or no ONNX model; export it again"),
        source: Box::new(source),
    }
}

fn run_error(file: &Path) -> impl Fn(ort::Error) -> ModelError {
    let path = file.to_path_buf();
    move |source| ModelError::Run {
        path: path.clone(),
        hint: advice(&source.to_string())
            .unwrap_or("the file may be damaged; export it again, or try `--provider cpu`"),
        source: Box::new(source),
    }
}

/// What to do about an error of ONNX Runtime, whose kinds are told by their words only.
fn advice(text: &str) -> Option<&'static str> {
    let kinds: [(&[&str], &str); 3] = [
        (
            &[
                "bad_alloc",
                "bad allocation",
                "failed to allocate",
                "out of memory",
                "cannot allocate memory",
            ],
            "memory ran out: give fewer `--threads` or, to a new cache, a smaller `--batch-size`, or take a smaller model",
        ),
        (
            &[
                "unsupported model ir version",
                "under development",
                "only guarantees support for models",
            ],
            "the file is of a newer version of ONNX than this ONNX Runtime knows: run `scripts/install_onnxruntime`, or export it with an older version",
        ),
        (
            &[
                "is not a registered function/op",
                "could not find an implementation",
                "no opset import",
            ],
            "this ONNX Runtime has no such operator: export the model with operators of ONNX's own",
        ),
    ];
    let text = text.to_lowercase();
    let kind = kinds
        .iter()
        .find(|(words, _)| words.iter().any(|word| text.contains(word)));
    kind.map(|(_, advice)| *advice)
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
            run_limit: Duration::ZERO,
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
