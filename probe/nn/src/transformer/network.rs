//! The network, and a step of its training.

use std::ops::Range;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rayon::prelude::*;

use super::block::{Block, Scope, Trace};
use super::dropout::Dropout;
use super::layer::{Drop, Layer};
use super::normalise::{Norm, add_rows};
use super::optimiser::Rates;
use super::session::{Chunk, Session};
use super::shape::{CHUNK, Encoder, Method, Pooling};
use super::tensor::Tensor;
use super::weights::{self, BlockWeights};
use crate::error::Error;
use crate::parameter;
use crate::workspace::length;

/// Numbers of a task that adds gradients.
const TASK: usize = 1 << 14;

/// The last blocks of a vision transformer, and a linear head.
#[derive(Clone, Debug)]
pub struct Network {
    encoder: Encoder,
    method: Method,
    blocks: Vec<Block>,
    /// The last LayerNorm.
    norm: Option<Norm>,
    head: Layer,
    /// Numbers that are trained.
    trained: usize,
    seed: u64,
}

/// A batch for training.
pub struct Batch<'a> {
    /// Tokens `[B, T, D]` before the first block.
    pub tokens: &'a [f32],
    /// Replaces logits `[.., O]` of these images of the batch by the gradient of their part of the loss,
    /// and returns this part.
    pub loss: &'a (dyn Fn(Range<usize>, &mut [f32]) -> f64 + Sync),
}

impl Network {
    /// A network of `blocks`, in the order of the model, and its last LayerNorm `norm` (gain and shift). Adapters and the
    /// head are drawn from `seed`: `A` as PEFT does, `B` zero, weights of the head from N(0, 0.01).
    ///
    /// # Errors
    ///
    /// [`Error::Shape`], and [`Error::Length`] if weights do not have the sizes of `encoder`.
    pub fn new(
        encoder: Encoder,
        method: Method,
        blocks: Vec<BlockWeights>,
        norm: Option<[Vec<f32>; 2]>,
        seed: u64,
    ) -> Result<Network, Error> {
        encoder.check(method)?;
        if blocks.is_empty() {
            return Err(Error::Shape("there are no blocks"));
        }
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let head = weights::head(&encoder, &mut rng);
        let blocks = blocks.into_iter().enumerate().map(|(index, block)| {
            block.block(&format!("blocks.{index}"), &encoder, method, &mut rng)
        });
        let mut network = Network {
            encoder,
            method,
            blocks: blocks.collect::<Result<_, _>>()?,
            norm: norm
                .map(|norm| weights::norm("norm", norm, &encoder))
                .transpose()?,
            head,
            trained: 0,
            seed,
        };
        let mut trained = 0;
        for tensor in network.tensors_mut() {
            if is_trained(&tensor.name, method) {
                tensor.place = Some(trained);
                trained += tensor.data.len();
            }
        }
        network.trained = trained;
        Ok(network)
    }

    /// The number of trained parameters, those of the head included.
    pub fn trained(&self) -> usize {
        self.trained
    }

    /// The numbers of all tensors, trained or not.
    pub fn numbers(&self) -> usize {
        self.tensors().map(|tensor| tensor.data.len()).sum()
    }

