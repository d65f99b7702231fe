//! Position of voxels in the patient, and cuts along the patient's planes.

mod affine;
mod cut;
mod geometry;
mod stack;

pub(crate) use affine::{Affine, is_usable, spacing};
pub(crate) use cut::{AS_STORED, Cut, Stored};
pub use geometry::Gaps;
pub(crate) use geometry::Geometry;
pub(crate) use stack::of_stack;
