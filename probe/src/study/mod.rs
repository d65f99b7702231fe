//! Studies: models, datasets, probes and protocols in one file.
//!
//! [`StudyFile`] is what a file says; [`Folds`] and [`pool`] are cross-validation. The command `probe study`
//! makes cells of it and runs them.

mod built_in;
mod file;
mod folds;
mod pool;

pub use self::built_in::{BUILT_IN, BuiltIn};
pub use self::file::{Entry, ExtractOptions, StudyFile};
pub use self::folds::Folds;
pub use self::pool::{Pooled, pool, pool_key};
