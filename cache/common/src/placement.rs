//! Position of slices in the patient and in the array that they were cut from.

use ndarray::{ArrayView3, Axis as ArrayAxis};

/// An axis of a volume that is cut into slices `[slices, rows, columns]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    /// From slice to slice.
    Slice,
    /// From row to row.
    Row,
    /// From column to column.
    Column,
}

impl Axis {
    const ALL: [Axis; 3] = [Axis::Slice, Axis::Row, Axis::Column];

    fn name(self) -> &'static str {
        match self {
            Axis::Slice => "slice",
            Axis::Row => "row",
            Axis::Column => "column",
        }
    }
}

/// Position of the slices of one source; the same for all of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Placement {
    /// From the indices of slice, row and column (and 1) to mm to the right, to anterior and to
    /// superior (RAS+). Slices count from the source's first one along the slicing axis.
    pub affine: [[f64; 4]; 3],
    /// For each axis of the stored array (i, j, k of NIfTI): the slice, row or column axis that
    /// runs along it, each once, and whether it runs backwards.
    pub stored: [(Axis, bool); 3],
}

impl Placement {
    /// View of all slices of the source, `[slices, rows, columns]`, in the stored order `[i, j, k]`.
    ///
    /// # Panics
    ///
    /// If `stored` names an axis twice.
    pub fn as_stored<'a, T>(&self, slices: ArrayView3<'a, T>) -> ArrayView3<'a, T> {
        let mut stored = slices.permuted_axes(self.stored.map(|(axis, _)| axis as usize));
        for (k, (_, is_backwards)) in self.stored.into_iter().enumerate() {
            if is_backwards {
                stored.invert_axis(ArrayAxis(k));
            }
        }
        stored
    }

    /// Affine of the stored array, from `i, j, k` (and 1) to mm, RAS+; `shape` is
    /// `[slices, rows, columns]` of the whole source.
    pub fn stored_affine(&self, shape: [usize; 3]) -> [[f64; 4]; 3] {
        self.affine.map(|row| {
            let mut stored = [0.0, 0.0, 0.0, row[3]];
            for (k, (axis, is_backwards)) in self.stored.into_iter().enumerate() {
                let step = row[axis as usize];
                stored[k] = if is_backwards { -step } else { step };
                if is_backwards {
                    stored[3] += step * shape[axis as usize].saturating_sub(1) as f64;
                }
            }
            stored
        })
    }

    /// `stored` as words: `row+ column+ slice+`.
    pub fn stored_words(&self) -> String {
        let words = self.stored.map(|(axis, is_backwards)| {
            format!("{}{}", axis.name(), if is_backwards { '-' } else { '+' })
        });
        words.join(" ")
    }

    /// Parses an affine, row by row, and the words of [`Placement::stored_words`]; `None` if either is
    /// malformed.
    pub fn parse(affine: &[f64], words: &str) -> Option<Placement> {
        let (rows, []) = affine.as_chunks::<4>() else {
            return None;
        };
        let axis = |word: &str| {
            let (name, is_backwards) = match word.strip_suffix('-') {
                Some(name) => (name, true),
                None => (word.strip_suffix('+')?, false),
            };
            let axis = Axis::ALL.into_iter().find(|axis| axis.name() == name)?;
            Some((axis, is_backwards))
        };
        let stored: Option<Vec<_>> = words.split(' ').map(axis).collect();
        let stored: [(Axis, bool); 3] = stored?.try_into().ok()?;
        let names_all = Axis::ALL
            .iter()
            .all(|axis| stored.iter().any(|(found, _)| found == axis));
        let is_finite = affine.iter().all(|value| value.is_finite());
        (names_all && is_finite).then_some(Placement {
            affine: rows.try_into().ok()?,
            stored,
        })
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;

    use super::*;

    const AFFINE: [[f64; 4]; 3] = [
        [0.0, 0.0, -2.0, 90.0],
        [0.5, -3.0, 0.0, 40.0],
        [4.0, 0.25, 0.0, -70.0],
    ];

    fn placement(words: &str) -> Option<Placement> {
        Placement::parse(AFFINE.as_flattened(), words)
    }

    #[test]
    fn words_name_each_axis_once_with_its_direction() {
        let words = "column- slice+ row-";
        let found = placement(words).unwrap();
        let stored = [
            (Axis::Column, true),
            (Axis::Slice, false),
            (Axis::Row, true),
        ];
        assert_eq!((found.stored, found.affine), (stored, AFFINE));
        assert_eq!(found.stored_words(), words);
        for words in [
            "",
            "row+ column+",
            "row+ column+ slice",
            "row+ row+ slice+",
            "row+ column+ slice+ ",
            "row+ column+ depth+",
        ] {
            assert_eq!(placement(words), None, "{words}");
        }
        let mut affine = AFFINE;
        affine[1][2] = f64::NAN;
        let infinite = Placement::parse(affine.as_flattened(), "row+ column+ slice+");
        assert_eq!(infinite, None);
    }

    #[test]
    fn a_voxel_lies_at_the_same_place_by_either_affine() {
        let found = placement("column- slice+ row-").unwrap();
        let cut = Array3::from_shape_fn((4, 3, 5), |at| at);
        let stored = found.as_stored(cut.view());
        assert_eq!(stored.dim(), (5, 4, 3));
        assert_eq!(stored[[0, 0, 0]], (0, 2, 4));
        let stored_affine = found.stored_affine([4, 3, 5]);
        let mm = |affine: &[[f64; 4]; 3], (a, b, c): (usize, usize, usize)| {
            let at = [a as f64, b as f64, c as f64, 1.0];
            affine.map(|row| row.iter().zip(at).map(|(x, y)| x * y).sum::<f64>())
        };
        for (ijk, voxel) in stored.indexed_iter() {
            assert_eq!(mm(&stored_affine, ijk), mm(&found.affine, *voxel));
        }
    }
}
