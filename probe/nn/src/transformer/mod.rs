//! The last blocks of a vision transformer, a linear head, and their training from tokens before these blocks.
//!
//! Letters: `B` images, `T` tokens of an image, `D` width of a token, `O` outputs of the head. Images are computed in
//! chunks of a fixed size, each by one thread, whose rows stay in the processor's caches. Gradients are added within
//! groups of images, and then group by group in order, so that results do not depend on the number of threads, and
//! memory depends on the batch alone.

mod activation;
mod attention;
mod block;
mod dropout;
mod layer;
mod math;
mod network;
mod normalise;
mod optimiser;
mod session;
mod shape;
mod tensor;
#[cfg(test)]
mod tests;
mod weights;

pub use self::activation::Activation;
pub use self::network::{Batch, Network};
pub use self::optimiser::{Optimiser, Rates};
pub use self::session::Session;
pub use self::shape::{Encoder, Lora, Method, Pooling};
pub use self::weights::{BlockWeights, LayerWeights};
