//! Ridge regression of any targets, in closed form.

use half::f16;
use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, ArrayView2, Axis};
use rayon::prelude::*;

use super::cholesky::inverse_factor;

/// Examples per product.
const CHUNK: usize = 1024;
/// Columns of `X' X` per thread.
const STRIPE: usize = 128;

/// Weights `[F, O]` and biases `[O]` for each of `alphas`, of `x [N, F]` and `y [N, O]`.
pub(crate) fn solve(
    x: ArrayView2<'_, f16>,
    y: Array2<f64>,
    alphas: &[f64],
) -> Vec<(Array2<f64>, Array1<f64>)> {
    let (n, f) = x.dim();
    let mut mean = Array1::<f64>::zeros(f);
    x.outer_iter().for_each(|row| mean += &row.mapv(f64::from));
    mean /= n as f64;
    let y_mean = y.sum_axis(Axis(0)) / n as f64;
    let y = y - &y_mean;
    let centred = |x: ArrayView2<'_, f16>| x.mapv(f64::from) - &mean;
    // Fewer examples than features: the weights are `X' a` of `(X X' + alpha I) a = Y`.
    let wide = (n < f).then(|| centred(x));
    let (gram, right) = match &wide {
        Some(x) => (x.dot(&x.t()), y),
        None => {
            let (mut gram, mut right) = (Array2::zeros((f, f)), Array2::zeros((f, y.ncols())));
            let chunks = x.axis_chunks_iter(Axis(0), CHUNK);
            for (x, y) in chunks.zip(y.axis_chunks_iter(Axis(0), CHUNK)) {
                let x = centred(x);
                general_mat_mul(1.0, &x.t(), &y, 1.0, &mut right);
                let stripes = gram.axis_chunks_iter_mut(Axis(1), STRIPE).into_par_iter();
                let columns = x.axis_chunks_iter(Axis(1), STRIPE).into_par_iter();
                stripes.zip(columns).for_each(|(mut stripe, columns)| {
                    general_mat_mul(1.0, &x.t(), &columns, 1.0, &mut stripe);
                });
            }
            (gram, right)
        }
    };
    let solved = alphas.par_iter().map(|&alpha| {
        let mut a = gram.clone();
        a.diag_mut().mapv_inplace(|value| value + alpha);
        let inverse = inverse_factor(a);
        let solution = inverse.t().dot(&inverse.dot(&right));
        let weight = wide
            .as_ref()
            .map_or_else(|| solution.clone(), |x| x.t().dot(&solution));
        let bias = &y_mean - &mean.dot(&weight);
        (weight, bias)
    });
    solved.collect()
}
