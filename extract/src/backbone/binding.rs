//! Runs of a session, with the memory for their pixels and tokens.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use ndarray::{Array4, Axis, Slice};
use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};
use ort::session::{IoBinding, RunOptions, Session, SessionOutputs};
use ort::value::Tensor;

use super::INPUT;

/// Batches whose pixels a GPU holds: one is copied while the other is computed.
const PIXEL_BUFFERS: usize = 2;

/// The free bindings of a session.
pub(super) struct Bindings {
    free: Mutex<Receiver<IoBinding>>,
    back: Sender<IoBinding>,
    /// Slices of every run on a GPU, which would be prepared again for each other number. Smaller batches are
    /// filled with black slices.
    run: Option<usize>,
}

impl Bindings {
    /// The bindings of a session: on a GPU, with `run` slices in every run, or on the CPU.
    pub(super) fn new(session: &Session, run: Option<usize>) -> ort::Result<Bindings> {
        let (back, free) = mpsc::channel();
        for _ in 0..run.map_or(1, |_| PIXEL_BUFFERS) {
            let _ = back.send(session.create_binding()?);
        }
        Ok(Bindings {
            free: Mutex::new(free),
            back,
            run,
        })
    }

    /// Slices of every run, if the number is fixed.
    pub(super) fn run(&self) -> Option<usize> {
        self.run
    }

    /// Waits for a free binding, and copies `pixels`, `[B, 3, S, S]`, to the device.
    pub(super) fn bind(&self, pixels: Array4<f32>) -> ort::Result<Bound> {
        let slices = pixels.len_of(Axis(0));
        let pixels = match self.run {
            Some(run) if run > slices => filled_up(&pixels, run),
            _ => pixels,
        };
        let computed = pixels.len_of(Axis(0));
        let pixels = Tensor::from_array(pixels)?;
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let binding = free.recv().map_err(|e| ort::Error::new(e.to_string()))?;
        let mut bound = Bound {
            binding: Some(binding),
            back: self.back.clone(),
            slices,
            computed,
        };
        // From pageable memory: ONNX Runtime does not copy pinned memory, so kernels would read it over the
        // bus.
        bound.binding().bind_input(INPUT, &pixels)?;
        Ok(bound)
    }
}

fn filled_up(pixels: &Array4<f32>, slices: usize) -> Array4<f32> {
    let (found, channels, rows, columns) = pixels.dim();
    let mut all = Array4::zeros((slices, channels, rows, columns));
    all.slice_axis_mut(Axis(0), Slice::from(..found))
        .assign(pixels);
    all
}

/// Pixels that are bound to a session.
pub(super) struct Bound {
    binding: Option<IoBinding>,
    back: Sender<IoBinding>,
    /// Slices of the batch.
    pub(super) slices: usize,
    /// Slices that are computed: more if the batch was filled up.
    pub(super) computed: usize,
}

impl Bound {
    fn binding(&mut self) -> &mut IoBinding {
        self.binding.as_mut().expect("only `drop` takes it")
    }
}

impl Drop for Bound {
    /// Returns the binding for the next batch, also after an error.
    fn drop(&mut self) {
        if let Some(mut binding) = self.binding.take() {
            binding.clear();
            let _ = self.back.send(binding);
        }
    }
}

/// The memory for the tokens of a session, the names of the requested ones, and the time limit of a run.
pub(super) struct Outputs {
    pub(super) names: Vec<String>,
    pub(super) memory: MemoryInfo<'static>,
    /// [`Duration::ZERO`] for no limit.
    pub(super) limit: Duration,
}

impl Outputs {
    /// Computes the tokens of bound pixels.
    ///
    /// # Errors
    ///
    /// ONNX Runtime's error; `None` if the run exceeded the time limit.
    pub(super) fn run<'a>(
        &self,
        session: &'a mut Session,
        bound: &'a mut Bound,
    ) -> Result<SessionOutputs<'a>, Option<ort::Error>> {
        // Outputs are bound again for each run: ONNX Runtime 1.31 keeps the tensors of the last run in the
        // binding, and then fails to copy a tensor onto itself. Each run also gets its own memory this way, in
        // which tokens stay until they are written.
        let binding = bound.binding();
        binding.clear_outputs();
        for name in &self.names {
            binding.bind_output_to_device(name, &self.memory)?;
        }
        let (binding, options) = (&*binding, &RunOptions::new()?);
        let (result, is_late) = within(self.limit, options, move || {
            session.run_binding_with_options(binding, options)
        });
        result.map_err(|error| (!is_late).then_some(error))
    }
}

/// Memory for tokens: pinned for a GPU, so that they are copied at the bus's speed.
pub(super) fn memory(gpu: Option<u32>) -> ort::Result<MemoryInfo<'static>> {
    let (device, index) = match gpu {
        Some(gpu) => (AllocationDevice::CUDA_PINNED, gpu as i32),
        None => (AllocationDevice::CPU, 0),
    };
    MemoryInfo::new(device, index, AllocatorType::Device, MemoryType::CPUOutput)
}

/// The result of `run`, and whether it was terminated because it exceeded `limit`.
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
    use std::sync::Arc;

    use cache::Tokens;
    use ndarray::{Array4, s};

    use super::*;
    use crate::backbone::{Backbone, BackboneOptions, Device, Runtime, SliceBatch};
    use crate::export::Exporter;
    use onnx_models::Flavour;
    use onnx_models::ModelCard;

    fn batch(pixels: Array4<f32>) -> SliceBatch {
        SliceBatch {
            pixels,
            slices: Vec::new(),
            masks: Vec::new(),
            pictures: Vec::new(),
        }
    }

    /// In main memory, since there may be no GPU.
    #[test]
    fn a_batch_that_is_filled_up_gives_the_same_tokens_run_after_run() {
        let home = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
        let card = ModelCard::read(&home.join("onnx_models"), "tiny-vit").unwrap();
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
            halved: false,
            run_limit: Duration::ZERO,
            device: Device::REFERENCE,
        };
        let load = || Backbone::load(&runtime, &card, &exported, options.clone()).unwrap();
        let (mut plain, mut padded) = (load(), load());
        let runner = &mut padded.runners[0];
        runner.bindings = Arc::new(Bindings::new(&runner.session, Some(4)).unwrap());
        let loader = padded.loader();
        let pixels = Array4::from_shape_fn((4, 3, 56, 56), |(b, c, y, x)| {
            ((b * 7 + c * 5 + y * 3 + x) % 11) as f32 / 5.0 - 1.0
        });
        for rows in [4, 3, 4] {
            let pixels = pixels.slice(s![4 - rows.., .., .., ..]).to_owned();
            let expected = plain.embed(batch(pixels.clone())).unwrap();
            // Two are on their way at a time, and one that is given up leaves its place to others.
            drop(loader.load(batch(pixels.clone())).unwrap());
            let other = loader.load(batch(pixels.clone() + 1.0)).unwrap();
            let loaded = loader.load(batch(pixels)).unwrap();
            assert!(padded.embed(other).unwrap().cls[0] != expected.cls[0]);
            let found = padded.embed(loaded).unwrap();
            assert_eq!(found.cls[0].nrows(), rows);
            for (found, expected) in found.patch.iter().zip(&expected.patch) {
                assert_eq!(found.shape(), expected.shape());
                let off = (found.to_f32() - expected.to_f32())
                    .mapv(f32::abs)
                    .fold(0.0, |a: f32, &b| a.max(b));
                assert!(off < 1e-5, "{off}");
            }
        }
    }
}
