//! How stored axes lie in the patient.

use std::fmt;

use common::Axis;

use super::volume::Geometry;
use crate::preprocess::Slicing;

/// Three rows of four numbers: from indices of row, column and slice to mm to the right, to
/// anterior and to superior (RAS+).
pub(super) type Affine = [[f64; 4]; 3];

/// For each axis of a stored array, which axis of the slices runs along it, and whether backwards.
pub(super) type Stored = [(Axis, bool); 3];

/// Slices as they are stored: rows along the first axis, columns along the second.
pub(super) const AS_STORED: Stored = [
    (Axis::Row, false),
    (Axis::Column, false),
    (Axis::Slice, false),
];

/// How far the steps from row to row and column to column may differ in slices that are parallel.
const PARALLEL_MM: f64 = 1e-3;

/// Degrees from which on a volume is called oblique.
const OBLIQUE: f64 = 30.0;

/// How far a gap between slices may be from the mean gap, as a part of it.
const UNEVEN: f64 = 0.1;

/// Distances between neighbouring slices in mm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gaps {
    least: f64,
    median: f64,
    greatest: f64,
}

impl fmt::Display for Gaps {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let [least, median, greatest] =
            [self.least, self.median, self.greatest].map(|mm| (100.0 * mm).round() / 100.0);
        write!(f, "{least} to {greatest} mm, with a median of {median} mm")
    }
}

/// The stored axes (0 slices, 1 rows, 2 columns) that become slices, rows and columns, and which
/// of those then run backwards; `None` if the plane is one of the patient's and it is not known how
/// he lies, or it would cut across slices at uneven distances.
pub(super) fn axes(
    slicing: Slicing,
    geometry: &Geometry,
    slices: usize,
) -> Option<([usize; 3], [bool; 3])> {
    let as_stored = ([0, 1, 2], [false; 3]);
    // Right, anterior, superior as slices, rows and columns; true where they run backwards.
    let (wanted, backwards) = match slicing {
        Slicing::StoredKXy => return Some(as_stored),
        Slicing::StoredJXz => return Some(([2, 1, 0], [false; 3])),
        Slicing::StoredIYz => return Some(([1, 2, 0], [false; 3])),
        Slicing::Axial => ([2, 1, 0], [false, true, true]),
        Slicing::Coronal => ([1, 2, 0], [false, true, true]),
        Slicing::Sagittal => ([0, 2, 1], [false, true, true]),
    };
    let affine = match geometry {
        Geometry::Known(affine) | Geometry::Assumed(affine) | Geometry::Uneven(affine, _) => affine,
        Geometry::Transposed => return Some(([0, 2, 1], [false; 3])),
        Geometry::Unknown if slices == 1 => return Some(as_stored),
        Geometry::Unknown | Geometry::Scattered => return None,
    };
    let (axis_of, is_reversed) = closest(affine);
    // Columns of the affine are row, column, slice.
    let stored = wanted.map(|world| [1, 2, 0][axis_of[world]]);
    let mut flipped = [false; 3];
    for (k, world) in wanted.into_iter().enumerate() {
        flipped[k] = backwards[k] != is_reversed[world];
    }
    let is_uneven = matches!(geometry, Geometry::Uneven(..));
    (!is_uneven || stored[0] == 0).then_some((stored, flipped))
}

/// The geometry of slices cut along `axes`, as [`axes`] gives them, `shape` being slices, rows and
/// columns before the cut.
pub(super) fn geometry_of_cut(
    geometry: &Geometry,
    axes: [usize; 3],
    flipped: [bool; 3],
    shape: [usize; 3],
) -> Geometry {
    let cut = |affine: &Affine| {
        affine.map(|row| {
            // Columns of the affine are row, column, slice.
            let old = [row[2], row[0], row[1]];
            let mut origin = row[3];
            let mut new = [0.0; 3];
            for (k, axis) in axes.into_iter().enumerate() {
                new[k] = if flipped[k] { -old[axis] } else { old[axis] };
                if flipped[k] {
                    origin += old[axis] * shape[axis].saturating_sub(1) as f64;
                }
            }
            [new[1], new[2], new[0], origin]
        })
    };
    match geometry {
        Geometry::Known(affine) => Geometry::Known(cut(affine)),
        Geometry::Assumed(affine) => Geometry::Assumed(cut(affine)),
        Geometry::Uneven(affine, gaps) => Geometry::Uneven(cut(affine), *gaps),
        Geometry::Unknown | Geometry::Transposed | Geometry::Scattered => Geometry::Unknown,
    }
}

