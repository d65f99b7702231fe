//! Lookup tables in attributes.

use std::path::Path;

use dicom_core::Tag;
use dicom_dictionary_std::tags;

use super::data_set::DataSet;
use crate::Error;
use crate::read::table::Table;

/// The table in the first item of `sequence`, if there is one; `name` is its name in messages, and `signed`
/// whether the numbers that it maps may be below 0.
///
/// # Errors
///
/// [`Error::UnsupportedDicom`] if a part of the table is missing, or its values have other than 8 to 16
/// bits.
pub(super) fn in_sequence(
    path: &Path,
    attributes: &DataSet,
    (sequence, name): (Tag, &str),
    signed: bool,
) -> Result<Option<Table>, Error> {
    let Some(item) = attributes.items(sequence).first() else {
        return Ok(None);
    };
    let table = of(item, [tags::LUT_DESCRIPTOR, tags::LUT_DATA], signed);
    table.map(Some).ok_or_else(|| {
        let found = format!("a {name} that is missing in part, or of other than 8 to 16 bits");
        Error::unsupported_dicom(path, found, "convert it to values without tables")
    })
}

/// The table of a descriptor (number of values, first number, bits of a value) and data.
pub(super) fn of(
    attributes: &DataSet,
    [descriptor, data]: [Tag; 2],
    signed: bool,
) -> Option<Table> {
    let [count, first, bits] = attributes.shorts(descriptor)?.try_into().ok()?;
    // 65,536 does not fit, and is written as 0.
    let count = if count == 0 {
        1 << 16
    } else {
        usize::from(count)
    };
    let words = attributes.shorts(data)?;
    // Values of 8 bits lie two in a word, or each in a word of its own.
    let is_packed = bits == 8 && words.len() < count;
    let mut values: Vec<u16> = if is_packed {
        words
            .iter()
            .flat_map(|word| [word & 0xff, word >> 8])
            .collect()
    } else {
        words
    };
    if values.len() < count {
        return None;
    }
    values.truncate(count);
    let first = if signed {
        (first as i16).into()
    } else {
        first.into()
    };
    Table::new(first, values, bits)
}
