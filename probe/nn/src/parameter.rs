//! Parameters of a decoder, and the step of gradient descent that trains them.

use crate::matrix::vectorised;
use rayon::prelude::*;

/// The momentum of the gradient descent, as in the study.
const MOMENTUM: f32 = 0.9;

/// A named tensor in the layout of PyTorch's `state_dict`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tensor<'a> {
    /// The name in the `state_dict`.
    pub name: &'a str,
    /// The extents.
    pub shape: &'a [usize],
    /// The numbers, row by row.
    pub data: &'a [f32],
}

/// A tensor of a decoder: trained, or a running statistic.
#[derive(Clone, Debug)]
pub(crate) struct Parameter {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Vec<f32>,
    /// Empty for running statistics.
    pub(crate) momentum: Vec<f32>,
}

impl Parameter {
    pub(crate) fn trained(name: &str, shape: &[usize], data: Vec<f32>) -> Self {
        Self {
            momentum: vec![0.0; data.len()],
            ..Self::running(name, shape, data)
        }
    }

    pub(crate) fn running(name: &str, shape: &[usize], data: Vec<f32>) -> Self {
        assert_eq!(shape.iter().product::<usize>(), data.len());
        Self {
            name: name.to_owned(),
            shape: shape.to_vec(),
            data,
            momentum: Vec::new(),
        }
    }

    /// A step of stochastic gradient descent with momentum in PyTorch's form.
    pub(crate) fn descend(&mut self, gradient: &[f32], rate: f32) {
        const TASK: usize = 1 << 14;
        self.data
            .par_chunks_mut(TASK)
            .zip(self.momentum.par_chunks_mut(TASK))
            .zip(gradient.par_chunks(TASK))
            .for_each(|((data, momentum), gradient)| {
                vectorised(
                    #[inline(always)]
                    || {
                        for ((x, m), g) in data.iter_mut().zip(momentum).zip(gradient) {
                            *m = *m * MOMENTUM + g;
                            *x -= rate * *m;
                        }
                    },
                );
            });
    }
}
