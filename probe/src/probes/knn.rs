//! Votes of the nearest neighbours.

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};
use serde::Serialize;

use super::{CHUNK, search::Neighbours};

/// Distances up to this count as 0, within the precision of f32.
const SAME: f64 = 1e-6;

/// Weight of a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Vote {
    /// `exp(similarity / temperature)`, as in DINOv2's evaluation.
    Softmax {
        /// Above 0.
        temperature: f64,
    },
    /// 1, scikit-learn's `weights="uniform"`.
    Majority,
    /// `1 / (1 - similarity)`, scikit-learn's `weights="distance"` with the cosine distance. Where
    /// neighbours have distance 0 (at most 1e-6), they weigh 1 and the others nothing.
    Distance,
}

/// Neighbours over which the votes are normalised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whole {
    /// The first `k`: scores of a case add up to 1, and do not depend on the other numbers of
    /// neighbours.
    OwnK,
    /// The first `max(ks)`, as in DINOv2's evaluation: only the scores of the largest `k` add up to 1.
    LargestK,
}

/// The classes of the `N` training rows.
#[derive(Clone, Copy, Debug)]
pub enum Classes<'a> {
    /// One for each row.
    Single {
        /// Class of each row `[N]`, below `classes`.
        labels: &'a [u32],
        /// Number of classes.
        classes: usize,
    },
    /// Any number for each row: whether it has the class, `[N, C]`.
    Multi(ArrayView2<'a, bool>),
}

/// Scores `[Q, C]` of `queries [Q, D]` for every number of neighbours in `ks`, from one search.
///
/// `search(queries, k)` finds the `k` nearest training rows of some queries, or all where there are
/// fewer. The score of a class is the share that its members among the first `k` neighbours have in
/// the weight of `whole`; of equal scores the lower class is the answer. With [`Vote::Majority`] it is
/// the exact quotient of two counts, rounded once.
pub fn scores(
    search: impl Fn(ArrayView2<f32>, usize) -> Neighbours,
    classes: Classes,
    queries: ArrayView2<f32>,
    ks: &[usize],
    (vote, whole): (Vote, Whole),
) -> Vec<Array2<f64>> {
    let most = ks.iter().copied().max().unwrap_or(0);
    let mut scores = vec![Array2::zeros((queries.nrows(), classes.len())); ks.len()];
    for (chunk, queries) in queries.axis_chunks_iter(Axis(0), CHUNK).enumerate() {
        let found = search(queries, most);
        for (row, keys) in found.index.axis_iter(Axis(0)).enumerate() {
            let weights = vote.weights(found.similarity.row(row));
            classes.each_share(keys, &weights, whole, ks, |i, shares| {
                scores[i].row_mut(chunk * CHUNK + row).assign(shares);
            });
        }
    }
    scores
}

impl Classes<'_> {
    fn len(&self) -> usize {
        match self {
            Classes::Single { classes, .. } => *classes,
            Classes::Multi(targets) => targets.ncols(),
        }
    }

    /// Calls `visit(i, shares)` with the shares of the classes among the first `ks[i]` of `keys`.
    fn each_share(
        &self,
        keys: ArrayView1<u32>,
        weights: &[f64],
        whole: Whole,
        ks: &[usize],
        mut visit: impl FnMut(usize, &Array1<f64>),
    ) {
        let all: f64 = weights.iter().sum();
        let (mut sums, mut total) = (Array1::zeros(self.len()), 0.0);
        for (place, (&key, &weight)) in keys.iter().zip(weights).enumerate() {
            self.add(key as usize, weight, &mut sums);
            total += weight;
            let ends = |&(_, &k): &(usize, &usize)| k.min(keys.len()) == place + 1;
            for (i, _) in ks.iter().enumerate().filter(ends) {
                let whole = match whole {
                    Whole::OwnK => total,
                    Whole::LargestK => all,
                };
                visit(i, &(&sums / whole));
            }
        }
    }

    fn add(&self, key: usize, weight: f64, sums: &mut Array1<f64>) {
        match self {
            Classes::Single { labels, .. } => sums[labels[key] as usize] += weight,
            Classes::Multi(targets) => {
                let members = sums.iter_mut().zip(targets.row(key)).filter(|(_, is)| **is);
                members.for_each(|(sum, _)| *sum += weight);
            }
        }
    }
}

