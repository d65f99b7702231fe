//! The memory that a session reads pixels from and writes tokens to, and a run of it.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use ndarray::ArrayView4;
use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::{IoBinding, RunOptions, Session, SessionOutputs};
use ort::value::Tensor;

use super::{BackboneOptions, INPUT, session};

/// Where the inputs and outputs of a session lie.
pub(super) struct Binding {
    binding: IoBinding,
    outputs: Vec<String>,
    /// Of the outputs.
    memory: MemoryInfo<'static>,
    /// Pixels of one batch of a GPU, `[batch_size, 3, S, S]`, in pageable memory: ONNX Runtime copies
    /// that to the device when it is bound. It copies no pinned memory, which kernels would then read
    /// over the bus. A batch that is not full keeps the pixels of the one before in its last rows,
    /// because a GPU would prepare itself anew for each length.
    batch: Option<Tensor<f32>>,
}

impl Binding {
    pub(super) fn new(session: &Session, options: &BackboneOptions) -> ort::Result<Binding> {
        let is_gpu = options.device.provider.is_gpu();
        let (device, index) = if is_gpu {
            (AllocationDevice::CUDA_PINNED, options.device.index as i32)
        } else {
            (AllocationDevice::CPU, 0)
        };
        Ok(Binding {
            binding: session.create_binding()?,
            outputs: session::outputs(options),
            memory: MemoryInfo::new(device, index, AllocatorType::Device, MemoryType::CPUOutput)?,
            batch: is_gpu.then(|| batch(options)).transpose()?,
        })
    }

    /// Whether the outputs have the rows of a whole batch, of which those of the pixels come first.
    pub(super) fn is_padded(&self) -> bool {
        self.batch.is_some()
    }

    /// Embeds `pixels`, `[B, 3, S, S]`, and ends that after `limit`; [`Duration::ZERO`] for no limit.
    ///
    /// # Errors
    ///
    /// What ONNX Runtime says; `None` if the run took too long.
    pub(super) fn run<'a>(
        &'a mut self,
        session: &'a mut Session,
        pixels: ArrayView4<'_, f32>,
        limit: Duration,
    ) -> Result<SessionOutputs<'a>, Option<ort::Error>> {
        // Bound anew for each run: ONNX Runtime 1.31 keeps the tensors of the run before in the
        // binding, and then fails to copy a tensor onto itself.
        self.binding.clear_outputs();
        for name in &self.outputs {
            self.binding.bind_output_to_device(name, &self.memory)?;
        }
        match &mut self.batch {
            Some(batch) => {
                let (_, buffer) = batch.extract_tensor_mut();
                for (target, source) in buffer.iter_mut().zip(pixels.iter()) {
                    *target = *source;
                }
                self.binding.bind_input(INPUT, batch)?;
            }
            None => {
                let pixels = Tensor::from_array(pixels.to_owned())?;
                self.binding.bind_input(INPUT, &pixels)?;
            }
        }
        let (binding, options) = (&self.binding, &RunOptions::new()?);
        let (result, is_late) = within(limit, options, move || {
            session.run_binding_with_options(binding, options)
        });
        result.map_err(|error| (!is_late).then_some(error))
    }
}

/// Memory for the pixels of a whole batch.
fn batch(options: &BackboneOptions) -> ort::Result<Tensor<f32>> {
    let [batch, size] = [options.batch_size, options.image_size].map(|n| n as usize);
    let mut pixels = Tensor::<f32>::new(&Allocator::default(), [batch, 3, size, size])?;
    pixels.extract_tensor_mut().1.fill(0.0);
    Ok(pixels)
}

/// What `run` gives, and whether it was told to end since it took longer than `limit`.
fn within<T>(limit: Duration, options: &RunOptions, run: impl FnOnce() -> T) -> (T, bool) {
    if limit.is_zero() {
        return (run(), false);
    }
    let (done, waiting) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let watch = scope.spawn(move || {
            let is_late = waiting.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
            is_late && options.terminate().is_ok()
        });
        let result = run();
        drop(done);
        (result, watch.join().unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use cache::Tokens;
    use ndarray::{Array4, s};

    use super::*;
    use crate::backbone::{Backbone, Device, Runtime, SliceBatch};
    use crate::export::{Exporter, Flavour};
    use crate::model::ModelCard;

    fn batch(pixels: Array4<f32>) -> SliceBatch {
        SliceBatch {
            pixels,
            slices: Vec::new(),
            masks: Vec::new(),
            pictures: Vec::new(),
        }
    }

    /// In the processor's memory, since there may be no GPU.
    #[test]
    fn a_batch_that_is_filled_up_gives_the_same_tokens_run_after_run() {
        let home = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        let card = ModelCard::read(home, "tiny-vit").unwrap();
        let tell = &mut |_: &str| {};
        let exported = Exporter { home, tell }
            .ensure(&card, 56, Flavour::Fused)
            .unwrap();
        let runtime = Runtime::load(home, false).unwrap();
        let options = BackboneOptions {
            image_size: 56,
            layers: 2,
            tokens: Tokens::All,
            threads: 1,
            batch_size: 4,
            run_limit: Duration::ZERO,
            device: Device::REFERENCE,
        };
        let load = || Backbone::load(&runtime, &card, &exported, options.clone()).unwrap();
        let (mut plain, mut padded) = (load(), load());
        let runner = &mut padded.runners[0];
        runner.binding.batch = Some(super::batch(&options).unwrap());
        let pixels = Array4::from_shape_fn((4, 3, 56, 56), |(b, c, y, x)| {
            ((b * 7 + c * 5 + y * 3 + x) % 11) as f32 / 5.0 - 1.0
        });
        for rows in [4, 3, 4] {
            let pixels = pixels.slice(s![4 - rows.., .., .., ..]).to_owned();
            let expected = plain.embed(batch(pixels.clone())).unwrap();
            let found = padded.embed(batch(pixels)).unwrap();
            assert_eq!(found.cls[0].nrows(), rows);
            for (found, expected) in found.patch.iter().zip(&expected.patch) {
                assert_eq!(found.dim(), expected.dim());
                let off = (found - expected)
                    .mapv(f32::abs)
                    .fold(0.0, |a: f32, &b| a.max(b));
                assert!(off < 1e-5, "{off}");
            }
        }
    }
}
