//! All measures of some predictions.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::bootstrap::{Bootstrap, Sampled, SampledClasses};
use super::calibration::{brier, calibration};
use super::confidence::{Interval, Level};
use super::confusion::{Confusion, Matrix, best_f1_threshold};
use super::ranked::{Ranked, auroc, average_precision, mean_defined, per_class};
use super::scored::{SingleLabel, multi_label};
use super::weights::Weights;
use crate::Error;
use crate::error::MeasureError;
use crate::examples::Clusters;
use crate::predictions::Predictions;
use crate::progress::Steps;
use crate::scores::ScoreKind;
use crate::targets::Targets;

/// Checked predictions, from which measures are computed.
#[derive(Clone, Debug)]
pub struct Scored {
    /// The whole table, if classes are exclusive.
    pub single: Option<SingleLabel>,
    /// Each class against the rest; only class 1 of two exclusive classes.
    pub classes: Vec<Ranked>,
    kind: ScoreKind,
    cases: usize,
}

/// Scores from which classes are predicted as present, one per entry of [`Scored::classes`].
#[derive(Clone, Debug, PartialEq)]
pub struct Thresholds {
    /// Rule that gave them: `0.5` or `0` (the default), or `val-f1`.
    pub rule: &'static str,
    /// The thresholds.
    pub values: Vec<f64>,
}

/// Settings of confidence intervals.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Confidence {
    /// Bootstrap draws.
    pub draws: usize,
    /// Confidence level.
    pub level: f64,
    /// Random seed.
    pub seed: u64,
}

/// Measures and intervals by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measures {
    /// Numbers, or maps from classes to numbers.
    pub values: Map<String, Value>,
    /// `[low, high]` by the same names; `None` without a bootstrap.
    pub ci: Option<Map<String, Value>>,
}

impl Scored {
    /// Checks predictions.
    ///
    /// # Errors
    ///
    /// [`MeasureError::NoCases`], [`MeasureError::ScoreShape`], [`MeasureError::Score`] and [`MeasureError::ScoreLabel`].
    pub fn new(predictions: &Predictions) -> Result<Scored, Error> {
        let (scores, kind) = (predictions.scores.values.view(), predictions.scores.kind);
        let cases = scores.nrows();
        match &predictions.targets {
            Targets::Single(labels) => {
                let single = SingleLabel::new(scores, labels)?;
                Ok(Scored {
                    classes: single.classes(),
                    single: Some(single),
                    kind,
                    cases,
                })
            }
            Targets::Multi(present) => Ok(Scored {
                single: None,
                classes: multi_label(scores, present.view())?,
                kind,
                cases,
            }),
        }
    }

    /// Meaning of the scores.
    pub(crate) fn kind(&self) -> ScoreKind {
        self.kind
    }

    fn once(&self) -> Weights {
        Weights::once(self.cases)
    }

    /// Area under the ROC curve of each class.
    pub fn auroc(&self) -> Vec<Option<f64>> {
        per_class(&self.classes, &self.once(), auroc)
    }

    /// Macro mean of [`auroc`](Self::auroc); a class without AUROC counts as `undefined`, or is excluded.
    pub fn auroc_macro(&self, undefined: Option<f64>) -> Option<f64> {
        let mut found = self.auroc();
        if found.iter().any(Option::is_some) {
            found
                .iter_mut()
                .for_each(|value| *value = value.or(undefined));
        }
        mean_defined(&found)
    }

    /// The threshold of each class with the highest F1; [`ScoreKind::threshold`] for a class without
    /// positive cases, and `None` if no class has any.
    pub fn best_thresholds(&self) -> Option<Thresholds> {
        let (found, default) = (self.f1_thresholds(), self.kind.threshold());
        found.iter().any(Option::is_some).then(|| Thresholds {
            rule: "val-f1",
            values: found.into_iter().map(|at| at.unwrap_or(default)).collect(),
        })
    }

    /// Indices of the classes that need a threshold but have no positive case to choose it by.
    pub(crate) fn without_threshold(&self) -> Vec<usize> {
        if self.answers_by_highest() {
            return Vec::new();
        }
        let found = self.f1_thresholds();
        let pairs = self.classes.iter().zip(found);
        let without = pairs.filter(|(_, at)| at.is_none());
        without.map(|(class, _)| class.class()).collect()
    }

    fn f1_thresholds(&self) -> Vec<Option<f64>> {
        let once = self.once();
        let best = |class| best_f1_threshold(class, &once);
        self.classes.iter().map(best).collect()
    }

    /// [`ScoreKind::threshold`] for every class: 0.5 for probabilities, 0 for decision values.
    pub fn default_thresholds(&self) -> Thresholds {
        Thresholds {
            rule: self.kind.threshold_rule(),
            values: vec![self.kind.threshold(); self.classes.len()],
        }
    }

