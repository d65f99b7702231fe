//! Geometry of slices stored one by one.

use super::affine::{Affine, is_usable, norm};
use super::geometry::{Gaps, Geometry};

/// Greatest difference in mm between the row and column steps of slices that count as parallel.
const PARALLEL_MM: f64 = 1e-3;

/// Greatest deviation of a gap between slices from the mean gap, as a fraction of it.
const UNEVEN: f64 = 0.1;

/// Geometry of slices on top of each other, each given by its own.
///
/// The step between uneven slices is the median of the steps that are not 0.
pub(crate) fn of_stack<'a>(slices: impl Iterator<Item = &'a Geometry>) -> Geometry {
    let affines: Option<Vec<Affine>> = slices
        .map(|slice| match slice {
            Geometry::Known(affine) | Geometry::Assumed(affine) => Some(*affine),
            _ => None,
        })
        .collect();
    let affines = affines.unwrap_or_default();
    let [first, .., last] = affines.as_slice() else {
        let only = affines.first();
        return only.map_or(Geometry::Unknown, |only| Geometry::Known(*only));
    };
    let steps: Vec<[f64; 3]> = affines
        .windows(2)
        .map(|pair| [0, 1, 2].map(|row| pair[1][row][3] - pair[0][row][3]))
        .collect();
    let mean = [0, 1, 2].map(|row| (last[row][3] - first[row][3]) / steps.len() as f64);
    let is_backwards = |step: &[f64; 3]| (0..3).map(|k| step[k] * mean[k]).sum::<f64>() < 0.0;
    let is_parallel = affines.iter().all(|affine| are_parallel(first, affine));
    if !is_parallel || steps.iter().any(is_backwards) {
        return Geometry::Scattered;
    }
    let deviation = |step: &[f64; 3]| norm([0, 1, 2].map(|row| step[row] - mean[row]));
    if steps
        .iter()
        .all(|step| deviation(step) < UNEVEN * norm(mean))
    {
        return stepping(first, mean).map_or(Geometry::Unknown, Geometry::Known);
    }
    let (step, gaps) = median_step(first, steps);
    stepping(first, step).map_or(Geometry::Unknown, |affine| Geometry::Uneven(affine, gaps))
}

/// Whether rows and columns of two slices have the same steps.
fn are_parallel(a: &Affine, b: &Affine) -> bool {
    let mut rows = a.iter().zip(b);
    rows.all(|(a, b)| (0..2).all(|k| (a[k] - b[k]).abs() < PARALLEL_MM))
}

/// Median of the steps that are not 0, or else the thickness of the first slice; and all gaps.
fn median_step(first: &Affine, mut steps: Vec<[f64; 3]>) -> ([f64; 3], Gaps) {
    steps.sort_by(|a, b| norm(*a).total_cmp(&norm(*b)));
    let gaps = Gaps {
        least: norm(steps[0]),
        median: norm(steps[steps.len() / 2]),
        greatest: norm(steps[steps.len() - 1]),
    };
    let doubled = steps.partition_point(|step| norm(*step) < PARALLEL_MM);
    let apart = &steps[doubled..];
    let thickness = first.map(|row| row[2]);
    (
        apart.get(apart.len() / 2).copied().unwrap_or(thickness),
        gaps,
    )
}

/// Affine of slices that follow the first one at `step`, if it is usable.
fn stepping(first: &Affine, step: [f64; 3]) -> Option<Affine> {
    let mut stack = *first;
    for (row, step) in stack.iter_mut().zip(step) {
        row[2] = step;
    }
    is_usable(&stack).then_some(stack)
}

#[cfg(test)]
mod tests {
    use super::super::affine::SPACED;
    use super::super::{Cut, spacing};
    use super::*;
    use crate::preprocess::Slicing;

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
            let axial = Cut::of(Slicing::Axial, &geometry, places.len()).unwrap();
            assert_eq!(axial.axes, [0, 2, 1]);
            assert_eq!(axial.flipped, [false, true, true]);
            assert_eq!(Cut::of(Slicing::Coronal, &geometry, places.len()), None);
            assert!(geometry.agrees_with(&Geometry::Known(SPACED)));
        }
        assert_eq!(stack(&[0.0, 2.0, 0.0, 2.0]), Geometry::Scattered);
    }
}
