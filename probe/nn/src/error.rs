//! What can be wrong with the data that a decoder is given.

use std::fmt;

/// Why a decoder refused its input. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// No decoder has this shape.
    Shape(&'static str),
    /// A tensor to load is missing.
    Missing(String),
    /// A tensor to load is not one of the decoder's.
    Unknown(String),
    /// A tensor to load has another shape than the decoder's.
    TensorShape {
        /// Its name.
        name: String,
        /// The decoder's shape.
        expected: Vec<usize>,
        /// The shape given.
        found: Vec<usize>,
    },
    /// A slice has another length than the shape and the batch ask for.
    Length {
        /// What it holds.
        what: &'static str,
        /// The length asked for.
        expected: usize,
        /// The length given.
        found: usize,
    },
    /// The batch is empty or larger than the workspace's.
    Batch {
        /// The workspace's.
        most: usize,
        /// The one given.
        found: usize,
    },
    /// A mask holds a class that the decoder does not have.
    Label {
        /// The class in the mask.
        label: u16,
        /// The number of the decoder's classes.
        classes: usize,
    },
    /// The workspace or another decoder is of another kind or shape.
    Mismatch,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shape(reason) => write!(f, "no decoder has this shape: {reason}"),
            Self::Missing(name) => write!(f, "the tensor '{name}' is missing"),
            Self::Unknown(name) => write!(f, "the decoder has no tensor '{name}'"),
            Self::TensorShape {
                name,
                expected,
                found,
            } => write!(f, "the tensor '{name}' is {found:?}, not {expected:?}"),
            Self::Length {
                what,
                expected,
                found,
            } => write!(f, "{found} numbers of {what} were given, not {expected}"),
            Self::Batch { most, found } => {
                write!(f, "a batch of {found} images is not between 1 and {most}")
            }
            Self::Label { label, classes } => {
                write!(
                    f,
                    "a mask holds class {label}, the decoder has {classes} classes"
                )
            }
            Self::Mismatch => write!(f, "decoders and workspace differ in kind or shape"),
        }
    }
}

impl std::error::Error for Error {}
