//! Parameters of a decoder, and the step of gradient descent that trains them.

use crate::error::Error;
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

/// Copies each of `tensors` to the target of its name, after all have been checked.
pub(crate) fn load<'a>(
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
