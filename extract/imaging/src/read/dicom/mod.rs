//! DICOM images.
//!
//! A file is read in four steps: `file` detects preamble and encoding, `elements` finds the elements
//! up to the pixels, `codec` decodes compressed frames, and `image` turns frames into slices, ordered
//! by position.
//!
//! # Own code instead of dicom-rs
//!
//! Elements are read by `elements`, because `dicom-object` allocates what a length claims and recurses
//! as deep as sequences are nested. Frames are decoded by `codec` and not by the adapters of
//! `dicom-transfer-syntax-registry` (0.10.1 was compared), although both call the same decoders,
//! `jpeg-decoder` and `jpeg2k` with the Rust port of OpenJPEG:
//!
//! - JPEG-LS needs its feature `charls`, which links the C++ library CharLS. No other implementation
//!   is available there; `codec/jpeg_ls` is written in Rust.
//! - JPEG of 12 bits (Extended, process 4) fails: `jpeg-decoder` refuses all precisions but 8 bits for
//!   lossy frames. `codec/jpeg_12.rs` decodes it.
//! - The size of a frame is not compared with Rows and Columns. An adapter copies the decoded bytes into
//!   a buffer of the size that the attributes give, and panics if they are more; JPEG 2000 frames that are
//!   cut short are filled up. Here the size in the code stream is compared first, the tiles of JPEG
//!   2000 are counted, and decoding is strict.
//! - Its memory limit is a ratio for each frame, and the fragments of all frames are copied for each
//!   JPEG frame. Here fragments are borrowed from the file, and a sample's budget covers all frames.
//! - Colours are converted to RGB by the JPEG decoder in integers. Here YBR of all codecs is converted
//!   once, in `pixels`, and rounded once.

mod codec;
mod data_set;
mod elements;
mod file;
mod frame;
mod header;
mod image;
mod layout;
#[cfg(test)]
#[allow(dead_code, reason = "the tests of `extract` use the rest")]
pub(crate) mod made;
mod palette;
mod pixels;
mod placement;
mod table;
#[cfg(test)]
mod tests;
mod types;

pub(super) use self::file::is_dicom;
pub(super) use self::header::refuse_derived_object;
pub use self::header::{Header, header};
pub(super) use self::image::read;
pub use self::placement::{Oddity, Placement, oddity};
