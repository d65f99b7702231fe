//! Logistic regressions are scikit-learn's; `scripts/dev/golden_logreg.py` wrote them down.
#![allow(clippy::unwrap_used, reason = "a test")]

use half::f16;
use ndarray::{Array2, ArrayView2, s};
use probe::Error;
use probe::error::LogregError;
use probe::probes::linear::{Link, logits};
use probe::probes::logreg::{Data, Fit, Solver, fit};
use probe::targets::Targets;
use serde_json::Value;

/// The tolerance of losses and probabilities, which scikit-learn computed in f64.
const TOLERANCE: f64 = 1e-6;

fn golden() -> Value {
    read("logreg.json")
}

fn read(name: &str) -> Value {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/");
    serde_json::from_slice(&std::fs::read(format!("{folder}{name}")).unwrap()).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    let values = value.as_array().unwrap().iter();
    values.map(|n| n.as_f64().unwrap_or(f64::NAN)).collect()
}

fn matrix(value: &Value) -> Array2<f64> {
    let rows: Vec<Vec<f64>> = value.as_array().unwrap().iter().map(numbers).collect();
    Array2::from_shape_vec((rows.len(), rows[0].len()), rows.concat()).unwrap()
}

/// Features and targets of a case; blank targets are null.
struct Case {
    x: Array2<f16>,
    labels: Vec<u32>,
    present: Array2<Option<bool>>,
    classes: usize,
}

impl Case {
    fn new(golden: &Value, case: &Value) -> Case {
        let is_multi = case["targets"][0].is_array();
        let (labels, present) = if is_multi {
            (Vec::new(), matrix(&case["targets"]))
        } else {
            (numbers(&case["targets"]), Array2::zeros((0, 0)))
        };
        Case {
            x: matrix(case.get("x").unwrap_or(&golden["x"])).mapv(f16::from_f64),
            labels: labels.into_iter().map(|label| label as u32).collect(),
            present: present.mapv(|y| (!y.is_nan()).then_some(y == 1.0)),
            classes: case["classes"].as_u64().unwrap() as usize,
        }
    }

    fn targets(&self) -> Targets {
        if self.labels.is_empty() {
            Targets::Multi(self.present.clone())
        } else {
            Targets::Single(self.labels.clone())
        }
    }

    fn fit_by(&self, cs: &[f64], solver: Solver) -> Result<Vec<Fit>, Error> {
        let data = Data {
            features: self.x.view(),
            targets: &self.targets(),
            classes: self.classes,
        };
        fit(&data, cs, solver)
    }

    fn fit(&self, cs: &[f64]) -> Result<Vec<Fit>, Error> {
        self.fit_by(cs, Solver::Lbfgs)
    }

    fn probabilities(&self, fit: &Fit, x: ArrayView2<'_, f16>) -> Array2<f64> {
        let (weight, bias) = (fit.weight.mapv(|w| w as f32), fit.bias.mapv(|b| b as f32));
        let logits = logits(x, weight.view(), bias.view());
        let is_single = !self.labels.is_empty();
        Link::Softmax.scores(logits, is_single, self.classes).values
    }

    /// The objective in f64, from the probabilities.
    fn loss(&self, fit: &Fit) -> f64 {
        let probabilities = self.probabilities(fit, self.x.view());
        let entropy: f64 = if !self.labels.is_empty() {
            let each = self.labels.iter().zip(probabilities.outer_iter());
            each.map(|(&label, p)| -p[label as usize].ln()).sum()
        } else {
            let each = self.present.iter().zip(&probabilities);
            each.map(|(present, p)| match present {
                Some(true) => -p.ln(),
                Some(false) => -(1.0 - p).ln(),
                None => 0.0,
            })
            .sum()
        };
        entropy + fit.weight.iter().map(|w| w * w).sum::<f64>() / (2.0 * fit.c)
    }
}

