//! Examples in their parts, for a probe to be fitted on, and the measures of what it says.

use cache::{CacheReader, Split};
use ndarray::Array2;

use super::{Evaluated, Fitted, Identity, Parts, Settings, blank, with_examples};
use crate::Error;
use crate::examples::{Clusters, Examples, join};
use crate::metrics::measures::{Confidence, Measures, Scored, Thresholds};
use crate::origin::Origin;
use crate::predictions::Predictions;
use crate::probes::linear;
use crate::record::RunRecord;
use crate::targets::Targets;

/// Examples in their parts, for a probe to be fitted on.
pub(crate) struct Task<'a> {
    pub(crate) reader: &'a CacheReader,
    pub(crate) settings: &'a Settings,
    pub(crate) identity: &'a Identity,
    pub(crate) examples: &'a Examples,
    pub(crate) parts: Parts,
}

impl Task<'_> {
    /// What a head that is fitted on this has seen.
    pub(crate) fn origin(&self) -> Origin {
        let parts = &self.parts;
        let mut seen = [&parts.fitted_on[..], &[Split::Train]].concat();
        if !parts.val.is_empty() {
            seen.push(parts.chosen_on);
        }
        let split_sha256 = self.identity.split_sha256.clone();
        let of_parts = [&parts.train, &parts.fit, &parts.val].into_iter().flatten();
        let cases = of_parts.map(|&example| self.examples.cases[example].who());
        Origin::new(self.reader, self.settings, split_sha256, &seen, cases)
    }

    pub(crate) fn classes(&self) -> usize {
        self.names().len()
    }

    pub(super) fn names(&self) -> &[String] {
        &self.examples.classes
    }

    /// Scores `[N, C]` of a part's examples beside their targets; of patients where those are
    /// measured.
    pub(super) fn predictions(
        &self,
        part: &[usize],
        scores: Array2<f64>,
    ) -> Result<Predictions, Error> {
        let predictions = Predictions {
            scores,
            targets: self.examples.truth(part),
            cases: self.examples.cases(part),
        };
        if self.settings.per_patient {
            predictions.per_patient()
        } else {
            Ok(predictions)
        }
    }

    /// Probabilities `[N, C]` out of logits `[N, O]`; `by_sigmoid`: of exclusive classes too, each by
    /// itself.
    pub(crate) fn probabilities(&self, logits: Array2<f64>, by_sigmoid: bool) -> Array2<f64> {
        let targets = &self.examples.targets;
        linear::probabilities(logits, targets, self.classes(), by_sigmoid)
    }

    /// What a part's scores `[N, C]` are measured by, and settings and thresholds chosen by: cases
    /// are patients where those are measured, else examples.
    ///
    /// # Errors
    ///
    /// As [`Scored::new`], and [`Error::PatientLabels`].
    pub(crate) fn scored(&self, part: &[usize], scores: Array2<f64>) -> Result<Scored, Error> {
        Scored::new(&self.predictions(part, scores)?)
    }

    pub(super) fn measure(
        &self,
        predictions: &Predictions,
        fitted: &Fitted,
        confidence: Option<&Confidence>,
    ) -> Result<Measures, Error> {
        let scored = Scored::new(predictions)?;
        let half = scored.half();
        let thresholds: &Thresholds = fitted.thresholds.as_ref().unwrap_or(&half);
        let clusters = Clusters::of(&predictions.cases);
        let undefined = self.settings.protocol.undefined_auroc();
        scored.measures(self.names(), &clusters, thresholds, undefined, confidence)
    }

    /// Thresholds that are chosen on `val`, and the classes that there is nothing there to choose
    /// them by.
    pub(crate) fn thresholds(&self, on_val: &Scored) -> (Option<Thresholds>, Option<String>) {
        let without = on_val.without_threshold().into_iter();
        let names: Vec<String> = without.map(|c| format!("`{}`", self.names()[c])).collect();
        let warning = (!names.is_empty()).then(|| {
            format!(
                "no positive case in `val` to choose the threshold of {} by: it is 0.5",
                names.join(", ")
            )
        });
        (on_val.best_thresholds(), warning)
    }

    /// That none of several settings is best on the part that is chosen on; `more` is an option that
    /// may help besides.
    pub(crate) fn no_choice(&self, what: &'static str, more: Option<&str>) -> Error {
        let held_out = self.examples.held_out.is_some();
        let share = held_out.then_some("a larger --val-share");
        let more: Vec<&str> = share.into_iter().chain(more).collect();
        Error::NoChoice {
            path: self.reader.dir().into(),
            what,
            part: self.parts.chosen_on.name(),
            more: more.iter().map(|more| format!(", or {more}")).collect(),
        }
    }

    /// Refuses what no probe can learn from.
    pub(super) fn check(&self) -> Result<(), Error> {
        match self.examples.truth(&self.parts.train) {
            Targets::Single(labels) if labels.iter().all(|&label| label == labels[0]) => {
                Err(Error::OneClass {
                    path: self.reader.dir().into(),
                    class: self.names()[labels[0] as usize].clone(),
                })
            }
            _ => Ok(()),
        }
    }

    /// Measures what a probe has fitted.
    pub(super) fn evaluated(
        &self,
        probe: &str,
        fitted: Fitted,
        confidence: Option<&Confidence>,
    ) -> Result<Evaluated, Error> {
        let predictions = self.predictions(&self.parts.test, fitted.scores.clone())?;
        let measures = self.measure(&predictions, &fitted, confidence)?;
        let mut params = fitted.params;
        params.insert("train".into(), join(&self.parts.fitted_on).into());
        let record = RunRecord {
            probe: probe.into(),
            setting: fitted.setting,
            params: with_examples(params, self.examples, self.settings),
            n_train: fitted.n_train,
            n_test: predictions.cases.len(),
            chosen: fitted.choice.map(|choice| choice.is_chosen),
            chosen_on: fitted.choice.map(|choice| choice.on.name().into()),
            metrics: measures.values,
            ci: measures.ci,
            warnings: fitted.warnings,
            ..blank(self.reader, self.settings, self.identity)
        };
        Ok(Evaluated {
            record,
            predictions,
            classes: self.examples.classes.clone(),
            head: fitted.head,
        })
    }
}
