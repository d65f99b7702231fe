//! Which examples a probe is fitted on, chosen on and evaluated on, and what is wrong with that.

use std::collections::BTreeSet;

use cache::Split;
use common::counted;

use super::{IDLE_SHARE, Settings, Task};
use crate::Error;
use crate::examples::Examples;
use crate::hold_out::HeldOut;

/// Numbers of examples.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parts {
    /// Fitted on to choose.
    pub(crate) train: Vec<usize>,
    /// Chosen on; empty if there is nothing to choose on.
    pub(crate) val: Vec<usize>,
    /// Fitted on to be evaluated.
    pub(crate) fit: Vec<usize>,
    /// The splits that those are out of.
    pub(crate) fitted_on: Vec<Split>,
    /// Evaluated.
    pub(crate) test: Vec<usize>,
    /// Where hyper-parameters are chosen.
    pub(crate) chosen_on: Split,
    /// Whether fitted parts are so small that options of whole ones may not fit.
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
            // As the study's code does without a validation set.
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

impl Task<'_> {
    /// What a reader of the figures must know of the parts.
    pub(super) fn lint(&self) -> Vec<String> {
        let held_out = self.examples.held_out.iter();
        let mut warnings: Vec<String> = held_out.map(HeldOut::warning).collect();
        let has_val = !self.examples.of(&[Split::Val]).is_empty();
        if self.settings.val_share.is_some() && has_val && warnings.is_empty() {
            warnings.push(IDLE_SHARE.into());
        }
        let word = self.examples.cluster_word();
        let of = |part: &[usize]| -> BTreeSet<String> {
            let patients = part
                .iter()
                .map(|&e| self.examples.cases[e].cluster().to_owned());
            patients.collect()
        };
        let mut fitted = of(&self.parts.fit);
        if self.parts.chosen_on == Split::Val {
            fitted.extend(of(&self.parts.val));
        }
        let tested = of(&self.parts.test);
        let both = fitted.intersection(&tested).count();
        if both > 0 {
            let both = counted(both, word);
            warnings.push(format!(
                "{both} fitted on and evaluated too: figures are too good"
            ));
        }
        if self.settings.confidence.is_some() && tested.len() == 1 {
            warnings.push(format!("one {word} evaluated: no intervals"));
        }
        let truth = self.examples.truth(&self.parts.fit);
        let is_learnt = |class| (0..truth.len()).any(|e| truth.is(e, class) == Some(true));
        let missing = (0..self.classes()).filter(|&class| !is_learnt(class));
        let missing: Vec<_> = missing.map(|class| self.names()[class].as_str()).collect();
        if let [first, more @ ..] = &missing[..] {
            let more = match more.len() {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            warnings.push(format!("no positive example to learn `{first}`{more} from"));
        }
        warnings
    }
}
