//! DICOM images.

mod codec;
mod elements;
mod file;
mod frame;
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

use std::borrow::Cow;
use std::fs;
use std::path::Path;

use common::counted;
use dicom_core::Tag;
use dicom_dictionary_std::{tags, uids};

use self::codec::{Codec, Failure};
use self::elements::{DataSet, PixelData};
use self::file::Opened;
use self::frame::Frame;
use self::layout::{Layout, Photometric};
use self::pixels::Order;
use super::budget::SampleBudget;
use super::bytes::first_bytes;
use super::volume::Volume;
use super::voxels::Voxels;
use crate::Error;

pub(super) use self::file::is_dicom;
pub use self::placement::{Oddity, Placement, oddity};

/// Most bytes of a file.
const MAX_BYTES: u64 = 8 << 30;

/// What is known of a file before its pixels are read.
#[derive(Clone, Debug)]
pub struct Header {
    /// PatientID.
    pub patient: Option<String>,
    /// StudyInstanceUID.
    pub study: Option<String>,
    /// SeriesInstanceUID.
    pub series: Option<String>,
    /// Values that identify the patient, the examination or the file.
    pub identifiers: Vec<String>,
    /// FrameOfReferenceUID.
    pub frame_of_reference: Option<String>,
    /// Modality.
    pub modality: Option<String>,
    /// InstanceNumber.
    pub instance: Option<i64>,
    /// Whether it says that it is an image; its pixels may be missing.
    pub is_image: bool,
    /// Whether its pixels are no picture of a patient: a dose, a segmentation.
    pub is_derived_object: bool,
    /// How many frames; 1 where the file does not say it.
    pub frames: u32,
    /// Rows and columns.
    pub size: [u16; 2],
    /// Distance between rows and between columns in mm.
    pub spacing: Option<[f64; 2]>,
    /// Where the first frame lies in the patient.
    pub placement: Option<Placement>,
}

/// Reads what is in front of the pixels; `None` if the file is not DICOM.
///
/// # Errors
///
/// [`FileError::Io`](common::FileError::Io), and [`FileError::Damaged`](common::FileError::Damaged) if the file is DICOM and its elements cannot be read.
pub fn header(path: &Path) -> Result<Option<Header>, Error> {
    if !fs::metadata(path).map_err(Error::io(path))?.is_file() {
        return Ok(None);
    }
    if !is_dicom(&first_bytes(path)?) {
        return Ok(None);
    }
    file::open(path, false, |opened| Ok(Some(header_of(&opened))))
}

/// # Errors
///
/// [`Error::UnsupportedDicom`] if the file is a DICOM object that is no image of a patient, and as
/// [`header`].
pub(super) fn refuse_derived_object(path: &Path) -> Result<(), Error> {
    let Some(header) = header(path)?.filter(|header| header.is_derived_object) else {
        return Ok(());
    };
    let modality = header.modality.unwrap_or_default();
    Err(Error::UnsupportedDicom {
        path: path.to_path_buf(),
        found: format!("a DICOM object that is no image of a patient (modality `{modality}`)"),
        hint: "leave it out; a segmentation may be the mask of an image".to_owned(),
    })
}

/// Attributes whose values may be the name of a folder or file, as in many archives.
const IDENTIFIERS: [Tag; 6] = [
    tags::PATIENT_ID,
    tags::PATIENT_NAME,
    tags::ACCESSION_NUMBER,
    tags::STUDY_INSTANCE_UID,
    tags::SERIES_INSTANCE_UID,
    tags::SOP_INSTANCE_UID,
];

fn header_of(opened: &Opened) -> Header {
    let attributes = &opened.found.data_set;
    let number = |tag| attributes.text(tag)?.parse().ok();
    Header {
        patient: attributes.text(tags::PATIENT_ID),
        study: attributes.text(tags::STUDY_INSTANCE_UID),
        series: attributes.text(tags::SERIES_INSTANCE_UID),
        identifiers: IDENTIFIERS
            .iter()
            .filter_map(|tag| attributes.text(*tag))
            .collect(),
        frame_of_reference: attributes.text(tags::FRAME_OF_REFERENCE_UID),
        modality: attributes.text(tags::MODALITY),
        instance: number(tags::INSTANCE_NUMBER),
        is_derived_object: is_derived_object(attributes),
        is_image: opened.found.has_pixels || attributes.short(tags::ROWS).is_some(),
        frames: number(tags::NUMBER_OF_FRAMES).map_or(1, |n| u32::try_from(n).unwrap_or(u32::MAX)),
        size: [tags::ROWS, tags::COLUMNS].map(|tag| attributes.short(tag).unwrap_or_default()),
        spacing: Frame::of(attributes, 0).spacing(),
        placement: Frame::of(attributes, 0).placement(),
    }
}

