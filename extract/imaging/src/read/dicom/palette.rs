//! Pixels that are indices of colours.

use std::path::Path;

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use ndarray::{Axis, concatenate};

use super::data_set::DataSet;
use super::table;
use crate::Error;

use crate::read::voxels::{Voxel, Voxels};

/// Descriptor and data of the tables of red, green and blue.
const TABLES: [[Tag; 2]; 3] = [
    [
        tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
        tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    ],
    [
        tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
        tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    ],
    [
        tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
        tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    ],
];

/// Colours `[1, 3, H, W]` of indices `[1, 1, H, W]`, with the 8 or 16 bits of the tables.
///
/// # Errors
///
/// [`Error::UnsupportedDicom`] if a table is missing, segmented or too short.
pub(super) fn coloured(
    path: &Path,
    attributes: &DataSet,
    indices: Voxels,
) -> Result<Voxels, Error> {
    let wrong = || {
        let found = "a palette whose tables are missing, segmented or too short".to_owned();
        Error::unsupported_dicom(path, found, "convert it to RGB")
    };
    let indices = match indices {
        Voxels::U8(indices) => indices.mapv(u16::from),
        Voxels::U16(indices) => indices,
        _ => return Err(wrong()),
    };
    let tables = TABLES.map(|tags| {
        table::of(attributes, tags, false).filter(|table| [8, 16].contains(&table.bits()))
    });
    let [Some(red), Some(green), Some(blue)] = tables else {
        return Err(wrong());
    };
    let is_narrow = [&red, &green, &blue].iter().all(|table| table.bits() == 8);
    let planes = [red, green, blue].map(|table| indices.mapv(|index| table.at(index.into())));
    let views = planes.each_ref().map(|plane| plane.view());
    let colours = concatenate(Axis(1), &views).map_err(|_| wrong())?;
    Ok(if is_narrow {
        Voxel::wrap(colours.mapv(|value| value as u8))
    } else {
        Voxel::wrap(colours)
    })
}
