//! Pixels that are indices into tables of colours.

use std::path::Path;

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use ndarray::{Array4, Axis, concatenate};

use super::elements::DataSet;
use super::unsupported;
use crate::Error;
use crate::read::voxels::{Voxel, Voxels};

/// The description and the data of the tables of red, green and blue.
const TABLES: [(Tag, Tag); 3] = [
    (
        tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
        tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    ),
    (
        tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
        tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    ),
    (
        tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
        tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    ),
];

/// The amounts of one colour.
struct Table {
    /// The index of the first.
    first: u16,
    values: Vec<u16>,
    /// Bits of a value: 8 or 16.
    bits: u16,
}

/// The colours `[1, 3, H, W]`, of 8 or 16 bits as the tables are, of indices `[1, 1, H, W]`.
///
/// # Errors
///
/// [`ReadError::UnsupportedDicom`] if a table is missing, segmented or too short.
pub(super) fn coloured(
    path: &Path,
    attributes: &DataSet,
    indices: Voxels,
) -> Result<Voxels, Error> {
    let wrong = || {
        let found = "a palette whose tables are missing, segmented or too short".to_owned();
        unsupported(path, found, "convert it to RGB")
    };
    let indices = match indices {
        Voxels::U8(indices) => indices.mapv(u16::from),
        Voxels::U16(indices) => indices,
        _ => return Err(wrong()),
    };
    let tables = TABLES.map(|tags| Table::of(attributes, tags));
    let [Some(red), Some(green), Some(blue)] = tables else {
        return Err(wrong());
    };
    let is_narrow = [&red, &green, &blue].iter().all(|table| table.bits == 8);
    let planes = [red, green, blue].map(|table| table.colour(&indices));
    let views = planes.each_ref().map(|plane| plane.view());
    let colours = concatenate(Axis(1), &views).map_err(|_| wrong())?;
    Ok(match is_narrow {
        true => Voxel::wrap(colours.mapv(|value| value as u8)),
        false => Voxel::wrap(colours),
    })
}

impl Table {
    fn of(attributes: &DataSet, (descriptor, data): (Tag, Tag)) -> Option<Table> {
        let [count, first, bits] = attributes.shorts(descriptor)?.try_into().ok()?;
        let count = if count == 0 {
            1 << 16
        } else {
            usize::from(count)
        };
        let words = attributes.shorts(data)?;
        // Bytes lie two in a word, or each in a word of its own.
        let is_packed = bits == 8 && words.len() < count;
        let mut values = match is_packed {
            true => words
                .iter()
                .flat_map(|word| [word & 0xff, word >> 8])
                .collect(),
            false => words,
        };
        if values.len() < count || ![8, 16].contains(&bits) {
            return None;
        }
        values.truncate(count);
        Some(Table {
            first,
            values,
            bits,
        })
    }

    fn colour(&self, indices: &Array4<u16>) -> Array4<u16> {
        let last = self.values.len() - 1;
        indices.mapv(|index| self.values[usize::from(index.saturating_sub(self.first)).min(last)])
    }
}
