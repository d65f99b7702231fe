//! Radiology images: files to voxels ([`read`]), voxels to a model's pixels ([`preprocess`]).
//!
//! The crate knows no datasets, no models and no cache.

mod error;
mod orient;
pub mod preprocess;
pub mod read;

pub use error::Error;
pub use orient::Gaps;