/// Where the axes of the stored array are after slices that were `stored` so have been cut along
/// `axes`.
pub(super) fn stored_of_cut(stored: Stored, axes: [usize; 3], flipped: [bool; 3]) -> Stored {
    let cut = [Axis::Slice, Axis::Row, Axis::Column];
    stored.map(|(axis, is_backwards)| {
        let new = axes.map(|old| old == axis as usize);
        let new = new.into_iter().position(|is_it| is_it).unwrap_or_default();
        (cut[new], is_backwards != flipped[new])
    })
}

/// Whether two images of one grid lie in the same way; true if one does not say it.
pub(super) fn agree(a: &Geometry, b: &Geometry) -> bool {
    let said = |geometry: &Geometry| match geometry {
        Geometry::Known(affine) | Geometry::Uneven(affine, _) => Some(closest(affine)),
        _ => None,
    };
    match (said(a), said(b)) {
        (Some(a), Some(b)) => a == b,
        _ => true,
    }
}

/// The greatest distance in mm between the same corner of two grids of `shape` rows, columns and slices,
/// and the length of the first one's shortest step; `None` if one does not say how it lies.
pub(super) fn shift_mm(a: &Geometry, b: &Geometry, shape: [usize; 3]) -> Option<(f64, f64)> {
    let (Geometry::Known(a), Geometry::Known(b)) = (a, b) else {
        return None;
    };
    // The difference of two affine maps is one, whose length is greatest in a corner.
    let distance = |corner: usize| -> f64 {
        let index = |axis: usize| match corner >> axis & 1 {
            1 => shape[axis].saturating_sub(1) as f64,
            _ => 0.0,
        };
        let difference = |(a, b): (&[f64; 4], &[f64; 4])| {
            let steps = (0..3).map(|axis| (a[axis] - b[axis]) * index(axis));
            steps.sum::<f64>() + a[3] - b[3]
        };
        let squares = a.iter().zip(b).map(|rows| difference(rows).powi(2));
        squares.sum::<f64>().sqrt()
    };
    let step = (0..3)
        .map(|axis| length(a, axis))
        .fold(f64::INFINITY, f64::min);
    Some(((0..8).map(distance).fold(0.0, f64::max), step))
}

/// For right, anterior and superior: the column of the affine that is closest to it, each once, and
/// whether it points the other way.
///
/// As nibabel's `io_orientation`: the rotation nearest to the affine decides (its polar factor), and
/// the column with the clearest direction chooses first.
fn closest(affine: &Affine) -> ([usize; 3], [bool; 3]) {
    let rotation = nearest_rotation(affine);
    let clarity = |column: usize| {
        let sizes = [0, 1, 2].map(|row: usize| rotation[row][column].abs());
        sizes.into_iter().fold(0.0, f64::max)
    };
    let mut columns = [0, 1, 2];
    columns.sort_by(|a, b| clarity(*b).total_cmp(&clarity(*a)));
    let mut free = [true; 3];
    let (mut axis_of, mut is_reversed) = ([0; 3], [false; 3]);
    for column in columns {
        let rows = (0..3).filter(|row| free[*row]);
        let size = |row: &usize| rotation[*row][column].abs();
        let row = rows.max_by(|a, b| size(a).total_cmp(&size(b)).then(b.cmp(a)));
        let row = row.unwrap_or_default();
        free[row] = false;
        axis_of[row] = column;
        is_reversed[row] = rotation[row][column] < 0.0;
    }
    (axis_of, is_reversed)
}

/// A doubt about planes of the patient that are cut of such a volume.
pub(super) fn doubt(geometry: &Geometry) -> Option<&'static str> {
    match geometry {
        Geometry::Assumed(_) => Some(
            "volumes that do not say how the patient lies (NIfTI without sform and qform): their axes \
             were taken to run to the patient's left, to anterior and to superior; look at one, or \
             cut as stored",
        ),
        Geometry::Known(affine) | Geometry::Uneven(affine, _) if tilt(affine) > OBLIQUE => Some(
            "volumes that lie over 30 degrees oblique to the patient's axes: the nearest stored axes \
             were taken, nothing is turned",
        ),
        _ => None,
    }
}

/// The greatest angle in degrees between an axis of the volume and that of the patient which it is
/// taken for.
fn tilt(affine: &Affine) -> f64 {
    let rotation = nearest_rotation(affine);
    let (axis_of, _) = closest(affine);
    let cosines = (0..3).map(|row| rotation[row][axis_of[row]].abs());
    cosines.fold(1.0, f64::min).acos().to_degrees()
}

