//! Stage one: runs a frozen backbone over radiology images and writes its tokens to a cache.

pub mod backbone;
pub mod cli;
pub mod dataset;
pub mod error;
pub mod export;
mod fingerprint;
pub mod inspect;
pub mod model;
pub mod parity;
pub mod pipeline;
pub mod prepare;
pub mod preprocess;
pub mod project;
pub mod pseudonyms;
pub mod read;
pub mod split;

pub use error::Error;
