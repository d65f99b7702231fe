//! Segmentation decoders over cached patch tokens, and their training: a linear one and a U-Net,
//! with the parameters, names and results of their PyTorch counterparts. Results do not depend on
//! the number of threads.

mod decoder;
mod direct;
mod error;
mod head;
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
pub use loss::{IGNORE, Loss};
