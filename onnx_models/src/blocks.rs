//! The weights of the last blocks of a vision transformer, and the names of their modules in the checkpoint.

use std::path::Path;

use crate::checkpoint::Checkpoint;
use crate::names::AttentionNames;
use crate::{Activation, Error, ModelCard, VitCard};

/// The last blocks of a model.
#[derive(Clone, Debug)]
pub struct LastBlocks {
    /// In the order of the model.
    pub blocks: Vec<Block>,
    /// The last LayerNorm, its gain and shift `[D]`, if tokens go through it.
    pub norm: Option<[Vec<f32>; 2]>,
    /// The name of this LayerNorm, with the prefix of the encoder.
    pub norm_name: String,
}

/// A block.
#[derive(Clone, Debug)]
pub struct Block {
    /// Gain and shift `[D]` of the LayerNorms before attention and MLP.
    pub norms: [[Vec<f32>; 2]; 2],
    /// Queries, keys and values: a layer each, or one for all three, `[3D, D]`, in this order.
    pub attend: Vec<Affine>,
    /// The projection after attention, `[D, D]`.
    pub project: Affine,
    /// The two layers of the MLP.
    pub mlp: [Affine; 2],
    /// LayerScale `[D]` of attention and MLP, with their names.
    pub scales: [Option<(String, Vec<f32>)>; 2],
    /// Names of the LayerNorms.
    pub norm_names: [String; 2],
}

/// A linear layer.
#[derive(Clone, Debug)]
pub struct Affine {
    /// The name of the module, with the prefix of the encoder.
    pub name: String,
    /// `[outputs, inputs]`
    pub weight: Vec<f32>,
    /// Outputs and inputs.
    pub shape: [usize; 2],
    /// `[outputs]`
    pub bias: Option<Vec<f32>>,
}

/// Reads the last `count` blocks of the model in the safetensors file `weights`.
///
/// # Errors
///
/// [`Error::Io`], and [`Error::Weights`] if the weights are not what the card says.
pub fn last_blocks(
    card: &ModelCard,
    vit: &VitCard,
    weights: &Path,
    count: u32,
) -> Result<LastBlocks, Error> {
    let checkpoint = Checkpoint::open(weights, vit.tensors.names())?;
    let reader = Reader {
        checkpoint: &checkpoint,
        width: card.width as usize,
        vit,
    };
    let blocks = card.depth.saturating_sub(count)..card.depth;
    let norm = checkpoint.names.last_norm;
    Ok(LastBlocks {
        blocks: blocks
            .map(|index| reader.block(index))
            .collect::<Result<_, _>>()?,
        norm: vit.final_norm.then(|| reader.norm(norm)).transpose()?,
        norm_name: checkpoint.full_name(norm),
    })
}

struct Reader<'a> {
    checkpoint: &'a Checkpoint,
    width: usize,
    vit: &'a VitCard,
}

impl Reader<'_> {
    fn block(&self, index: u32) -> Result<Block, Error> {
        let (names, width) = (self.checkpoint.names, self.width);
        let own = |name: &str| format!("{}.{index}.{name}", names.block);
        let attend = match &names.attention {
            AttentionNames::Separate(each) => each
                .iter()
                .map(|name| self.layer(&own(name), [width, width]))
                .collect::<Result<_, _>>()?,
            AttentionNames::Packed(name) => vec![self.layer(&own(name), [3 * width, width])?],
        };
        let here = |name: &str| self.checkpoint.has(&format!("{}.weight", own(name)));
        let pairs = names.mlp;
        let [first, second] = *pairs.iter().find(|pair| here(pair[0])).unwrap_or(&pairs[0]);
        let shape = self.checkpoint.shape(&format!("{}.weight", own(second)));
        let hidden = shape.and_then(|shape| shape.get(1)).copied().unwrap_or(0);
        let gates = match self.vit.activation {
            Activation::Swiglu => 2,
            Activation::Gelu | Activation::GeluTanh | Activation::QuickGelu => 1,
        };
        let [before, after] = names.norms.map(own);
        let scale = |which: usize| -> Result<Option<(String, Vec<f32>)>, Error> {
            let name = names.scales.map(|names| own(names[which]));
            let Some(name) = name.filter(|name| self.checkpoint.has(name)) else {
                return Ok(None);
            };
            let values = self.values(&name, &[width])?;
            Ok(Some((self.checkpoint.full_name(&name), values)))
        };
        Ok(Block {
            norms: [self.norm(&before)?, self.norm(&after)?],
            attend,
            project: self.layer(&own(names.projection), [width, width])?,
            mlp: [
                self.layer(&own(first), [gates * hidden, width])?,
                self.layer(&own(second), [width, hidden])?,
            ],
            scales: [scale(0)?, scale(1)?],
            norm_names: [before, after].map(|name| self.checkpoint.full_name(&name)),
        })
    }

    fn layer(&self, name: &str, shape: [usize; 2]) -> Result<Affine, Error> {
        let bias = format!("{name}.bias");
        let bias = self
            .checkpoint
            .has(&bias)
            .then(|| self.values(&bias, &shape[..1]));
        Ok(Affine {
            name: self.checkpoint.full_name(name),
            weight: self.values(&format!("{name}.weight"), &shape)?,
            shape,
            bias: bias.transpose()?,
        })
    }

    fn norm(&self, name: &str) -> Result<[Vec<f32>; 2], Error> {
        let of = |part: &str| self.values(&format!("{name}.{part}"), &[self.width]);
        Ok([of("weight")?, of("bias")?])
    }

    fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Error> {
        let values = self.checkpoint.read(&self.checkpoint.find(name, shape)?)?;
        Ok(values.into_raw_vec_and_offset().0)
    }
}
