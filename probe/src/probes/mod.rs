//! Predictors over frozen features.

pub mod centroid;
mod kernel;
pub mod knn;
pub mod linear;
pub mod ml_knn;
pub mod search;

/// Queries whose neighbours are in memory at a time.
const CHUNK: usize = 4096;
