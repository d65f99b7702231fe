//! Matrices from indices to millimetres.

/// Three rows of four numbers: from indices of row, column and slice to mm to the right, to anterior and
/// to superior of the patient (RAS+).
pub(crate) type Affine = [[f64; 4]; 3];

/// Columns of an affine that are closest to the axes of the patient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Closest {
    /// For right, anterior and superior: the column, each once.
    pub(super) column: [usize; 3],
    /// Whether that column points the other way.
    pub(super) is_reversed: [bool; 3],
}

impl Closest {
    /// Matches columns to axes as nibabel's `io_orientation`: the rotation nearest to the affine decides
    /// (its polar factor), and the column with the clearest direction chooses first.
    pub(super) fn of(affine: &Affine) -> Closest {
        let rotation = nearest_rotation(affine);
        let clarity = |column: usize| {
            let sizes = [0, 1, 2].map(|row: usize| rotation[row][column].abs());
            sizes.into_iter().fold(0.0, f64::max)
        };
        let mut columns = [0, 1, 2];
        columns.sort_by(|a, b| clarity(*b).total_cmp(&clarity(*a)));
        let mut is_free = [true; 3];
        let mut closest = Closest {
            column: [0; 3],
            is_reversed: [false; 3],
        };
        for column in columns {
            let size = |row: &usize| rotation[*row][column].abs();
            let row = (0..3)
                .filter(|row| is_free[*row])
                .max_by(|a, b| size(a).total_cmp(&size(b)).then(b.cmp(a)))
                .unwrap_or_default();
            is_free[row] = false;
            closest.column[row] = column;
            closest.is_reversed[row] = rotation[row][column] < 0.0;
        }
        closest
    }
}

/// Greatest angle in degrees between an axis of the volume and the axis of the patient closest to it.
pub(super) fn tilt(affine: &Affine) -> f64 {
    let rotation = nearest_rotation(affine);
    let Closest { column, .. } = Closest::of(affine);
    let cosines = (0..3).map(|row| rotation[row][column[row]].abs());
    cosines.fold(1.0, f64::min).acos().to_degrees()
}

/// Orthogonal matrix nearest to the directions of the affine: Higham's iteration for the polar
/// decomposition, `R ← (R + R⁻ᵀ) / 2`, which converges quadratically. The directions themselves if they
/// are linearly dependent.
fn nearest_rotation(affine: &Affine) -> [[f64; 3]; 3] {
    let mut r = [[0.0; 3]; 3];
    for column in 0..3 {
        let length = length(affine, column);
        for row in 0..3 {
            r[row][column] = affine[row][column] / length;
        }
    }
    let start = r;
    for _ in 0..30 {
        let Some(other) = inverse_transposed(&r) else {
            return start;
        };
        for (row, other) in r.iter_mut().zip(&other) {
            for (value, other) in row.iter_mut().zip(other) {
                *value = (*value + other) / 2.0;
            }
        }
    }
    if r.iter().flatten().all(|value| value.is_finite()) {
        r
    } else {
        start
    }
}

/// `M⁻ᵀ`: cofactors over the determinant; `None` if `M` is singular.
fn inverse_transposed(m: &[[f64; 3]; 3]) -> Option<[[f64; 3]; 3]> {
    let cofactor = |row: usize, column: usize| {
        let (a, b) = ((row + 1) % 3, (row + 2) % 3);
        let (c, d) = ((column + 1) % 3, (column + 2) % 3);
        m[a][c] * m[b][d] - m[a][d] * m[b][c]
    };
    let determinant: f64 = (0..3)
        .map(|column| m[0][column] * cofactor(0, column))
        .sum();
    if !determinant.is_normal() {
        return None;
    }
    Some([0, 1, 2].map(|row| [0, 1, 2].map(|column| cofactor(row, column) / determinant)))
}

/// Whether all numbers are finite and no column is 0.
pub(crate) fn is_usable(affine: &Affine) -> bool {
    let is_finite = affine.iter().flatten().all(|value| value.is_finite());
    let has_length = |column: usize| (0..3).any(|row| affine[row][column] != 0.0);
    is_finite && (0..3).all(has_length)
}

/// Distance between slices, rows and columns in mm.
pub(crate) fn spacing(affine: &Affine) -> [f32; 3] {
    [2, 0, 1].map(|column| length(affine, column) as f32)
}

/// Length of a column: the step in mm from one row, column or slice to the next.
pub(super) fn length(affine: &Affine, column: usize) -> f64 {
    norm(affine.map(|row| row[column]))
}

pub(super) fn norm(v: [f64; 3]) -> f64 {
    v.iter().map(|a| a * a).sum::<f64>().sqrt()
}

/// An affine for tests: rows run to the right, columns to anterior, slices to superior.
#[cfg(test)]
pub(super) const SPACED: Affine = [
    [2.0, 0.0, 0.0, 5.0],
    [0.0, 3.0, 0.0, 6.0],
    [0.0, 0.0, 4.0, 7.0],
];

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn the_closest_axes_are_those_of_nibabel() {
        let golden = include_str!("../../../../tests/golden/orientations.json");
        let cases: Vec<Value> = serde_json::from_str(golden).unwrap();
        assert!(cases.len() > 50);
        for case in cases {
            let row = |row: usize| [0, 1, 2, 3].map(|k| case["affine"][row][k].as_f64().unwrap());
            let closest = Closest::of(&[0, 1, 2].map(row));
            for axis in 0..3 {
                let world = case["axes"][axis].as_u64().unwrap() as usize;
                assert_eq!(closest.column[world], axis, "{case}");
                let expected = case["signs"][axis].as_f64().unwrap() < 0.0;
                assert_eq!(closest.is_reversed[world], expected, "{case}");
            }
        }
    }
}
