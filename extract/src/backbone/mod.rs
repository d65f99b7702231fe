//! Backbones: ONNX Runtime's sessions. Only this module uses ONNX Runtime.

#[cfg(feature = "int8-attention")]
mod attention;
mod batch;
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
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use cache::{LayerShape, ModelMeta, TokenBatch, Tokens};
use ndarray::{Array4, ArrayView4, Axis};
use onnx_models::ModelCard;

pub use self::batch::{LoadedBatch, Loader, SliceBatch};
use self::batch::{Pixels, joined};
pub use self::device::{Device, Gpus, Precision, Provider};
use self::plan::Plan;
pub use self::plan::default_batch;
use self::runner::Runner;
pub use self::runtime::Runtime;
use self::session::SessionSpec;
use crate::ModelError;
use crate::export::Exported;

/// Name of the graph's input, `[B, 3, S, S]`.
const INPUT: &str = "pixels";

/// Part of ONNX Runtime's message if a GPU does not exist.
const NO_SUCH_GPU: &str = "Invalid device ID";

/// Parts of messages of ONNX Runtime and the system if memory is exhausted.
const NO_MEMORY: [&str; 5] = [
    "bad_alloc",
    "bad allocation",
    "failed to allocate",
    "out of memory",
    "cannot allocate memory",
];

/// True if there is too little memory for the model and a batch.
pub fn lacks_memory(error: &ModelError) -> bool {
    let text = match error {
        ModelError::Provider { source, .. } => source.to_string(),
        ModelError::Run { source, .. } => source.to_string(),
        _ => return false,
    };
    let text = text.to_lowercase();
    NO_MEMORY.iter().any(|words| text.contains(words))
}

/// Options of a backbone.
#[derive(Clone, Debug)]
pub struct BackboneOptions {
    /// Input height and width in pixels.
    pub image_size: u32,
    /// Number of the last blocks whose tokens are kept, `L`.
    pub layers: u32,
    /// Kinds of tokens that are kept.
    pub tokens: Tokens,
    /// Threads; 0 for the number of cores.
    pub threads: usize,
    /// Slices of a batch; with several GPUs, each computes one batch.
    pub batch_size: u32,
    /// True to compute batches in halves, with less memory; the last bits of tokens may differ.
    pub halved: bool,
    /// Time limit for one run of a session; [`Duration::ZERO`] for no limit. TensorRT has no limit.
    pub run_limit: Duration,
    /// Provider and precision.
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
    /// [`onnx_models::Error::Layers`], [`ModelError::Provider`] if the provider cannot run here,
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
        let open = |threads, gpu| {
            Runner::open(SessionSpec {
                runtime,
                card,
                exported,
                options: &options,
                threads,
                gpu,
                run: plan.slices,
            })
        };
        let runners = match options.device.gpus {
            Gpus::All if options.device.provider.is_gpu() => {
                let threads = plan.threads.iter().sum();
                on_every_gpu(|gpu| open(threads, gpu))?
            }
            gpus => in_parallel(plan.threads.iter(), |&threads| open(threads, gpus.first()))?,
        };
        let mut backbone = Backbone {
            runners,
            exported: exported.clone(),
            plan,
            options,
        };
        if backbone.options.device.provider.is_gpu() {
            backbone.try_gpu()?;
        }
        Ok(backbone)
    }

    /// Embeds black slices on each GPU, so that one with too little memory, or without kernels in the library,
    /// fails at once. As in a run, the GPU holds the pixels of two batches.
    fn try_gpu(&mut self) -> Result<(), ModelError> {
        let size = self.options.image_size as usize;
        let (file, options) = (&self.exported.path, &self.options);
        for runner in &mut self.runners {
            let black = Array4::zeros((1, 3, size, size));
            let bindings = Arc::clone(&runner.bindings);
            let bind = |pixels| bindings.bind(pixels).map_err(run_error(file));
            let tried = bind(black.clone()).and_then(|first| {
                let second = bind(black)?;
                runner.tokens_of_bound(first, file, options.tokens)?;
                runner.tokens_of_bound(second, file, options.tokens)
            });
            tried.map_err(|error| match error {
                ModelError::Run { source, .. } => provider_error(options.device, source),
                error => error,
            })?;
        }
        Ok(())
    }

    /// The exported graph.
    pub fn exported(&self) -> &Exported {
        &self.exported
    }

    /// Name and hash of the model, for the cache.
    pub fn meta(&self) -> &ModelMeta {
        &self.exported.meta
    }

    /// The options.
    pub fn options(&self) -> &BackboneOptions {
        &self.options
    }

    /// Number of the graph's operators that run on the CPU although a GPU was selected.
    pub fn on_cpu(&self) -> usize {
        let counts = self.runners.iter().map(|runner| runner.on_cpu);
        counts.max().unwrap_or(0)
    }

    /// The shape of each layer's tokens, oldest first.
    pub fn shapes(&self) -> &[LayerShape] {
        self.runners.first().map_or(&[], |runner| &runner.shapes)
    }

    /// Tokens before the patches in residual tokens; 0 if these are not kept.
    pub fn first_tokens(&self) -> u32 {
        self.runners.first().map_or(0, |runner| runner.first_tokens)
    }

    /// Number of GPUs that compute.
    pub fn gpus(&self) -> usize {
        if self.options.device.provider.is_gpu() {
            self.runners.len()
        } else {
            0
        }
    }

    /// Slices that are embedded at a time: a batch, or a batch for each GPU.
    pub fn slices_at_once(&self) -> usize {
        self.options.batch_size as usize * self.gpus().max(1)
    }

    /// A loader, which copies pixels to the GPUs while they compute other batches.
    pub fn loader(&self) -> Loader {
        Loader {
            gpus: self
                .runners
                .iter()
                .map(|r| Arc::clone(&r.bindings))
                .collect(),
            file: self.exported.path.clone(),
        }
    }

    /// Embeds a batch of slices, in parts that do not depend on the number of threads.
    ///
    /// `batch.pixels` is `[B, 3, S, S]`. Tokens are as in [`TokenBatch`]: without register tokens, the last block
    /// last. Slices, masks and pictures pass through.
    ///
    /// # Errors
    ///
    /// [`ModelError::Run`] if a run fails (out of memory, wrong `S`), [`ModelError::TooSlow`] if it exceeds the
    /// time limit.
    pub fn embed(&mut self, batch: impl Into<LoadedBatch>) -> Result<TokenBatch, ModelError> {
        let batch = batch.into();
        let parts = match batch.pixels {
            Pixels::InMemory(pixels) => self.embed_parts(&pixels)?,
            Pixels::OnGpus(parts) => {
                let (file, tokens) = (&self.exported.path, self.options.tokens);
                let pairs = self.runners.iter_mut().zip(parts);
                in_parallel(pairs, |(runner, pixels)| {
                    runner.tokens_of_bound(pixels, file, tokens)
                })?
            }
        };
        Ok(TokenBatch {
            slices: batch.slices,
            masks: batch.masks,
            pictures: batch.pictures,
            ..joined(parts)
        })
    }

    /// The tokens of the parts of `pixels`, in order; each runner takes the next part when it is free.
    fn embed_parts(&mut self, pixels: &Array4<f32>) -> Result<Vec<TokenBatch>, ModelError> {
        let (file, tokens) = (&self.exported.path, self.options.tokens);
        let parts = pixels.axis_chunks_iter(Axis(0), self.plan.slices);
        let parts = Mutex::new(parts.enumerate());
        let next = || parts.lock().ok().and_then(|mut parts| parts.next());
        let work = |runner: &mut Runner| {
            let embed = |(index, pixels): (usize, ArrayView4<'_, f32>)| {
                Ok((index, runner.tokens(pixels.to_owned(), file, tokens)?))
            };
            iter::from_fn(next)
                .map(embed)
                .collect::<Result<Vec<_>, _>>()
        };
        let done = in_parallel(self.runners.iter_mut(), work)?;
        let mut done: Vec<(usize, TokenBatch)> = done.into_iter().flatten().collect();
        done.sort_by_key(|part| part.0);
        Ok(done.into_iter().map(|part| part.1).collect())
    }
}

