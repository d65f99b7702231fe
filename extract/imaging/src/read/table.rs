//! Lookup tables: PS3.3 C.11.1 (Modality LUT), C.11.2 (VOI LUT), C.7.9 (palettes).

use std::sync::Arc;

use ndarray::Array3;

use super::voxels::{Voxel, Voxels};

/// Values of consecutive whole numbers; numbers outside of the table have the value of its nearest end.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Table {
    /// Number that the first value belongs to.
    first: i64,
    values: Arc<[u16]>,
    /// Bits of a value: 8 to 16.
    bits: u16,
}

impl Table {
    /// The table of `values` of 8 to 16 `bits`, for the numbers from `first` on; `None` if there are no
    /// values, or they have another number of bits.
    pub(super) fn new(first: i64, values: Vec<u16>, bits: u16) -> Option<Table> {
        let is_usable = !values.is_empty() && (8..=16).contains(&bits);
        is_usable.then(|| Table {
            first,
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

    /// The table for inverted numbers and values: `n` becomes `sum - n`, and a value `v` becomes
    /// [`greatest`](Self::greatest) - `v`.
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

    /// Replaces numbers, rounded, by their values.
    pub(super) fn apply(&self, plane: &mut Array3<f32>) {
        plane.mapv_inplace(|v| self.at(v.round() as i64).into());
    }
}
