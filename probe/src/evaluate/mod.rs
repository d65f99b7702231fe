//! From a cache to run records.
//!
//! All probes follow the same steps: examples are read and divided into parts, a `Probe` is fitted on them
//! and scores the last part, and the scores are measured.

mod any_probe;
mod average;
mod choose;
mod evaluated;
mod few_shot;
mod fitted;
mod identity;
mod linear_model;
mod parts;
mod permuted;
mod predict;
mod probe;
mod select;
mod settings;
mod shots;
mod task;
mod whole;

pub(crate) use self::any_probe::AnyProbe;
pub(crate) use self::average::{EXHAUSTED, average, draws};
pub(crate) use self::choose::{Grid, Report, choose};
pub use self::evaluated::Evaluated;
pub(crate) use self::evaluated::blank;
pub(crate) use self::fitted::{Choice, Fitted, best};
pub use self::identity::Identity;
pub(crate) use self::identity::{NOTHING_CHOSEN, hash, no_effect};
pub(crate) use self::linear_model::LinearModel;
pub use self::predict::predict;
pub(crate) use self::probe::{Probe, VAL_SHARE, fields};
pub(crate) use self::select::Select;
pub use self::settings::Settings;
pub(crate) use self::shots::{Draw, FewShot};
pub(crate) use self::task::{IDLE_SHARE, Task};
pub use crate::version::EVALUATION_VERSION;
