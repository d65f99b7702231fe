//! Images: frames in the order of their positions.

use std::borrow::Cow;
use std::fs;
use std::path::Path;

use common::counted;
use dicom_dictionary_std::tags;

use super::codec::{self, Codec, Failure};
use super::data_set::{DataSet, PixelData};
use super::file::{self, Opened};
use super::frame::Frame;
use super::layout::{Layout, Photometric};
use super::palette;
use super::pixels::{self, Order};
use super::placement::{self, Placement};
use crate::Error;
use crate::read::budget::SampleBudget;
use crate::read::volume::Volume;
use crate::read::voxels::Voxels;

/// Reads the image in a DICOM file.
///
/// Each frame is a slice. Slices are ordered by position if they are parallel and apart, else as in the
/// file.
///
/// Voxels are the stored values, cut to the bits of BitsStored and HighBit; PixelPaddingValue is kept.
/// MONOCHROME1 is inverted before slope and intercept: `v` becomes `2^BitsStored - 1 - v`, or `-1 - v` for
/// signed values, and the window is inverted with it. YBR and palettes become RGB. Slope and intercept
/// are kept for each frame, and its first window in the units that they give. A Modality LUT replaces
/// stored values by its own; a VOI LUT is used if there is no window.
///
/// # Errors
///
/// [`Error::UnsupportedDicom`] for a transfer syntax or a kind of pixel that is not read, or if
/// there are no pixels; [`FileError::Damaged`](common::FileError::Damaged), [`Error::Truncated`], [`Error::TrailingData`] if
/// attributes and pixels do not agree; [`FileError::TooLarge`](common::FileError::TooLarge).
pub(in crate::read) fn read(path: &Path, budget: &SampleBudget) -> Result<Volume, Error> {
    let length = fs::metadata(path).map_err(Error::io(path))?.len();
    let _file = budget.take(path, "the file", length)?;
    file::open(path, true, |opened| volume(path, &opened, budget))
}

fn volume(path: &Path, opened: &Opened, budget: &SampleBudget) -> Result<Volume, Error> {
    let attributes = &opened.found.data_set;
    let Some(pixels) = &opened.found.pixels else {
        return Err(without_pixels(path, attributes));
    };
    let codec = Codec::of(&opened.syntax).ok_or_else(|| unknown_syntax(path, &opened.syntax))?;
    let layout = Layout::of(path, attributes)?;
    let what = format!("the pixels of {}", counted(layout.frames, "frame"));
    // Values of a table are 16-bit.
    let widened = if attributes.has(tags::MODALITY_LUT_SEQUENCE) {
        2 * layout.bytes()
    } else {
        0
    };
    budget
        .take(path, &what, layout.bytes().saturating_add(widened))?
        .keep();
    let voxels = match pixels {
        PixelData::Native { bytes, words } => {
            let big_endian = opened.encoding.big_endian;
            // Samples of up to 8 bits are stored in pairs, as 16-bit words.
            let bytes = if big_endian && *words && layout.allocated <= 8 {
                pixels::swapped(bytes).into()
            } else {
                Cow::Borrowed(*bytes)
            };
            let order = Order {
                big_endian,
                aligned: false,
            };
            native(path, codec, &layout, &bytes, order)
        }
        PixelData::Fragments { offsets, fragments } => {
            let frames = codec::frames(codec, fragments, offsets, layout.frames);
            frames
                .ok_or_else(|| {
                    let frames = counted(layout.frames, "frame");
                    let reason = format!("{frames} in {}", counted(fragments.len(), "fragment"));
                    Error::damaged(path, reason)
                })?
                .iter()
                .map(|frame| decoded(path, codec, &layout, frame))
                .collect()
        }
    }?;
    assembled(path, attributes, &layout, voxels)
}

fn without_pixels(path: &Path, attributes: &DataSet) -> Error {
    if attributes.has(tags::FLOAT_PIXEL_DATA) || attributes.has(tags::DOUBLE_FLOAT_PIXEL_DATA) {
        let found = "an image whose pixels are floats".to_owned();
        return Error::unsupported_dicom(path, found, "convert it to NIfTI, or to integers");
    }
    let modality = attributes.text(tags::MODALITY).unwrap_or_default();
    let found = format!("a DICOM object without pixels (modality `{modality}`)");
    Error::unsupported_dicom(path, found, "leave it out, it is no image")
}

