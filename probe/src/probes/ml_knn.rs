//! ML-kNN for multi-label tasks (Zhang and Zhou 2007, doi:10.1016/j.patcog.2006.12.019).

use ndarray::{Array2, ArrayView1, ArrayView2, Axis, Zip};

use super::{CHUNK, search::Neighbours};

/// Smoothing `s` of the prior and of the likelihoods.
pub const SMOOTHING: f64 = 1.0;

/// A fitted model for several numbers of neighbours at once.
pub struct MlKnn<'a, S> {
    search: S,
    targets: ArrayView2<'a, bool>,
    ks: &'a [usize],
    /// Per `k`: the probability of a class given its number of members among the neighbours,
    /// `[k + 1, C]`.
    posteriors: Vec<Array2<f64>>,
}

impl<'a, S: Fn(ArrayView2<f32>, usize) -> Neighbours> MlKnn<'a, S> {
    /// Fits on `train [N, D]`, rows of length 1, with `targets [N, C]`, for every number of
    /// neighbours in `ks`.
    ///
    /// `search(queries, k)` finds the `k` nearest training rows of some queries, or all where there
    /// are fewer. The neighbours of a few thousand rows are in memory at a time.
    ///
    /// With `count_self` a training row is among its own neighbours, as a search of the training
    /// set in itself gives; without, it is left out, as in the paper.
    pub fn fit(
        search: S,
        train: ArrayView2<f32>,
        targets: ArrayView2<'a, bool>,
        ks: &'a [usize],
        count_self: bool,
    ) -> Self {
        let posteriors = Vec::new();
        let mut model = MlKnn {
            search,
            targets,
            ks,
            posteriors,
        };
        let counts = model.count_members(train, count_self);
        let priors = model.priors();
        let posterior = |counts: &Counts| counts.posterior(&priors);
        model.posteriors = counts.iter().map(posterior).collect();
        model
    }

    /// Probabilities `[Q, C]` of the classes for `queries [Q, D]`, one matrix per number of
    /// neighbours.
    pub fn scores(&self, queries: ArrayView2<f32>) -> Vec<Array2<f64>> {
        let shape = (queries.nrows(), self.targets.ncols());
        let mut scores = vec![Array2::zeros(shape); self.ks.len()];
        for (chunk, queries) in queries.axis_chunks_iter(Axis(0), CHUNK).enumerate() {
            let found = (self.search)(queries, self.most());
            for (row, keys) in found.index.axis_iter(Axis(0)).enumerate() {
                self.each_count(keys, |k, class, members| {
                    let probability = self.posteriors[k][[members, class]];
                    scores[k][[chunk * CHUNK + row, class]] = probability;
                });
            }
        }
        scores
    }

    fn most(&self) -> usize {
        self.ks.iter().copied().max().unwrap_or(0)
    }

    fn priors(&self) -> Vec<f64> {
        let rows = self.targets.nrows() as f64;
        let members = |class: ArrayView1<bool>| class.iter().filter(|&&is| is).count() as f64;
        let prior = |class| (SMOOTHING + members(class)) / (2.0 * SMOOTHING + rows);
        self.targets.axis_iter(Axis(1)).map(prior).collect()
    }

    fn count_members(&self, train: ArrayView2<f32>, count_self: bool) -> Vec<Counts> {
        let new = |&k: &usize| Counts::new(k, self.targets.ncols());
        let mut counts: Vec<Counts> = self.ks.iter().map(new).collect();
        for (chunk, queries) in train.axis_chunks_iter(Axis(0), CHUNK).enumerate() {
            let first = chunk * CHUNK;
            let found = if count_self {
                (self.search)(queries, self.most())
            } else {
                (self.search)(queries, self.most() + 1).without_self(first)
            };
            for (row, keys) in found.index.axis_iter(Axis(0)).enumerate() {
                self.each_count(keys, |k, class, members| {
                    counts[k].add(members, class, self.targets[[first + row, class]]);
                });
            }
        }
        counts
    }

    /// Calls `visit(i, class, members)` with the number of members of each class among the first
    /// `ks[i]` of the training rows `keys`.
    fn each_count(&self, keys: ArrayView1<u32>, mut visit: impl FnMut(usize, usize, usize)) {
        let mut members = vec![0; self.targets.ncols()];
        for (place, &key) in keys.iter().enumerate() {
            let row = self.targets.row(key as usize);
            members
                .iter_mut()
                .zip(row)
                .for_each(|(count, &is)| *count += usize::from(is));
            let ends = |&(_, &k): &(usize, &usize)| k.min(keys.len()) == place + 1;
            for (k, _) in self.ks.iter().enumerate().filter(ends) {
                members
                    .iter()
                    .enumerate()
                    .for_each(|(class, &count)| visit(k, class, count));
            }
        }
    }
}

/// Training rows by their number of neighbours in a class, `[k + 1, C]`.
struct Counts {
    members: Array2<f64>,
    others: Array2<f64>,
}

impl Counts {
    fn new(k: usize, classes: usize) -> Counts {
        let zeros = Array2::zeros((k + 1, classes));
        Counts {
            members: zeros.clone(),
            others: zeros,
        }
    }

    fn add(&mut self, neighbours: usize, class: usize, is_member: bool) {
        let counts = if is_member {
            &mut self.members
        } else {
            &mut self.others
        };
        counts[[neighbours, class]] += 1.0;
    }

    fn posterior(&self, priors: &[f64]) -> Array2<f64> {
        let mut posterior = likelihoods(&self.members);
        let others = likelihoods(&self.others);
        for (mut row, others) in posterior
            .axis_iter_mut(Axis(0))
            .zip(others.axis_iter(Axis(0)))
        {
            Zip::from(&mut row)
                .and(others)
                .and(priors)
                .for_each(|p, &other, &prior| {
                    let (yes, no) = (prior * *p, (1.0 - prior) * other);
                    *p = yes / (yes + no);
                });
        }
        posterior
    }
}

fn likelihoods(counts: &Array2<f64>) -> Array2<f64> {
    let totals = counts.sum_axis(Axis(0)) + SMOOTHING * counts.nrows() as f64;
    (counts + SMOOTHING) / totals
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;
    use crate::probes::search::neighbours;

    /// Two pairs of equal rows; the class holds the first pair.
    fn fit(count_self: bool) -> Vec<Array2<f64>> {
        let train = array![[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]];
        let targets = array![[true], [true], [false], [false]];
        let search = |queries: ArrayView2<f32>, k| neighbours(train.view(), queries, k);
        MlKnn::fit(search, train.view(), targets.view(), &[1, 3], count_self).posteriors
    }

    #[test]
    fn posterior_is_bayes_rule_with_smoothing_one() {
        // k = 1: members have 1 neighbour in the class, twice; the prior is (1 + 2) / (2 + 4).
        assert!((fit(true)[0][[1, 0]] - 0.75).abs() < 1e-12);
        assert!((fit(true)[0][[0, 0]] - 0.25).abs() < 1e-12);
    }

    #[test]
    fn leaving_self_out_leaves_one_neighbour_fewer_in_the_class() {
        // k = 3 with self: 2 of 3 for members, 1 of 3 for others; without: 1 of 3 and 2 of 3.
        let (with, without) = (&fit(true)[1], &fit(false)[1]);
        assert!((with[[2, 0]] - 0.75).abs() < 1e-12);
        assert!((without[[2, 0]] - 0.25).abs() < 1e-12);
    }
}
