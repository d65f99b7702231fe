//! Measures of predictions.

pub mod classify;