    /// Whether the class with the highest score is predicted, and not the classes at or above their
    /// thresholds: for more than two exclusive classes, and for exclusive classes whose scores are no
    /// probabilities.
    fn answers_by_highest(&self) -> bool {
        self.single.as_ref().is_some_and(|single| {
            let are_probabilities = self.kind.is_probability() && single.are_probabilities();
            self.classes.len() > 1 || !are_probabilities
        })
    }

    /// Confusion counts of each class.
    fn answers(&self, thresholds: &Thresholds) -> Vec<Confusion> {
        match &self.single {
            Some(single) if self.answers_by_highest() => {
                let all = Matrix::new(single, &self.once()).classes();
                self.classes
                    .iter()
                    .map(|class| all[class.class()])
                    .collect()
            }
            _ => self.at(&thresholds.values),
        }
    }

    fn at(&self, thresholds: &[f64]) -> Vec<Confusion> {
        let once = self.once();
        let pairs = self.classes.iter().zip(thresholds);
        pairs
            .map(|(class, &at)| Confusion::at(at, class, &once))
            .collect()
    }

    /// Single-label: the share of cases whose class has the highest score. Multi-label: the share of
    /// correct labels over all cases and classes, at [`ScoreKind::threshold`].
    fn accuracy(&self, weights: &Weights) -> Option<f64> {
        match &self.single {
            Some(single) => Matrix::new(single, weights).accuracy(),
            None => {
                let at = |class| Confusion::at(self.kind.threshold(), class, weights);
                self.classes.iter().map(at).sum::<Confusion>().accuracy()
            }
        }
    }

    /// More than two exclusive classes: mean sensitivity of those that occur. Else the mean over classes of the
    /// mean of sensitivity and specificity.
    fn balanced_accuracy(&self, answers: &[Confusion]) -> Option<f64> {
        match &self.single {
            Some(single) if self.classes.len() > 1 => {
                Matrix::new(single, &self.once()).balanced_accuracy()
            }
            _ => mean_defined(&map(answers, Confusion::balanced_accuracy)),
        }
    }

    /// Brier score and expected calibration error of probabilities: of the whole table for more than two
    /// exclusive classes, else the mean over classes.
    fn calibration(&self) -> [Option<f64>; 2] {
        if !self.kind.is_probability() {
            return [None; 2];
        }
        let once = self.once();
        match &self.single {
            Some(single) if self.answers_by_highest() => [
                single.brier(&once),
                single.calibration(&once).map(|c| c.expected),
            ],
            _ => [
                mean_defined(&per_class(&self.classes, &once, brier)),
                mean_defined(&per_class(&self.classes, &once, |class, weights| {
                    Some(calibration(class, weights)?.expected)
                })),
            ],
        }
    }

    /// All measures. `names` are those of all `C` classes, `clusters` the clusters of the bootstrap, `undefined`
    /// as in [`auroc_macro`](Self::auroc_macro).
    ///
    /// # Errors
    ///
    /// [`MeasureError::Level`] and [`MeasureError::Draws`]. A single cluster gives no intervals.
    pub fn measures(
        &self,
        names: &[String],
        clusters: &Clusters<'_>,
        thresholds: &Thresholds,
        undefined: Option<f64>,
        confidence: Option<&Confidence>,
    ) -> Result<Measures, Error> {
        let steps = Steps::silent();
        self.measures_told(names, clusters, thresholds, undefined, confidence, &steps)
    }

    /// As [`measures`](Self::measures), and tells of the draws.
    pub(crate) fn measures_told(
        &self,
        names: &[String],
        clusters: &Clusters<'_>,
        thresholds: &Thresholds,
        undefined: Option<f64>,
        confidence: Option<&Confidence>,
        steps: &Steps<'_>,
    ) -> Result<Measures, Error> {
        let table = Named {
            names,
            classes: &self.classes,
        };
        let ci = match confidence {
            Some(confidence) => self.intervals(&table, clusters, undefined, confidence, steps)?,
            None => None,
        };
        Ok(Measures {
            values: self.values(&table, thresholds, undefined),
            ci,
        })
    }

