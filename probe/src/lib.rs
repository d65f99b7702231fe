//! Stage two: evaluates cached tokens on a CPU.
//!
//! [`evaluate`] reads [`examples`] from a cache, fits one of the [`probes`], computes [`metrics`] by a
//! [`protocol`] and returns [run records](record::RunRecord). [`cli`] is the program.

pub mod adapt;
pub mod cli;
pub mod compare;
pub mod control;
pub mod error;
pub mod evaluate;
pub mod examples;
pub mod explore;
pub mod features;
mod font;
pub mod head;
mod hold_out;
mod kinds;
pub mod learning_curve;
pub mod made_class;
mod metadata;
pub mod metrics;
pub mod origin;
pub mod outside;
mod picture;
pub mod predictions;
pub mod probes;
pub mod progress;
pub mod protocol;
mod random;
pub mod record;
pub mod report;
pub mod scores;
pub mod segment;
mod stream;
pub mod study;
pub mod table;
pub mod targets;
mod tensors;
pub mod trust;
mod values;
mod version;

pub use cli::run;
pub use error::Error;
