//! Stage two: measures cached tokens on a CPU.
//!
//! [`evaluate`] goes from a cache to [run records](record::RunRecord) by way of
//! [`features`] or [`examples`], [`probes`] and [`metrics`]; [`cli`] is the program around it.

pub mod cli;
pub mod error;
pub mod evaluate;
pub mod examples;
pub mod features;
pub mod metrics;
pub mod probes;
pub mod record;
pub mod table;

pub use cli::run;
pub use error::Error;
