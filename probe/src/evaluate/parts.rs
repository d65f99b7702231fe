//! Examples that a probe is fitted on, chosen on and evaluated on.

use cache::Split;

use super::settings::Settings;
use crate::Error;
use crate::examples::Examples;

/// Indices of the examples of each part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parts {
    /// The split `train`: the models that are compared on `val` are fitted to it.
    pub(crate) train: Vec<usize>,
    /// Examples on which settings and thresholds are chosen; empty if there are none.
    pub(crate) val: Vec<usize>,
    /// Examples that the evaluated model is fitted to: by default `train` and `val` (`--train`).
    pub(crate) fit: Vec<usize>,
    /// Splits of `fit`.
    pub(crate) fitted_on: Vec<Split>,
    /// Evaluated examples: `test`, or `val` with `--eval val`.
    pub(crate) test: Vec<usize>,
    /// Split of `val`.
    pub(crate) chosen_on: Split,
    /// Whether parts are few-shot draws, which may be smaller than options assume.
    pub(crate) is_few: bool,
}

impl Parts {
    /// All examples of the splits.
    ///
    /// # Errors
    ///
    /// [`Error::EmptySplit`] if there is nothing to fit or evaluate.
    pub(crate) fn whole(examples: &Examples, settings: &Settings) -> Result<Parts, Error> {
        let train = examples.part(&[Split::Train])?;
        let fit = examples.part(&settings.fit)?;
        let test = examples.part(&[settings.eval])?;
        let mut val = match settings.eval {
            Split::Test => examples.of(&[Split::Val]),
            Split::Train | Split::Val => Vec::new(),
        };
        let mut chosen_on = Split::Val;
        if settings.eval == Split::Test && val.is_empty() && !settings.protocol.holds_out() {
            // As the study's code without a validation set.
            (val, chosen_on) = (test.clone(), Split::Test);
        }
        Ok(Parts {
            train,
            val,
            fit,
            fitted_on: settings.fit.clone(),
            test,
            chosen_on,
            is_few: false,
        })
    }
}
