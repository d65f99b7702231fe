//! Position of a slice in the patient.

use crate::orient::Affine;

/// Tolerance of the lengths and of the dot product of the two directions.
const TOLERANCE: f64 = 0.05;

/// Tolerance of gaps between slices: as a fraction of the median gap, and in mm.
const UNEVEN: (f64, f64) = (0.01, 0.01);

/// Position of the first pixel of a slice and directions of its rows and columns, in mm to the patient's
/// left, to posterior and to superior (LPS, as in DICOM).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Placement {
    position: [f64; 3],
    /// Direction from one column to the next.
    along_row: [f64; 3],
    /// Direction from one row to the next.
    along_column: [f64; 3],
}

impl Placement {
    /// From ImagePositionPatient and ImageOrientationPatient; `None` if the directions are not at
    /// right angles and of length 1.
    pub(super) fn new(position: [f64; 3], orientation: [f64; 6]) -> Option<Placement> {
        let [a, b, c, d, e, f] = orientation;
        let (row, column) = ([a, b, c], [d, e, f]);
        let is_unit = |v: [f64; 3]| (dot(v, v) - 1.0).abs() < TOLERANCE;
        let fits = is_unit(row) && is_unit(column) && dot(row, column).abs() < TOLERANCE;
        fits.then_some(Placement {
            position,
            along_row: row,
            along_column: column,
        })
    }

    /// Normal of the slice: the cross product of the directions.
    fn normal(&self) -> [f64; 3] {
        let (a, b) = (self.along_row, self.along_column);
        [0, 1, 2].map(|k| {
            let (m, n) = ((k + 1) % 3, (k + 2) % 3);
            a[m] * b[n] - a[n] * b[m]
        })
    }

    /// Position of this slice along the normal of `other`, in mm.
    pub fn depth_along(&self, other: &Placement) -> f64 {
        dot(self.position, other.normal())
    }

    /// Whether rows and columns of two slices have the same directions.
    pub fn is_parallel_to(&self, other: &Placement) -> bool {
        let close = |a: [f64; 3], b: [f64; 3]| (0..3).all(|k| (a[k] - b[k]).abs() < 1e-3);
        close(self.along_row, other.along_row) && close(self.along_column, other.along_column)
    }

    /// The slice `distance` mm further along the normal.
    pub(super) fn moved(&self, distance: f64) -> Placement {
        let normal = self.normal();
        let position = [0, 1, 2].map(|k| self.position[k] + distance * normal[k]);
        Placement { position, ..*self }
    }

    /// Affine from the indices of row, column and slice to mm in RAS; `spacing` is that of slices, rows and
    /// columns. LPS becomes RAS by negating the first two axes.
    pub(super) fn affine(&self, spacing: [f64; 3]) -> Affine {
        let normal = self.normal();
        [0, 1, 2].map(|axis| {
            let sign = if axis < 2 { -1.0 } else { 1.0 };
            [
                sign * self.along_column[axis] * spacing[1],
                sign * self.along_row[axis] * spacing[2],
                sign * normal[axis] * spacing[0],
                sign * self.position[axis],
            ]
        })
    }
}

fn dot(a: [f64; 3], b: [f64; 3]) -> f64 {
    (0..3).map(|k| a[k] * b[k]).sum()
}

/// Positions of slices along the normal of the first, in mm, if they are parallel and no two are equal.
pub(super) fn distinct_depths(slices: &[Placement]) -> Option<Vec<f64>> {
    let first = slices.first()?;
    let parallel = slices.iter().all(|slice| slice.is_parallel_to(first));
    let depths: Vec<f64> = slices
        .iter()
        .map(|slice| slice.depth_along(first))
        .collect();
    let mut sorted = depths.clone();
    sorted.sort_by(f64::total_cmp);
    let apart = sorted.windows(2).all(|pair| pair[1] - pair[0] >= UNEVEN.1);
    (parallel && apart).then_some(depths)
}

/// Irregularity of the distances between slices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oddity {
    /// Two slices have the same position.
    Duplicate,
    /// Some gaps are wider than others.
    Gap,
}

/// Irregularity of slices at these positions in mm, in order.
pub fn oddity(depths: &[f64]) -> Option<Oddity> {
    let gaps: Vec<f64> = depths.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let (relative, least) = UNEVEN;
    if gaps.iter().any(|gap| gap.abs() < least) {
        return Some(Oddity::Duplicate);
    }
    let mut sorted = gaps.clone();
    sorted.sort_by(f64::total_cmp);
    let median = *sorted.get(sorted.len() / 2)?;
    let allowed = (relative * median.abs()).max(least);
    let is_even = gaps.iter().all(|gap| (gap - median).abs() <= allowed);
    (!is_even).then_some(Oddity::Gap)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axial(z: f64) -> Placement {
        Placement::new([10.0, 20.0, z], [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]).unwrap()
    }

    #[test]
    fn left_and_posterior_become_right_and_anterior() {
        let affine = axial(-5.0).affine([3.0, 2.0, 1.0]);
        assert_eq!(
            affine,
            [
                [0.0, -1.0, 0.0, -10.0],
                [-2.0, 0.0, 0.0, -20.0],
                [0.0, 0.0, 3.0, -5.0]
            ]
        );
    }

    #[test]
    fn depth_is_measured_at_right_angles_to_the_slice() {
        let (sin, cos) = 0.3f64.sin_cos();
        let at = |d: f64| {
            let orientation = [1.0, 0.0, 0.0, 0.0, cos, sin];
            Placement::new([7.0, -sin * d, cos * d], orientation).unwrap()
        };
        assert!((at(6.5).depth_along(&at(0.0)) - 6.5).abs() < 1e-12);
        assert_eq!(at(0.0).moved(6.5).depth_along(&at(0.0)), 6.5);
        assert!(!at(0.0).is_parallel_to(&axial(0.0)));
    }

    #[test]
    fn directions_that_cannot_be_are_refused() {
        for orientation in [
            [0.0; 6],
            [1.0, 0.0, 0.0, 1.0, 0.0, 0.0],
            [2.0, 0.0, 0.0, 0.0, 1.0, 0.0],
        ] {
            assert_eq!(Placement::new([0.0; 3], orientation), None);
        }
    }

    #[test]
    fn gaps_are_judged_against_the_median() {
        assert_eq!(oddity(&[0.0, 1.0, 2.005, 3.0]), None);
        assert_eq!(oddity(&[4.0, 2.0, 0.0]), None);
        assert_eq!(oddity(&[0.0, 1.0, 3.0, 4.0]), Some(Oddity::Gap));
        assert_eq!(oddity(&[0.0, 1.0, 1.0, 2.0]), Some(Oddity::Duplicate));
        assert_eq!((oddity(&[]), oddity(&[3.0])), (None, None));
    }
}
