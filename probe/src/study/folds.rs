//! The splits of a cross-validation.

/// Least number of folds: one is test, one val, and one is left for training.
pub(super) const LEAST: i64 = 3;
/// Largest number of folds.
pub(super) const MOST: i64 = 100;

/// The folds of a dataset, each a named split of its caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Folds(pub u32);

impl Folds {
    /// Name of the split of a fold, from 0: `fold0`.
    pub fn name(fold: u32) -> String {
        format!("fold{fold}")
    }

    /// The rule that makes the split of a fold, as `extract split --rule` takes it.
    pub fn rule(self, fold: u32) -> String {
        format!("kfold:{}:{fold}", self.0)
    }

    /// Name of the cross-validation in records.
    pub fn split_name(self) -> String {
        format!("kfold:{}", self.0)
    }
}
