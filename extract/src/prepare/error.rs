//! Samples whose image and masks can be read and do not fit.

use std::path::PathBuf;

use common::text::shown;
use imaging::preprocess::{NonFinite, Slicing};

/// A sample that cannot be prepared; the text names the file and, on a line of its own, the fix.
#[derive(Debug, thiserror::Error)]
pub enum SampleError {
    /// The sample names stored slices, and the volume is cut in another plane.
    #[error(
        "`{}`: `slices` counts stored slices, but the volume is cut as `{slicing}`\nhint: leave `slices` blank, or cut it as stored: `--slicing stored-k-xy`",
        shown(path)
    )]
    SlicesOfAnotherPlane {
        /// The image's file.
        path: PathBuf,
        /// The plane.
        slicing: Slicing,
    },
    /// A label map holds values without a class.
    #[error("`{}`: the mask holds values without a class: {values}\nhint: name them (`classes.csv`, `labels` in `dataset.json`, or `mask_classes` in a card), correct the mask, or leave such pixels out with `--unnamed-values ignore`", shown(path), values = shown(values))]
    UnnamedLabels {
        /// The mask's file.
        path: PathBuf,
        /// Some of them.
        values: String,
    },
    /// One of several masks of structures is not binary.
    #[error("`{}`: a mask of a single structure must be binary, this one holds {values} besides 0\nhint: save one binary mask for each structure, or a single label map with all of them", shown(path), values = shown(values))]
    NotBinary {
        /// The mask's file.
        path: PathBuf,
        /// Two of its values.
        values: String,
    },
    /// A label map is stored as a JPEG.
    #[error(
        "`{}`: the mask is a JPEG of {values} values, whose compression changes labels\nhint: save the original mask as PNG, or threshold this one and save that",
        shown(path)
    )]
    LossyMask {
        /// The mask's file.
        path: PathBuf,
        /// Number of different values, including 0.
        values: usize,
    },
    /// A slice holds values that cannot be computed with.
    #[error("`{}`: slice {slice}: {source}", shown(path))]
    NonFinite {
        /// The image's file.
        path: PathBuf,
        /// The slice, from 0.
        slice: usize,
        /// Number of such values.
        source: NonFinite,
    },
    /// The sample names slices that its image does not have.
    #[error("`{}`: the sample names the slices `{found}`, the image has {slices} (0 to {})\nhint: correct the `slices` column", shown(path), slices - 1, found = shown(found))]
    SliceRange {
        /// The image's file.
        path: PathBuf,
        /// First and last slice that the sample names.
        found: String,
        /// Number of slices.
        slices: usize,
    },
    /// Mask and image shapes differ.
    #[error(
        "`{}`: the mask is {found:?} (slices, rows, columns), its image is {expected:?}\nhint: resample the mask to the image's grid, by nearest neighbour",
        shown(path)
    )]
    MaskShape {
        /// The mask's file.
        path: PathBuf,
        /// Slices, rows and columns of the mask.
        found: [usize; 3],
        /// Slices, rows and columns of the image.
        expected: [usize; 3],
    },
    /// All pixels of an image are equal.
    #[error(
        "`{}`: all pixels are {value}, the image is blank\nhint: look at the file; if it is meant to be blank, leave it out",
        shown(path)
    )]
    Constant {
        /// The image's file.
        path: PathBuf,
        /// The one value.
        value: f32,
    },
}

impl SampleError {
    /// The file that the text names.
    pub(crate) fn path_mut(&mut self) -> &mut PathBuf {
        match self {
            SampleError::SlicesOfAnotherPlane { path, .. }
            | SampleError::UnnamedLabels { path, .. }
            | SampleError::NotBinary { path, .. }
            | SampleError::LossyMask { path, .. }
            | SampleError::NonFinite { path, .. }
            | SampleError::SliceRange { path, .. }
            | SampleError::MaskShape { path, .. }
            | SampleError::Constant { path, .. } => path,
        }
    }
}
