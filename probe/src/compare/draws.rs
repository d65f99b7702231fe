//! Comparison by several draws of training patients, which are the same for both backbones.

use super::{Tested, recorded};
use crate::Error;
use crate::error::MeasureError;
use crate::evaluate::EXHAUSTED;
use crate::metrics::measures::Confidence;
use crate::record::RunRecord;

/// The measures of the draws of a record, at least two.
pub(super) fn of(record: &RunRecord, measure: &str) -> Option<Vec<f64>> {
    let draws = record.spread.as_ref()?.get(measure)?.get("draws")?;
    let draws = draws.as_array()?.iter().map(serde_json::Value::as_f64);
    let draws: Option<Vec<f64>> = draws.collect();
    draws.filter(|draws| draws.len() > 1)
}

/// Compares the means over draws of two records. What varies is the choice of the training patients; the cases
/// measured are the same in all draws, and their choice does not count.
pub(super) fn compare(
    records: [&RunRecord; 2],
    measure: &'static str,
    confidence: &Confidence,
) -> Result<Tested, Error> {
    let [Some(first), Some(second)] = records.map(|record| of(record, measure)) else {
        return Err(Error::Measure(MeasureError::UnlikeCases));
    };
    if first.len() != second.len() {
        return Err(Error::Measure(MeasureError::UnlikeCases));
    }
    let differences: Vec<f64> = first.iter().zip(&second).map(|(a, b)| a - b).collect();
    let level = confidence.level;
    let found = stats::paired::paired(&differences, level);
    let found = found.map_err(|_| Error::Measure(MeasureError::Level { found: level }))?;
    // Draws that take all examples differ by the seed of the head alone, and say nothing of other examples. Records
    // of earlier versions do not say so, but heads without a seed then have no spread.
    let take_all = |record: &RunRecord| record.params.get(EXHAUSTED) == Some(&true.into());
    let is_spread = !records.into_iter().any(take_all)
        && differences.iter().any(|value| *value != differences[0]);
    let interval = found.filter(|_| is_spread);
    let wilcoxon = stats::wilcoxon::wilcoxon(&differences);
    let values = records.map(|record| recorded(record, measure));
    let mut tested = Tested {
        cases: records[0].n_test,
        unit: "draw",
        units: differences.len(),
        values,
        recorded: values,
        difference: found.map(|found| found.mean),
        ci: interval.map(|found| found.interval),
        p: interval.map(|found| found.p),
        method: if is_spread {
            "t distribution over draws of training patients"
        } else {
            "none: all draws are of the same training patients"
        },
        ..Tested::default()
    };
    if is_spread {
        tested.more.p_wilcoxon = Some(wilcoxon.p);
        tested.more.rank_biserial = wilcoxon.rank_biserial;
    }
    Ok(tested)
}