/// Whether the pixels are doses, segments or the like, by SOP class or, where that is wrong, by modality.
fn is_derived_object(attributes: &DataSet) -> bool {
    const CLASSES: [&str; 4] = [
        uids::RT_DOSE_STORAGE,
        uids::SEGMENTATION_STORAGE,
        uids::LABEL_MAP_SEGMENTATION_STORAGE,
        uids::HEIGHT_MAP_SEGMENTATION_STORAGE,
    ];
    const MODALITIES: [&str; 8] = [
        "RTDOSE", "SEG", "RTSTRUCT", "RTPLAN", "SR", "PR", "KO", "REG",
    ];
    let is_in = |tag, known: &[&str]| {
        attributes
            .text(tag)
            .is_some_and(|name| known.contains(&name.as_str()))
    };
    is_in(tags::SOP_CLASS_UID, &CLASSES) || is_in(tags::MODALITY, &MODALITIES)
}

/// Reads the image in a DICOM file: each frame is a slice, ordered by where they lie if they lie
/// parallel and apart, else in the order of the file.
///
/// Voxels are as stored, cut to the bits that BitsStored and HighBit name; what PixelPaddingValue
/// names stays as well. MONOCHROME1 is inverted: `v` becomes `2^BitsStored - 1 - v`, or `-1 - v` if
/// values are signed, in front of slope and intercept, and the window is turned round with them. YBR
/// and palettes become RGB. Slope and intercept are kept for each frame, and the first window that the
/// file names, in the units that they give. The values of a Modality LUT stand in the place of stored
/// ones; a VOI LUT stands for a window where there is none.
///
/// # Errors
///
/// [`Error::UnsupportedDicom`] for a transfer syntax or a kind of pixel that is not read, or if
/// there are no pixels; [`FileError::Damaged`](common::FileError::Damaged), [`Error::Truncated`], [`Error::TrailingData`] if
/// attributes and pixels do not agree; [`FileError::TooLarge`](common::FileError::TooLarge).
pub(super) fn read(path: &Path, budget: &SampleBudget) -> Result<Volume, Error> {
    let length = fs::metadata(path).map_err(Error::io(path))?.len();
    let _file = budget.take(path, "the file", length)?;
    file::open(path, true, |opened| volume(path, &opened, budget))
}

fn volume(path: &Path, opened: &Opened, budget: &SampleBudget) -> Result<Volume, Error> {
    let attributes = &opened.found.data_set;
    let Some(pixels) = &opened.found.pixels else {
        if attributes.has(tags::FLOAT_PIXEL_DATA) || attributes.has(tags::DOUBLE_FLOAT_PIXEL_DATA) {
            let found = "an image whose pixels are floats".to_owned();
            return Err(Error::unsupported_dicom(
                path,
                found,
                "convert it to NIfTI, or to integers",
            ));
        }
        let modality = attributes.text(tags::MODALITY).unwrap_or_default();
        let found = format!("a DICOM object without pixels (modality `{modality}`)");
        return Err(Error::unsupported_dicom(
            path,
            found,
            "leave it out, it is no image",
        ));
    };
    let codec = Codec::of(&opened.syntax).ok_or_else(|| unknown_syntax(path, &opened.syntax))?;
    let layout = Layout::of(path, attributes)?;
    let what = format!("the pixels of {}", counted(layout.frames, "frame"));
    // The values of a table take two bytes.
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
            // Samples of up to 8 bits were written two in a word.
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
            let frames = frames.ok_or_else(|| {
                let frames = counted(layout.frames, "frame");
                let reason = format!("{frames} in {}", counted(fragments.len(), "fragment"));
                Error::damaged(path, reason)
            })?;
            let frames = frames.iter();
            let frames = frames.map(|frame| decoded(path, codec, &layout, frame));
            frames.collect()
        }
    }?;
    assembled(path, attributes, &layout, voxels)
}

/// The frames of pixels that are not compressed.
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
    // Less than a row may be padding, whatever is in it, and less than a frame if it is one value over
    // and over; else the size of the image would be wrong.
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

/// A frame of pixels that are compressed.
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

/// The frames one on top of the other: in the order of where they lie, unless some do not say it, are
/// not parallel or lie at one place.
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

/// What to do about a transfer syntax that is not read.
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
