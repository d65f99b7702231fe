//! Seconds that evaluations take on two cores, by formulas with measured constants.

use cache::{CacheMeta, Task};
use serde_json::{Map, Value};

use super::jobs::Evaluation;
use crate::compare::{flatten, option};
use crate::record::RunRecord;

/// Epochs of the commands that have them, if none are given.
const EPOCHS: f64 = 10.0;
/// Blocks that `adapt` trains, if no number is given.
const BLOCKS: f64 = 4.0;
/// Random draws of a number of shots.
const DRAWS: f64 = 5.0;
/// Random permutations of labels.
const PERMUTATIONS: f64 = 20.0;
/// Values of C of DINOv2's evaluation.
const CS: f64 = 45.0;

/// Numbers of neighbours of the protocol `strict`.
const KS: f64 = 4.0;
/// Draws of patients for intervals.
const BOOTSTRAP: f64 = 1000.0;

/// Share of the slices that are evaluated.
const EVALUATED: f64 = 0.2;

/// The size of a cache.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    rows: f64,
    samples: f64,
    width: f64,
    patches: f64,
    /// Pixels of the input.
    pixels: f64,
    /// Outputs of a head.
    outputs: f64,
    /// Classes of pixels.
    structures: f64,
    is_multi_label: bool,
}

/// What the time of an evaluation depends on beside its cache.
#[derive(Clone, Debug, Default)]
pub(super) struct Work {
    probe: String,
    /// Options, by their names on the command line.
    options: Map<String, Value>,
}

impl Extent {
    pub(super) fn of(meta: &CacheMeta) -> Extent {
        let classes = meta.classes.len() as f64;
        let is_multi_label = meta.task == Task::MultiLabel;
        Extent {
            rows: meta.rows as f64,
            samples: meta.samples as f64,
            width: f64::from(meta.width),
            patches: f64::from(meta.grid[0]) * f64::from(meta.grid[1]),
            pixels: f64::from(meta.image_size).powi(2),
            outputs: if classes == 2.0 && !is_multi_label {
                1.0
            } else {
                classes.max(1.0)
            },
            structures: 1.0 + meta.mask_classes.len().max(1) as f64,
            is_multi_label,
        }
    }
}

impl Work {
    pub(super) fn of(evaluation: &Evaluation<'_>) -> Work {
        let options = serde_json::to_value(evaluation.options()).ok();
        let options = options.and_then(|options| options.as_object().cloned());
        Work {
            probe: evaluation.job.probe.into(),
            options: options.unwrap_or_default(),
        }
    }

    /// The work of a recorded evaluation; its settings hold all defaults.
    pub(super) fn of_record(record: &RunRecord) -> Work {
        let mut flat = Map::new();
        flatten("", &record.settings, &mut flat);
        flat.retain(|_, value| !value.is_null());
        let options = flat.into_iter();
        let options = options.map(|(name, value)| (option(&name), value));
        let mut options: Map<String, Value> = options.collect();
        let draws = record.settings.get("confidence");
        let draws = draws.and_then(|confidence| confidence.get("draws"));
        options.insert("bootstrap".into(), draws.cloned().unwrap_or(0.into()));
        // Of few shots, the settings are those of the head.
        if let Some(head) = options.remove("probe") {
            options.insert("head".into(), head);
        }
        Work {
            probe: record.probe.clone(),
            options,
        }
    }

    pub(super) fn probe(&self) -> &str {
        &self.probe
    }

    /// Whether times of both can be compared: the same probe with the same head or decoder, on all examples or on few.
    pub(super) fn is_like(&self, other: &Work) -> bool {
        let kind = |work: &Work| (work.probe.clone(), work.part().to_owned(), work.is_few());
        kind(self) == kind(other)
    }

    /// Seconds on a cache. Constants are those of two cores of an AMD EPYC, of the evaluations in `docs/benchmarks.md`.
    pub(super) fn seconds(&self, on: &Extent) -> f64 {
        match self.probe.as_str() {
            "segment" => self.decoder(on),
            "adapt" => {
                // Trained on `train`, then on `train` and `val`.
                let steps = 2.0 * on.rows * self.number("epochs", EPOCHS);
                let step = 2.6e-10 * on.patches * on.width.powi(2);
                steps * step * self.number("blocks", BLOCKS) + self.intervals(on)
            }
            "few-shot" => {
                // The scores of all others, for each draw.
                let scores = 1e-9 * on.rows * on.width * on.outputs;
                let draws = self.draws(on, on.outputs);
                let draws = draws
                    .map(|(draws, rows)| draws * (self.head(&Extent { rows, ..*on }) + scores));
                draws.sum::<f64>() * self.repeats()
            }
            _ => match self.repeats() {
                1.0 => self.head(on) + self.intervals(on),
                repeats => self.head(on) * repeats,
            },
        }
    }

