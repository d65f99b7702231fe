//! Tensors of decoders in the form in which files hold them.

use nn::Decoder;

use crate::tensors::Tensor;

/// All tensors of a decoder.
pub(super) fn parameters(decoder: &Decoder) -> Vec<Tensor> {
    owned(decoder.parameters())
}

/// Copies of tensors.
pub(super) fn owned<'a>(tensors: impl Iterator<Item = nn::Tensor<'a>>) -> Vec<Tensor> {
    let owned = tensors.map(|tensor| Tensor {
        name: tensor.name.into(),
        shape: tensor.shape.into(),
        values: tensor.data.into(),
    });
    owned.collect()
}

/// A view of a tensor.
pub(super) fn borrowed(tensor: &Tensor) -> nn::Tensor<'_> {
    nn::Tensor {
        name: &tensor.name,
        shape: &tensor.shape,
        data: &tensor.values,
    }
}
