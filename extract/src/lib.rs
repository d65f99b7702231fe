//! Stage one: runs a frozen backbone over radiology images and writes its tokens to a cache.

pub mod backbone;
pub mod cli;
pub mod dataset;
pub mod doctor;
pub mod error;
pub mod export;
pub mod extraction;
mod fingerprint;
pub mod inspect;
pub mod interchange;
#[cfg(test)]
#[path = "../imaging/src/read/dicom/made.rs"]
#[allow(dead_code, reason = "the tests of `imaging` use the rest")]
mod made_dicom;
#[cfg(test)]
#[path = "../imaging/src/read/npz/made.rs"]
mod made_npz;
mod model_error;
pub mod parity;
pub mod part;
pub mod pipeline;
pub mod prepare;
pub mod project;
pub mod pseudonyms;
pub mod relabel;
pub mod samples;
mod sources;
pub mod split;
mod wheel;

pub use error::Error;
pub use model_error::ModelError;
