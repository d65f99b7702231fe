//! The weights of a checkpoint, and the tensors that are made of them.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;

use super::block::Block;
use super::layer::{Adapter, Layer};
use super::normalise::Norm;
use super::shape::{Encoder, Lora, Method};
use super::tensor::Tensor;
use crate::error::Error;
use crate::workspace::length;

/// The weights of a block, row by row.
#[derive(Clone, Debug, Default)]
pub struct BlockWeights {
    /// Gain and shift `[D]` of the LayerNorms before attention and MLP.
    pub norms: [[Vec<f32>; 2]; 2],
    /// Queries, keys and values `[3D, D]`, in this order.
    pub attend: LayerWeights,
    /// The projection `[D, D]` after attention.
    pub project: LayerWeights,
    /// The layers of the MLP, `[hidden, D]` (`[2 hidden, D]` for SwiGLU) and `[D, hidden]`.
    pub mlp: [LayerWeights; 2],
    /// LayerScale `[D]` of attention and MLP.
    pub scales: [Option<Vec<f32>>; 2],
}

/// The weights of a linear layer.
#[derive(Clone, Debug, Default)]
pub struct LayerWeights {
    /// `[outputs, inputs]`
    pub weight: Vec<f32>,
    /// `[outputs]`
    pub bias: Option<Vec<f32>>,
}

impl BlockWeights {
    /// The block `name`, with adapters if `method` has them.
    pub(super) fn block(
        self,
        name: &str,
        encoder: &Encoder,
        method: Method,
        rng: &mut ChaCha8Rng,
    ) -> Result<Block, Error> {
        let Encoder { width, hidden, .. } = *encoder;
        let gates = encoder.activation.gates();
        let [first, second] = self.norms;
        let [fc1, fc2] = self.mlp;
        let layer = |weights: LayerWeights, part: &str, outputs, inputs| {
            weights.layer(&format!("{name}.{part}"), [outputs, inputs])
        };
        let mut block = Block {
            norms: [
                norm(&format!("{name}.norm1"), first, encoder)?,
                norm(&format!("{name}.norm2"), second, encoder)?,
            ],
            attend: layer(self.attend, "attn.qkv", 3 * width, width)?,
            project: layer(self.project, "attn.proj", width, width)?,
            mlp: [
                layer(fc1, "mlp.fc1", gates * hidden, width)?,
                layer(fc2, "mlp.fc2", width, hidden)?,
            ],
            scales: [None, None],
            activation: encoder.activation,
            heads: encoder.heads,
        };
        for (number, (scale, target)) in self.scales.into_iter().zip(&mut block.scales).enumerate()
        {
            if let Some(scale) = scale {
                let name = format!("{name}.ls{}.gamma", number + 1);
                *target = Some(tensor(name, &[width], scale)?);
            }
        }
        if let Method::Lora(lora) = method {
            let groups = if lora.is_split { 3 } else { 1 };
            block.attend.add_adapters(groups, lora, rng);
            block
                .mlp
                .iter_mut()
                .for_each(|layer| layer.add_adapters(1, lora, rng));
        }
        Ok(block)
    }
}

impl LayerWeights {
    fn layer(self, name: &str, shape: [usize; 2]) -> Result<Layer, Error> {
        let bias = self
            .bias
            .map(|bias| tensor(format!("{name}.bias"), &shape[..1], bias));
        Ok(Layer {
            weight: tensor(format!("{name}.weight"), &shape, self.weight)?,
            bias: bias.transpose()?,
            adapters: Vec::new(),
        })
    }
}

impl Layer {
    /// Adds an adapter to each of `groups` equal parts of the outputs, as Hugging Face PEFT initialises them: `A` from
    /// the uniform distribution between `±1 / sqrt(inputs)`, `B` zero.
    fn add_adapters(&mut self, groups: usize, lora: Lora, rng: &mut ChaCha8Rng) {
        let (outputs, inputs) = (self.outputs() / groups, self.inputs());
        let name = self.weight.name.trim_end_matches(".weight").to_owned();
        let bound = 1.0 / (inputs as f64).sqrt();
        self.adapters = (0..groups)
            .map(|group| {
                let name = match groups {
                    1 => name.clone(),
                    _ => format!("{name}.{group}"),
                };
                let down = (0..lora.rank * inputs)
                    .map(|_| ((2.0 * uniform(rng) - 1.0) * bound) as f32)
                    .collect();
                let up = vec![0.0; outputs * lora.rank];
                Adapter {
                    down: Tensor::new(format!("{name}.lora_A"), &[lora.rank, inputs], down),
                    up: Tensor::new(format!("{name}.lora_B"), &[outputs, lora.rank], up),
                    outputs: group * outputs..(group + 1) * outputs,
                    scale: lora.alpha / lora.rank as f32,
                }
            })
            .collect();
    }
}

/// The LayerNorm `name`.
pub(super) fn norm(name: &str, weights: [Vec<f32>; 2], encoder: &Encoder) -> Result<Norm, Error> {
    let [gain, shift] = weights;
    Ok(Norm {
        gain: tensor(format!("{name}.weight"), &[encoder.width], gain)?,
        shift: tensor(format!("{name}.bias"), &[encoder.width], shift)?,
        epsilon: encoder.epsilon,
    })
}

/// A head with weights from N(0, 0.01) and biases of zero.
pub(super) fn head(encoder: &Encoder, rng: &mut ChaCha8Rng) -> Layer {
    let (outputs, width) = (encoder.outputs, encoder.width);
    let mut normal = || {
        // Box and Muller.
        let (radius, angle) = (1.0 - uniform(rng), uniform(rng));
        (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
    };
    let weight = (0..outputs * width)
        .map(|_| (normal() * 0.01) as f32)
        .collect();
    Layer {
        weight: Tensor::new("head.weight".into(), &[outputs, width], weight),
        bias: Some(Tensor::new(
            "head.bias".into(),
            &[outputs],
            vec![0.0; outputs],
        )),
        adapters: Vec::new(),
    }
}

fn uniform(rng: &mut ChaCha8Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

fn tensor(name: String, shape: &[usize], data: Vec<f32>) -> Result<Tensor, Error> {
    length("a block's weights", shape.iter().product(), data.len())?;
    Ok(Tensor::new(name, shape, data))
}
