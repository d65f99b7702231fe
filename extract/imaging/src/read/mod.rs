//! Image files, whatever their format, as a [`Volume`] of slices.

mod budget;
mod bytes;
pub mod dicom;
mod format;
mod labels;
mod limits;
pub mod mat;
mod nifti;
pub mod npz;
mod raster;
mod reader;
mod shown;
mod source;
mod table;
#[cfg(test)]
mod tests;
mod volume;
mod voxels;

pub use self::budget::{SampleBudget, Taken};
pub use self::format::{file_behind, files_behind, is_jpeg};
pub use self::limits::contained;
pub use self::reader::{Reader, volume};
pub use self::source::{MaskPart, Source};
pub use self::volume::Volume;
