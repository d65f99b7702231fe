//! Statistics over results: ranks of models over datasets, tests of pairs, and learning curves.
//!
//! Pure functions on numbers: no files, no clock, no threads. Random draws are those of ChaCha8 and depend on
//! the seed alone. Scores are measures of which higher is better; errors in [`curve`] are of which lower is
//! better.
//!
//! | question | function |
//! |---|---|
//! | Do the models differ at all? | [`Ranks::friedman`] |
//! | Which pairs differ, by ranks? | [`Ranks::nemenyi`] |
//! | Which pairs differ, by scores? | [`Table::wilcoxon_holm`] |
//! | Which models cannot be told apart? | [`cliques::cliques`] |
//! | How certain is the order? | [`borda::over_datasets`], [`borda::over_draws`] |
//! | How many patients does a measure need? | [`curve::fit`], [`curve::Fit::needed`] |

pub mod borda;
pub mod cliques;
pub mod curve;
mod error;
mod friedman;
pub mod holm;
mod nemenyi;
pub mod paired;
mod pairs;
mod ranks;
pub mod resample;
pub mod studentized_range;
pub mod wilcoxon;

pub use self::error::Error;
pub use self::friedman::Friedman;
pub use self::nemenyi::Nemenyi;
pub use self::pairs::PairTest;
pub use self::ranks::{Ranks, Table, average_ranks};

/// The lower and the upper bound of an interval.
pub type Interval = [f64; 2];

#[cfg(test)]
mod tests;