    /// Seconds of a head that is fitted once, with the choice of its settings.
    fn head(&self, on: &Extent) -> f64 {
        let Extent {
            rows,
            width,
            outputs,
            ..
        } = *on;
        match self.part() {
            "knn" => {
                // ML-kNN also searches for the neighbours of all training examples.
                let searches = if on.is_multi_label { 1.0 } else { EVALUATED };
                1.3e-11 * searches * rows * rows * width
            }
            "ridge" => 1e-10 * rows * width * rows.min(width),
            "logreg" => 5e-10 * rows * width * rows.min(width) * outputs * self.count("C", CS) / CS,
            "centroid" => 1e-9 * rows * width,
            // The CLS tokens of some blocks, with and without the mean of patch tokens.
            _ => {
                let inputs: f64 = self
                    .numbers("blocks", &[1.0, 4.0])
                    .map(|blocks| 2.0 * blocks + 1.0)
                    .sum();
                let heads = inputs * self.count("lr", 8.0) * outputs;
                1.4e-10 * rows * width * heads * self.number("epochs", EPOCHS)
            }
        }
    }

    /// Seconds of the intervals of results on all examples.
    fn intervals(&self, on: &Extent) -> f64 {
        let results = match self.part() {
            "knn" => self.count("k", KS),
            _ => 1.0,
        };
        let draws = self.number("bootstrap", BOOTSTRAP) * results;
        1.5e-8 * draws * EVALUATED * on.rows * on.outputs
    }

    /// Seconds of decoders.
    fn decoder(&self, on: &Extent) -> f64 {
        let pixels = on.pixels * on.structures;
        let slice = match self.part() {
            "unet" => 1.4e-9 * on.patches * on.width.powi(2) + 5e-8 * pixels,
            _ => 1.7e-9 * pixels + 1.5e-10 * on.patches * on.width * on.structures,
        };
        // All learning rates are trained on `train`, and the chosen one again.
        let passes = match self.count("lr", 4.0) {
            1.0 => 1.0,
            several => several + 1.0,
        };
        let slices: f64 = self.draws(on, 1.0).map(|(draws, rows)| draws * rows).sum();
        slice * slices * passes * self.number("epochs", EPOCHS)
    }

    /// The head or decoder; the probe itself if it has none.
    fn part(&self) -> &str {
        let word = |name: &str| self.options.get(name).and_then(Value::as_str);
        match self.probe.as_str() {
            "segment" => word("decoder").unwrap_or("linear"),
            "few-shot" => word("head").unwrap_or("linear"),
            probe => probe,
        }
    }

    fn is_few(&self) -> bool {
        let of_numbers = |shots: &Value| shots.to_string().contains(|c: char| c.is_ascii_digit());
        self.probe == "few-shot" || self.options.get("shots").is_some_and(of_numbers)
    }

    /// Evaluations of a control with shuffled labels, and of the true labels; else 1.
    fn repeats(&self) -> f64 {
        let is_shuffled = self.options.get("control") == Some(&"shuffled-labels".into());
        match self.options.get("permutations").and_then(Value::as_f64) {
            Some(permutations) => permutations + 1.0,
            None if is_shuffled => PERMUTATIONS + 1.0,
            None => 1.0,
        }
    }

    /// For each number of shots, its draws and the slices of one; `groups` are drawn from, each as many patients.
    fn draws(&self, on: &Extent, groups: f64) -> impl Iterator<Item = (f64, f64)> {
        let default = match self.probe.as_str() {
            "few-shot" => &[1.0, 2.0, 4.0, 8.0, 16.0, f64::INFINITY][..],
            _ => &[f64::INFINITY],
        };
        let repeats = self.number("repeats", DRAWS);
        let (all, slices) = (on.rows, groups * on.rows / on.samples.max(1.0));
        self.numbers("shots", default).map(move |shots| {
            if shots.is_finite() {
                (repeats, (shots * slices).min(all))
            } else {
                (1.0, all)
            }
        })
    }

    fn number(&self, option: &str, default: f64) -> f64 {
        let found = self.options.get(option);
        found.and_then(Value::as_f64).unwrap_or(default)
    }

