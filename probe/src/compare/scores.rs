//! Comparison by the scores of cases.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::{AUROC, More, Tested, check_recorded, recorded};
use crate::Error;
use crate::error::MeasureError;
use crate::examples::Clusters;
use crate::metrics::bootstrap::{self, Bootstrap};
use crate::metrics::confidence::Level;
use crate::metrics::delong::delong_test;
use crate::metrics::mcnemar::mcnemar;
use crate::metrics::measures::{Confidence, Scored};
use crate::metrics::ranked::{auroc, mean_of_all, per_class};
use crate::metrics::weights::Weights;
use crate::predictions::Predictions;
use crate::protocol::Protocol;
use crate::record::RunRecord;

/// Scores of the same cases.
struct Pair<'a> {
    scored: &'a [Scored; 2],
}

/// Compares the macro AUROCs of two records.
pub(super) fn compare(
    runs: &Path,
    records: [&RunRecord; 2],
    confidence: &Confidence,
) -> Result<Tested, Error> {
    let [first, second] = records;
    let ((a, names), (b, other_names)) = (read(runs, first)?, read(runs, second)?);
    let b = b.in_order_of(&a.cases)?;
    if names != other_names || a.targets != b.targets {
        return Err(Error::Measure(MeasureError::UnlikeCases));
    }
    let scored = [Scored::new(&a)?, Scored::new(&b)?];
    let pair = Pair { scored: &scored };
    let clusters = Clusters::of(&a.cases);
    let mut units = clusters.names.clone();
    units.sort_unstable();
    units.dedup();
    let mut tested = Tested {
        cases: a.cases.len(),
        unit: clusters.word,
        units: units.len(),
        values: [0, 1].map(|i| scored[i].auroc_macro(None)),
        recorded: records.map(|record| recorded(record, AUROC)),
        ..Tested::default()
    };
    if units.len() == a.cases.len() {
        tested.more.p_delong = pair.delong(&names)?;
        tested.more.p_mcnemar = pair.mcnemar()?;
    }
    if units.len() < 2 {
        return Ok(tested.with(None));
    }
    let bootstrap = Bootstrap::new(&clusters.names, confidence.draws, confidence.seed)?;
    let level = Level::new(confidence.level)?;
    pair.accuracy(&bootstrap, level, &mut tested.more);
    Ok(tested.with(pair.auroc(&bootstrap, level)))
}

/// The scores of a record, and the classes' names.
fn read(runs: &Path, record: &RunRecord) -> Result<(Predictions, Vec<String>), Error> {
    let file = runs.join(record.predictions.as_deref().unwrap_or_default());
    let (predictions, names) = Predictions::read(&file)?;
    let protocol: Option<Protocol> = serde_json::from_value(json!(record.protocol)).ok();
    let undefined = protocol.and_then(Protocol::undefined_auroc);
    let found = Scored::new(&predictions)?.auroc_macro(undefined);
    check_recorded(record, AUROC, found, &file)?;
    Ok((predictions, names))
}

impl Pair<'_> {
    /// Difference of the macro AUROCs over the classes that have one without resampling; `None` if there are
    /// none.
    fn auroc(&self, bootstrap: &Bootstrap, level: Level) -> Option<bootstrap::Comparison> {
        let found = self.scored[0].auroc();
        let defined: Vec<usize> = (0..found.len()).filter(|&c| found[c].is_some()).collect();
        let mean = |of: usize, weights: &Weights| {
            let all = per_class(&self.scored[of].classes, weights, auroc);
            let values: Vec<_> = defined.iter().map(|&class| all[class]).collect();
            mean_of_all(&values)
        };
        bootstrap.compare(
            level,
            |weights| mean(0, weights),
            |weights| mean(1, weights),
        )
    }

    /// Difference of the accuracies, for exclusive classes.
    fn accuracy(&self, bootstrap: &Bootstrap, level: Level, more: &mut More) {
        let [Some(first), Some(second)] = [0, 1].map(|of: usize| self.scored[of].single.as_ref())
        else {
            return;
        };
        let right = [first.right(), second.right()];
        let accuracy = |of: usize, weights: &Weights| {
            let (mut hits, mut all) = (0.0, 0.0);
            for (case, &is_right) in right[of].iter().enumerate() {
                let weight = f64::from(weights.of(case));
                all += weight;
                hits += if is_right { weight } else { 0.0 };
            }
            (all > 0.0).then(|| hits / all)
        };
        let found = bootstrap.compare(level, |w| accuracy(0, w), |w| accuracy(1, w));
        more.accuracy_difference = found.map(|found| found.difference);
        let interval = found.and_then(|found| found.sampled.interval);
        more.accuracy_ci = interval.map(|of| [of.low, of.high]);
    }

    fn delong(&self, names: &[String]) -> Result<Map<String, Value>, Error> {
        let [first, second] = self.scored;
        let mut found = Map::new();
        for (a, b) in first.classes.iter().zip(&second.classes) {
            let p = delong_test(a, b)?.and_then(|difference| difference.p());
            found.insert(names[a.class()].clone(), json!(p));
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
