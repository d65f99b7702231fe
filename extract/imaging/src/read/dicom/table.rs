//! Lookup tables: PS3.3 C.11.1 (Modality LUT), C.11.2 (VOI LUT), C.7.9 (palettes).

use std::sync::Arc;

use dicom_core::Tag;
use dicom_dictionary_std::tags;
use ndarray::Array3;

use super::elements::DataSet;
use crate::read::voxels::{Voxel, Voxels};

/// Values by whole numbers; numbers outside have the value at the nearest end.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::read) struct Table {
    /// The number of the first value.
    first: i64,
    values: Arc<[u16]>,
    /// Bits of a value: 8 to 16.
    bits: u16,
}

impl Table {
    /// The table in the first item of `sequence`; `None` within if it cannot be read.
    pub(super) fn in_sequence(
        attributes: &DataSet,
        sequence: Tag,
        signed: bool,
    ) -> Option<Option<Table>> {
        let item = attributes.items(sequence).first()?;
        Some(Table::of(
            item,
            [tags::LUT_DESCRIPTOR, tags::LUT_DATA],
            signed,
        ))
    }

    /// The table that a descriptor and data make: the number of values, the first number, which may
    /// be `signed`, and bits of a value.
    pub(super) fn of(
        attributes: &DataSet,
        [descriptor, data]: [Tag; 2],
        signed: bool,
    ) -> Option<Table> {
        let [count, first, bits] = attributes.shorts(descriptor)?.try_into().ok()?;
        let count = if count == 0 {
            1 << 16
        } else {
            usize::from(count)
        };
        let words = attributes.shorts(data)?;
        // Bytes lie two in a word, or each in a word of its own.
        let is_packed = bits == 8 && words.len() < count;
        let mut values = if is_packed {
            words
                .iter()
                .flat_map(|word| [word & 0xff, word >> 8])
                .collect()
        } else {
            words
        };
        if values.len() < count || !(8..=16).contains(&bits) {
            return None;
        }
        values.truncate(count);
        Some(Table {
            first: if signed {
                (first as i16).into()
            } else {
                first.into()
            },
            values: values.into(),
            bits,
        })
    }

    /// Bits of a value.
    pub(super) fn bits(&self) -> u16 {
        self.bits
    }

    /// The greatest value that fits.
    pub(super) fn greatest(&self) -> u16 {
        u16::MAX >> (16 - self.bits)
    }

    /// The value of a number.
    pub(super) fn at(&self, number: i64) -> u16 {
        let last = self.values.len() as i64 - 1;
        self.values[number.saturating_sub(self.first).clamp(0, last) as usize]
    }

    /// The table for numbers and values that were both inverted: a number and its inverse add up to
    /// `sum`, a value and its inverse to [`greatest`](Self::greatest).
    pub(super) fn inverted(&self, sum: f64) -> Table {
        let greatest = self.greatest();
        let values = self.values.iter().rev();
        Table {
            first: sum.round() as i64 - self.first - (self.values.len() as i64 - 1),
            values: values
                .map(|value| greatest.saturating_sub(*value))
                .collect(),
            bits: self.bits,
        }
    }

    /// The values of stored numbers.
    pub(super) fn applied(&self, voxels: &Voxels) -> Voxels {
        Voxel::wrap(voxels.mapped(|v| self.at(v as i64)))
    }

    /// Puts values in the place of numbers, which are rounded.
    pub(super) fn apply(&self, plane: &mut Array3<f32>) {
        plane.mapv_inplace(|v| self.at(v.round() as i64).into());
    }
}
