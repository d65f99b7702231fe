//! Weights of cases.

/// Number of times that each case counts, `[N]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weights(pub(super) Vec<u32>);

impl Weights {
    /// Each of `cases` cases counts once.
    pub fn once(cases: usize) -> Weights {
        Weights(vec![1; cases])
    }

    /// Number of times that a case counts.
    ///
    /// # Panics
    ///
    /// If there is no such case.
    pub fn of(&self, case: usize) -> u32 {
        self.0[case]
    }
}