/// Frames of uncompressed pixels.
fn native(
    path: &Path,
    codec: Codec,
    layout: &Layout,
    bytes: &[u8],
    order: Order,
) -> Result<Vec<Voxels>, Error> {
    if codec != Codec::Native {
        let reason = "its pixels are not compressed, its transfer syntax says that they are";
        return Err(Error::damaged(path, reason));
    }
    let frame = pixels::stored_bytes(layout).ok_or_else(|| {
        let found = "several frames of single bits that begin within a byte".to_owned();
        Error::unsupported_dicom(path, found, "convert them to 8 bits")
    })?;
    let expected = (frame * layout.frames) as u64;
    let found = bytes.len() as u64;
    // Padding of less than a row is allowed, and of less than a frame if it repeats one value; more means
    // that the size of the image is wrong.
    let row = (frame / layout.rows).max(2) as u64 - 1;
    let is_blank = |rest: &[u8]| rest.windows(2).all(|pair| pair[0] == pair[1]);
    let rest = bytes.get(expected as usize..).unwrap_or_default();
    let allowed = if is_blank(rest) {
        row.max(frame as u64 - 1)
    } else {
        row
    };
    let path = path.to_path_buf();
    if found < expected {
        return Err(Error::Truncated {
            path,
            expected,
            found,
        });
    }
    if found > expected + allowed {
        return Err(Error::TrailingData {
            path,
            expected,
            allowed,
        });
    }
    let frames = bytes.chunks_exact(frame).take(layout.frames);
    Ok(frames
        .map(|bytes| pixels::voxels(layout, bytes, order))
        .collect())
}

/// A frame of compressed pixels.
fn decoded(path: &Path, codec: Codec, layout: &Layout, frame: &[u8]) -> Result<Voxels, Error> {
    let decoded = codec
        .decode(layout, frame)
        .map_err(|failure| match failure {
            Failure::Damaged(reason) => Error::damaged(path, reason),
            Failure::Unsupported(found) => Error::unsupported_dicom(path, found, DECOMPRESS),
        })?;
    let layout = Layout {
        planar: decoded.planar,
        photometric: decoded.photometric,
        ..*layout
    };
    let order = Order {
        big_endian: false,
        aligned: decoded.aligned,
    };
    Ok(pixels::voxels(&layout, &decoded.bytes, order))
}

/// The stack of frames, ordered by position unless positions are missing, not parallel or equal.
fn assembled(
    path: &Path,
    attributes: &DataSet,
    layout: &Layout,
    voxels: Vec<Voxels>,
) -> Result<Volume, Error> {
    let count = voxels.len();
    let frame = |k| Frame::of(attributes, k);
    let placements: Vec<_> = (0..count)
        .map(|k| frame(k).placement_among(count))
        .collect();
    let mut slices = Vec::with_capacity(count);
    for (k, mut voxels) in voxels.into_iter().enumerate() {
        if layout.photometric == Photometric::Palette {
            voxels = palette::coloured(path, attributes, voxels)?;
        }
        slices.push(frame(k).slice(path, layout, voxels, placements[k])?);
    }
    let placements: Option<Vec<Placement>> = placements.into_iter().collect();
    if let Some(depths) = placements.as_deref().and_then(placement::distinct_depths) {
        let mut placed: Vec<(f64, Volume)> = depths.into_iter().zip(slices).collect();
        placed.sort_by(|a, b| a.0.total_cmp(&b.0));
        slices = placed.into_iter().map(|(_, slice)| slice).collect();
    }
    Volume::stacked(slices)
}

/// Advice about a transfer syntax that is not read.
const DECOMPRESS: &str =
    "convert it to Explicit VR Little Endian, for instance with `gdcmconv --raw`";

fn unknown_syntax(path: &Path, syntax: &str) -> Error {
    let name = match codec::name_of(syntax) {
        "" => Cow::Borrowed("unknown"),
        name => name.into(),
    };
    Error::unsupported_dicom(
        path,
        format!("the transfer syntax {syntax} ({name})"),
        DECOMPRESS,
    )
}
