//! Windows and lookup tables for display: PS3.3 C.11.2 (VOI LUT).

use ndarray::Array3;

use super::table::Table;
use crate::preprocess::Bounds;

/// Mapping from values to grey levels that a file gives.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Shown {
    /// Linear from black to white, in the units of slope and intercept.
    Linear(Bounds),
    /// `1 / (1 + exp(-4 (v - center) / width))`.
    Sigmoid {
        /// The value that is mapped to 0.5.
        center: f32,
        /// Above 0.
        width: f32,
    },
    /// White above this value, else black.
    Step(f32),
    /// Grey level of each value.
    Table(Table),
}

impl Shown {
    /// Least and greatest value after [`apply`](Self::apply).
    pub(super) fn bounds(&self) -> Bounds {
        match self {
            Shown::Linear(bounds) => *bounds,
            Shown::Sigmoid { .. } | Shown::Step(_) => Bounds {
                low: 0.0,
                high: 1.0,
            },
            Shown::Table(table) => Bounds {
                low: 0.0,
                high: table.greatest().into(),
            },
        }
    }

    /// Maps values to grey levels; a linear window leaves them unchanged.
    pub(super) fn apply(&self, plane: &mut Array3<f32>) {
        match self {
            Shown::Linear(_) => {}
            Shown::Sigmoid { center, width } => {
                plane.mapv_inplace(|v| 1.0 / (1.0 + (-4.0 * (v - center) / width).exp()));
            }
            Shown::Step(edge) => plane.mapv_inplace(|v| if v > *edge { 1.0 } else { 0.0 }),
            Shown::Table(table) => table.apply(plane),
        }
    }

    /// The same mapping for values `v` that were inverted to `sum - v`.
    pub(super) fn inverted(&self, sum: f64) -> Shown {
        let inverse = |v: f32| (sum - f64::from(v)) as f32;
        match self {
            Shown::Linear(Bounds { low, high }) => Shown::Linear(Bounds {
                low: inverse(*high),
                high: inverse(*low),
            }),
            // The edge itself was black, so its inverse is white.
            Shown::Step(edge) => Shown::Step(inverse(*edge).next_down()),
            Shown::Sigmoid { center, width } => Shown::Sigmoid {
                center: inverse(*center),
                width: *width,
            },
            Shown::Table(table) => Shown::Table(table.inverted(sum)),
        }
    }
}