/// The objective in f64, from the weights.
fn exact_loss(case: &Case, fit: &Fit) -> f64 {
    let x = case.x.mapv(f64::from);
    let logits = x.dot(&fit.weight.t()) + &fit.bias;
    // ln(1 + exp(-margin)), without the rounding of 1 + a little.
    let logistic = |margin: f64| (-margin).max(0.0) + (-margin.abs()).exp().ln_1p();
    let entropy: f64 = if case.labels.is_empty() {
        let each = case.present.iter().zip(&logits);
        each.map(|(present, &z)| present.map_or(0.0, |y| logistic(if y { z } else { -z })))
            .sum()
    } else if case.classes == 2 {
        let each = case.labels.iter().zip(logits.column(0));
        each.map(|(&label, &z)| logistic(if label == 1 { z } else { -z }))
            .sum()
    } else {
        let each = case.labels.iter().zip(logits.outer_iter());
        each.map(|(&label, z)| {
            let others = z.iter().enumerate().filter(|(k, _)| *k != label as usize);
            others
                .map(|(_, other)| (other - z[label as usize]).exp())
                .sum::<f64>()
                .ln_1p()
        })
        .sum()
    };
    entropy + fit.weight.iter().map(|w| w * w).sum::<f64>() / (2.0 * fit.c)
}

fn cases(golden: &Value) -> Vec<(String, Case, Value)> {
    let cases = golden["cases"].as_array().unwrap().iter();
    cases
        .map(|case| {
            (
                case["name"].to_string(),
                Case::new(golden, case),
                case.clone(),
            )
        })
        .collect()
}

/// Three classes far apart in one feature.
fn three(labels: &[u32]) -> Case {
    Case {
        x: Array2::from_shape_fn((labels.len(), 2), |(i, j)| {
            f16::from_f32(labels[i] as f32 + 0.7 * ((i * 5 + j * 3) % 7) as f32)
        }),
        labels: labels.to_vec(),
        present: Array2::default((0, 0)),
        classes: 3,
    }
}

#[test]
fn losses_and_probabilities_are_those_of_scikit_learn() {
    let golden = golden();
    let cs = numbers(&golden["cs"]);
    for (name, case, expected) in cases(&golden) {
        let losses = numbers(&expected["losses"]);
        for (k, fit) in case.fit(&cs).unwrap().iter().enumerate() {
            let what = format!("{name} C = {}", fit.c);
            assert!(fit.converged, "{what}");
            assert!(
                (fit.loss / losses[k] - 1.0).abs() < TOLERANCE,
                "{what}: {} {}",
                fit.loss,
                losses[k]
            );
            let loss = case.loss(fit);
            assert!(
                (loss / losses[k] - 1.0).abs() < TOLERANCE,
                "{what}: {loss} {}",
                losses[k]
            );
            let found = case.probabilities(fit, case.x.slice(s![..20, ..]));
            let difference = found - matrix(&expected["probabilities"][k]);
            let most = difference.fold(0.0, |a: f64, b| a.max(b.abs()));
            // Flat directions: a loss to 1e-8 leaves its place open to the root of that.
            assert!(most < 3e-4, "{what}: {most}");
        }
    }
}

#[test]
fn the_minimum_is_reached_for_every_c_also_of_separable_data() {
    let golden = read("logreg_path.json");
    let cs = numbers(&golden["cs"]);
    for (name, case, expected) in cases(&golden) {
        let lowest = numbers(&expected["losses"]);
        for (fit, lowest) in case.fit(&cs).unwrap().iter().zip(&lowest) {
            let above = exact_loss(&case, fit) / lowest - 1.0;
            let told = fit.loss / lowest - 1.0;
            let what = format!(
                "{name}, C = {:.1e}: {above:.1e} above, told {told:.1e}",
                fit.c
            );
            assert!(fit.converged, "{what}");
            assert!(above.abs() < 1e-6 && told.abs() < 1e-6, "{what}");
        }
    }
}

#[test]
fn the_less_the_penalty_the_smaller_the_loss_and_the_larger_the_weights() {
    let golden = golden();
    let cs: Vec<f64> = (-12..=10).map(|k| 10f64.powf(f64::from(k) / 2.0)).collect();
    for (name, case, _) in cases(&golden) {
        let fits = case.fit(&cs).unwrap();
        for pair in fits.windows(2) {
            let norm = |fit: &Fit| fit.weight.iter().map(|w| w * w).sum::<f64>();
            assert!(
                pair[1].loss < pair[0].loss * (1.0 + TOLERANCE),
                "{name} {}",
                pair[1].c
            );
            assert!(
                norm(&pair[1]) > norm(&pair[0]) * 0.999,
                "{name} {}",
                pair[1].c
            );
        }
    }
}

