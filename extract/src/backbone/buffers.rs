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
