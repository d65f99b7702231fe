//! Whether two backbones differ on the same cases.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use serde_json::{Map, json};

use crate::Error;
use crate::examples::Case;
use crate::metrics::bootstrap::Bootstrap;
use crate::metrics::delong::delong_test;
use crate::metrics::level::Level;
use crate::metrics::mcnemar::mcnemar;
use crate::metrics::measures::{Confidence, Scored};
use crate::metrics::ranked::{auroc, mean_of_all, per_class};
use crate::metrics::scored::Weights;
use crate::predictions::Predictions;
use crate::record::RunRecord;

/// Two backbones on the same cases. Keys that do not apply are `null`.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// The dataset.
    pub dataset: String,
    /// The probe.
    pub probe: String,
    /// The rules.
    pub protocol: String,
    /// Backbone and size of the first, with its setting.
    pub first: [String; 2],
    /// The same of the second.
    pub second: [String; 2],
    /// Cases compared.
    pub cases: usize,
    /// Macro AUROC of the first and of the second, over the classes for which it is defined.
    pub auroc_macro: [Option<f64>; 2],
    /// The first less the second.
    pub difference: Option<f64>,
    /// `[low, high]` of the difference, by a bootstrap of patients.
    pub ci: Option<[f64; 2]>,
    /// Two-sided p-value of no difference, by the same draws.
    pub p_bootstrap: Option<f64>,
    /// Two-sided p-value of each class by DeLong's test, which takes cases as independent: only where
    /// no patient has several.
    pub p_delong: Map<String, serde_json::Value>,
    /// Two-sided p-value of equal accuracy by McNemar's test; only where a case is of one class and no
    /// patient has several.
    pub p_mcnemar: Option<f64>,
}

/// Pairs of records of the same evaluation on different backbones, by name; of a backbone the latest
/// record counts, and of several settings the one that was chosen.
pub fn pairs(records: &[RunRecord]) -> Vec<(&RunRecord, &RunRecord)> {
    let mut groups: BTreeMap<String, BTreeMap<(&str, u32), &RunRecord>> = BTreeMap::new();
    let compared = records.iter().filter(|record| record.predictions.is_some());
    for record in compared.filter(|record| record.chosen != Some(false)) {
        let setting = match record.chosen {
            Some(_) => "chosen",
            None => record.setting.as_str(),
        };
        let group = format!(
            "{} {} {} {:?} {} {:?} {} {setting}",
            record.dataset,
            record.probe,
            record.protocol,
            record.control,
            record.split,
            record.split_name,
            record.per_patient,
        );
        let backbone = (record.model.as_str(), record.image_size);
        groups.entry(group).or_default().insert(backbone, record);
    }
    let mut pairs = Vec::new();
    for group in groups.values() {
        let all: Vec<&RunRecord> = group.values().copied().collect();
        for (i, &first) in all.iter().enumerate() {
            pairs.extend(all[i + 1..].iter().map(|&second| (first, second)));
        }
    }
    pairs
}

/// Compares two records of a folder by their scores.
///
/// # Errors
///
/// [`Error::Input`] if a file of scores cannot be read, [`Error::UnlikeCases`] if they are of
/// different cases or labels, [`Error::Level`] and [`Error::Draws`].
pub fn compare(
    runs: &Path,
    first: &RunRecord,
    second: &RunRecord,
    confidence: &Confidence,
) -> Result<Comparison, Error> {
    let read = |record: &RunRecord| {
        let file = runs.join(record.predictions.as_deref().unwrap_or_default());
        Predictions::read(&file)
    };
    let ((a, names), (b, other_names)) = (read(first)?, read(second)?);
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
        first: label(first),
        second: label(second),
        cases: a.cases.len(),
        auroc_macro: [0, 1].map(|i| scored[i].auroc_macro(None)),
        difference: bootstrap.as_ref().map(|found| found.difference),
        ci: bootstrap.as_ref().and_then(|found| {
            let interval = found.sampled.interval?;
            Some([interval.low, interval.high])
        }),
        p_bootstrap: bootstrap.and_then(|found| found.p),
        p_delong: match independent {
            true => tested.delong(&names)?,
            false => Map::new(),
        },
        p_mcnemar: match independent {
            true => tested.mcnemar()?,
            false => None,
        },
    })
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

    /// The difference of the macro AUROCs over the classes that are defined without resampling; `None`
    /// where there are none, or only one patient.
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