/// Calls `open` for each GPU, from number 0 to the last that exists.
fn on_every_gpu<T>(open: impl Fn(u32) -> Result<T, ModelError>) -> Result<Vec<T>, ModelError> {
    let mut opened = vec![open(0)?];
    for gpu in 1.. {
        match open(gpu) {
            Ok(another) => opened.push(another),
            Err(error) if error.to_string().contains(NO_SUCH_GPU) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(opened)
}

/// Calls `work` for each item, on a thread of its own if there are several.
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

fn check_layers(card: &ModelCard, options: &BackboneOptions) -> Result<(), ModelError> {
    if (1..=card.layers).contains(&options.layers) {
        return Ok(());
    }
    Err(onnx_models::Error::Layers {
        model: card.name.clone(),
        found: options.layers,
        most: card.layers,
    }
    .into())
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

fn load_error<E: Into<ort::Error>>(file: &Path) -> impl Fn(E) -> ModelError {
    let path = file.to_path_buf();
    move |error| {
        let source = error.into();
        ModelError::ModelLoad {
            path: path.clone(),
            hint: advice(&source.to_string())
                .unwrap_or("the file is damaged or no ONNX model; export it again"),
            source: Box::new(source),
        }
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

/// A hint for an error of ONNX Runtime, which is recognised by its message.
fn advice(text: &str) -> Option<&'static str> {
    let kinds: [(&[&str], &str); 3] = [
        (
            &NO_MEMORY,
            "out of memory: give fewer `--threads` or, for a new cache, a smaller `--batch-size`, or use a smaller model",
        ),
        (
            &[
                "unsupported model ir version",
                "under development",
                "only guarantees support for models",
            ],
            "this ONNX Runtime is too old for the file's version of ONNX: run `scripts/install_onnxruntime`, or export the model with an older version",
        ),
        (
            &[
                "is not a registered function/op",
                "could not find an implementation",
                "no opset import",
            ],
            "this ONNX Runtime does not have the operator: export the model with standard ONNX operators",
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
            halved: false,
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
