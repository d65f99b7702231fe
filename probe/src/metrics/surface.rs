//! Distances between the surfaces of a structure and of its prediction.

use std::ops::Range;

use ndarray::{Array3, ArrayView1, ArrayView2, ArrayView3, ArrayViewMut2, Axis, s};
use rayon::prelude::*;

/// 95th percentile of the Hausdorff distance in mm, as MONAI's `compute_hausdorff_distance(percentile=95)`: the
/// larger of the 95th percentiles of the distances from the points of each surface to the nearest point of
/// the other.
///
/// `truth` and `predicted` are masks `[S, H, W]` of the structure. A surface consists of the voxels with a face
/// to another voxel, or to the outside of the image, that is not in the structure; in a single slice, of the
/// pixels with such an edge. `spacing_mm` is the distance between slices, rows and columns. `None` if one of
/// the masks is empty.
pub fn hausdorff_95(
    truth: ArrayView3<'_, bool>,
    predicted: ArrayView3<'_, bool>,
    spacing_mm: [f64; 3],
) -> Option<f64> {
    let [truth, predicted] = [truth, predicted].map(|all| all.map(|&is| u16::from(is)));
    hausdorff_95_by_class(truth.view(), predicted.view(), 2, spacing_mm)[0]
}

/// [`hausdorff_95`] of each class but the first, from label maps `[S, H, W]`. Labels from `classes` on are of no class.
pub fn hausdorff_95_by_class(
    truth: ArrayView3<'_, u16>,
    predicted: ArrayView3<'_, u16>,
    classes: usize,
    spacing_mm: [f64; 3],
) -> Vec<Option<f64>> {
    let image = [0, 1, 2].map(|axis| truth.len_of(Axis(axis)));
    let boxes = boxes(truth, predicted, classes);
    let of_class = |class: usize| {
        let [k, i, j] = boxes[class].clone()?;
        // Beyond the box around both, nothing is in the structure.
        let surface = |labels: ArrayView3<'_, u16>| {
            let part = labels.slice(s![k.clone(), i.clone(), j.clone()]);
            surface(part.map(|&label| usize::from(label) == class).view(), image)
        };
        let [first, second] = [truth, predicted].map(surface);
        let there = directed(&first, &second, spacing_mm)?;
        let back = directed(&second, &first, spacing_mm)?;
        Some(there.max(back))
    };
    (1..classes).into_par_iter().map(of_class).collect()
}

/// Diagonal in mm of an image with these numbers of slices, rows and columns, which no distance in the image
/// exceeds: a penalty in place of [`hausdorff_95`] for a structure that is missed, or predicted but absent.
pub fn diagonal(shape: &[usize], spacing_mm: [f64; 3]) -> f64 {
    let sides = shape.iter().zip(spacing_mm);
    let squares = sides.map(|(&count, mm)| (count as f64 * mm).powi(2));
    squares.sum::<f64>().sqrt()
}

/// Voxels of a structure with a neighbour outside of it, in a part of an image with so many slices, rows and columns.
fn surface(structure: ArrayView3<'_, bool>, image: [usize; 3]) -> Array3<bool> {
    let mut inside = structure.to_owned();
    for axis in (0..3).map(Axis) {
        let length = structure.len_of(axis);
        if image[axis.index()] == 1 {
            continue;
        }
        let last = isize::try_from(length - 1).unwrap_or(isize::MAX);
        for (kept, neighbours) in [((1, None), (0, Some(last))), ((0, Some(last)), (1, None))] {
            let part = |(start, end)| ndarray::Slice::new(start, end, 1);
            let mut here = inside.slice_axis_mut(axis, part(kept));
            here.zip_mut_with(
                &structure.slice_axis(axis, part(neighbours)),
                |here, &there| {
                    *here &= there;
                },
            );
        }
        inside.index_axis_mut(axis, 0).fill(false);
        inside.index_axis_mut(axis, length - 1).fill(false);
    }
    inside.zip_mut_with(&structure, |inside, &structure| {
        *inside = structure && !*inside;
    });
    inside
}

/// Slices, rows and columns of the smallest box around a class.
type Bounds = [Range<usize>; 3];

