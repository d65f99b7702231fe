//! The training of a network, and the buffers that it computes in.

use std::sync::{Mutex, PoisonError};

use super::block::{Buffers, Trace};
use super::network::Network;
use super::normalise::Normed;
use super::optimiser::{Optimiser, State};
use crate::error::Error;
use crate::workspace::length;

/// The training of a network: momenta, and buffers that only a batch fills.
#[derive(Debug)]
pub struct Session {
    pub(super) optimiser: Optimiser,
    pub(super) state: State,
    pub(super) gradients: Vec<f32>,
    chunks: Mutex<Vec<Chunk>>,
}

/// The rows of some images.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    pub(super) traces: Vec<Trace>,
    pub(super) last: Vec<f32>,
    pub(super) normed: Normed,
    /// `[B, D]`
    pub(super) features: Vec<f32>,
    /// `[B, O]`, and then their gradients.
    pub(super) logits: Vec<f32>,
    /// The gradient that goes through the blocks.
    pub(super) d: Vec<f32>,
    pub(super) dfeatures: Vec<f32>,
    pub(super) buffers: Buffers,
}

impl Session {
    /// A session that starts the training of `network`.
    pub fn new(network: &Network, optimiser: Optimiser) -> Session {
        Session {
            optimiser,
            state: State::new(optimiser, network.trained()),
            gradients: Vec::new(),
            chunks: Mutex::default(),
        }
    }

    /// Steps that were taken.
    pub fn steps(&self) -> u64 {
        self.state.steps
    }

    /// Momenta of the gradients and of their squares, those of all trained tensors in their order; the latter are
    /// empty for gradient descent.
    pub fn momenta(&self) -> [&[f32]; 2] {
        self.state.momenta.each_ref().map(Vec::as_slice)
    }

    /// Continues after `steps` steps with the momenta that were left.
    ///
    /// # Errors
    ///
    /// [`Error::Length`]
    pub fn resume(&mut self, steps: u64, momenta: [Vec<f32>; 2]) -> Result<(), Error> {
        for (own, momenta) in self.state.momenta.iter().zip(&momenta) {
            length("momenta", own.len(), momenta.len())?;
        }
        self.state = State { steps, momenta };
        Ok(())
    }

    /// Calls `task` with the buffers of a chunk, of unspecified content.
    pub(super) fn with<R>(&self, task: impl FnOnce(&mut Chunk) -> R) -> R {
        let free = || self.chunks.lock().unwrap_or_else(PoisonError::into_inner);
        let mut chunk = free().pop().unwrap_or_default();
        let result = task(&mut chunk);
        free().push(chunk);
        result
    }
}
