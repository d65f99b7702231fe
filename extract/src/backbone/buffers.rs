//! Input and output memory of runs on a GPU.

use ndarray::ArrayView4;
use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::{IoBinding, Session, SessionOutputs};
use ort::value::Tensor;

use super::{BackboneOptions, INPUT, session};

/// Pixels of one batch, and where its tokens go. A batch that is not full keeps the pixels of the one
/// before in its last rows, because a GPU would prepare itself anew for each length.
pub(super) struct Buffers {
    binding: IoBinding,
    /// `[batch_size, 3, S, S]`, in pageable memory: ONNX Runtime copies that to the device when it is
    /// bound. It copies no pinned memory, which kernels would then read over the bus.
    pixels: Tensor<f32>,
    /// Names of the outputs.
    outputs: Vec<String>,
    /// Pinned memory for the outputs, if the device is a GPU.
    memory: MemoryInfo<'static>,
}

impl Buffers {
    pub(super) fn new(session: &Session, options: &BackboneOptions) -> ort::Result<Buffers> {
        let (device, index) = if options.device.provider.is_gpu() {
            (AllocationDevice::CUDA_PINNED, options.device.index as i32)
        } else {
            (AllocationDevice::CPU, 0)
        };
        let [batch, size] = [options.batch_size, options.image_size].map(|n| n as usize);
        let mut pixels = Tensor::<f32>::new(&Allocator::default(), [batch, 3, size, size])?;
        pixels.extract_tensor_mut().1.fill(0.0);
        Ok(Buffers {
            binding: session.create_binding()?,
            pixels,
            outputs: session::outputs(options),
            memory: MemoryInfo::new(device, index, AllocatorType::Device, MemoryType::CPUOutput)?,
        })
    }

    /// Embeds `pixels`, `[B, 3, S, S]`; the outputs have `batch_size` rows, of which the first `B`
    /// count.
    ///
    /// Outputs are bound anew for each run: ONNX Runtime 1.31 keeps the tensors of the run before in
    /// the binding, and then fails to copy a tensor onto itself.
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
        self.binding.clear_outputs();
        for name in &self.outputs {
            self.binding.bind_output_to_device(name, &self.memory)?;
        }
        session.run_binding(&self.binding)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use cache::Tokens;
    use ndarray::{Array4, s};

    use crate::backbone::{Backbone, BackboneOptions, Device, Runtime, SliceBatch};
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
    fn bound_buffers_give_the_same_tokens_also_for_a_batch_that_is_not_full() {
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
            device: Device::REFERENCE,
        };
        let load = || Backbone::load(&runtime, &card, &exported, options.clone()).unwrap();
        let (mut plain, mut bound) = (load(), load());
        let runner = &mut bound.runners[0];
        runner.buffers = Some(super::Buffers::new(&runner.session, &options).unwrap());
        let pixels = Array4::from_shape_fn((4, 3, 56, 56), |(b, c, y, x)| {
            ((b * 7 + c * 5 + y * 3 + x) % 11) as f32 / 5.0 - 1.0
        });
        for rows in [4, 3] {
            let pixels = pixels.slice(s![4 - rows.., .., .., ..]).to_owned();
            let expected = plain.embed(batch(pixels.clone())).unwrap();
            let found = bound.embed(batch(pixels)).unwrap();
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