    fn values(
        &self,
        table: &Named<'_>,
        thresholds: &Thresholds,
        undefined: Option<f64>,
    ) -> Map<String, Value> {
        let once = self.once();
        let aurocs = self.auroc();
        let precisions = per_class(&self.classes, &once, average_precision);
        let answers = self.answers(thresholds);
        let [brier, expected] = self.calibration();
        let micro = match self.classes.len() {
            1 => None,
            _ => auroc(&Ranked::pooled(&self.classes), &once),
        };
        let numbers = [
            ("auroc_macro", self.auroc_macro(undefined)),
            ("auroc_micro", micro),
            ("average_precision_macro", mean_defined(&precisions)),
            ("accuracy", self.accuracy(&once)),
            ("balanced_accuracy", self.balanced_accuracy(&answers)),
            ("f1_macro", mean_defined(&map(&answers, Confusion::f1))),
            ("brier", brier),
            ("ece", expected),
        ];
        let mut values = Map::new();
        for (name, value) in numbers {
            values.extend(value.map(|value| (name.to_owned(), value.into())));
        }
        let pairs = self.classes.iter().zip(&aurocs);
        let undefined = pairs.filter(|(_, auroc)| auroc.is_none());
        let undefined: Vec<&str> = undefined.map(|(class, _)| table.name(class)).collect();
        if !undefined.is_empty() {
            values.insert("auroc_undefined".into(), json!(undefined));
        }
        let positives = self.classes.iter().map(|class| class.totals(&once)[0]);
        values.insert("positives".into(), table.map(positives.map(Some)));
        for (name, found) in of_classes(&answers, aurocs, precisions) {
            values.insert(name.into(), table.map(found.into_iter()));
        }
        if !self.answers_by_highest() {
            let at = table.map(thresholds.values.iter().copied().map(Some));
            values.insert("threshold_rule".into(), thresholds.rule.into());
            values.insert("thresholds".into(), at);
        }
        values
    }

    fn intervals(
        &self,
        table: &Named<'_>,
        clusters: &Clusters<'_>,
        undefined: Option<f64>,
        confidence: &Confidence,
        steps: &Steps<'_>,
    ) -> Result<Option<Map<String, Value>>, Error> {
        let level = Level::new(confidence.level)?;
        let bootstrap = match Bootstrap::new(&clusters.names, confidence.draws, confidence.seed) {
            Err(Error::Measure(MeasureError::TooFewPatients { .. })) => return Ok(None),
            made => made?,
        };
        // Each draw is made for three measures.
        let count = steps.count("intervals", 3 * confidence.draws, "draws");
        let first = self.classes.first().map(Ranked::class);
        let sampled = |measure: fn(&Ranked, &Weights) -> Option<f64>| {
            bootstrap.intervals(level, &self.classes, |class, weights| {
                count.add(usize::from(Some(class.class()) == first));
                measure(class, weights)
            })
        };
        let (aurocs, precisions) = (sampled(auroc), sampled(average_precision));
        let accuracy = bootstrap.interval(level, |weights| {
            count.add(1);
            self.accuracy(weights)
        });
        let share = match undefined {
            Some(_) => self.auroc().iter().flatten().count() as f64 / self.classes.len() as f64,
            None => 1.0,
        };
        let all = [
            ("auroc_macro", scaled(&aurocs.mean, share)),
            ("average_precision_macro", scaled(&precisions.mean, 1.0)),
            ("accuracy", scaled(&accuracy, 1.0)),
        ];
        let mut ci = Map::from_iter([
            ("level".to_owned(), json!(confidence.level)),
            (
                "method".to_owned(),
                json!(format!("bootstrap of {}s", clusters.word)),
            ),
            ("draws".to_owned(), json!(confidence.draws)),
            ("seed".to_owned(), json!(confidence.seed)),
        ]);
        for (name, bounds) in all {
            ci.extend(bounds.map(|bounds| (name.to_owned(), json!(bounds))));
        }
        let per_class = |found: &SampledClasses| {
            table.map(found.classes.iter().map(|class| scaled(class, 1.0)))
        };
        ci.insert("auroc_per_class".into(), per_class(&aurocs));
        ci.insert("average_precision_per_class".into(), per_class(&precisions));
        Ok(Some(ci))
    }
}

/// Classes with their names.
struct Named<'a> {
    names: &'a [String],
    classes: &'a [Ranked],
}

impl Named<'_> {
    fn name(&self, class: &Ranked) -> &str {
        &self.names[class.class()]
    }

    /// A map from names to values, without the classes that have none.
    fn map<T: Into<Value>>(&self, values: impl Iterator<Item = Option<T>>) -> Value {
        let pairs = self.classes.iter().zip(values);
        let named =
            pairs.filter_map(|(class, value)| Some((self.name(class).to_owned(), value?.into())));
        Value::Object(named.collect())
    }
}

/// Measures of each class by name.
fn of_classes(
    answers: &[Confusion],
    aurocs: Vec<Option<f64>>,
    precisions: Vec<Option<f64>>,
) -> [(&'static str, Vec<Option<f64>>); 5] {
    [
        ("auroc_per_class", aurocs),
        ("average_precision_per_class", precisions),
        ("f1_per_class", map(answers, Confusion::f1)),
        (
            "sensitivity_per_class",
            map(answers, Confusion::sensitivity),
        ),
        (
            "specificity_per_class",
            map(answers, Confusion::specificity),
        ),
    ]
}

fn map(answers: &[Confusion], measure: fn(&Confusion) -> Option<f64>) -> Vec<Option<f64>> {
    answers.iter().map(measure).collect()
}

fn scaled(sampled: &Sampled, factor: f64) -> Option<Vec<f64>> {
    let bounds = |interval: Interval| vec![interval.low * factor, interval.high * factor];
    sampled.interval.map(bounds)
}

#[cfg(test)]
mod tests;
