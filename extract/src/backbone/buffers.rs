//! The memory that a GPU reads pixels from and writes tokens to, bound once.

use ndarray::ArrayView4;
use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::{IoBinding, Session, SessionOutputs};
use ort::value::Tensor;

use super::{BackboneOptions, INPUT, session};

/// Page-locked memory for one batch and its tokens. A batch that is not full is filled up with what
/// was there before, since a GPU would prepare itself anew for each length.
pub(super) struct Buffers {
    binding: IoBinding,
    /// `[batch_size, 3, S, S]`.
    pixels: Tensor<f32>,
}

impl Buffers {
    pub(super) fn new(session: &Session, options: &BackboneOptions) -> ort::Result<Buffers> {
        let (device, index) = match options.device.provider.is_gpu() {
            true => (AllocationDevice::CUDA_PINNED, options.device.index as i32),
            false => (AllocationDevice::CPU, 0),
        };
        let memory = |kind| MemoryInfo::new(device.clone(), index, AllocatorType::Device, kind);
        let allocator = Allocator::new(session, memory(MemoryType::CPUInput)?)?;
        let [batch, size] = [options.batch_size, options.image_size].map(|n| n as usize);
        let mut pixels = Tensor::<f32>::new(&allocator, [batch, 3, size, size])?;
        pixels.extract_tensor_mut().1.fill(0.0);
        let mut binding = session.create_binding()?;
        for name in session::outputs(options) {
            binding.bind_output_to_device(name, &memory(MemoryType::CPUOutput)?)?;
        }
        Ok(Buffers { binding, pixels })
    }

    /// Embeds `pixels`, `[B, 3, S, S]`; the outputs have `batch_size` rows, of which the first `B`
    /// count.
    pub(super) fn run<'a>(
        &'a mut self,
        session: &'a mut Session,
        pixels: ArrayView4<'_, f32>,
    ) -> ort::Result<SessionOutputs<'a>> {
        let (_, buffer) = self.pixels.extract_tensor_mut();
        for (target, source) in buffer.iter_mut().zip(pixels.iter()) {
            *target = *source;
        }
        self.binding.bind_input(INPUT, &self.pixels)?;
        session.run_binding(&self.binding)
    }
}
