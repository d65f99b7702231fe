//! Tensors of a network, and the places of their gradients.

/// A named tensor. All gradients lie in one row of numbers, the tensor's own from `place`.
#[derive(Clone, Debug)]
pub(super) struct Tensor {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    pub(super) data: Vec<f32>,
    /// Where its gradient begins; `None` if it is not trained.
    pub(super) place: Option<usize>,
}

impl Tensor {
    pub(super) fn new(name: String, shape: &[usize], data: Vec<f32>) -> Tensor {
        assert_eq!(shape.iter().product::<usize>(), data.len(), "{name}");
        Tensor {
            name,
            shape: shape.to_vec(),
            data,
            place: None,
        }
    }

    /// Its gradient in those of all tensors, if it is trained.
    pub(super) fn gradient<'a>(&self, all: &'a mut [f32]) -> Option<&'a mut [f32]> {
        let place = self.place?;
        Some(&mut all[place..place + self.data.len()])
    }
}
