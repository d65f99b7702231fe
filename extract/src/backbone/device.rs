//! Execution providers, precisions and GPUs.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::ValueEnum;
use onnx_models::{Flavour, ModelCard};
use ort::ep::{self, ExecutionProviderDispatch};

use crate::ModelError;

/// Largest protobuf message, in bytes.
const MOST_PROTOBUF: u64 = i32::MAX as u64;

/// An execution provider of ONNX Runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Provider {
    /// The CPU.
    Cpu,
    /// An NVIDIA GPU, by CUDA and cuDNN.
    Cuda,
    /// An NVIDIA GPU, by TensorRT, which first builds an engine.
    Tensorrt,
}

impl Provider {
    /// Its name on the command line and in caches.
    pub fn name(self) -> &'static str {
        match self {
            Provider::Cpu => "cpu",
            Provider::Cuda => "cuda",
            Provider::Tensorrt => "tensorrt",
        }
    }

    /// True for a GPU.
    pub fn is_gpu(self) -> bool {
        self != Provider::Cpu
    }
}

/// The precision of a computation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Precision {
    /// f32.
    Fp32,
    /// Matrix products in f16; sums of blocks and norms in f32.
    Mixed16,
    /// Matrix products in 8-bit integers.
    Int8,
}

impl Precision {
    /// Its name on the command line and in caches.
    pub fn name(self) -> &'static str {
        match self {
            Precision::Fp32 => "fp32",
            Precision::Mixed16 => "mixed16",
            Precision::Int8 => "int8",
        }
    }
}

/// A choice of GPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gpus {
    /// The GPU of this number.
    One(u32),
    /// All GPUs.
    All,
}

impl Gpus {
    /// The number of the first GPU.
    pub fn first(self) -> u32 {
        match self {
            Gpus::One(gpu) => gpu,
            Gpus::All => 0,
        }
    }
}

impl FromStr for Gpus {
    type Err = String;

    fn from_str(word: &str) -> Result<Gpus, String> {
        match word {
            "all" => Ok(Gpus::All),
            number => number
                .parse()
                .map(Gpus::One)
                .map_err(|_| "expected the number of a GPU, from 0, or `all`".to_string()),
        }
    }
}

/// A provider, its GPUs, and the precision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// The provider.
    pub provider: Provider,
    /// The GPUs, if the provider is one.
    pub gpus: Gpus,
    /// The precision.
    pub precision: Precision,
}

impl Device {
    /// The CPU in f32, the reference of the parity gate.
    pub const REFERENCE: Device = Device {
        provider: Provider::Cpu,
        gpus: Gpus::One(0),
        precision: Precision::Fp32,
    };

    /// True for the provider and precision of [`Device::REFERENCE`].
    pub fn is_reference(self) -> bool {
        (self.provider, self.precision) == (Provider::Cpu, Precision::Fp32)
    }

    /// The flavour of a model's graph that it runs.
    ///
    /// # Errors
    ///
    /// [`ModelError::Precision`] if the provider does not support the precision.
    pub fn flavour(self) -> Result<Flavour, ModelError> {
        match (self.provider, self.precision) {
            (Provider::Cpu | Provider::Cuda, Precision::Fp32) => Ok(Flavour::Fused),
            (Provider::Tensorrt, Precision::Fp32) => Ok(Flavour::Plain),
            (Provider::Cuda, Precision::Mixed16) => Ok(Flavour::FusedMixed16),
            (Provider::Tensorrt, Precision::Mixed16) => Ok(Flavour::PlainMixed16),
            (Provider::Cpu, Precision::Int8) if cfg!(feature = "int8-attention") => {
                Ok(Flavour::Int8)
            }
            (provider, precision) => Err(ModelError::Precision {
                provider: provider.name(),
                precision: precision.name(),
            }),
        }
    }

    /// Refuses a model that is too large for TensorRT, to which ONNX Runtime passes graph and weights in one
    /// protobuf message.
    ///
    /// # Errors
    ///
    /// [`ModelError::TensorrtSize`].
    pub fn check_size(self, card: &ModelCard) -> Result<(), ModelError> {
        let bytes = card.parameters.saturating_mul(match self.precision {
            Precision::Fp32 => 4,
            Precision::Mixed16 => 2,
            Precision::Int8 => 1,
        });
        if self.provider != Provider::Tensorrt || bytes <= MOST_PROTOBUF {
            return Ok(());
        }
        Err(ModelError::TensorrtSize {
            model: card.name.clone(),
            precision: self.precision.name(),
            bytes,
        })
    }

    /// ONNX Runtime's options. A provider that cannot run is an error; by default, ONNX Runtime would use the CPU
    /// silently.
    pub(super) fn providers(
        self,
        gpu: u32,
        batch_size: u32,
        image_size: u32,
        engines: &Path,
    ) -> Vec<ExecutionProviderDispatch> {
        let cuda = || {
            ep::CUDA::default()
                .with_device_id(gpu as i32)
                .with_arena_extend_strategy(ep::ArenaExtendStrategy::SameAsRequested)
                .with_conv_algorithm_search(ep::cuda::ConvAlgorithmSearch::Heuristic)
                .with_tf32(false)
                .build()
                .error_on_failure()
        };
        match self.provider {
            Provider::Cpu => Vec::new(),
            Provider::Cuda => vec![cuda()],
            Provider::Tensorrt => {
                let shape = |batch| format!("pixels:{batch}x3x{image_size}x{image_size}");
                let tensorrt = ep::TensorRT::default()
                    .with_device_id(gpu as i32)
                    .with_engine_cache(true)
                    .with_engine_cache_path(engines.display())
                    .with_timing_cache(true)
                    .with_timing_cache_path(engines.display())
                    // The graph determines where f16 is used; without this flag TensorRT 10 uses f32.
                    .with_fp16(self.precision == Precision::Mixed16)
                    .with_profile_min_shapes(shape(1))
                    .with_profile_opt_shapes(shape(batch_size))
                    .with_profile_max_shapes(shape(batch_size))
                    .build()
                    .error_on_failure();
                vec![tensorrt, cuda()]
            }
        }
    }
}

/// The folder of a model's TensorRT engines in the project at `home`. TensorRT finds an engine by the names in
/// the graph, which do not depend on the weights, so each model has its own folder.
pub(super) fn engines(home: &Path, model_sha256: &str) -> PathBuf {
    let folder = home.join("runtime").join("tensorrt-engines");
    folder.join(&model_sha256[..model_sha256.len().min(16)])
}
