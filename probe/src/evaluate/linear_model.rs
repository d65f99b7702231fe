//! A fitted linear model.

use std::ops::Range;

use half::f16;
use ndarray::{Array1, Array2, ArrayView2, s};

use crate::features::Tokens;
use crate::probes::linear::{Link, logits};
use crate::scores::Scores;

/// Logits `weight x + bias` of some columns `x` of the features.
#[derive(Clone, Debug)]
pub(crate) struct LinearModel {
    pub(crate) tokens: Tokens,
    /// Columns of the tokens.
    pub(crate) columns: Range<usize>,
    /// `[O, F]`.
    pub(crate) weight: Array2<f64>,
    /// `[O]`.
    pub(crate) bias: Array1<f64>,
    pub(crate) link: Link,
}

impl LinearModel {
    /// Scores of examples with `features` `[N, F]` of all columns.
    pub(super) fn scores(
        &self,
        features: ArrayView2<'_, f16>,
        is_single_label: bool,
        classes: usize,
    ) -> Scores {
        let features = features.slice_move(s![.., self.columns.clone()]);
        let logits = logits(features, self.weight.view(), self.bias.view());
        self.link.scores(logits, is_single_label, classes)
    }
}
