//! Training on a CPU, with the parameters and results of PyTorch's counterparts: segmentation decoders over cached
//! patch tokens (a linear one and a U-Net), and the last blocks of a vision transformer. Results do not depend on the
//! number of threads.

mod block;
mod conv;
mod decoder;
mod direct;
mod error;
mod extent;
mod head;
mod layer_norm;
mod linear;
mod loss;
mod matrix;
mod norm;
mod norm_maps;
mod norm_planes;
mod parameter;
mod planes;
mod resize;
mod scratch;
mod shape;
mod skip;
mod taps;
#[cfg(test)]
mod tests;
mod tiles;
pub mod transformer;
mod unet;
mod upconv;
mod upsample;
mod winograd;
mod workspace;

pub use decoder::{Decoder, step};
pub use error::Error;
pub use layer_norm::{EPSILON, layer_norm};
pub use loss::{IGNORE, Loss};
pub use parameter::Tensor;
pub use shape::{Kind, Shape};
pub use workspace::{Maps, Workspace};
