//! Order of the examples in training.

use common::draw::shuffle;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// An endless iterator over batches of row numbers. Each epoch has a new order of the examples; batches
/// extend over the ends of epochs, so that all are full. In epoch `e`, view `e mod V` represents an example
/// with `V` augmented views.
#[derive(Clone, Debug)]
pub struct Batches {
    /// Rows of the views of each example.
    views: Vec<Vec<usize>>,
    order: Vec<usize>,
    next: usize,
    epoch: usize,
    size: usize,
    random: ChaCha8Rng,
}

impl Batches {
    /// Batches of `size`, or of all examples if there are fewer. Each example needs a view.
    pub fn new(views: Vec<Vec<usize>>, size: usize, seed: u64) -> Batches {
        let size = size.min(views.len());
        Batches {
            order: Vec::new(),
            next: 0,
            epoch: 0,
            size,
            random: ChaCha8Rng::seed_from_u64(seed),
            views,
        }
    }

    /// Examples in a batch.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Number of steps of `epochs` epochs; the last batch of the last epoch may extend into the next.
    pub fn steps(&self, epochs: usize) -> usize {
        self.views.len().div_ceil(self.size.max(1)) * epochs
    }

    fn row(&mut self) -> usize {
        if self.next == self.order.len() {
            self.epoch += usize::from(!self.order.is_empty());
            self.order = (0..self.views.len()).collect();
            shuffle(&mut self.order, &mut self.random);
            self.next = 0;
        }
        let views = &self.views[self.order[self.next]];
        self.next += 1;
        views[self.epoch % views.len()]
    }
}

impl Iterator for Batches {
    type Item = Vec<usize>;

    fn next(&mut self) -> Option<Vec<usize>> {
        Some((0..self.size).map(|_| self.row()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_has_every_example_once_and_the_next_one_another_view_and_order() {
        let views = (0..10).map(|k| vec![k, 100 + k]).collect();
        let mut batches = Batches::new(views, 5, 3);
        assert_eq!(batches.steps(4), 8);
        let mut epoch = || [batches.next().unwrap(), batches.next().unwrap()].concat();
        let (first, second, third) = (epoch(), epoch(), epoch());
        let sorted = |rows: &[usize]| {
            let mut rows = rows.to_vec();
            rows.sort_unstable();
            rows
        };
        assert_eq!(sorted(&first), (0..10).collect::<Vec<_>>());
        assert_eq!(sorted(&second), (100..110).collect::<Vec<_>>());
        assert_eq!(sorted(&third), sorted(&first));
        assert_ne!(first, third);
    }

    #[test]
    fn batches_run_across_epochs_and_depend_on_the_seed_alone() {
        let views: Vec<Vec<usize>> = (0..7).map(|k| vec![k]).collect();
        let take =
            |seed| -> Vec<Vec<usize>> { Batches::new(views.clone(), 4, seed).take(7).collect() };
        let rows = take(1).concat();
        for epoch in rows.chunks(7) {
            assert_eq!(epoch.iter().sum::<usize>(), 21);
        }
        assert_eq!(take(1), take(1));
        assert_ne!(take(1), take(2));
        assert_eq!(Batches::new(views.clone(), 100, 0).size(), 7);
    }
}
