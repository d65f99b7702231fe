//! Learning curves of results of few shots: the error as a power law of the number of training patients.

use serde_json::{Map, Value, json};
use stats::curve::{self, Fit, Size};
use stats::resample::Draws;

use crate::evaluate::hash;
use crate::metrics::measures::Confidence;
use crate::record::RunRecord;

/// Name of the file of the records of curves.
pub const NAME: &str = "curve";
/// Measures whose distance from 1 is the error, with their names for people.
const MEASURES: [(&str, &str); 3] = [
    ("dice_macro", "Dice"),
    ("dice_pooled", "Dice"),
    ("auroc_macro", "AUROC"),
];
/// Points of the line that is recorded for a figure.
const LINE: usize = 40;

/// What a curve is fitted with.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    /// AUROCs or Dice coefficients for which to tell the patients needed.
    pub targets: &'a [f64],
    /// Draws, level and seed of the intervals.
    pub confidence: Confidence,
}

impl Wanted<'_> {
    /// The key of the curve through the results of a key.
    pub fn key(&self, of: &str) -> String {
        let (targets, confidence) = (self.targets, self.confidence);
        hash(&json!({"curve of": of, "targets": targets, "confidence": confidence}))
    }

    /// The record of the curve through the results of one few-shot evaluation, at least one: `params` has the
    /// measured points, the fitted parameters with intervals, a line for a figure, and for each target the
    /// patients needed; or, as `refused`, the reason why there are none.
    pub fn record(&self, results: &[RunRecord]) -> RunRecord {
        let mut results: Vec<&RunRecord> = results.iter().collect();
        let unit = unit(&results);
        let (measure, _) = measured(&results[0].metrics);
        results.sort_by(|a, b| number(a, unit).total_cmp(&number(b, unit)));
        let size = |result: &&RunRecord| {
            Some(Size {
                n: number(result, unit),
                errors: errors(result, measure)?,
            })
        };
        let sizes: Vec<Size> = results.iter().filter_map(size).collect();
        let first = results[0];
        let mut params = Map::new();
        let of = |name: &str| first.params.get(name).cloned();
        let head = of("head").or_else(|| of("decoder")).unwrap_or_default();
        params.insert("head".into(), head);
        params.insert("measure".into(), measure.into());
        params.insert("unit".into(), unit.into());
        params.insert("few_shot_key".into(), first.key.clone().into());
        params.insert("points".into(), sizes.iter().map(point).collect());
        let Confidence { draws, level, seed } = self.confidence;
        let draws = Draws {
            count: draws,
            seed,
            level,
        };
        match curve::fit(&sizes, &draws) {
            Ok(fit) => self.fitted(&fit, &mut params),
            Err(refused) => drop(params.insert("refused".into(), refused.to_string().into())),
        }
        let head = params["head"].as_str().unwrap_or("few-shot").to_owned();
        RunRecord {
            probe: NAME.into(),
            setting: head,
            name: String::new(),
            params,
            metrics: Map::new(),
            ci: None,
            spread: None,
            chosen: None,
            chosen_on: None,
            warnings: Vec::new(),
            predictions: None,
            head: None,
            n_train: results.last().map_or(0, |result| result.n_train),
            result: 1,
            results: 1,
            key: self.key(&first.key),
            time: crate::record::now(),
            ..first.clone()
        }
    }

    fn fitted(&self, fit: &Fit, params: &mut Map<String, Value>) {
        let [floor, scale, exponent] = fit.intervals;
        params.insert("curve".into(), json!(fit.curve));
        let intervals = json!({"floor": floor, "scale": scale, "exponent": exponent});
        params.insert("intervals".into(), intervals);
        params.insert("confidence".into(), json!(self.confidence));
        params.insert("failed_draws".into(), fit.failed.into());
        let needs: Vec<Value> = self.targets.iter().map(|&of| need(fit, of)).collect();
        let most = needs
            .iter()
            .filter_map(|need| need.get("patients")?.as_f64());
        let most = most.fold(fit.most(), f64::max);
        params.insert("targets".into(), needs.into());
        params.insert("line".into(), line(fit, most).into());
    }
}

