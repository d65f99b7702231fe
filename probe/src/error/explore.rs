//! Errors of pictures, maps and searches.

use std::path::PathBuf;

use common::text::{printable, shown};

use super::{Cause, said};

/// An error of pictures, maps and searches.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExploreError {
    /// No image has the requested name.
    #[error(
        "`{}`: no image `{}` is in the cache\nhint: {hint}",
        shown(.path),
        printable(.word)
    )]
    NoSuchCase {
        /// The cache's folder.
        path: PathBuf,
        /// The requested sample or slice.
        word: String,
        /// Names that exist.
        hint: String,
    },
    /// A table of metadata could not be read.
    #[error(
        "`{}`: cannot read the table: {}\nhint: give a CSV or Parquet file with a column `sample`, `image` or `patient`, named as in the table `slices`",
        shown(.path),
        said(.source)
    )]
    Metadata {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: Cause,
    },
    /// There is no column of this name.
    #[error(
        "`{}`: no column `{}` for --colour\nhint: there is {}",
        shown(.path),
        printable(.column),
        printable(&known.join(", "))
    )]
    NoSuchColumn {
        /// The cache's folder.
        path: PathBuf,
        /// The requested column.
        column: String,
        /// Columns that exist.
        known: Vec<String>,
    },
    /// There are too few examples for a map.
    #[error(
        "`{}`: {examples} examples are too few for a map of perplexity {wanted}, which needs more than three times as many\nhint: {}",
        shown(.path),
        match most {
            0 => "give --unit slice, or extract more images".to_owned(),
            most => format!("give a --perplexity of at most {most}"),
        }
    )]
    TooFewForMap {
        /// The cache's folder.
        path: PathBuf,
        /// Examples of the cache.
        examples: usize,
        /// Requested perplexity.
        wanted: usize,
        /// The greatest possible one.
        most: usize,
    },
    /// No query has a relevant example.
    #[error(
        "`{}`: no query has a relevant example of another patient\nhint: name a dataset with labels and several patients, or give it another split (`extract split`)",
        shown(.path)
    )]
    NothingRelevant {
        /// The cache's folder.
        path: PathBuf,
    },
    /// Too few patches are foreground for principal components.
    #[error(
        "`{}`: {kept} of {all} patches are above {threshold}, which are too few for principal components\nhint: give a lower --threshold, or --no-cut",
        shown(.path)
    )]
    NoForeground {
        /// The cache's folder.
        path: PathBuf,
        /// Patches above the threshold.
        kept: usize,
        /// All patches.
        all: usize,
        /// The threshold.
        threshold: f64,
    },
}
