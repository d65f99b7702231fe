//! The decoders, their parameters, and the workspace that they compute in.

use crate::error::Error;
use crate::linear::{self, Linear};
use crate::loss::{IGNORE, Loss};
use crate::parameter::{Parameter, Tensor};
use crate::shape::{Kind, Shape};
use crate::unet::{self, UNet};
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

    /// What it computes.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its sizes.
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

    /// The momentum of every parameter that is trained, under the parameter's name.
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
    /// parameters training goes on as if it had not been stopped.
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

    /// One step of training, as [`step`] of this decoder alone.
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
        workspace.check(self, tokens, batch)?;
        match &mut workspace.buffers {
            Buffers::Linear(linear) => linear.forward(&[&self.tensors], tokens[0], batch),
            Buffers::UNet(unet) => unet.evaluate(&self.tensors, tokens, batch),
        }
        Ok(Maps { workspace, batch })
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

/// A step of training of several decoders of the same kind and shape on the same batch, each with
/// its own rate; returns their losses. Linear decoders share most of the work. `tokens` holds
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
    let Shape { classes, size, .. } = workspace.shape;
    let batch = masks.len() / (size * size);
    length("masks", batch * size * size, masks.len())?;
    length("rates", decoders.len(), rates.len())?;
    for decoder in &*decoders {
        workspace.check(decoder, tokens, batch)?;
    }
    let counted = masks.iter().filter(|label| **label != IGNORE).count();
    // One more than the largest class, as the ignored label becomes zero.
    let found = masks.iter().map(|label| label.wrapping_add(1)).max();
    if let Some(found) = found.filter(|found| usize::from(*found) > classes) {
        return Err(Error::Label {
            label: found - 1,
            classes,
        });
    }
    let mut tensors: Vec<&mut [Parameter]> = decoders
        .iter_mut()
        .map(|decoder| &mut decoder.tensors[..])
        .collect();
    let divisors = (batch, counted);
    Ok(match &mut workspace.buffers {
        Buffers::Linear(linear) => {
            linear.step(&mut tensors, tokens[0], masks, loss, rates, divisors)
        }
        Buffers::UNet(unet) => tensors
            .into_iter()
            .zip(rates)
            .map(|(tensors, rate)| unet.step(tensors, tokens, masks, loss, *rate, divisors))
            .collect(),
    })
}

/// The buffers of a computation, for any number of decoders of one kind and shape in turn.
pub struct Workspace {
    kind: Kind,
    shape: Shape,
    batch: usize,
    buffers: Buffers,
}

enum Buffers {
    Linear(Box<Linear>),
    UNet(Box<UNet>),
}

impl Workspace {
    /// For batches of up to `batch` images.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`]
    pub fn new(kind: Kind, shape: Shape, batch: usize) -> Result<Self, Error> {
        check(kind, shape)?;
        let buffers = match kind {
            Kind::Linear => Buffers::Linear(Box::new(Linear::new(shape))),
            Kind::UNet => Buffers::UNet(Box::new(UNet::new(shape, batch))),
        };
        Ok(Self {
            kind,
            shape,
            batch,
            buffers,
        })
    }

    fn check(&self, decoder: &Decoder, tokens: &[&[f32]], batch: usize) -> Result<(), Error> {
        if (decoder.kind, decoder.shape) != (self.kind, self.shape) {
            return Err(Error::Mismatch);
        }
        if batch == 0 || batch > self.batch {
            return Err(Error::Batch {
                most: self.batch,
                found: batch,
            });
        }
        length("layers", self.kind.layers(), tokens.len())?;
        let (height, width) = self.shape.grid;
        for tokens in tokens {
            length(
                "tokens",
                batch * height * width * self.shape.width,
                tokens.len(),
            )?;
        }
        Ok(())
    }
}

/// The logits of a batch at the decoder's own resolution.
pub struct Maps<'a> {
    workspace: &'a Workspace,
    batch: usize,
}

impl Maps<'_> {
    /// The logits `[C, height, width]` of an image of the batch into `out`: of the linear decoder
    /// resized bilinearly from the grid, of the U-Net bicubically to S × S and from there, where
    /// that is not the size wanted, bilinearly.
    ///
    /// # Errors
    ///
    /// [`Error::Batch`] or [`Error::Length`]
    pub fn logits(
        &self,
        image: usize,
        (height, width): (usize, usize),
        out: &mut [f32],
    ) -> Result<(), Error> {
        if image >= self.batch {
            return Err(Error::Batch {
                most: self.batch,
                found: image + 1,
            });
        }
        let classes = self.workspace.shape.classes;
        length("logits", classes * height * width, out.len())?;
        if out.is_empty() {
            return Ok(());
        }
        let (map, (head, pool)) = match &self.workspace.buffers {
            Buffers::Linear(linear) => (linear.map(image), linear.head()),
            Buffers::UNet(unet) => (unet.map(image), unet.head()),
        };
        head.logits(map, (height, width), out, pool);
        Ok(())
    }
}

fn length(what: &'static str, expected: usize, found: usize) -> Result<(), Error> {
    if expected == found {
        Ok(())
    } else {
        Err(Error::Length {
            what,
            expected,
            found,
        })
    }
}

fn check(kind: Kind, shape: Shape) -> Result<(), Error> {
    let Shape {
        width,
        classes,
        grid,
        size,
    } = shape;
    if width == 0 || classes == 0 || grid.0 == 0 || grid.1 == 0 || size == 0 {
        return Err(Error::Shape("every size must be at least one"));
    }
    if classes > usize::from(IGNORE) {
        return Err(Error::Shape("there are more classes than labels"));
    }
    if kind == Kind::UNet && width % 8 != 0 {
        return Err(Error::Shape("a U-Net halves the width three times"));
    }
    Ok(())
}

/// Copies each of `tensors` to the target of its name, once all are known to fit.
fn load<'a>(
    mut targets: Vec<(&str, &[usize], &mut Vec<f32>)>,
    tensors: impl IntoIterator<Item = Tensor<'a>>,
) -> Result<(), Error> {
    let mut sources: Vec<Option<&[f32]>> = vec![None; targets.len()];
    for tensor in tensors {
        let place = targets.iter().position(|target| target.0 == tensor.name);
        let place = place.ok_or_else(|| Error::Unknown(tensor.name.to_owned()))?;
        let (name, shape, target) = &targets[place];
        if *shape != tensor.shape || tensor.data.len() != target.len() {
            return Err(Error::TensorShape {
                name: (*name).to_owned(),
                expected: shape.to_vec(),
                found: tensor.shape.to_vec(),
            });
        }
        sources[place] = Some(tensor.data);
    }
    if let Some(place) = sources.iter().position(Option::is_none) {
        return Err(Error::Missing(targets[place].0.to_owned()));
    }
    for ((_, _, target), source) in targets.iter_mut().zip(sources.into_iter().flatten()) {
        target.copy_from_slice(source);
    }
    Ok(())
}
