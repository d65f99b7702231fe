//! Attributes of a file that are known before its pixels are read.

use std::fs;
use std::path::Path;

use dicom_core::Tag;
use dicom_dictionary_std::{tags, uids};

use super::data_set::DataSet;
use super::file::{self, Opened, is_dicom};
use super::frame::Frame;
use super::placement::Placement;
use crate::Error;
use crate::read::bytes::first_bytes;

/// Attributes of a file that are known before its pixels are read.
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
    /// Whether it has pixels, or attributes of an image; the pixels may be missing.
    pub is_image: bool,
    /// Whether it is an object such as a dose or a segmentation, not an image of a patient.
    pub is_derived_object: bool,
    /// NumberOfFrames; 1 if absent.
    pub frames: u32,
    /// Rows and columns.
    pub size: [u16; 2],
    /// Distance between rows and between columns in mm.
    pub spacing: Option<[f64; 2]>,
    /// Position of the first frame in the patient.
    pub placement: Option<Placement>,
}

/// Reads the attributes in front of the pixels; `None` if the file is not DICOM.
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

/// Refuses DICOM objects that are not images of a patient.
///
/// # Errors
///
/// [`Error::UnsupportedDicom`] for such an object, and as [`header`].
pub(in crate::read) fn refuse_derived_object(path: &Path) -> Result<(), Error> {
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

/// Attributes with values that many archives use as names of folders and files.
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

/// Whether the pixels are doses, segments or the like: by SOP class, or by modality if that is wrong.
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
