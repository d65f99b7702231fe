//! Few examples of many features, as coordinates in the space that they span.
//!
//! Optimal weights lie in the span of the examples, because the penalty shrinks all orthogonal parts to 0. With
//! `X = Z Q`, `Q [R, F]` with orthonormal rows, and `W = Q' V`, logits are `Z V` and `|W| = |V|`: the same
//! problem with `R` features instead of `F`.

use half::f16;
use ndarray::{Array1, Array2, ArrayView2, s};

use super::objective::Objective;
use super::path;
use super::solution::Solution;
use super::task::Labels;

/// Relative length of the rest of an example that counts as rounding: it lies in the span of others.
const ROUNDING: f64 = 1e-10;

#[derive(Debug)]
pub(super) struct Span {
    /// `Q`, `[R, F]`.
    axes: Array2<f64>,
    /// `Z`, `[N, R]`.
    places: Array2<f64>,
}

impl Span {
    /// Coordinates by the Gram-Schmidt process, applied twice against rounding. `None` if they would save little:
    /// for more examples than half of the features, or if all features are 0.
    pub(super) fn of(x: ArrayView2<'_, f16>) -> Option<Span> {
        let (examples, features) = x.dim();
        if 2 * examples > features {
            return None;
        }
        let mut axes = Array2::zeros((examples, features));
        let mut places = Array2::zeros((examples, examples));
        let mut rank = 0;
        for (row, values) in x.outer_iter().enumerate() {
            let mut rest: Array1<f64> = values.mapv(f64::from);
            let shortest = ROUNDING * rest.dot(&rest).sqrt();
            let known = axes.slice(s![..rank, ..]);
            let mut place = places.slice_mut(s![row, ..rank]);
            for _ in 0..2 {
                let along = known.dot(&rest);
                rest -= &known.t().dot(&along);
                place += &along;
            }
            let length = rest.dot(&rest).sqrt();
            if length > shortest {
                axes.row_mut(rank).assign(&(rest / length));
                places[[row, rank]] = length;
                rank += 1;
            }
        }
        (rank > 0).then(|| Span {
            axes: axes.slice(s![..rank, ..]).to_owned(),
            places: places.slice(s![.., ..rank]).to_owned(),
        })
    }

    /// Solutions for the examples, as by [`path::solve`].
    pub(super) fn solve(
        &self,
        labels: &Labels,
        cs: &[f64],
        done: &dyn Fn(usize),
    ) -> Vec<(f64, Vec<Solution>)> {
        let objective = Objective {
            x: self.places.view(),
            labels,
        };
        let mut found = path::solve(objective, cs, done);
        for solution in found.iter_mut().flat_map(|(_, solved)| solved) {
            solution.weight = self.axes.t().dot(&solution.weight);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_along_orthonormal_axes_are_the_examples_also_of_equal_ones() {
        let x = Array2::from_shape_fn((5, 12), |(i, j)| {
            f16::from_f32(((i % 4 * 7 + j * j * 5) % 11) as f32 + 3.0)
        });
        let span = Span::of(x.view()).unwrap();
        assert_eq!(span.axes.dim(), (4, 12));
        let found = span.places.dot(&span.axes) - x.mapv(f64::from);
        assert!(found.iter().all(|difference| difference.abs() < 1e-12));
        let one = span.axes.dot(&span.axes.t()) - Array2::<f64>::eye(4);
        assert!(one.iter().all(|difference| difference.abs() < 1e-14));
        assert!(Span::of(x.slice(s![.., ..9])).is_none());
        assert!(Span::of(Array2::zeros((2, 8)).view()).is_none());
    }
}
