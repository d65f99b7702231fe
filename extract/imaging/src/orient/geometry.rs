//! Orientation of an image in the patient.

use std::fmt;

use super::affine::{Affine, Closest, length, tilt};

/// Tilt in degrees above which a volume is called oblique.
const OBLIQUE: f64 = 30.0;

/// Orientation and position of an image in the patient, as far as its file gives them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Geometry {
    /// Unknown; rows and columns are as a viewer shows them.
    Unknown,
    /// Unknown; a viewer shows rows as columns (MATLAB arrays in HDF5).
    Transposed,
    /// Default of the NIfTI standard, for a file without sform and qform.
    Assumed(Affine),
    /// Given by the file.
    Known(Affine),
    /// Parallel slices at uneven distances: the directions hold, and the positions of the first slice
    /// and, if none is missing or doubled, its neighbours.
    Uneven(Affine, Gaps),
    /// Slices with orientations that are not parallel, or that go back and forth.
    Scattered,
}

/// Distances between neighbouring slices in mm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gaps {
    pub(super) least: f64,
    pub(super) median: f64,
    pub(super) greatest: f64,
}

impl fmt::Display for Gaps {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let [least, median, greatest] =
            [self.least, self.median, self.greatest].map(|mm| (100.0 * mm).round() / 100.0);
        write!(f, "{least} to {greatest} mm, with a median of {median} mm")
    }
}

impl Geometry {
    /// Whether two images of one grid have the same orientation; true if either is unknown.
    pub(crate) fn agrees_with(&self, other: &Geometry) -> bool {
        match (self.closest(), other.closest()) {
            (Some(one), Some(other)) => one == other,
            _ => true,
        }
    }

    fn closest(&self) -> Option<Closest> {
        match self {
            Geometry::Known(affine) | Geometry::Uneven(affine, _) => Some(Closest::of(affine)),
            _ => None,
        }
    }

    /// Greatest distance in mm between the same corner of two grids of `shape` rows, columns and
    /// slices, and the shortest step of this one; `None` if either is unknown.
    pub(crate) fn shift_mm(&self, other: &Geometry, shape: [usize; 3]) -> Option<(f64, f64)> {
        let (Geometry::Known(a), Geometry::Known(b)) = (self, other) else {
            return None;
        };
        // The difference of two affine maps is affine, so its norm is greatest in a corner. Bit `axis`
        // of `corner` chooses the last index of that axis.
        let distance = |corner: usize| {
            let index = |axis: usize| match corner >> axis & 1 {
                1 => shape[axis].saturating_sub(1) as f64,
                _ => 0.0,
            };
            let squares = a.iter().zip(b).map(|(a, b)| {
                let steps = (0..3).map(|axis| (a[axis] - b[axis]) * index(axis));
                (steps.sum::<f64>() + a[3] - b[3]).powi(2)
            });
            squares.sum::<f64>().sqrt()
        };
        let steps = (0..3).map(|axis| length(a, axis));
        Some((
            (0..8).map(distance).fold(0.0, f64::max),
            steps.fold(f64::INFINITY, f64::min),
        ))
    }

    /// Warning about planes of the patient that are cut from such a volume, in the plural.
    pub(crate) fn doubt(&self) -> Option<&'static str> {
        match self {
            Geometry::Assumed(_) => Some(
                "volumes without the patient's orientation (NIfTI without sform and qform): their axes \
                 were taken to run to the patient's left, to anterior and to superior; look at one, or \
                 cut as stored",
            ),
            Geometry::Known(affine) | Geometry::Uneven(affine, _) if tilt(affine) > OBLIQUE => {
                Some(
                    "volumes that lie over 30 degrees oblique to the patient's axes: the nearest stored \
                 axes were taken, nothing is turned",
                )
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::affine::SPACED;
    use super::*;

    #[test]
    fn oblique_and_assumed_orientations_are_doubted() {
        let turned = |degrees: f64| {
            let (sin, cos) = degrees.to_radians().sin_cos();
            [
                [2.0 * cos, -sin, 0.0, 5.0],
                [2.0 * sin, cos, 0.0, 6.0],
                [0.0, 0.0, 4.0, 7.0],
            ]
        };
        for (degrees, is_oblique) in [
            (0.0, false),
            (29.0, false),
            (31.0, true),
            (59.0, true),
            (61.0, false),
        ] {
            let doubt = Geometry::Known(turned(degrees)).doubt();
            assert_eq!(
                doubt.is_some_and(|doubt| doubt.contains("30 degrees")),
                is_oblique,
                "{degrees}"
            );
        }
        assert!(Geometry::Assumed(SPACED).doubt().unwrap().contains("sform"));
        assert_eq!(Geometry::Unknown.doubt(), None);
    }

    #[test]
    fn a_shift_is_that_of_the_farthest_corner() {
        let shifted = |change: fn(&mut Affine)| {
            let mut other = SPACED;
            change(&mut other);
            Geometry::Known(SPACED)
                .shift_mm(&Geometry::Known(other), [11, 5, 3])
                .unwrap()
        };
        assert_eq!(shifted(|_| ()), (0.0, 2.0));
        assert_eq!(shifted(|affine| affine[1][3] -= 1.5), (1.5, 2.0));
        // Ten rows further on, a step that is longer by 0.1 mm is 1 mm off.
        let (mm, _) = shifted(|affine| affine[0][0] += 0.1);
        assert!((mm - 1.0).abs() < 1e-9, "{mm}");
        let unknown = Geometry::Unknown.shift_mm(&Geometry::Known(SPACED), [1; 3]);
        assert_eq!(unknown, None);
    }
}
