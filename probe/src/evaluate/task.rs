//! Data for a probe to be fitted on, and the measures of its scores.

use std::collections::BTreeSet;

use cache::{CacheReader, Split};
use common::counted;
use half::f16;
use ndarray::ArrayView2;

use super::evaluated::{Evaluated, blank, with_examples};
use super::fitted::Fitted;
use super::identity::Identity;
use super::linear_model::LinearModel;
use super::parts::Parts;
use super::settings::Settings;
use crate::Error;
use crate::examples::{Clusters, Examples, join};
use crate::head::{About, SavedHead};
use crate::hold_out::HeldOut;
use crate::metrics::bootstrap::few_units;
use crate::metrics::measures::{Confidence, Measures, Scored, Thresholds};
use crate::origin::Origin;
use crate::predictions::Predictions;
use crate::probes::linear::Link;
use crate::progress::Steps;
use crate::record::RunRecord;
use crate::scores::{ScoreKind, Scores};
use crate::targets::Targets;

/// Warning that `--val-share` has no effect.
pub(crate) const IDLE_SHARE: &str = "--val-share has no effect: the dataset has a `val`";

/// Examples in their parts, for a probe to be fitted on.
pub(crate) struct Task<'a> {
    pub(crate) reader: &'a CacheReader,
    pub(crate) settings: &'a Settings,
    pub(crate) identity: &'a Identity,
    pub(crate) examples: &'a Examples,
    pub(crate) parts: Parts,
    pub(crate) steps: &'a Steps<'a>,
}

impl Task<'_> {
    /// Training data of a head, for its file.
    fn origin(&self) -> Origin {
        let parts = &self.parts;
        let mut seen = [&parts.fitted_on[..], &[Split::Train]].concat();
        if !parts.val.is_empty() {
            seen.push(parts.chosen_on);
        }
        let split = (
            self.settings.split_name.clone(),
            self.identity.split_sha256.clone(),
        );
        let of_parts = [&parts.train, &parts.fit, &parts.val].into_iter().flatten();
        let cases = of_parts.map(|&example| self.examples.cases[example].who());
        Origin::new(self.reader, split, &seen, cases)
    }

    /// A linear model with all that is needed to apply it to other caches.
    pub(crate) fn head(&self, linear: LinearModel, thresholds: Option<&Thresholds>) -> SavedHead {
        SavedHead {
            about: About {
                origin: self.origin(),
                settings: self.identity.of_training(self.reader),
                classes: self.examples.classes.clone(),
                protocol: self.settings.protocol,
                is_single_label: self.is_single_label(),
                by_sigmoid: linear.link == Link::Sigmoid,
                scores: match linear.link {
                    Link::Softmax | Link::Sigmoid => ScoreKind::Probability,
                    Link::Identity => ScoreKind::DecisionValue,
                },
                tokens: linear.tokens,
                unit: self.examples.unit,
                pool: self.settings.pool(),
                thresholds: thresholds.map(|thresholds| thresholds.values.clone()),
                blocks: None,
            },
            weight: linear.weight,
            bias: linear.bias,
        }
    }

    /// Scores of examples with `features` `[N, F]` by a linear model.
    pub(super) fn linear_scores(
        &self,
        linear: &LinearModel,
        features: ArrayView2<'_, f16>,
    ) -> Scores {
        linear.scores(features, self.is_single_label(), self.classes())
    }

    pub(crate) fn classes(&self) -> usize {
        self.names().len()
    }

    pub(super) fn names(&self) -> &[String] {
        &self.examples.classes
    }

    /// Whether classes are exclusive.
    pub(crate) fn is_single_label(&self) -> bool {
        matches!(self.examples.targets, Targets::Single(_))
    }

    /// Scores of the examples of a part beside their targets; with `--per-patient`, of its patients.
    fn predictions(&self, part: &[usize], scores: Scores) -> Result<Predictions, Error> {
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

    /// Checked scores of a part, by which settings and thresholds are chosen. With `--per-patient`, the
    /// cases are patients.
    ///
    /// # Errors
    ///
    /// As [`Scored::new`], and [`Error::PatientLabels`].
    pub(crate) fn scored(&self, part: &[usize], scores: Scores) -> Result<Scored, Error> {
        Scored::new(&self.predictions(part, scores)?)
    }

    fn measure(
        &self,
        predictions: &Predictions,
        thresholds: Option<&Thresholds>,
        confidence: Option<&Confidence>,
    ) -> Result<Measures, Error> {
        let scored = Scored::new(predictions)?;
        let default = scored.default_thresholds();
        let clusters = Clusters::of(&predictions.cases);
        let undefined = self.settings.protocol.undefined_auroc();
        let thresholds = thresholds.unwrap_or(&default);
        scored.measures_told(
            self.names(),
            &clusters,
            thresholds,
            undefined,
            confidence,
            self.steps,
        )
    }

    /// Thresholds chosen on `val`, and a warning that names the classes without a positive case there.
    pub(crate) fn thresholds(&self, on_val: &Scored) -> (Option<Thresholds>, Option<String>) {
        let without = on_val.without_threshold().into_iter();
        let names: Vec<String> = without.map(|c| format!("`{}`", self.names()[c])).collect();
        let warning = (!names.is_empty()).then(|| {
            format!(
                "no positive case in `val` to choose the threshold of {} by: it is {}",
                names.join(", "),
                on_val.kind().threshold()
            )
        });
        (on_val.best_thresholds(), warning)
    }

    /// Error that none of several settings can be chosen; `more` is an option that may help.
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

    /// Checks that there is more than one class to learn.
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

    /// Warnings about the parts.
    pub(super) fn warnings(&self) -> Vec<String> {
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
        // Means over draws have no intervals.
        let has_intervals = !self.parts.is_few || self.settings.protocol.one_draw();
        if self.settings.confidence.is_some() && has_intervals {
            warnings.extend(few_units(&tested, word));
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

    /// Measures a fitted probe.
    pub(super) fn evaluated(
        &self,
        probe: &str,
        fitted: Fitted,
        confidence: Option<&Confidence>,
    ) -> Result<Evaluated, Error> {
        let predictions = self.predictions(&self.parts.test, fitted.scores)?;
        let measures = self.measure(&predictions, fitted.thresholds.as_ref(), confidence)?;
        let mut params = fitted.params;
        params.insert("train".into(), join(&self.parts.fitted_on).into());
        if let Some(head) = &fitted.head {
            let trained = head.weight.len() + head.bias.len();
            let known = params.entry("trainable_parameters");
            known.or_insert_with(|| trained.into());
        }
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