    /// The trained tensors, always in the same order.
    pub fn parameters(&self) -> impl Iterator<Item = parameter::Tensor<'_>> {
        let trained = self.tensors().filter(|tensor| tensor.place.is_some());
        trained.map(|tensor| parameter::Tensor {
            name: &tensor.name,
            shape: &tensor.shape,
            data: &tensor.data,
        })
    }

    /// Takes every tensor of [`Network::parameters`] from `tensors`, in any order.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`], [`Error::Unknown`] or [`Error::TensorShape`]
    pub fn load<'a>(
        &mut self,
        tensors: impl IntoIterator<Item = parameter::Tensor<'a>>,
    ) -> Result<(), Error> {
        let trained = self.tensors_mut().filter(|tensor| tensor.place.is_some());
        let targets = trained.map(|tensor| (&*tensor.name, &*tensor.shape, &mut tensor.data));
        parameter::load(targets.collect(), tensors)
    }

    fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        let blocks = self.blocks.iter().flat_map(Block::tensors);
        let norm = self.norm.iter().flat_map(Norm::tensors);
        blocks.chain(norm).chain(self.head.tensors())
    }

    fn tensors_mut(&mut self) -> impl Iterator<Item = &mut Tensor> {
        let blocks = self.blocks.iter_mut().flat_map(Block::tensors_mut);
        let norm = self.norm.iter_mut().flat_map(Norm::tensors_mut);
        blocks.chain(norm).chain(self.head.tensors_mut())
    }

    /// The features `[B, D]` that the head takes, and its logits `[B, O]`, of tokens `[B, T, D]`, without dropout.
    ///
    /// # Errors
    ///
    /// [`Error::Length`] if `tokens` are no whole images.
    pub fn apply(&self, session: &Session, tokens: &[f32]) -> Result<[Vec<f32>; 2], Error> {
        let Encoder { width, outputs, .. } = self.encoder;
        let images = self.images(tokens)?;
        let mut features = vec![0.0; images * width];
        let mut logits = vec![0.0; images * outputs];
        tokens
            .par_chunks(CHUNK * self.image())
            .zip(features.par_chunks_mut(CHUNK * width))
            .zip(logits.par_chunks_mut(CHUNK * outputs))
            .for_each(|((tokens, features), logits)| {
                session.with(|chunk| {
                    self.forward(chunk, tokens, None, 0);
                    features.copy_from_slice(&chunk.features);
                    logits.copy_from_slice(&chunk.logits);
                });
            });
        Ok([features, logits])
    }

    /// A step of training; returns the loss. If it is not finite, the network is left as it was.
    ///
    /// # Errors
    ///
    /// [`Error::Length`] if the tokens are no whole images.
    pub fn step(
        &mut self,
        session: &mut Session,
        batch: &Batch<'_>,
        rates: Rates,
    ) -> Result<f64, Error> {
        self.images(batch.tokens)?;
        let loss = self.gradients(session, batch);
        if !loss.is_finite() {
            return Ok(loss);
        }
        session.state.steps += 1;
        let (gradients, optimiser) = (&session.gradients, session.optimiser);
        for tensor in self.tensors_mut() {
            let rate = if tensor.name.starts_with("head.") {
                rates.head
            } else {
                rates.encoder
            };
            session.state.change(optimiser, tensor, rate, gradients);
        }
        Ok(loss)
    }

    /// Fills the start of the session's gradients; returns the loss.
    fn gradients(&self, session: &mut Session, batch: &Batch<'_>) -> f64 {
        let images = batch.tokens.len() / self.image();
        let (group, groups) = (self.method.group(images), self.method.copies(images));
        let dropout = match self.method {
            Method::Lora(lora) if lora.dropout > 0.0 => {
                Some(Dropout::new(lora.dropout, self.seed, session.state.steps))
            }
            _ => None,
        };
        let mut gradients = std::mem::take(&mut session.gradients);
        gradients.resize(groups * self.trained, 0.0);
        let losses: Vec<f64> = gradients
            .par_chunks_mut(self.trained)
            .zip(batch.tokens.par_chunks(group * self.image()))
            .enumerate()
            .map(|(index, (gradients, tokens))| {
                gradients.fill(0.0);
                let chunks = tokens.chunks(CHUNK * self.image());
                let firsts = (index * group..).step_by(CHUNK);
                let losses = firsts.zip(chunks).map(|(first, tokens)| {
                    session.with(|chunk| {
                        self.forward(chunk, tokens, dropout, first);
                        let images = first..first + tokens.len() / self.image();
                        let loss = (batch.loss)(images, &mut chunk.logits);
                        self.backward(chunk, dropout, first, gradients);
                        loss
                    })
                });
                losses.sum()
            })
            .collect();
        add_groups(&mut gradients, self.trained);
        session.gradients = gradients;
        losses.iter().sum()
    }

    /// Numbers of an image's tokens.
    fn image(&self) -> usize {
        self.encoder.tokens * self.encoder.width
    }

    fn images(&self, tokens: &[f32]) -> Result<usize, Error> {
        let images = tokens.len() / self.image();
        length("tokens", images.max(1) * self.image(), tokens.len())?;
        Ok(images)
    }

    fn scope(&self, index: usize, dropout: Option<Dropout>, first: usize) -> Scope {
        let is_last = index + 1 == self.blocks.len();
        let queries = match self.encoder.pooling {
            Pooling::First if is_last => 1,
            _ => self.encoder.tokens,
        };
        Scope {
            tokens: self.encoder.tokens,
            queries,
            drop: Drop {
                dropout: dropout.map(|dropout| dropout.of(index)),
                first,
                image: 0,
            },
            is_first: index == 0,
        }
    }

    /// Fills features and logits of a chunk.
    fn forward(&self, chunk: &mut Chunk, tokens: &[f32], dropout: Option<Dropout>, first: usize) {
        let Encoder {
            width,
            tokens: all,
            pooling,
            ..
        } = self.encoder;
        chunk.traces.resize_with(self.blocks.len(), Trace::default);
        chunk.traces[0].x.clear();
        chunk.traces[0].x.extend_from_slice(tokens);
        for (index, block) in self.blocks.iter().enumerate() {
            let scope = self.scope(index, dropout, first);
            let (before, after) = chunk.traces.split_at_mut(index + 1);
            let out = match after.first_mut() {
                Some(next) => &mut next.x,
                None => &mut chunk.last,
            };
            block.forward(scope, &mut before[index], out, &mut chunk.buffers.spare);
        }
        let rows = match &self.norm {
            Some(norm) => {
                norm.forward(&chunk.last, width, &mut chunk.normed);
                &chunk.normed.out
            }
            None => &chunk.last,
        };
        chunk.features.clear();
        match pooling {
            Pooling::First => chunk.features.extend_from_slice(rows),
            Pooling::Mean => {
                chunk.features.resize(rows.len() / all, 0.0);
                let images = chunk.features.chunks_exact_mut(width);
                for (feature, rows) in images.zip(rows.chunks_exact(all * width)) {
                    add_rows(feature, rows);
                    feature.iter_mut().for_each(|x| *x /= all as f32);
                }
            }
        }
        let part = self.head.whole();
        self.head
            .forward(&part, &chunk.features, &Vec::new(), &mut chunk.logits);
    }

    /// Adds gradients, after the logits were replaced by theirs.
    fn backward(
        &self,
        chunk: &mut Chunk,
        dropout: Option<Dropout>,
        first: usize,
        gradients: &mut [f32],
    ) {
        let Encoder {
            width,
            tokens: all,
            pooling,
            ..
        } = self.encoder;
        let drop = self.scope(0, None, first).drop;
        let (spare, none) = (&mut chunk.buffers.spare, &mut Vec::new());
        let parts = [(self.head.whole(), &chunk.logits[..])];
        self.head
            .learn(&parts, &chunk.features, drop, none, gradients, spare);
        chunk.dfeatures.clear();
        self.head
            .backward(&parts, drop, none, &mut chunk.dfeatures, spare);
        chunk.d.clear();
        match pooling {
            Pooling::First => chunk.d.extend_from_slice(&chunk.dfeatures),
            Pooling::Mean => {
                for feature in chunk.dfeatures.chunks_exact(width) {
                    for _ in 0..all {
                        chunk.d.extend(feature.iter().map(|d| d / all as f32));
                    }
                }
            }
        }
        if let Some(norm) = &self.norm {
            norm.learn(&chunk.normed, &chunk.d, gradients);
            let dy = std::mem::take(&mut chunk.d);
            chunk.d.resize(dy.len(), 0.0);
            norm.backward(&chunk.normed, &dy, &mut chunk.d, width);
        }
        for (index, block) in self.blocks.iter().enumerate().rev() {
            let scope = self.scope(index, dropout, first);
            let trace = &mut chunk.traces[index];
            block.backward(scope, trace, &mut chunk.d, gradients, &mut chunk.buffers);
        }
    }
}

/// Whether a tensor is trained.
fn is_trained(name: &str, method: Method) -> bool {
    let of_method = match method {
        Method::Lora(_) => name.ends_with(".lora_A") || name.ends_with(".lora_B"),
        Method::BitFit => name.ends_with(".bias"),
        Method::Full => true,
    };
    of_method || name.starts_with("head.")
}

/// Adds all groups of `trained` gradients to the first.
fn add_groups(gradients: &mut [f32], trained: usize) {
    let (total, others) = gradients.split_at_mut(trained);
    total
        .par_chunks_mut(TASK)
        .enumerate()
        .for_each(|(task, total)| {
            for other in others.chunks_exact(trained) {
                add_rows(total, &other[task * TASK..][..total.len()]);
            }
        });
}