/// The measure of some results by their name in records and for people.
fn measured(metrics: &Map<String, Value>) -> (&'static str, &'static str) {
    let mut known = MEASURES.into_iter();
    let found = known.find(|(name, _)| metrics.contains_key(*name));
    found.unwrap_or(("auroc_macro", "AUROC"))
}

/// The measure of the record of a curve, for people.
pub(crate) fn measure_of(curve: &RunRecord) -> &'static str {
    let name = curve.params.get("measure").and_then(Value::as_str);
    let mut known = MEASURES.into_iter();
    let found = known.find(|(known, _)| Some(*known) == name);
    found.map_or("AUROC", |(_, title)| title)
}

/// What the results count: training patients (or samples) if they were drawn, else examples.
fn unit(results: &[&RunRecord]) -> &'static str {
    let of = |name: &str| {
        results
            .iter()
            .all(|result| result.params.contains_key(name))
    };
    if !of("patients_per_draw") || results.iter().any(|result| draws_examples(result)) {
        "example"
    } else if results
        .iter()
        .any(|result| result.params.get("patient_unit") == Some(&json!("sample")))
    {
        "sample"
    } else {
        "patient"
    }
}

fn draws_examples(result: &RunRecord) -> bool {
    result.params.get("draw_of") == Some(&json!("examples"))
}

/// Where a result is on the curve that was fitted to it and others: the number of units.
pub(crate) fn place(result: &RunRecord, curve: &RunRecord) -> f64 {
    let unit = curve.params.get("unit").and_then(Value::as_str);
    number(result, unit.unwrap_or("patient"))
}

/// The measure of a curve at a number of units; `None` if none was fitted.
pub(crate) fn on_curve(curve: &RunRecord, n: f64) -> Option<f64> {
    let of = |name: &str| curve.params.get("curve")?.get(name)?.as_f64();
    Some(1.0 - of("floor")? - of("scale")? * libm::pow(n, -of("exponent")?))
}

/// The mean number of units over the draws of a result.
fn number(result: &RunRecord, unit: &str) -> f64 {
    let name = if unit == "example" {
        "train_per_draw"
    } else {
        "patients_per_draw"
    };
    let of_draws = result.params.get(name).and_then(Value::as_array);
    let of_draws: Vec<f64> = of_draws
        .into_iter()
        .flatten()
        .filter_map(Value::as_f64)
        .collect();
    if of_draws.is_empty() {
        return result.n_train as f64;
    }
    of_draws.iter().sum::<f64>() / of_draws.len() as f64
}

/// The error of each draw of a result.
fn errors(result: &RunRecord, measure: &str) -> Option<Vec<f64>> {
    let draws = result
        .spread
        .as_ref()
        .and_then(|of| of.get(measure)?.get("draws")?.as_array());
    let error = |value: &Value| value.as_f64().map(|value| 1.0 - value);
    match draws {
        Some(draws) => draws.iter().map(error).collect(),
        None => Some(vec![error(result.metrics.get(measure)?)?]),
    }
}

fn point(size: &Size) -> Value {
    let values: Vec<f64> = size.errors.iter().map(|error| 1.0 - error).collect();
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    json!({"n": size.n, "mean": mean, "draws": values})
}

/// The patients needed for a value of the measure, or the reason why they are not known.
fn need(fit: &Fit, target: f64) -> Value {
    match fit.needed(1.0 - target) {
        Ok(need) => {
            let (low, high) = (need.low, need.high);
            json!({"target": target, "patients": need.patients, "low": low, "high": high, "extrapolated": need.is_extrapolated})
        }
        Err(unmet) => json!({"target": target, "refused": unmet.to_string()}),
    }
}

/// Expected measures with intervals, at equal ratios from the fewest measured patients to the most.
fn line(fit: &Fit, most: f64) -> Vec<Value> {
    let least = fit.points[0][0];
    let step = (most / least).ln() / (LINE - 1) as f64;
    let at = |step: f64| {
        let n = least * step.exp();
        let [low, high] = fit.error_interval(n);
        json!({"n": n, "mean": 1.0 - fit.curve.error(n), "low": 1.0 - high, "high": 1.0 - low})
    };
    (0..LINE).map(|number| at(step * number as f64)).collect()
}

#[cfg(test)]
mod tests;
