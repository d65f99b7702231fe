//! Segmentation decoders over cached patch tokens, and their training: a linear one and a U-Net,
//! with the parameters, names and results of their PyTorch counterparts. Results do not depend on
//! the number of threads.

mod decoder;
mod direct;
mod error;
mod head;
mod layer_norm;
mod linear;
mod loss;
mod matrix;
mod norm;
mod planes;
mod resize;
#[cfg(test)]
mod tests;
mod tiles;
mod unet;
mod upconv;
mod winograd;

pub use decoder::{Decoder, Kind, Maps, Shape, Tensor, Workspace, step};
pub use error::Error;
pub use layer_norm::{EPSILON, layer_norm};
pub use loss::{IGNORE, Loss};