    /// The numbers of a list, or the only one; a word or nothing, as in `shots`, stands for all.
    fn numbers(&self, option: &str, default: &[f64]) -> impl Iterator<Item = f64> + use<> {
        let of = |value: &Value| value.as_f64().unwrap_or(f64::INFINITY);
        let found: Vec<f64> = match self.options.get(option) {
            Some(Value::Array(values)) => values.iter().map(of).collect(),
            Some(value) => vec![of(value)],
            None => default.to_vec(),
        };
        found.into_iter()
    }

    /// The length of a list; 1 for a single value.
    fn count(&self, option: &str, default: f64) -> f64 {
        match self.options.get(option) {
            Some(Value::Array(values)) => values.len() as f64,
            // The rates of DINOv2's evaluation.
            Some(Value::String(word)) if word == "dinov2" => 13.0,
            Some(_) => 1.0,
            None => default,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::record::tests::record;

    const CACHE: Extent = Extent {
        rows: 1000.0,
        samples: 1000.0,
        width: 384.0,
        patches: 256.0,
        pixels: 50_176.0,
        outputs: 14.0,
        structures: 3.0,
        is_multi_label: true,
    };

    fn work(probe: &str, options: Value) -> Work {
        Work {
            probe: probe.into(),
            options: options.as_object().cloned().unwrap(),
        }
    }

    #[test]
    fn work_grows_with_the_options_that_cost_time() {
        let seconds = |probe: &str, mut options: Value| {
            options["bootstrap"] = 0.into();
            work(probe, options).seconds(&CACHE)
        };
        for (probe, few, many, ratio) in [
            ("linear", json!({"lr": 0.1}), json!({}), 8.0),
            ("linear", json!({"epochs": 1}), json!({"epochs": 10}), 10.0),
            ("linear", json!({"blocks": 1}), json!({}), 4.0),
            ("logreg", json!({"C": [0.1, 1.0, 10.0]}), json!({}), 15.0),
            (
                "knn",
                json!({}),
                json!({"control": "shuffled-labels"}),
                21.0,
            ),
            (
                "knn",
                json!({"control": "metadata-only"}),
                json!({"control": "shuffled-labels", "permutations": 3}),
                4.0,
            ),
            ("segment", json!({"lr": 1}), json!({}), 5.0),
            ("segment", json!({"shots": [10]}), json!({}), 20.0),
            ("adapt", json!({"blocks": 1, "epochs": 5}), json!({}), 8.0),
        ] {
            let found = seconds(probe, many.clone()) / seconds(probe, few.clone());
            assert!(
                (found - ratio).abs() < 1e-9,
                "{probe} {few} {many}: {found}"
            );
        }
        let more = Extent {
            structures: 6.0,
            ..CACHE
        };
        let linear = work("segment", json!({}));
        assert!((linear.seconds(&more) / linear.seconds(&CACHE) - 2.0).abs() < 1e-9);
    }

    #[test]
    fn a_record_has_the_work_of_its_options() {
        let rates = [0.1_f32, 0.01];
        for (probe, options, settings) in [
            (
                "linear",
                json!({"epochs": 3, "lr": rates, "control": "shuffled-labels", "permutations": 3}),
                json!({
                    "probe": "linear", "learning_rates": rates, "blocks": [1, 4], "epochs": 3,
                    "control": {"shuffled-labels": {"permutations": 3}},
                }),
            ),
            (
                "few-shot",
                json!({"head": "linear", "shots": [1, "all"], "repeats": 2}),
                json!({
                    "probe": "linear", "learning_rates": [1, 2, 3, 4, 5, 6, 7, 8], "blocks": [1, 4], "epochs": 10,
                    "few_shot": {"shots": [1, null], "repeats": 2}, "control": null,
                }),
            ),
            (
                "segment",
                json!({"decoder": "unet", "lr": 0.1}),
                json!({
                    "probe": "segment", "decoder": "unet", "learning_rates": [0.1], "epochs": 10, "shots": [null],
                    "repeats": 5,
                }),
            ),
        ] {
            let recorded = Work::of_record(&RunRecord {
                probe: probe.into(),
                settings: settings.as_object().cloned().unwrap(),
                ..record()
            });
            let mut typed = work(probe, options);
            typed.options.insert("bootstrap".into(), 0.into());
            assert!(recorded.is_like(&typed), "{probe}");
            let found = recorded.seconds(&CACHE) / typed.seconds(&CACHE);
            assert!((found - 1.0).abs() < 1e-9, "{probe}: {found}");
        }
    }
}
