//! Segmentation decoders over cached patch tokens, and their training: a linear one and a U-Net,
//! with the parameters, names and results of their PyTorch counterparts. Results do not depend on
//! the number of threads.

mod block;
mod decoder;
mod direct;
mod error;
mod extent;
mod head;
mod layer_norm;
mod layout;
mod linear;
mod loss;
mod matrix;
mod norm;
mod parameter;
mod planes;
mod resize;
mod shape;
#[cfg(test)]
mod tests;
mod tiles;
mod unet;
mod upconv;
mod winograd;

pub use decoder::{Decoder, Maps, Workspace, step};
pub use error::Error;
pub use layer_norm::{EPSILON, layer_norm};
pub use loss::{IGNORE, Loss};
pub use parameter::Tensor;
pub use shape::{Kind, Shape};
