//! Buffers that computations borrow, so that none is allocated twice.

use std::sync::{Mutex, PoisonError};

/// Buffers of the layers, used in turn.
pub(crate) struct Scratch {
    pub(crate) pool: Pool,
    /// Transformed weights or products of a 3×3 convolution, or arranged weights of an upsampling.
    pub(crate) transformed: Vec<f32>,
    /// The gradient of the weights of one layer.
    pub(crate) gradient: Vec<f32>,
}

/// Buffers that parallel tasks borrow.
#[derive(Default)]
pub(crate) struct Pool(Mutex<Vec<Vec<f32>>>);

impl Pool {
    /// Calls `task` with `length` numbers of unspecified value.
    pub(crate) fn with<R>(&self, length: usize, task: impl FnOnce(&mut [f32]) -> R) -> R {
        let mut buffer = self.take(length);
        if buffer.len() < length {
            // Not `resize`: the old content need not be copied.
            drop(buffer);
            buffer = vec![0.0; length];
        }
        let result = task(&mut buffer[..length]);
        self.free().push(buffer);
        result
    }

    /// The smallest buffer that is large enough, else the largest, else an empty one.
    fn take(&self, length: usize) -> Vec<f32> {
        let mut free = self.free();
        let best = free.iter().enumerate().min_by_key(|(_, buffer)| {
            let is_short = buffer.len() < length;
            let excess = if is_short {
                usize::MAX - buffer.len()
            } else {
                buffer.len()
            };
            (is_short, excess)
        });
        match best {
            Some((index, _)) => free.swap_remove(index),
            None => Vec::new(),
        }
    }

    fn free(&self) -> std::sync::MutexGuard<'_, Vec<Vec<f32>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
