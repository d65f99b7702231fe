//! Stage two: measures cached tokens on a CPU.
//!
//! [`evaluate`] goes from a cache to [run records](record::RunRecord) by way of [`examples`],
//! [`probes`] and [`metrics`], by the rules of a [`protocol`]; [`cli`] is the program around it.

pub mod cli;
pub mod control;
pub mod error;
pub mod evaluate;
pub mod examples;
pub mod head;
mod hold_out;
pub mod metrics;
pub mod origin;
pub mod predictions;
pub mod probes;
pub mod protocol;
mod random;
pub mod record;
pub mod segment;
pub mod study;
pub mod table;
pub mod targets;
mod tensors;

pub use cli::run;
pub use error::Error;