#[test]
fn fits_depend_neither_on_threads_nor_much_on_the_path() {
    let golden = golden();
    for (name, case, _) in cases(&golden) {
        let cs = [1e3, 1e-4, 1.0];
        let in_threads = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            pool.build().unwrap().install(|| case.fit(&cs).unwrap())
        };
        let found = in_threads(1);
        assert_eq!(found, in_threads(5));
        for (fit, c) in found.iter().zip(cs) {
            assert_eq!(fit.c, c);
            let alone = &case.fit(&[c]).unwrap()[0];
            assert!(
                (alone.loss / fit.loss - 1.0).abs() < TOLERANCE,
                "{name} {c}"
            );
        }
    }
}

#[test]
fn a_class_without_examples_has_the_probability_0_and_leaves_the_others_as_they_are() {
    let labels: Vec<u32> = (0..40).map(|i| 2 * (i % 2)).collect();
    let with_gap = three(&labels);
    let two = Case {
        labels: labels.iter().map(|label| label / 2).collect(),
        classes: 2,
        ..three(&labels)
    };
    let (found, expected) = (with_gap.fit(&[1.0]).unwrap(), two.fit(&[1.0]).unwrap());
    let x = two.x.view();
    let found = with_gap.probabilities(&found[0], x);
    let expected = two.probabilities(&expected[0], x);
    assert_eq!(found.column(1).sum(), 0.0);
    let difference = &found.column(2) - &expected.column(1);
    assert!(difference.iter().all(|d| d.abs() < 1e-6));
}

#[test]
fn labels_that_all_none_or_no_one_knows_are_constant() {
    let mut case = three(&[0, 1].repeat(20));
    case.present = Array2::from_shape_fn((40, 4), |(i, class)| match class {
        0 => Some(i % 2 == 0),
        1 => Some(true),
        2 => (i % 3 == 0).then_some(false),
        _ => None,
    });
    case.labels.clear();
    let fits = case.fit(&[0.1, 10.0]).unwrap();
    for fit in fits {
        let found = case.probabilities(&fit, case.x.view());
        for row in found.outer_iter() {
            assert_eq!(row.to_vec()[1..], [1.0, 0.0, 0.5]);
            assert!(row[0] > 0.0 && row[0] < 1.0);
        }
    }
}

#[test]
fn data_without_a_minimum_are_errors() {
    let labels: Vec<u32> = (0..30).map(|i| i % 3).collect();
    let broken = |change: &dyn Fn(&mut Case)| {
        let mut case = three(&labels);
        change(&mut case);
        case.fit(&[1.0]).unwrap_err()
    };
    let error = broken(&|case| case.labels = vec![1; 30]);
    assert!(matches!(error, Error::Logreg(LogregError::OneClass)));
    let error = broken(&|case| case.labels[7] = 3);
    assert!(matches!(
        error,
        Error::Logreg(LogregError::Label {
            row: 7,
            label: 3,
            classes: 3
        })
    ));
    let error = broken(&|case| case.x[[4, 1]] = f16::INFINITY);
    assert!(matches!(
        error,
        Error::Logreg(LogregError::Feature { row: 4, .. })
    ));
    let error = broken(&|case| case.labels.truncate(29));
    assert!(matches!(
        error,
        Error::Logreg(LogregError::Targets {
            found: 29,
            expected: 30
        })
    ));
    for c in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let error = three(&labels).fit(&[c]).unwrap_err();
        assert!(matches!(error, Error::Logreg(LogregError::Penalty { .. })));
    }
}

#[cfg(feature = "linfa")]
#[test]
fn linfa_finds_the_same_minimum() {
    let golden = golden();
    for (name, case, _) in cases(&golden) {
        let ours = case.fit_by(&[0.01], Solver::Lbfgs).unwrap();
        let theirs = case.fit_by(&[0.01], Solver::Linfa).unwrap();
        assert!(
            (ours[0].loss / theirs[0].loss - 1.0).abs() < TOLERANCE,
            "{name}"
        );
    }
}
