//! Inverse of the Cholesky factor of a positive definite matrix, in f64.
//!
//! Right-looking blocked algorithm (Golub and Van Loan, Matrix Computations, 4.2): a block of columns is
//! factored, the panel below is multiplied with the inverse of its triangle, and the rest is updated by a
//! matrix product, which takes most of the time. The inverse is computed block row by block row.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, ArrayView2, s};

/// Columns per block: a triangle of 32 kB stays in the first-level cache.
const BLOCK: usize = 64;

/// Inverse of `L`, `[F, F]`, for `A = L L'`. Only the lower triangle of `a` is read.
pub(crate) fn inverse_factor(mut a: Array2<f64>) -> Array2<f64> {
    factor(&mut a);
    inverse(&a)
}

fn factor(a: &mut Array2<f64>) {
    let size = a.nrows();
    for first in (0..size).step_by(BLOCK) {
        let end = (first + BLOCK).min(size);
        factor_small(a, first, end);
        let inverse = inverse_small(a.slice(s![first..end, first..end]));
        let panel = a.slice(s![end.., first..end]).dot(&inverse.t());
        for start in (end..size).step_by(BLOCK) {
            let stop = (start + BLOCK).min(size);
            let below = panel.slice(s![start - end.., ..]);
            let beside = panel.slice(s![start - end..stop - end, ..]);
            let mut rest = a.slice_mut(s![start.., start..stop]);
            general_mat_mul(-1.0, &below, &beside.t(), 1.0, &mut rest);
        }
        a.slice_mut(s![end.., first..end]).assign(&panel);
    }
}

fn factor_small(a: &mut Array2<f64>, first: usize, end: usize) {
    for column in first..end {
        for row in column..end {
            let known = a.slice(s![row, first..column]);
            let rest = a[[row, column]] - known.dot(&a.slice(s![column, first..column]));
            a[[row, column]] = if row == column {
                rest.max(f64::MIN_POSITIVE).sqrt()
            } else {
                rest / a[[column, column]]
            };
        }
    }
}

fn inverse(l: &Array2<f64>) -> Array2<f64> {
    let size = l.nrows();
    let mut inverse = Array2::zeros((size, size));
    for first in (0..size).step_by(BLOCK) {
        let end = (first + BLOCK).min(size);
        let own = inverse_small(l.slice(s![first..end, first..end]));
        let above = inverse.slice(s![..first, ..first]);
        let left = -own.dot(&l.slice(s![first..end, ..first]).dot(&above));
        inverse.slice_mut(s![first..end, ..first]).assign(&left);
        inverse.slice_mut(s![first..end, first..end]).assign(&own);
    }
    inverse
}

/// Inverse of a lower triangle; values above the diagonal are not read.
fn inverse_small(l: ArrayView2<'_, f64>) -> Array2<f64> {
    let mut inverse = Array2::zeros(l.dim());
    for row in 0..l.nrows() {
        let above = inverse.slice(s![..row, ..row]);
        let left = l.slice(s![row, ..row]).dot(&above) / -l[[row, row]];
        inverse.slice_mut(s![row, ..row]).assign(&left);
        inverse[[row, row]] = 1.0 / l[[row, row]];
    }
    inverse
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_between_the_inverse_and_its_transpose_is_one() {
        for size in [1, 63, 64, 65, 200] {
            let b = Array2::from_shape_fn((size, size), |(i, j)| ((i * 31 + j * 17) % 23) as f64);
            let a = b.dot(&b.t()) / 100.0 + Array2::<f64>::eye(size);
            let mut lower = a.clone();
            for ((i, j), value) in lower.indexed_iter_mut() {
                *value = if i < j { f64::NAN } else { *value };
            }
            let inverse = inverse_factor(lower);
            let one = inverse.dot(&a).dot(&inverse.t());
            let most = (one - Array2::<f64>::eye(size)).fold(0.0, |a: f64, b| a.max(b.abs()));
            assert!(most < 1e-10, "{size}: {most}");
        }
    }
}