/// The smallest box around each class in both label maps; `None` for a class that is in neither.
fn boxes(
    truth: ArrayView3<'_, u16>,
    predicted: ArrayView3<'_, u16>,
    classes: usize,
) -> Vec<Option<Bounds>> {
    let mut boxes: Vec<Option<Bounds>> = vec![None; classes];
    for all in [truth, predicted] {
        for ((k, i, j), &label) in all.indexed_iter() {
            // Most voxels are of the first class, the background.
            let Some(found) = boxes.get_mut(usize::from(label)).filter(|_| label > 0) else {
                continue;
            };
            let at = [k, i, j];
            let found = found.get_or_insert_with(|| at.map(|at| at..at + 1));
            for (range, at) in found.iter_mut().zip(at) {
                *range = range.start.min(at)..range.end.max(at + 1);
            }
        }
    }
    boxes
}

/// 95th percentile of the distances from the points of one surface to the other; `None` if one is empty.
fn directed(from: &Array3<bool>, to: &Array3<bool>, [mm, across @ ..]: [f64; 3]) -> Option<f64> {
    if !to.iter().any(|&is| is) {
        return None;
    }
    let planes = planes(to, across);
    let slices = from.axis_iter(Axis(0)).into_par_iter().enumerate();
    let of_slice = |(k, slice): (usize, ArrayView2<'_, bool>)| -> Vec<f64> {
        let points = slice.indexed_iter().filter(|(_, is)| **is);
        points
            .map(|((i, j), _)| nearest(planes.slice(s![.., i, j]), k, mm).sqrt())
            .collect()
    };
    let mut distances: Vec<f64> = slices.flat_map_iter(of_slice).collect();
    distances.sort_unstable_by(f64::total_cmp);
    (!distances.is_empty()).then(|| super::bootstrap::quantile(&distances, 0.95))
}

/// Squared distance to a set from slice `k`, if the squared distances within each slice are `planes`.
fn nearest(planes: ArrayView1<'_, f64>, k: usize, mm: f64) -> f64 {
    let mut least = planes[k];
    for step in 1..planes.len() {
        let apart = (step as f64 * mm).powi(2);
        if apart >= least {
            break;
        }
        for other in [k.checked_sub(step), k.checked_add(step)] {
            if let Some(plane) = other.and_then(|other| planes.get(other)) {
                least = least.min(plane + apart);
            }
        }
    }
    least
}

/// Squared distance of each voxel to the nearest voxel of a set in its own slice, infinite in slices without one;
/// first along columns, then along rows (Felzenszwalb and Huttenlocher 2012, section 2).
fn planes(set: &Array3<bool>, [down, across]: [f64; 2]) -> Array3<f64> {
    let mut squares = Array3::from_elem(set.raw_dim(), f64::INFINITY);
    let slices = set.axis_iter(Axis(0)).into_par_iter();
    let slices = slices.zip(squares.axis_iter_mut(Axis(0)));
    slices.for_each(|(set, mut squares)| {
        let (rows, columns) = set.dim();
        // Rows to the nearest voxel of the column, above and below.
        let mut steps = vec![f64::INFINITY; columns];
        let sweep = |steps: &mut Vec<f64>, squares: &mut ArrayViewMut2<'_, f64>, row: usize| {
            let set = set.row(row);
            let places = steps.iter_mut().zip(set).zip(squares.row_mut(row));
            for ((step, &is), square) in places {
                *step = if is { 0.0 } else { *step + 1.0 };
                *square = square.min((*step * down).powi(2));
            }
        };
        (0..rows).for_each(|row| sweep(&mut steps, &mut squares, row));
        steps.fill(f64::INFINITY);
        (0..rows)
            .rev()
            .for_each(|row| sweep(&mut steps, &mut squares, row));
        let mut envelope = Envelope::default();
        for mut row in squares.rows_mut() {
            envelope.clear();
            for (at, &height) in row.iter().enumerate() {
                envelope.add(at as f64 * across, height);
            }
            envelope.read(row.iter_mut(), across);
        }
    });
    squares
}

/// The lower envelope of parabolas `height + (x - centre)^2`, from left to right.
#[derive(Default)]
struct Envelope {
    /// Centre, height, and the point from which this parabola is the lowest.
    parabolas: Vec<(f64, f64, f64)>,
}

impl Envelope {
    fn clear(&mut self) {
        self.parabolas.clear();
    }

    fn add(&mut self, centre: f64, height: f64) {
        if height.is_infinite() {
            return;
        }
        let mut from = f64::NEG_INFINITY;
        while let Some(&(before, its_height, its_from)) = self.parabolas.last() {
            let squares = (height + centre * centre) - (its_height + before * before);
            from = squares / (2.0 * (centre - before));
            if from > its_from {
                break;
            }
            self.parabolas.pop();
            from = f64::NEG_INFINITY;
        }
        self.parabolas.push((centre, height, from));
    }

