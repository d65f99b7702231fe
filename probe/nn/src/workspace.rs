//! Buffers that decoders of one kind and shape compute in.

use crate::error::Error;
use crate::linear::Linear;
use crate::loss::{IGNORE, Loss};
use crate::parameter::Parameter;
use crate::shape::{Kind, Shape};
use crate::unet::UNet;

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
    /// A workspace for batches of up to `batch` images.
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

    /// The sizes that it is for.
    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }

    /// Checks a decoder's kind and shape, and the tokens `[batch, h, w, D]` of each layer.
    pub(crate) fn check(
        &self,
        kind: Kind,
        shape: Shape,
        tokens: &[&[f32]],
        batch: usize,
    ) -> Result<(), Error> {
        if (kind, shape) != (self.kind, self.shape) {
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
        let expected = batch * height * width * self.shape.width;
        tokens
            .iter()
            .try_for_each(|tokens| length("tokens", expected, tokens.len()))
    }

    /// The logits of a batch that has been checked.
    pub(crate) fn maps(
        &mut self,
        tensors: &[Parameter],
        tokens: &[&[f32]],
        batch: usize,
    ) -> Maps<'_> {
        match &mut self.buffers {
            Buffers::Linear(linear) => linear.forward(&[tensors], tokens[0], batch),
            Buffers::UNet(unet) => unet.evaluate(tensors, tokens, batch),
        }
        Maps {
            workspace: self,
            batch,
        }
    }

    /// A step of several decoders on a batch that has been checked; returns their losses. `divisors`
    /// are the number of images and of pixels that are not ignored.
    pub(crate) fn step(
        &mut self,
        mut decoders: Vec<&mut [Parameter]>,
        tokens: &[&[f32]],
        masks: &[u16],
        loss: Loss,
        rates: &[f32],
        divisors: (usize, usize),
    ) -> Vec<f64> {
        match &mut self.buffers {
            Buffers::Linear(linear) => {
                linear.step(&mut decoders, tokens[0], masks, loss, rates, divisors)
            }
            Buffers::UNet(unet) => decoders
                .into_iter()
                .zip(rates)
                .map(|(tensors, rate)| unet.step(tensors, tokens, masks, loss, *rate, divisors))
                .collect(),
        }
    }
}

/// The logits of a batch at the decoder's own resolution.
pub struct Maps<'a> {
    workspace: &'a Workspace,
    batch: usize,
}

impl Maps<'_> {
    /// The logits `[C, height, width]` of an image of the batch, into `out`. Those of the linear decoder
    /// are resized bilinearly from the grid, those of the U-Net bicubically to S × S and from there, if
    /// another size is wanted, bilinearly.
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

/// Checks the length of a slice.
pub(crate) fn length(what: &'static str, expected: usize, found: usize) -> Result<(), Error> {
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

/// Checks that there are decoders of these sizes.
pub(crate) fn check(kind: Kind, shape: Shape) -> Result<(), Error> {
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
