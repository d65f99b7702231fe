//! Model cards, and the ONNX graphs of vision transformers over the weights of a checkpoint.
//!
//! This crate reads cards, safetensors headers and ONNX files, and makes graphs. It neither runs
//! graphs nor gets weights.

mod blocks;
mod card;
mod cards;
mod checkpoint;
mod error;
mod file;
mod flavour;
mod graph;
mod names;
mod positions;
pub mod proto;
mod vit;

pub use self::blocks::{Affine, Block, LastBlocks, last_blocks};
pub use self::card::{Activation, Cls, ModelCard, PythonCard, Reference, Source, VitCard};
pub use self::checkpoint::read_header;
pub use self::error::Error;
pub use self::file::OnnxFile;
pub use self::flavour::Flavour;
pub use self::graph::{GraphBuilder, Versions};
pub use self::names::TensorNames;
pub use self::positions::Positions;
pub use self::vit::{DOMAIN, INT8_ATTENTION, WEIGHTS_SHA256, vit_graph, vit_metadata};
