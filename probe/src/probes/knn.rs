//! Weighted nearest-neighbour vote for single-label tasks, as in DINOv2's evaluation.

use ndarray::{Array2, ArrayView1, ArrayView2, ArrayViewMut1, Axis};

use super::{CHUNK, search};

/// Scores `[Q, C]` of the queries for every number of neighbours in `ks`, from one search.
///
/// `train` is `[N, D]` and `queries` `[Q, D]`, rows of length 1; `labels [N]` are below `classes`.
/// Each of the `max(ks)` nearest training rows weighs `softmax(similarity / temperature)` over all
/// of them, and the score of a class is the weight of its members among the first `k`; so only the
/// scores of the largest `k` add up to 1. A `k` above `N` counts as `N`.
pub fn scores(
    train: ArrayView2<f32>,
    labels: &[u32],
    classes: usize,
    queries: ArrayView2<f32>,
    ks: &[usize],
    temperature: f64,
) -> Vec<Array2<f64>> {
    let index = search::Index::new(train);
    let most = ks.iter().copied().max().unwrap_or(0);
    let mut scores = vec![Array2::zeros((queries.nrows(), classes)); ks.len()];
    for (chunk, queries) in queries.axis_chunks_iter(Axis(0), CHUNK).enumerate() {
        let found = index.neighbours(queries, most);
        for row in 0..queries.nrows() {
            let weights = softmax(found.similarity.row(row), temperature);
            for (&k, scores) in ks.iter().zip(&mut scores) {
                let votes = found.index.row(row).into_iter().zip(&weights).take(k);
                let votes = votes.map(|(&key, &weight)| (labels[key as usize], weight));
                add_votes(votes, scores.row_mut(chunk * CHUNK + row));
            }
        }
    }
    scores
}

fn add_votes(votes: impl Iterator<Item = (u32, f64)>, mut scores: ArrayViewMut1<f64>) {
    for (label, weight) in votes {
        scores[label as usize] += weight;
    }
}

/// `similarity` is in falling order.
fn softmax(similarity: ArrayView1<f32>, temperature: f64) -> Vec<f64> {
    let largest = similarity.first().copied().unwrap_or(0.0);
    let power = |&s: &f32| (f64::from(s - largest) / temperature).exp();
    let powers: Vec<f64> = similarity.iter().map(power).collect();
    let total: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / total).collect()
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn weights_are_normalised_over_the_largest_k() {
        let train = array![[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]];
        let both = scores(
            train.view(),
            &[0, 1, 1],
            2,
            array![[1.0, 0.0]].view(),
            &[1, 3],
            0.5,
        );
        let total = 1.0 + (-0.8_f64).exp() + (-2.0_f64).exp();
        assert!((both[0][[0, 0]] - 1.0 / total).abs() < 1e-6);
        assert_eq!(both[0][[0, 1]], 0.0);
        assert!((both[1].sum() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn chunks_of_queries_are_put_in_their_places() {
        let train = array![[1.0, 0.0], [0.0, 1.0]];
        let queries = Array2::from_shape_fn((CHUNK + 3, 2), |(i, j)| f32::from(i % 2 == j));
        let found = &scores(train.view(), &[0, 1], 2, queries.view(), &[1], 0.07)[0];
        assert!((0..CHUNK + 3).all(|i| found[[i, i % 2]] > 0.9));
    }

    #[test]
    fn tiny_temperatures_do_not_overflow() {
        let weights = softmax(array![1.0_f32, 0.5].view(), 1e-9);
        assert_eq!(weights, [1.0, 0.0]);
    }
}
