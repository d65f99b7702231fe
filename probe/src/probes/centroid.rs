//! The nearest centroid, for features of length 1.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, stack};

use crate::targets::Targets;

/// Divisor of cosines in the softmax and the sigmoid, as in the softmax vote of nearest neighbours.
pub const TEMPERATURE: f64 = 0.07;

/// Scores `[Q, C]` of `queries [Q, D]` by the means of `train [N, D]`, all rows of length 1.
///
/// Exclusive classes: the softmax over classes of the cosines to their means, divided by [`TEMPERATURE`]; 0 for
/// a class without examples. Multi-label: the sigmoid of the cosine to the mean of the examples with the class
/// minus the cosine to the mean of those without it, divided by [`TEMPERATURE`]; 0.5 if one of them is missing.
pub fn scores(
    train: ArrayView2<'_, f32>,
    targets: &Targets,
    classes: usize,
    queries: ArrayView2<'_, f32>,
) -> Array2<f64> {
    let mean = |class: usize, state: bool| {
        let of_state = |&row: &usize| targets.is(row, class) == Some(state);
        centroid(train, (0..train.nrows()).filter(of_state))
    };
    let cosines = |centroid: Option<Array1<f32>>| {
        centroid.map(|centroid| queries.dot(&centroid).mapv(f64::from))
    };
    let columns = (0..classes).map(|class| match targets {
        Targets::Single(_) => cosines(mean(class, true))
            .unwrap_or_else(|| Array1::from_elem(queries.nrows(), f64::NEG_INFINITY)),
        Targets::Multi(_) => match (cosines(mean(class, true)), cosines(mean(class, false))) {
            (Some(with), Some(without)) => (with - without).mapv(sigmoid),
            _ => Array1::from_elem(queries.nrows(), 0.5),
        },
    });
    let columns: Vec<Array1<f64>> = columns.collect();
    let views: Vec<ArrayView1<'_, f64>> = columns.iter().map(|column| column.view()).collect();
    let mut scores = stack(Axis(1), &views).unwrap_or_default();
    if let Targets::Single(_) = targets {
        scores.rows_mut().into_iter().for_each(|mut row| {
            let most = row.fold(f64::NEG_INFINITY, |a, &b| a.max(b));
            row.mapv_inplace(|cosine| ((cosine - most) / TEMPERATURE).exp());
            let total = row.sum();
            row /= total;
        });
    }
    scores
}

/// Mean of some rows, scaled to length 1; `None` without rows.
fn centroid(rows: ArrayView2<'_, f32>, of: impl Iterator<Item = usize>) -> Option<Array1<f32>> {
    let (mut sum, mut count) = (Array1::<f64>::zeros(rows.ncols()), 0);
    for row in of {
        sum.zip_mut_with(&rows.row(row), |sum, &value| *sum += f64::from(value));
        count += 1;
    }
    let length = sum.dot(&sum).sqrt().max(f64::MIN_POSITIVE);
    (count > 0).then(|| sum.mapv(|value| (value / length) as f32))
}

fn sigmoid(difference: f64) -> f64 {
    1.0 / (1.0 + (-difference / TEMPERATURE).exp())
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn a_query_is_of_the_class_whose_mean_is_nearest() {
        let train = array![[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]];
        let targets = Targets::Single(vec![0, 0, 1]);
        let queries = array![[0.0, 1.0], [1.0, 0.0]];
        let found = scores(train.view(), &targets, 3, queries.view());
        // The mean of the first two is (3, 1) / sqrt(10).
        let cosine = |x: f64, y: f64| (x * 3.0 + y) / 10.0_f64.sqrt();
        let expected = 1.0 / (1.0 + ((cosine(0.0, 1.0) - 1.0) / TEMPERATURE).exp());
        assert!((found[[0, 1]] - expected).abs() < 1e-6);
        assert!(found[[1, 0]] > 0.99);
        assert_eq!(found[[0, 2]], 0.0);
    }

    #[test]
    fn classes_that_are_not_exclusive_are_nearer_to_those_with_or_without() {
        let train = array![[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]];
        let targets = Targets::Multi(array![
            [Some(true), Some(true)],
            [Some(false), Some(true)],
            [None, Some(true)]
        ]);
        let found = scores(train.view(), &targets, 2, array![[0.6, 0.8]].view());
        let expected = 1.0 / (1.0 + (-(0.6 - 0.8) / TEMPERATURE).exp());
        assert!((found[[0, 0]] - expected).abs() < 1e-6);
        assert_eq!(found[[0, 1]], 0.5);
    }
}