impl Vote {
    /// Weights `[k]` for `similarity [k]` in falling order; each is the same for every `k`.
    fn weights(self, similarity: ArrayView1<f32>) -> Vec<f64> {
        let largest = similarity.first().copied().unwrap_or(0.0);
        let distance = |s: f32| 1.0 - f64::from(s);
        let weight = |&s: &f32| match self {
            Vote::Softmax { temperature } => (f64::from(s - largest) / temperature).exp(),
            Vote::Majority => 1.0,
            Vote::Distance if distance(largest) <= SAME => f64::from(u8::from(distance(s) <= SAME)),
            Vote::Distance => distance(s).recip(),
        };
        similarity.iter().map(weight).collect()
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::probes::search::neighbours;

    const SOFTMAX: Vote = Vote::Softmax { temperature: 0.5 };

    fn three(classes: Classes, ks: &[usize], vote: (Vote, Whole)) -> Vec<Array2<f64>> {
        let train = array![[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]];
        let search = |queries: ArrayView2<f32>, k| neighbours(train.view(), queries, k);
        scores(search, classes, array![[1.0, 0.0]].view(), ks, vote)
    }

    #[test]
    fn scores_do_not_depend_on_other_numbers_of_neighbours() {
        let labels = &[0, 1, 1];
        let targets = array![[true, true], [true, false], [false, false]];
        for classes in [
            Classes::Single { labels, classes: 2 },
            Classes::Multi(targets.view()),
        ] {
            for vote in [SOFTMAX, Vote::Majority, Vote::Distance] {
                let vote = (vote, Whole::OwnK);
                let (alone, beside) = (three(classes, &[2], vote), three(classes, &[2, 3], vote));
                assert_eq!(alone[0], beside[0], "{vote:?}");
            }
        }
    }

    #[test]
    fn the_study_normalises_over_the_largest_k() {
        let labels = &[0, 1, 1];
        let vote = (SOFTMAX, Whole::LargestK);
        let both = three(Classes::Single { labels, classes: 2 }, &[1, 3], vote);
        let total = 1.0 + (-0.8_f64).exp() + (-2.0_f64).exp();
        assert!((both[0][[0, 0]] - 1.0 / total).abs() < 1e-6);
        assert_eq!(both[0][[0, 1]], 0.0);
        assert!((both[1].sum() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn with_several_labels_a_score_is_the_share_among_the_first_k() {
        let targets = array![[true, true], [true, false], [false, false]];
        let found = three(
            Classes::Multi(targets.view()),
            &[1, 2, 3],
            (SOFTMAX, Whole::OwnK),
        );
        assert!(
            (&found[0] - &array![[1.0, 1.0]])
                .iter()
                .all(|d| d.abs() < 1e-12)
        );
        let second = (-0.8_f64).exp();
        assert!((found[1][[0, 1]] - 1.0 / (1.0 + second)).abs() < 1e-6);
        assert!(found[2][[0, 0]] < 1.0);
    }

    #[test]
    fn a_neighbour_at_distance_zero_takes_all() {
        let labels = &[1, 0, 0];
        let vote = (Vote::Distance, Whole::OwnK);
        let found = three(Classes::Single { labels, classes: 2 }, &[3], vote);
        assert_eq!(found[0], array![[0.0, 1.0]]);
    }

    #[test]
    fn chunks_of_queries_are_put_in_their_places() {
        let train = array![[1.0, 0.0], [0.0, 1.0]];
        let queries = Array2::from_shape_fn((CHUNK + 3, 2), |(i, j)| f32::from(i % 2 == j));
        let search = |queries: ArrayView2<f32>, k| neighbours(train.view(), queries, k);
        let classes = Classes::Single {
            labels: &[0, 1],
            classes: 2,
        };
        let vote = (Vote::Majority, Whole::OwnK);
        let found = &scores(search, classes, queries.view(), &[1], vote)[0];
        assert!((0..CHUNK + 3).all(|i| found[[i, i % 2]] > 0.9));
    }

    #[test]
    fn tiny_temperatures_do_not_overflow() {
        let vote = Vote::Softmax { temperature: 1e-9 };
        assert_eq!(vote.weights(array![1.0_f32, 0.5].view()), [1.0, 0.0]);
    }
}
