//! Nearest keys of one query during a pass over the keys.

use std::cmp::Reverse;

/// Candidates for the `k` nearest keys: all keys so far, without those that are certainly farther than `k`
/// others.
pub(super) struct Nearest<F> {
    k: usize,
    margin: i32,
    /// Products up to this one are too small.
    threshold: i32,
    candidates: Vec<i64>,
    /// The code of a key that orders it exactly.
    exact: F,
}

impl<F: Fn(u32) -> u64> Nearest<F> {
    /// `margin` is the difference of products above which the order of two keys is certain.
    pub(super) fn new(k: usize, margin: i32, exact: F) -> Nearest<F> {
        Nearest {
            k,
            margin,
            threshold: i32::MIN,
            candidates: Vec::with_capacity(capacity(k)),
            exact,
        }
    }

    pub(super) fn threshold(&self) -> i32 {
        self.threshold
    }

    /// Adds products with keys from `first_key` on.
    pub(super) fn offer(&mut self, products: &[i32], first_key: usize) {
        for (lane, &product) in products.iter().enumerate() {
            if product > self.threshold {
                self.candidates
                    .push(encode(product, (first_key + lane) as u32));
                if self.candidates.len() == capacity(self.k) {
                    self.shrink();
                }
            }
        }
    }

    fn shrink(&mut self) {
        let by_rank = |&code: &i64| Reverse(code);
        let (_, &mut last, _) = self
            .candidates
            .select_nth_unstable_by_key(self.k - 1, by_rank);
        let threshold = product(last).saturating_sub(self.margin).saturating_sub(1);
        self.threshold = self.threshold.max(threshold);
        self.candidates
            .retain(|&code| product(code) > self.threshold);
        if self.candidates.len() > self.k + capacity(self.k) / 4 {
            let exact = |&code: &i64| Reverse((self.exact)(key(code)));
            self.candidates.sort_by_cached_key(exact);
            self.candidates.truncate(self.k);
        }
    }

    /// The `k` nearest keys, and some that may be equally near.
    pub(super) fn keys(mut self) -> impl Iterator<Item = u32> {
        self.shrink();
        self.candidates.into_iter().map(key)
    }
}

fn capacity(k: usize) -> usize {
    2 * k + 64
}

fn encode(product: i32, key: u32) -> i64 {
    i64::from(product) << 32 | i64::from(key)
}

fn product(code: i64) -> i32 {
    (code >> 32) as i32
}

fn key(code: i64) -> u32 {
    code as u32
}
