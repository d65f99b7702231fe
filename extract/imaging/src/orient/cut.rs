//! Cuts of a volume along other axes.

use common::Axis;

use super::affine::{Affine, Closest};
use super::geometry::Geometry;
use crate::preprocess::Slicing;

/// For each axis of a stored array: the axis of the slices along it, and whether that runs backwards.
pub(crate) type Stored = [(Axis, bool); 3];

/// Slices as they are stored: rows along the first axis, columns along the second.
pub(crate) const AS_STORED: Stored = [
    (Axis::Row, false),
    (Axis::Column, false),
    (Axis::Slice, false),
];

/// The old axes (0 slices, 1 rows, 2 columns) that become slices, rows and columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    pub(crate) axes: [usize; 3],
    /// Whether the new axis runs against the old one.
    pub(crate) flipped: [bool; 3],
}

impl Cut {
    /// Slices as they are.
    pub(crate) const NONE: Cut = Cut {
        axes: [0, 1, 2],
        flipped: [false; 3],
    };

    /// The cut that gives `slicing`; `None` for a plane of the patient if the orientation is unknown, or
    /// if the plane cuts across slices at uneven distances.
    pub(crate) fn of(slicing: Slicing, geometry: &Geometry, slices: usize) -> Option<Cut> {
        let unflipped = |axes| Cut {
            axes,
            flipped: [false; 3],
        };
        // Axes of the patient (0 right, 1 anterior, 2 superior) along slices, rows and columns. Slices
        // run along theirs, rows and columns against it.
        let wanted = match slicing {
            Slicing::StoredKXy => return Some(Cut::NONE),
            Slicing::StoredJXz => return Some(unflipped([2, 1, 0])),
            Slicing::StoredIYz => return Some(unflipped([1, 2, 0])),
            Slicing::Axial => [2, 1, 0],
            Slicing::Coronal => [1, 2, 0],
            Slicing::Sagittal => [0, 2, 1],
        };
        let affine = match geometry {
            Geometry::Known(affine) | Geometry::Assumed(affine) | Geometry::Uneven(affine, _) => {
                affine
            }
            Geometry::Transposed => return Some(unflipped([0, 2, 1])),
            Geometry::Unknown if slices == 1 => return Some(Cut::NONE),
            Geometry::Unknown | Geometry::Scattered => return None,
        };
        let closest = Closest::of(affine);
        // Columns of the affine are row, column, slice.
        let axes = wanted.map(|world| [1, 2, 0][closest.column[world]]);
        let [s, r, c] = wanted.map(|world| closest.is_reversed[world]);
        let flipped = [s, !r, !c];
        let is_across = axes[0] != 0;
        let is_uneven = matches!(geometry, Geometry::Uneven(..));
        (!(is_uneven && is_across)).then_some(Cut { axes, flipped })
    }

    /// Geometry of the new slices; `shape` is slices, rows and columns before the cut.
    pub(crate) fn geometry(&self, old: &Geometry, shape: [usize; 3]) -> Geometry {
        match old {
            Geometry::Known(affine) => Geometry::Known(self.affine(affine, shape)),
            Geometry::Assumed(affine) => Geometry::Assumed(self.affine(affine, shape)),
            Geometry::Uneven(affine, gaps) => Geometry::Uneven(self.affine(affine, shape), *gaps),
            Geometry::Unknown | Geometry::Transposed | Geometry::Scattered => Geometry::Unknown,
        }
    }

    fn affine(&self, affine: &Affine, shape: [usize; 3]) -> Affine {
        affine.map(|row| {
            // Columns of the affine are row, column, slice.
            let old = [row[2], row[0], row[1]];
            let mut origin = row[3];
            let mut new = [0.0; 3];
            for (k, axis) in self.axes.into_iter().enumerate() {
                new[k] = if self.flipped[k] {
                    -old[axis]
                } else {
                    old[axis]
                };
                if self.flipped[k] {
                    origin += old[axis] * shape[axis].saturating_sub(1) as f64;
                }
            }
            [new[1], new[2], new[0], origin]
        })
    }

    /// Axes of the stored array after slices that were `stored` so have been cut.
    pub(crate) fn stored(&self, stored: Stored) -> Stored {
        let cut = [Axis::Slice, Axis::Row, Axis::Column];
        stored.map(|(axis, is_backwards)| {
            let new = self.axes.iter().position(|old| *old == axis as usize);
            let (axis, is_flipped) = new.map_or((axis, false), |new| (cut[new], self.flipped[new]));
            (axis, is_backwards != is_flipped)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::affine::SPACED;
    use super::*;

    #[test]
    fn rows_run_to_posterior_and_columns_to_the_left_of_the_patient() {
        let cut = |slicing| Cut::of(slicing, &Geometry::Known(SPACED), 9).unwrap();
        for (slicing, axes) in [(Slicing::Axial, [0, 2, 1]), (Slicing::Sagittal, [1, 0, 2])] {
            assert_eq!(cut(slicing).axes, axes);
            assert_eq!(cut(slicing).flipped, [false, true, true]);
        }
    }

    #[test]
    fn without_orientation_single_images_stay_and_volumes_are_refused() {
        let cut = |slicing, slices| Cut::of(slicing, &Geometry::Unknown, slices);
        assert_eq!(cut(Slicing::Axial, 1), Some(Cut::NONE));
        assert_eq!(cut(Slicing::Axial, 2), None);
        assert_eq!(cut(Slicing::StoredKXy, 2), Some(Cut::NONE));
    }
}