    /// Height of the envelope at the points `0, mm, 2 mm, …`; infinite without parabolas.
    fn read<'a>(&self, out: impl Iterator<Item = &'a mut f64>, mm: f64) {
        let mut lowest = 0;
        for (at, out) in out.enumerate() {
            let x = at as f64 * mm;
            while self
                .parabolas
                .get(lowest + 1)
                .is_some_and(|next| next.2 < x)
            {
                lowest += 1;
            }
            *out = match self.parabolas.get(lowest) {
                Some(&(centre, height, _)) => height + (x - centre).powi(2),
                None => f64::INFINITY,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn brute_force(from: &Array3<bool>, to: &Array3<bool>, mm: [f64; 3]) -> Vec<f64> {
        let points = |all: &Array3<bool>| -> Vec<[f64; 3]> {
            let there = all.indexed_iter().filter(|(_, is)| **is);
            there
                .map(|((k, i, j), _)| [k as f64 * mm[0], i as f64 * mm[1], j as f64 * mm[2]])
                .collect()
        };
        let targets = points(to);
        let distance = |a: &[f64; 3], b: &[f64; 3]| -> f64 {
            a.iter()
                .zip(b)
                .map(|(a, b)| (a - b).powi(2))
                .sum::<f64>()
                .sqrt()
        };
        let nearest = |p: &[f64; 3]| {
            targets
                .iter()
                .map(|q| distance(p, q))
                .fold(f64::MAX, f64::min)
        };
        points(from).iter().map(nearest).collect()
    }

    fn naive_surface(all: &Array3<bool>) -> Array3<bool> {
        let shape = all.dim();
        Array3::from_shape_fn(shape, |(k, i, j)| {
            let outside = |d: [isize; 3]| {
                let from = [k, i, j];
                let at = (0..3).map(|axis| from[axis].checked_add_signed(d[axis]));
                let at: Option<Vec<usize>> = at.collect();
                !at.and_then(|at| all.get([at[0], at[1], at[2]]).copied())
                    .unwrap_or(false)
            };
            let mut steps = vec![[0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]];
            if shape.0 > 1 {
                steps.extend([[1, 0, 0], [-1, 0, 0]]);
            }
            all[[k, i, j]] && steps.into_iter().any(outside)
        })
    }

    proptest! {
        #[test]
        fn equals_brute_force(
            slices in 1usize..4,
            bits in prop::collection::vec(prop::bool::weighted(0.6), 2 * 3 * 5 * 4),
            mm in [0.3f64..3.0, 0.3f64..3.0, 0.3f64..3.0],
        ) {
            let shape = (slices, 5, 4);
            let take = |from: usize| Array3::from_shape_fn(shape, |(k, i, j)| bits[from + (k * 5 + i) * 4 + j]);
            let (a, b) = (take(0), take(60));
            let (sa, sb) = (naive_surface(&a), naive_surface(&b));
            prop_assert_eq!(&surface(a.view(), [slices, 5, 4]), &sa);
            let mut expected = 0.0f64;
            for mut found in [brute_force(&sa, &sb, mm), brute_force(&sb, &sa, mm)] {
                found.sort_unstable_by(f64::total_cmp);
                if !found.is_empty() {
                    expected = expected.max(crate::metrics::bootstrap::quantile(&found, 0.95));
                }
            }
            let found = hausdorff_95(a.view(), b.view(), mm);
            let both = a.iter().any(|&v| v) && b.iter().any(|&v| v);
            prop_assert_eq!(found.is_some(), both);
            if let Some(found) = found {
                prop_assert!((found - expected).abs() < 1e-9, "{} {}", found, expected);
            }
        }
    }

    /// BraTS charges 373.13 mm for a missed tumour: 240 x 240 x 155 voxels of 1 mm.
    #[test]
    fn the_diagonal_is_that_of_brats() {
        let found = diagonal(&[155, 240, 240], [1.0; 3]);
        assert!((found - 373.1287).abs() < 1e-4, "{found}");
    }

    #[test]
    fn distances_are_in_mm() {
        let mut a = Array3::from_elem((4, 1, 1), false);
        let mut b = a.clone();
        a[[0, 0, 0]] = true;
        b[[3, 0, 0]] = true;
        assert_eq!(hausdorff_95(a.view(), b.view(), [2.5, 1.0, 1.0]), Some(7.5));
        b.fill(false);
        assert_eq!(hausdorff_95(a.view(), b.view(), [2.5, 1.0, 1.0]), None);
    }
}
