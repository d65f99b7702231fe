//! Errors of decoders.

use std::fmt;

/// An error in the input of a decoder, which leaves the decoder unchanged.
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
        /// The name of the tensor.
        name: String,
        /// The shape in the decoder.
        expected: Vec<usize>,
        /// The shape that was given.
        found: Vec<usize>,
    },
    /// A slice does not have the length that follows from shape and batch.
    Length {
        /// The content.
        what: &'static str,
        /// The expected length.
        expected: usize,
        /// The length that was given.
        found: usize,
    },
    /// The batch is empty or larger than the workspace's.
    Batch {
        /// Most images of the workspace.
        most: usize,
        /// The images that were given.
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
            Self::Shape(reason) => write!(f, "no decoder or network has this shape: {reason}"),
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
