//! Tests of two backbones on the same cases.

use std::path::Path;

use serde::Serialize;
use serde_json::{Map, json};

use super::pairs::Pair;
use crate::Error;
use crate::examples::Case;
use crate::metrics::bootstrap::Bootstrap;
use crate::metrics::confidence::Level;
use crate::metrics::delong::delong_test;
use crate::metrics::mcnemar::mcnemar;
use crate::metrics::measures::{Confidence, Scored};
use crate::metrics::ranked::{auroc, mean_of_all, per_class};
use crate::metrics::weights::Weights;
use crate::predictions::Predictions;
use crate::protocol::Protocol;
use crate::record::RunRecord;

/// Maximum difference from the recorded value, by rounding.
const SAME: f64 = 1e-9;

/// Two backbones on the same cases. Keys that do not apply are `null`.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// The dataset.
    pub dataset: String,
    /// The probe.
    pub probe: String,
    /// Evaluation protocol.
    pub protocol: String,
    /// Settings of both, with all defaults filled in.
    pub settings: Map<String, serde_json::Value>,
    /// Backbone and size of the first, with its setting.
    pub first: [String; 2],
    /// The same of the second.
    pub second: [String; 2],
    /// Cases compared.
    pub cases: usize,
    /// Macro AUROC of the first and of the second, over the classes for which it is defined.
    pub auroc_macro: [Option<f64>; 2],
    /// Macro AUROC as it is recorded, by the rules of the protocol.
    pub recorded_auroc_macro: [Option<f64>; 2],
    /// The first less the second.
    pub difference: Option<f64>,
    /// `[low, high]` of the difference, by a bootstrap of patients.
    pub ci: Option<[f64; 2]>,
    /// Two-sided p-value of no difference, by the same draws.
    pub p_bootstrap: Option<f64>,
    /// Two-sided p-value of each class by DeLong's test, which assumes independent cases: only if no patient
    /// has several.
    pub p_delong: Map<String, serde_json::Value>,
    /// Two-sided p-value of equal accuracy by McNemar's test; only for exclusive classes and if no patient has
    /// several cases.
    pub p_mcnemar: Option<f64>,
}

/// Compares two records of a folder by their scores.
///
/// # Errors
///
/// [`Error::Input`] if a file of scores cannot be read, [`Error::OtherScores`] if it is not that of the
/// record, [`Error::UnlikeCases`] if they are of different cases or labels, [`Error::Level`] and
/// [`Error::Draws`].
pub fn compare(
    runs: &Path,
    Pair { first, second }: Pair<'_>,
    confidence: &Confidence,
) -> Result<Comparison, Error> {
    let ((a, names), (b, other_names)) = (read(runs, first)?, read(runs, second)?);
    let b = b.in_order_of(&a.cases)?;
    if names != other_names || a.targets != b.targets {
        return Err(Error::UnlikeCases);
    }
    let scored = [Scored::new(&a)?, Scored::new(&b)?];
    let label = |record: &RunRecord| {
        let backbone = format!("{}@{}", record.model, record.image_size);
        [backbone, record.setting.clone()]
    };
    let tested = Tested {
        scored: &scored,
        cases: &a.cases,
    };
    let bootstrap = tested.bootstrap(confidence)?;
    let independent = tested.is_independent();
    Ok(Comparison {
        dataset: first.dataset.clone(),
        probe: first.probe.clone(),
        protocol: first.protocol.clone(),
        settings: first.settings.clone(),
        first: label(first),
        second: label(second),
        cases: a.cases.len(),
        auroc_macro: [0, 1].map(|i| scored[i].auroc_macro(None)),
        recorded_auroc_macro: [first, second].map(recorded),
        difference: bootstrap.as_ref().map(|found| found.difference),
        ci: bootstrap.as_ref().and_then(|found| {
            let interval = found.sampled.interval?;
            Some([interval.low, interval.high])
        }),
        p_bootstrap: bootstrap.and_then(|found| found.p),
        p_delong: if independent {
            tested.delong(&names)?
        } else {
            Map::new()
        },
        p_mcnemar: if independent { tested.mcnemar()? } else { None },
    })
}

/// The scores of a record, and the classes' names.
fn read(runs: &Path, record: &RunRecord) -> Result<(Predictions, Vec<String>), Error> {
    let file = runs.join(record.predictions.as_deref().unwrap_or_default());
    let (predictions, names) = Predictions::read(&file)?;
    let protocol: Option<Protocol> = serde_json::from_value(json!(record.protocol)).ok();
    let undefined = protocol.and_then(Protocol::undefined_auroc);
    let found = Scored::new(&predictions)?.auroc_macro(undefined);
    match (found, recorded(record)) {
        (Some(found), Some(recorded)) if (found - recorded).abs() > SAME => {
            Err(Error::OtherScores {
                path: file,
                found,
                recorded,
            })
        }
        _ => Ok((predictions, names)),
    }
}

fn recorded(record: &RunRecord) -> Option<f64> {
    record.metrics.get("auroc_macro")?.as_f64()
}

struct Tested<'a> {
    scored: &'a [Scored; 2],
    cases: &'a [Case],
}

impl Tested<'_> {
    fn is_independent(&self) -> bool {
        let mut clusters: Vec<&str> = self.cases.iter().map(Case::cluster).collect();
        clusters.sort_unstable();
        clusters.windows(2).all(|pair| pair[0] != pair[1])
    }

    /// Difference of the macro AUROCs over the classes that have one without resampling; `None` if there are
    /// none, or only one patient.
    fn bootstrap(
        &self,
        confidence: &Confidence,
    ) -> Result<Option<crate::metrics::bootstrap::Comparison>, Error> {
        let clusters: Vec<&str> = self.cases.iter().map(Case::cluster).collect();
        let level = Level::new(confidence.level)?;
        let bootstrap = match Bootstrap::new(&clusters, confidence.draws, confidence.seed) {
            Err(Error::TooFewPatients { .. }) => return Ok(None),
            made => made?,
        };
        let found = self.scored[0].auroc();
        let defined: Vec<usize> = (0..found.len()).filter(|&c| found[c].is_some()).collect();
        let mean = |of: usize, weights: &Weights| {
            let all = per_class(&self.scored[of].classes, weights, auroc);
            let values: Vec<_> = defined.iter().map(|&class| all[class]).collect();
            mean_of_all(&values)
        };
        Ok(bootstrap.compare(
            level,
            |weights| mean(0, weights),
            |weights| mean(1, weights),
        ))
    }

    fn delong(&self, names: &[String]) -> Result<Map<String, serde_json::Value>, Error> {
        let [first, second] = self.scored;
        let mut found = Map::new();
        for (a, b) in first.classes.iter().zip(&second.classes) {
            let p = delong_test(a, b)?.and_then(|difference| difference.p());
            found.extend(p.map(|p| (names[a.class()].clone(), json!(p))));
        }
        Ok(found)
    }

    fn mcnemar(&self) -> Result<Option<f64>, Error> {
        let [first, second] = self.scored;
        match (&first.single, &second.single) {
            (Some(a), Some(b)) => Ok(Some(mcnemar(&a.right(), &b.right())?.p)),
            _ => Ok(None),
        }
    }
}
