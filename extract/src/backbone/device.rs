//! Where and how precisely a backbone computes.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::ValueEnum;
use onnx_models::{Flavour, ModelCard};
use ort::ep::{self, ExecutionProviderDispatch};

use crate::ModelError;

/// Bytes that a message of protobuf may have.
const MOST_PROTOBUF: u64 = i32::MAX as u64;

/// An execution provider of ONNX Runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Provider {
    /// The processor.
    Cpu,
    /// An NVIDIA GPU by CUDA and cuDNN.
    Cuda,
    /// An NVIDIA GPU by TensorRT, which first builds an engine for it.
    Tensorrt,
}

impl Provider {
    /// Its word on the command line and in caches.
    pub fn name(self) -> &'static str {
        match self {
            Provider::Cpu => "cpu",
            Provider::Cuda => "cuda",
            Provider::Tensorrt => "tensorrt",
        }
    }

    /// Whether it computes on a GPU.
    pub fn is_gpu(self) -> bool {
        self != Provider::Cpu
    }
}

/// How precisely it computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Precision {
    /// f32 throughout.
    Fp32,
    /// Products in f16; sums of blocks and norms in f32.
    Mixed16,
    /// Products in 8-bit integers.
    Int8,
}

impl Precision {
    /// Its word on the command line and in caches.
    pub fn name(self) -> &'static str {
        match self {
            Precision::Fp32 => "fp32",
            Precision::Mixed16 => "mixed16",
            Precision::Int8 => "int8",
        }
    }
}

/// Which GPUs compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gpus {
    /// The one of this number.
    One(u32),
    /// All that there are.
    All,
}

impl Gpus {
    /// The number of the first.
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

/// A provider, which of its devices, and the precision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// The provider.
    pub provider: Provider,
    /// Which GPUs, if it computes on one.
    pub gpus: Gpus,
    /// The precision.
    pub precision: Precision,
}

impl Device {
    /// The processor, in f32: what all others are compared with.
    pub const REFERENCE: Device = Device {
        provider: Provider::Cpu,
        gpus: Gpus::One(0),
        precision: Precision::Fp32,
    };

    /// Whether it is that one.
    pub fn is_reference(self) -> bool {
        (self.provider, self.precision) == (Provider::Cpu, Precision::Fp32)
    }

    /// The form of a model's graph that it runs.
    ///
    /// # Errors
    ///
    /// [`ModelError::Precision`] if the provider does not compute so.
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

    /// Refuses a model whose weights TensorRT cannot be given: ONNX Runtime hands it the graph with them
    /// in one message of protobuf.
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

    /// What ONNX Runtime is told. A provider that cannot run is an error: the default would be to
    /// compute on the processor without a word.
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
                    // The graph says where f16 is used; without this TensorRT 10 computes it in f32.
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

/// Where TensorRT keeps the engines of a model, in the project at `home`. TensorRT finds an engine by
/// the names in its graph, which are the same for other weights: so each model has its own folder.
pub(super) fn engines(home: &Path, model_sha256: &str) -> PathBuf {
    let folder = home.join("runtime").join("tensorrt-engines");
    folder.join(&model_sha256[..model_sha256.len().min(16)])
}
