//! Arguments of the backbone and its device.

use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use cache::Tokens;
use clap::{ArgGroup, Args, ValueEnum};
use onnx_models::ModelCard;

use crate::backbone::{Gpus, Precision, Provider};
use crate::extraction::BackboneChoice;
use crate::project;

/// Options of the backbone.
#[derive(Clone, Debug, Args)]
#[command(group(ArgGroup::new("which").required(true).args(["model", "onnx"])))]
pub struct BackboneArgs {
    /// The backbone: a model of `extract models`
    #[arg(long)]
    pub model: Option<String>,
    /// ONNX file of a model of your own
    #[arg(long, value_name = "FILE", requires = "card")]
    pub onnx: Option<PathBuf>,
    /// Card of the ONNX file
    #[arg(long, value_name = "FILE", requires = "onnx")]
    pub card: Option<PathBuf>,
    /// Input size in pixels [default: the card's]
    #[arg(long, value_name = "PIXELS")]
    pub image_size: Option<u32>,
    /// Tokens to write: `cls` (and means of the patch tokens), `all` (patch tokens too), or `residual`
    /// (for `probe adapt`) [default: `all` if the dataset has masks, else `cls`]
    #[arg(long)]
    pub tokens: Option<TokensArg>,
    /// Number of the last blocks whose tokens are written [default: 5, or fewer if the model has
    /// fewer]
    #[arg(long)]
    pub layers: Option<u32>,
    /// Execution provider; `auto` uses CUDA if possible, else the CPU
    #[arg(long, help_heading = "Device", default_value = "auto")]
    pub provider: ProviderArg,
    /// Number of the GPU, or `all` to distribute the slices over all GPUs [default: 0]
    #[arg(long, help_heading = "Device", value_name = "N")]
    pub gpu: Option<Gpus>,
    /// Precision [default: `fp32` on `cpu`, `mixed16` on a GPU]
    #[arg(long, help_heading = "Device")]
    pub precision: Option<Precision>,
    /// Parity gate: minimum cosine similarity of a token to `cpu` in `fp32` [default: 0.999, for
    /// `int8` 0.95]
    #[arg(long, help_heading = "Device", value_name = "COSINE", value_parser = cosine)]
    pub parity_bound: Option<f64>,
    /// Parity gate: number of slices to compare; 0 turns it off
    #[arg(long, help_heading = "Device", value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u32).range(..=1024))]
    pub parity_slices: u32,
    /// Time limit of one run of the backbone (a few slices on `cpu`, a batch on `cuda`); 0 for no
    /// limit
    #[arg(
        long,
        help_heading = "Device",
        value_name = "SECONDS",
        default_value_t = 600
    )]
    pub run_limit: u32,
    /// Slices in a batch [default: 8; on a GPU up to 256, depending on the model]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub batch_size: Option<u32>,
    /// Number of threads; the backbone uses at most one per core [default: the number of cores]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub threads: Option<u16>,
}

/// Values of `--tokens`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum TokensArg {
    /// CLS tokens and means of the patch tokens.
    Cls,
    /// Patch tokens too.
    All,
    /// CLS, registers and patches before the last LayerNorm too.
    Residual,
}

/// Values of `--provider`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProviderArg {
    /// CUDA if possible, else the CPU
    Auto,
    /// The CPU
    Cpu,
    /// An NVIDIA GPU, by CUDA and cuDNN
    Cuda,
    /// An NVIDIA GPU, by TensorRT
    Tensorrt,
}

impl From<ProviderArg> for Option<Provider> {
    fn from(provider: ProviderArg) -> Self {
        match provider {
            ProviderArg::Auto => None,
            ProviderArg::Cpu => Some(Provider::Cpu),
            ProviderArg::Cuda => Some(Provider::Cuda),
            ProviderArg::Tensorrt => Some(Provider::Tensorrt),
        }
    }
}

impl BackboneArgs {
    /// The model card.
    pub(super) fn card(&self, home: &Path) -> Result<ModelCard, onnx_models::Error> {
        let card = match (&self.card, &self.model) {
            (Some(file), _) => ModelCard::read_file(file),
            (None, name) => {
                ModelCard::read(&project::models(home), name.as_deref().unwrap_or_default())
            }
        };
        card?.with_layers(self.layers.filter(|_| self.onnx.is_none()))
    }

    pub(super) fn choice(&self) -> BackboneChoice {
        BackboneChoice {
            onnx: self.onnx.clone(),
            image_size: self.image_size,
            tokens: self.tokens.map(|tokens| match tokens {
                TokensArg::Cls => Tokens::Cls,
                TokensArg::All => Tokens::All,
                TokensArg::Residual => Tokens::Residual,
            }),
            layers: self.layers,
            provider: self.provider.into(),
            gpus: self.gpu,
            precision: self.precision,
            parity_bound: self.parity_bound,
            parity_slices: self.parity_slices,
            run_limit: Duration::from_secs(self.run_limit.into()),
            batch_size: self.batch_size,
            threads: self.threads.map(usize::from),
        }
    }

    /// Restarts the program without TF32 if TensorRT computes, which otherwise uses it for f32. A
    /// process with threads cannot change its environment safely.
    pub(super) fn forbid_tf32(&self) -> anyhow::Result<()> {
        const OVERRIDE: &str = "NVIDIA_TF32_OVERRIDE";
        if self.provider != ProviderArg::Tensorrt || env::var_os(OVERRIDE).is_some_and(|v| v == "0")
        {
            return Ok(());
        }
        let mut program = Command::new(env::current_exe()?);
        program.args(env::args_os().skip(1)).env(OVERRIDE, "0");
        restart(program).with_context(|| {
            format!("could not restart with `{OVERRIDE}=0`, which TensorRT needs to compute in f32")
        })
    }
}

/// Replaces this process; returns only if that fails.
#[cfg(unix)]
fn restart(mut program: Command) -> io::Result<()> {
    Err(std::os::unix::process::CommandExt::exec(&mut program))
}

/// TensorRT is not available.
#[cfg(not(unix))]
fn restart(_: Command) -> io::Result<()> {
    Ok(())
}

fn cosine(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(bound) if (0.0..=1.0).contains(&bound) => Ok(bound),
        _ => Err("expected a number in 0..=1".to_string()),
    }
}
