//! Principal components of rows that come in parts.

use ndarray::{Array2, ArrayView1};
use rayon::prelude::*;

use super::eigen::leading;

/// Rows of the matrix of products that a thread adds to at a time.
const PANEL: usize = 8;

/// Sums over rows `[N, D]`, from which mean and covariance follow.
#[derive(Clone, Debug)]
pub(crate) struct Moments {
    count: usize,
    sum: Vec<f64>,
    /// `[D, D]`; only the upper triangle is filled.
    products: Vec<f64>,
}

/// Principal components.
#[derive(Clone, Debug)]
pub(crate) struct Components {
    /// Mean of the rows, `[D]`.
    pub(crate) mean: Vec<f64>,
    /// Directions of the greatest variance, `[K, D]`, rows of length 1. The greatest coefficient of each by
    /// magnitude is positive, as in scikit-learn.
    pub(crate) axes: Array2<f64>,
    /// Variance along each, with `N - 1` degrees of freedom, `[K]`.
    pub(crate) variances: Vec<f64>,
    /// Variance in all directions.
    pub(crate) total: f64,
}

impl Moments {
    /// No rows yet, of `width` values each.
    pub(crate) fn new(width: usize) -> Moments {
        Moments {
            count: 0,
            sum: vec![0.0; width],
            products: vec![0.0; width * width],
        }
    }

    /// Adds rows. The result does not depend on the parts that they come in, nor on the number of threads.
    pub(crate) fn add<'a>(&mut self, rows: impl Iterator<Item = &'a [f32]>) {
        let width = self.sum.len();
        let block: Vec<f64> = rows.flatten().copied().map(f64::from).collect();
        self.count += block.len() / width.max(1);
        for row in block.chunks_exact(width) {
            add_times(&mut self.sum, row, 1.0);
        }
        let panels = self.products.par_chunks_mut(PANEL * width);
        panels.enumerate().for_each(|(panel, products)| {
            for row in block.chunks_exact(width) {
                let lines = products.chunks_exact_mut(width).zip(PANEL * panel..);
                lines.for_each(|(line, i)| add_times(&mut line[i..], &row[i..], row[i]));
            }
        });
    }

    /// The first `count` principal components, or as many as rows have values. There must be two rows.
    pub(crate) fn components(&self, count: usize) -> Components {
        let (width, rows) = (self.sum.len(), self.count as f64);
        let mean: Vec<f64> = self.sum.iter().map(|sum| sum / rows).collect();
        let covariance = Array2::from_shape_fn((width, width), |(i, j)| {
            let (i, j) = (i.min(j), i.max(j));
            (self.products[i * width + j] - rows * mean[i] * mean[j]) / (rows - 1.0)
        });
        let found = leading(covariance.view(), count.min(width));
        let mut axes = found.vectors;
        for mut axis in axes.outer_iter_mut() {
            if greatest(axis.view()) < 0.0 {
                axis.mapv_inplace(|value| -value);
            }
        }
        Components {
            mean,
            axes,
            variances: found
                .values
                .into_iter()
                .map(|value| value.max(0.0))
                .collect(),
            total: covariance.diag().sum(),
        }
    }
}

impl Components {
    /// Coordinates of a row along the components, `[K]`.
    pub(crate) fn scores(&self, row: &[f32]) -> Vec<f64> {
        let along = |axis: ArrayView1<'_, f64>| {
            let centred = row
                .iter()
                .zip(&self.mean)
                .map(|(&x, mean)| f64::from(x) - mean);
            centred.zip(axis).map(|(x, share)| x * share).sum()
        };
        self.axes.outer_iter().map(along).collect()
    }

    /// Share of each component in the variance, `[K]`.
    pub(crate) fn shares(&self) -> Vec<f64> {
        let total = if self.total > 0.0 { self.total } else { 1.0 };
        self.variances.iter().map(|value| value / total).collect()
    }
}

fn add_times(sums: &mut [f64], values: &[f64], factor: f64) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += factor * value;
    }
}

/// The first of the values with the greatest magnitude.
fn greatest(values: ArrayView1<'_, f64>) -> f64 {
    let larger = |best: f64, &value: &f64| {
        if value.abs() > best.abs() {
            value
        } else {
            best
        }
    };
    values.iter().fold(0.0, larger)
}

/// The threshold between values that separates them best in two: the variance between the parts is greatest
/// (Otsu 1979, over all values and not a histogram). It lies in the middle between two values; `None` if all
/// are equal.
pub(crate) fn otsu(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let total: f64 = sorted.iter().sum();
    let (mut below, mut best) = (0.0, None);
    for (count, pair) in (1..).zip(sorted.windows(2)) {
        below += pair[0];
        if pair[0] == pair[1] {
            continue;
        }
        let (low, high) = (count as f64, (sorted.len() - count) as f64);
        let between = low * high * (below / low - (total - below) / high).powi(2);
        if best.is_none_or(|(most, _)| between > most) {
            best = Some((between, f64::midpoint(pair[0], pair[1])));
        }
    }
    best.map(|(_, threshold)| threshold)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Case {
        name: String,
        x: Vec<Vec<f32>>,
        components: Vec<Vec<f64>>,
        variances: Vec<f64>,
        shares: Vec<f64>,
        scores: Vec<Vec<f64>>,
    }

    fn fitted(x: &[Vec<f32>], part: usize) -> Components {
        let mut moments = Moments::new(x[0].len());
        for rows in x.chunks(part) {
            moments.add(rows.iter().map(Vec::as_slice));
        }
        moments.components(3)
    }

    /// scikit-learn's `PCA(3)`: `scripts/dev/golden_pca.py`.
    #[test]
    fn components_equal_those_of_scikit_learn() {
        let text = include_str!("../../golden/pca.json");
        let cases: Vec<Case> = serde_json::from_str(text).unwrap();
        assert!(cases.len() > 2);
        for case in cases {
            let found = fitted(&case.x, 7);
            let near = |a: f64, b: f64| (a - b).abs() < 1e-6 * (1.0 + b.abs());
            for k in 0..3 {
                let name = &case.name;
                assert!(near(found.variances[k], case.variances[k]), "{name}");
                assert!(near(found.shares()[k], case.shares[k]), "{name}");
                let axis = found.axes.row(k);
                let same = axis
                    .iter()
                    .zip(&case.components[k])
                    .all(|(&a, &b)| near(a, b));
                assert!(same, "{name}: {axis:?}, expected {:?}", case.components[k]);
            }
            for (row, expected) in case.x.iter().zip(&case.scores) {
                let scores = found.scores(row);
                assert!(scores.iter().zip(expected).all(|(&a, &b)| near(a, b)));
            }
        }
    }

    #[test]
    fn neither_the_parts_nor_the_threads_change_a_bit() {
        let x: Vec<Vec<f32>> = (0..50_u32)
            .map(|i| {
                (0..90_u32)
                    .map(|j| (i * 37 % 23 + j * i % 11) as f32 / 7.0)
                    .collect()
            })
            .collect();
        let on = |threads: usize, part: usize| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| fitted(&x, part))
        };
        let (one, many) = (on(1, 50), on(3, 3));
        assert_eq!(one.axes, many.axes);
        assert_eq!(one.variances, many.variances);
    }

    #[test]
    fn a_threshold_lies_between_the_two_heaps() {
        let values = [1.0, 1.2, 0.9, 1.1, 7.0, 7.5, 6.8];
        assert_eq!(otsu(&values), Some(4.0));
        assert_eq!(otsu(&[2.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(otsu(&[2.0, 2.0]), None);
        assert_eq!(otsu(&[]), None);
    }
}