/// The orthogonal matrix nearest to the affine's directions: Higham's iteration for the polar
/// decomposition, `R ← (R + R⁻ᵀ) / 2`.
fn nearest_rotation(affine: &Affine) -> [[f64; 3]; 3] {
    let mut r = [[0.0; 3]; 3];
    for column in 0..3 {
        let length = (0..3)
            .map(|row| affine[row][column].powi(2))
            .sum::<f64>()
            .sqrt();
        for row in 0..3 {
            r[row][column] = affine[row][column] / length;
        }
    }
    let start = r;
    for _ in 0..30 {
        let Some(inverse_transposed) = inverse_transposed(&r) else {
            return start;
        };
        for (row, other) in r.iter_mut().zip(&inverse_transposed) {
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

/// Whether an affine can be used at all: finite, and no column without length.
pub(super) fn usable(affine: &Affine) -> bool {
    let finite = affine.iter().flatten().all(|value| value.is_finite());
    let has_length = |column: usize| (0..3).any(|row| affine[row][column] != 0.0);
    finite && (0..3).all(has_length)
}

/// The geometry of slices one on top of the other; the step of uneven ones is the median of those
/// that are not 0.
pub(super) fn of_stack<'a>(slices: impl Iterator<Item = &'a Geometry>) -> Geometry {
    let affine = |geometry: &Geometry| match geometry {
        Geometry::Known(affine) | Geometry::Assumed(affine) => Some(*affine),
        _ => None,
    };
    let affines: Option<Vec<Affine>> = slices.map(affine).collect();
    let affines = affines.unwrap_or_default();
    let [first, .., last] = affines.as_slice() else {
        let only = affines.first();
        return only.map_or(Geometry::Unknown, |only| Geometry::Known(*only));
    };
    let parallel = |other: &Affine| {
        let mut pairs = first.iter().zip(other);
        pairs.all(|(a, b)| (0..2).all(|k| (a[k] - b[k]).abs() < PARALLEL_MM))
    };
    if !affines.iter().all(parallel) {
        return Geometry::Scattered;
    }
    let mut steps: Vec<[f64; 3]> = affines
        .windows(2)
        .map(|pair| [0, 1, 2].map(|row| pair[1][row][3] - pair[0][row][3]))
        .collect();
    let mean = [0, 1, 2].map(|row| (last[row][3] - first[row][3]) / steps.len() as f64);
    let is_backwards = |step: &[f64; 3]| (0..3).map(|k| step[k] * mean[k]).sum::<f64>() < 0.0;
    if steps.iter().any(is_backwards) {
        return Geometry::Scattered;
    }
    let off = |step: &[f64; 3]| norm([0, 1, 2].map(|row| step[row] - mean[row]));
    if steps.iter().all(|step| off(step) < UNEVEN * norm(mean)) {
        return stepping(first, mean).map_or(Geometry::Unknown, Geometry::Known);
    }
    steps.sort_by(|a, b| norm(*a).total_cmp(&norm(*b)));
    let gaps = Gaps {
        least: norm(steps[0]),
        median: norm(steps[steps.len() / 2]),
        greatest: norm(steps[steps.len() - 1]),
    };
    let doubled = steps
        .iter()
        .filter(|step| norm(**step) < PARALLEL_MM)
        .count();
    let apart = &steps[doubled..];
    let thickness = first.map(|row| row[2]);
    let step = apart.get(apart.len() / 2).copied().unwrap_or(thickness);
    stepping(first, step).map_or(Geometry::Unknown, |affine| Geometry::Uneven(affine, gaps))
}

/// The affine of slices that follow the first one at `step`, if it is usable.
fn stepping(first: &Affine, step: [f64; 3]) -> Option<Affine> {
    let mut stack = *first;
    for (row, step) in stack.iter_mut().zip(step) {
        row[2] = step;
    }
    usable(&stack).then_some(stack)
}

fn norm(v: [f64; 3]) -> f64 {
    v.iter().map(|a| a * a).sum::<f64>().sqrt()
}

/// Distance between slices, rows and columns in mm.
pub(super) fn spacing(affine: &Affine) -> [f32; 3] {
    [2, 0, 1].map(|column| length(affine, column) as f32)
}

fn length(affine: &Affine, column: usize) -> f64 {
    norm(affine.map(|row| row[column]))
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;
    use serde_json::Value;

    use super::*;
    use crate::read::volume::{Block, Volume};
    use crate::read::voxels::Voxel;

    #[test]
    fn what_lies_askew_or_does_not_say_how_it_lies_is_told() {
        let turned = |degrees: f64| {
            let (sin, cos) = degrees.to_radians().sin_cos();
            [
                [2.0 * cos, -sin, 0.0, 5.0],
                [2.0 * sin, cos, 0.0, 6.0],
                [0.0, 0.0, 4.0, 7.0],
            ]
        };
        for (degrees, is_told) in [
            (0.0, false),
            (29.0, false),
            (31.0, true),
            (59.0, true),
            (61.0, false),
        ] {
            let doubt = doubt(&Geometry::Known(turned(degrees)));
            assert_eq!(
                doubt.is_some_and(|doubt| doubt.contains("30 degrees")),
                is_told,
                "{degrees}"
            );
        }
        assert!(doubt(&Geometry::Assumed(SPACED)).unwrap().contains("sform"));
        assert_eq!(doubt(&Geometry::Unknown), None);
    }

    const SPACED: Affine = [
        [2.0, 0.0, 0.0, 5.0],
        [0.0, 3.0, 0.0, 6.0],
        [0.0, 0.0, 4.0, 7.0],
    ];

    fn number(value: &Value) -> f64 {
        value.as_f64().unwrap()
    }

    #[test]
    fn a_shift_is_that_of_the_farthest_corner() {
        let shifted = |change: fn(&mut Affine)| {
            let mut other = SPACED;
            change(&mut other);
            shift_mm(
                &Geometry::Known(SPACED),
                &Geometry::Known(other),
                [11, 5, 3],
            )
            .unwrap()
        };
        assert_eq!(shifted(|_| ()), (0.0, 2.0));
        assert_eq!(shifted(|affine| affine[1][3] -= 1.5), (1.5, 2.0));
        // Ten rows further on, a step that is longer by 0.1 mm is 1 mm off.
        let (mm, _) = shifted(|affine| affine[0][0] += 0.1);
        assert!((mm - 1.0).abs() < 1e-9, "{mm}");
        assert_eq!(
            shift_mm(&Geometry::Unknown, &Geometry::Known(SPACED), [1; 3]),
            None
        );
    }

    #[test]
    fn the_closest_axes_are_those_of_nibabel() {
        let golden = include_str!("../../../../tests/golden/orientations.json");
        let cases: Vec<Value> = serde_json::from_str(golden).unwrap();
        assert!(cases.len() > 50);
        for case in cases {
            let row = |row: usize| [0, 1, 2, 3].map(|k| number(&case["affine"][row][k]));
            let (axis_of, is_reversed) = closest(&[0, 1, 2].map(row));
            for axis in 0..3 {
                let world = number(&case["axes"][axis]) as usize;
                assert_eq!(axis_of[world], axis, "{case}");
                let expected = number(&case["signs"][axis]) < 0.0;
                assert_eq!(is_reversed[world], expected, "{case}");
            }
        }
    }

    #[test]
    fn cuts_lie_where_nibabel_says_and_go_back_to_what_was_stored() {
        let golden = include_str!("../../../../tests/golden/orientations.json");
        let cases: Vec<Value> = serde_json::from_str(golden).unwrap();
        let affine = |value: &Value| -> Affine { serde_json::from_value(value.clone()).unwrap() };
        let close = |a: &Affine, b: &Affine| {
            let mut pairs = a.as_flattened().iter().zip(b.as_flattened());
            pairs.all(|(a, b)| (a - b).abs() < 1e-9)
        };
        let stored = Array3::from_shape_fn((2, 3, 4), |(i, j, k)| (12 * i + 4 * j + k) as f32);
        let mut compared = 0;
        for case in cases {
            let source = affine(&case["affine"]);
            for (slicing, expected) in case["cuts"].as_object().into_iter().flatten() {
                let volume = volume(&stored, Geometry::Known(source));
                let slicing: Slicing = serde_json::from_value(slicing.as_str().into()).unwrap();
                let cut = volume.cut(slicing).unwrap();
                let placement = cut.placement().unwrap();
                assert!(
                    close(&placement.affine, &affine(&expected["affine"])),
                    "{slicing}"
                );
                let planes: Vec<_> = (0..cut.slices())
                    .map(|k| cut.plane(k).index_axis_move(ndarray::Axis(0), 0))
                    .collect();
                let views: Vec<_> = planes.iter().map(|plane| plane.view()).collect();
                let slices = ndarray::stack(ndarray::Axis(0), &views).unwrap();
                let nested: Vec<Vec<Vec<f32>>> =
                    serde_json::from_value(expected["voxels"].clone()).unwrap();
                assert!(
                    slices.iter().eq(nested.iter().flatten().flatten()),
                    "{slicing}"
                );
                assert_eq!(placement.as_stored(slices.view()), stored, "{slicing}");
                let (s, h, w) = slices.dim();
                assert!(
                    close(&placement.stored_affine([s, h, w]), &source),
                    "{slicing}"
                );
                compared += 1;
            }
        }
        assert!(compared > 50);
    }

    #[test]
    fn nothing_is_placed_that_is_not_known_or_of_several_sizes() {
        let stored = Array3::zeros((2, 3, 4));
        for geometry in [
            Geometry::Unknown,
            Geometry::Transposed,
            Geometry::Assumed(SPACED),
        ] {
            assert_eq!(volume(&stored, geometry).placement(), None);
        }
        let slices = [2, 3].map(|height| {
            let mut affine = SPACED;
            affine[2][3] = height as f64;
            volume(&Array3::zeros((height, 3, 1)), Geometry::Known(affine))
        });
        let stack = Volume::stacked(slices.to_vec()).unwrap();
        assert!(matches!(stack.geometry, Geometry::Known(_)));
        assert_eq!(stack.placement(), None);
    }

    /// A volume whose file stores `[i, j, k]`.
    fn volume(stored: &Array3<f32>, geometry: Geometry) -> Volume {
        let slices = stored.clone().permuted_axes([2, 0, 1]);
        let block = Block {
            path: "a.nii".into(),
            voxels: Voxel::wrap(slices.insert_axis(ndarray::Axis(1))),
            scale: None,
            shown: None,
        };
        Volume::of_block(block, geometry)
    }

    #[test]
    fn rows_run_to_posterior_and_columns_to_the_left_of_the_patient() {
        let known = Geometry::Known(SPACED);
        // Rows are stored along right, columns along anterior, slices along superior.
        let axial = axes(Slicing::Axial, &known, 9);
        assert_eq!(axial, Some(([0, 2, 1], [false, true, true])));
        let sagittal = axes(Slicing::Sagittal, &known, 9);
        assert_eq!(sagittal, Some(([1, 0, 2], [false, true, true])));
    }

    #[test]
    fn without_orientation_single_images_stay_and_volumes_are_refused() {
        let as_stored = Some(([0, 1, 2], [false; 3]));
        assert_eq!(axes(Slicing::Axial, &Geometry::Unknown, 1), as_stored);
        assert_eq!(axes(Slicing::Axial, &Geometry::Unknown, 2), None);
        assert_eq!(axes(Slicing::StoredKXy, &Geometry::Unknown, 2), as_stored);
    }

    #[test]
    fn a_stack_steps_from_slice_to_slice_if_they_are_parallel() {
        let slice = |z: f64| {
            let mut affine = SPACED;
            affine[2][3] = z;
            affine
        };
        let slices = [1.0, 3.5, 6.0].map(|z| Geometry::Known(slice(z)));
        let Geometry::Known(stack) = of_stack(slices.iter()) else {
            panic!("the slices are parallel");
        };
        assert_eq!((stack[2][2], stack[2][3]), (2.5, 1.0));
        let mut tilted = slice(3.5);
        tilted[1][0] = 0.5;
        let slices = [slice(1.0), tilted, slice(6.0)].map(Geometry::Known);
        assert_eq!(of_stack(slices.iter()), Geometry::Scattered);
    }

    #[test]
    fn slices_at_uneven_distances_keep_their_plane_and_the_most_common_step() {
        let stack = |places: &[f64]| {
            let slices = places.iter().map(|&z| {
                let mut affine = SPACED;
                affine[2][3] = z;
                Geometry::Known(affine)
            });
            of_stack(slices.collect::<Vec<_>>().iter())
        };
        for (places, step, text) in [
            (
                &[0.0, 2.5, 5.0, 10.0][..],
                2.5,
                "2.5 to 5 mm, with a median of 2.5 mm",
            ),
            (
                &[0.0, 2.5, 2.5, 5.0, 5.0],
                2.5,
                "0 to 2.5 mm, with a median of 2.5 mm",
            ),
            // All at one place: the thickness.
            (&[1.0, 1.0, 1.0], 4.0, "0 to 0 mm, with a median of 0 mm"),
        ] {
            let geometry = stack(places);
            let Geometry::Uneven(affine, gaps) = &geometry else {
                panic!("{geometry:?}");
            };
            assert_eq!(
                (spacing(affine)[0], gaps.to_string().as_str()),
                (step, text)
            );
            let axial = axes(Slicing::Axial, &geometry, places.len());
            assert_eq!(axial, Some(([0, 2, 1], [false, true, true])));
            assert_eq!(axes(Slicing::Coronal, &geometry, places.len()), None);
            assert!(agree(&geometry, &Geometry::Known(SPACED)));
        }
        assert_eq!(stack(&[0.0, 2.0, 0.0, 2.0]), Geometry::Scattered);
    }
}
