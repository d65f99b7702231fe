//! Errors of logistic regression.

use std::path::PathBuf;

use common::counted;
use common::text::{printable, shown};

/// An error of logistic regression.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogregError {
    /// Features and targets of logistic regression differ in number.
    #[error(
        "logistic regression: found targets of {}, expected {expected} as there are rows of features\nhint: take both from the same slices",
        counted(*found, "example")
    )]
    Targets {
        /// Rows of the targets.
        found: usize,
        /// Rows of the features.
        expected: usize,
    },
    /// A label of logistic regression does not fit the classes.
    #[error(
        "logistic regression: row {row} has the label `{label}`, expected one below {classes}\nhint: the cache is damaged; extract it again"
    )]
    Label {
        /// The row, from 0.
        row: usize,
        /// The label.
        label: u32,
        /// Classes of the dataset.
        classes: usize,
    },
    /// Logistic regression did not reach the minimum for any `C`.
    #[error(
        "`{}`: logistic regression did not reach the minimum for any C\nhint: leave the largest values out of --C",
        shown(.path)
    )]
    Unconverged {
        /// The cache's folder.
        path: PathBuf,
    },
    /// A feature of logistic regression is NaN or infinite.
    #[error(
        "logistic regression: row {row} holds the feature `{value}`, expected finite numbers\nhint: the model overflowed on this image; extract again in fp32"
    )]
    Feature {
        /// The row, from 0.
        row: usize,
        /// The value.
        value: f32,
    },
    /// A `C` of logistic regression is no positive number.
    #[error(
        "logistic regression: found the C `{c}`, expected a finite number above 0\nhint: the study's C run from 1e-6 to 1e5"
    )]
    Penalty {
        /// The inverse of the penalty's strength.
        c: f64,
    },
    /// All examples are of one class.
    #[error(
        "logistic regression: found examples of one class only, expected two classes, or a label that some have and others lack\nhint: fit on more slices, or give the dataset another split (`extract split`)"
    )]
    OneClass,
    /// linfa-logistic cannot fit this.
    #[error(
        "linfa: cannot fit at C = {c}: {}\nhint: leave out --solver linfa",
        printable(.reason)
    )]
    Linfa {
        /// The inverse of the penalty's strength.
        c: f64,
        /// Message of linfa.
        reason: String,
    },
}
