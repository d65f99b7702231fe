//! The decoders and their parameters.

use crate::error::Error;
use crate::linear;
use crate::loss::{IGNORE, Loss};
use crate::parameter::{Parameter, Tensor, load};
use crate::shape::{Kind, Shape};
use crate::unet;
use crate::workspace::{Maps, Workspace, check, length};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rayon::prelude::*;

/// A segmentation decoder with its parameters and the momenta of its training.
#[derive(Clone, Debug)]
pub struct Decoder {
    kind: Kind,
    shape: Shape,
    tensors: Vec<Parameter>,
}

impl Decoder {
    /// A decoder with parameters drawn from `seed`: the linear one from N(0, 0.01) without bias,
    /// the U-Net as PyTorch initialises its layers.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`]
    pub fn new(kind: Kind, shape: Shape, seed: u64) -> Result<Self, Error> {
        check(kind, shape)?;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut uniform = || (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        let tensors = match kind {
            Kind::Linear => linear::tensors(shape, &mut || {
                // Box and Muller.
                let (radius, angle) = (1.0 - uniform(), uniform());
                (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
            }),
            Kind::UNet => unet::tensors(shape, &mut uniform),
        };
        Ok(Self {
            kind,
            shape,
            tensors,
        })
    }

    /// The computation from tokens to logits.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The sizes of the decoder.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Every parameter and running statistic, always in the same order.
    pub fn parameters(&self) -> impl Iterator<Item = Tensor<'_>> {
        self.tensors.iter().map(|parameter| Tensor {
            name: &parameter.name,
            shape: &parameter.shape,
            data: &parameter.data,
        })
    }

    /// The momentum of every trained parameter, under the parameter's name.
    pub fn momenta(&self) -> impl Iterator<Item = Tensor<'_>> {
        let trained = |parameter: &&Parameter| !parameter.momentum.is_empty();
        self.tensors.iter().filter(trained).map(|parameter| Tensor {
            name: &parameter.name,
            shape: &parameter.shape,
            data: &parameter.momentum,
        })
    }

    /// The number of trained parameters.
    pub fn parameter_count(&self) -> usize {
        self.momenta().map(|tensor| tensor.data.len()).sum()
    }

    /// Takes every tensor of [`Decoder::parameters`] from `tensors`, in any order.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`], [`Error::Unknown`] or [`Error::TensorShape`]
    pub fn load<'a>(&mut self, tensors: impl IntoIterator<Item = Tensor<'a>>) -> Result<(), Error> {
        let targets = self.tensors.iter_mut();
        let targets =
            targets.map(|parameter| (&*parameter.name, &*parameter.shape, &mut parameter.data));
        load(targets.collect(), tensors)
    }

    /// Takes every tensor of [`Decoder::momenta`] from `tensors`, in any order. With them and the
    /// parameters, training continues as if it had not been stopped.
    ///
    /// # Errors
    ///
    /// As [`Decoder::load`].
    pub fn load_momenta<'a>(
        &mut self,
        tensors: impl IntoIterator<Item = Tensor<'a>>,
    ) -> Result<(), Error> {
        let trained = |parameter: &&mut Parameter| !parameter.momentum.is_empty();
        let targets = self.tensors.iter_mut().filter(trained);
        let targets =
            targets.map(|parameter| (&*parameter.name, &*parameter.shape, &mut parameter.momentum));
        load(targets.collect(), tensors)
    }

    /// Trains for a step, as [`step`] of this decoder alone.
    ///
    /// # Errors
    ///
    /// As [`step`].
    pub fn step(
        &mut self,
        workspace: &mut Workspace,
        tokens: &[&[f32]],
        masks: &[u16],
        loss: Loss,
        rate: f32,
    ) -> Result<f64, Error> {
        let this = std::slice::from_mut(self);
        Ok(step(this, workspace, tokens, masks, loss, &[rate])?[0])
    }

    /// The logits of a batch after training (with running statistics), at the decoder's own
    /// resolution, from which [`Maps`] makes those at any size. `tokens` holds `[B, h, w, D]` of
    /// each layer, the oldest first.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`], [`Error::Batch`] or [`Error::Length`]
    pub fn maps<'a>(
        &self,
        workspace: &'a mut Workspace,
        tokens: &[&[f32]],
        batch: usize,
    ) -> Result<Maps<'a>, Error> {
        workspace.check(self.kind, self.shape, tokens, batch)?;
        Ok(workspace.maps(&self.tensors, tokens, batch))
    }

    /// The logits `[B, C, S, S]` of a batch after training, into `out`.
    ///
    /// # Errors
    ///
    /// As [`Decoder::maps`].
    pub fn logits(
        &self,
        workspace: &mut Workspace,
        tokens: &[&[f32]],
        batch: usize,
        out: &mut [f32],
    ) -> Result<(), Error> {
        let Shape { classes, size, .. } = self.shape;
        length("logits", batch * classes * size * size, out.len())?;
        let maps = self.maps(workspace, tokens, batch)?;
        out.par_chunks_mut(classes * size * size)
            .enumerate()
            .try_for_each(|(image, out)| maps.logits(image, (size, size), out))
    }
}

/// Trains several decoders of the same kind and shape on the same batch for a step, each with its own
/// rate; returns their losses. Linear decoders share most of the work. `tokens` holds
/// `[B, h, w, D]` of each layer, the oldest first, `masks` the classes `[B, S, S]` or [`IGNORE`].
/// The batch may be smaller than the workspace's. A decoder whose loss is not finite is left as it
/// was.
///
/// # Errors
///
/// [`Error::Mismatch`], [`Error::Batch`], [`Error::Length`] or [`Error::Label`]
pub fn step(
    decoders: &mut [Decoder],
    workspace: &mut Workspace,
    tokens: &[&[f32]],
    masks: &[u16],
    loss: Loss,
    rates: &[f32],
) -> Result<Vec<f64>, Error> {
    let Shape { classes, size, .. } = workspace.shape();
    let batch = masks.len() / (size * size);
    length("masks", batch * size * size, masks.len())?;
    length("rates", decoders.len(), rates.len())?;
    for decoder in &*decoders {
        workspace.check(decoder.kind, decoder.shape, tokens, batch)?;
    }
    let counted = masks.iter().filter(|label| **label != IGNORE).count();
    // One more than the largest class; the ignored label wraps to zero.
    let found = masks.iter().map(|label| label.wrapping_add(1)).max();
    if let Some(found) = found.filter(|found| usize::from(*found) > classes) {
        return Err(Error::Label {
            label: found - 1,
            classes,
        });
    }
    let tensors = decoders
        .iter_mut()
        .map(|decoder| &mut decoder.tensors[..])
        .collect();
    Ok(workspace.step(tensors, tokens, masks, loss, rates, (batch, counted)))
}
