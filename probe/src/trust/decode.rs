//! Whether classes can be told apart by a linear head, cross-validated by patient.
//!
//! The head is ridge regression on class indicators, fitted on four fifths of the patients and applied to the others,
//! in turn. Its penalty is a tenth of the mean variance of the directions that the examples span; nothing is chosen.
//! Labels in random order are further right-hand sides of the same equations, so that permutation tests are cheap.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use common::draw::shuffle;
use half::f16;
use ndarray::{Array2, ArrayView2, Axis};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rayon::prelude::*;

use super::{Questions, p_value};
use crate::Error;
use crate::metrics::bootstrap::Bootstrap;
use crate::metrics::confidence::Level;
use crate::metrics::ranked::{Ranked, auroc, mean_of_all, per_class};
use crate::metrics::weights::Weights;
use crate::probes::ridge::solve;

/// Folds of patients.
pub(super) const FOLDS: usize = 5;
/// Penalty in units of the mean variance of a direction.
const PENALTY: f64 = 0.1;
/// Most numbers in a table of targets, 400 MB; beyond it no labels are permuted.
const MOST_TARGETS: usize = 50_000_000;

/// How well classes can be told apart.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Decoded {
    /// Examples of a class.
    pub(super) cases: usize,
    /// Area under the ROC curve, the mean over classes.
    pub(super) auroc: f64,
    /// Mean over classes of the share of their examples that score highest for them.
    pub(super) balanced_accuracy: f64,
    /// The balanced accuracy of a guess.
    pub(super) chance: f64,
    /// Interval of the AUROC by patients, and its level.
    pub(super) interval: Option<[f64; 2]>,
    pub(super) level: f64,
    /// Share of permutations with an AUROC of at least the found one; `None` if there are too many examples.
    pub(super) p: Option<f64>,
    /// What was permuted: the values of `patients`, or of `samples` if patients have several.
    pub(super) permuted: &'static str,
}

/// Tells `classes` classes apart by the features `[N, F]`; examples without a class are left out.
///
/// The inner error says why this is not possible.
///
/// # Errors
///
/// [`MeasureError::Level`](crate::error::MeasureError::Level) and [`MeasureError::Draws`](crate::error::MeasureError::Draws).
pub(super) fn decode(
    features: ArrayView2<'_, f16>,
    values: &[Option<usize>],
    classes: usize,
    who: &[&str],
    questions: &Questions,
) -> Result<Result<Decoded, String>, Error> {
    let rows: Vec<usize> = (0..values.len())
        .filter(|row| values[*row].is_some())
        .collect();
    let labels: Vec<usize> = rows.iter().filter_map(|row| values[*row]).collect();
    let who: Vec<&str> = rows.iter().map(|row| who[*row]).collect();
    for class in 0..classes {
        let patients: BTreeSet<&str> = who
            .iter()
            .zip(&labels)
            .filter(|(_, label)| **label == class)
            .map(|(who, _)| *who)
            .collect();
        if patients.len() < FOLDS {
            let found = patients.len();
            return Ok(Err(format!(
                "one class has {found} patients, of at least {FOLDS} that {FOLDS} folds need"
            )));
        }
    }
    let features = features.select(Axis(0), &rows);
    let folds = folds(&who, &labels, questions.seed);
    let blocks = Blocks::of(&who, &labels);
    let outputs = if classes == 2 { 1 } else { classes };
    let permutations = match labels.len() * outputs * (questions.permutations + 1) {
        size if size > MOST_TARGETS => 0,
        _ => questions.permutations,
    };
    let permuted =
        (0..permutations as u64).map(|number| blocks.permuted(&labels, questions.seed, number));
    let orders: Vec<Vec<usize>> = [labels.clone()].into_iter().chain(permuted).collect();
    let scores = scores(&features, &orders, outputs, &folds);
    let measured: Vec<(Vec<Ranked>, f64)> = orders
        .par_iter()
        .enumerate()
        .map(|(number, labels)| {
            let scores = scores.slice(ndarray::s![.., number * outputs..(number + 1) * outputs]);
            (
                ranked(scores, labels),
                balanced_accuracy(scores, labels, classes),
            )
        })
        .collect();
    let weights = Weights::once(labels.len());
    let aurocs: Vec<f64> = measured
        .iter()
        .map(|(ranked, _)| macro_auroc(ranked, &weights).unwrap_or(0.5))
        .collect();
    let confidence = questions.confidence;
    let interval = match confidence.map(|of| {
        Ok::<_, Error>((
            Bootstrap::new(&who, of.draws, of.seed)?,
            Level::new(of.level)?,
        ))
    }) {
        Some(made) => {
            let (bootstrap, level) = made?;
            bootstrap
                .interval(level, |weights| macro_auroc(&measured[0].0, weights))
                .interval
        }
        None => None,
    };
    Ok(Ok(Decoded {
        cases: labels.len(),
        auroc: aurocs[0],
        balanced_accuracy: measured[0].1,
        chance: 1.0 / classes as f64,
        interval: interval.map(|interval| [interval.low, interval.high]),
        level: confidence.map_or(0.0, |confidence| confidence.level),
        p: (permutations > 0).then(|| p_value(aurocs[0], &aurocs[1..])),
        permuted: if blocks.by_patient {
            "patients"
        } else {
            "samples"
        },
    }))
}

/// The fold of each example: patients in random order, those of a class after each other, in turn.
fn folds(who: &[&str], labels: &[usize], seed: u64) -> Vec<usize> {
    let mut classes: BTreeMap<&str, usize> = BTreeMap::new();
    for (who, label) in who.iter().zip(labels) {
        classes.entry(who).or_insert(*label);
    }
    let mut order: Vec<(&str, usize)> = classes.into_iter().collect();
    shuffle(&mut order, &mut ChaCha8Rng::seed_from_u64(seed));
    order.sort_by_key(|(_, class)| *class);
    let fold: HashMap<&str, usize> = order
        .iter()
        .enumerate()
        .map(|(i, (who, _))| (*who, i % FOLDS))
        .collect();
    who.iter().map(|who| fold[who]).collect()
}

/// What permutations move: the examples of a patient together if they have one class.
struct Blocks {
    /// The block of each example.
    of: Vec<usize>,
    /// The class of each block.
    classes: Vec<usize>,
    by_patient: bool,
}

impl Blocks {
    fn of(who: &[&str], labels: &[usize]) -> Blocks {
        let mut number: HashMap<&str, usize> = HashMap::new();
        let (mut of, mut classes) = (Vec::new(), Vec::new());
        for (who, label) in who.iter().zip(labels) {
            let next = classes.len();
            let block = *number.entry(who).or_insert(next);
            if block == next {
                classes.push(*label);
            } else if classes[block] != *label {
                let of = (0..labels.len()).collect();
                return Blocks {
                    of,
                    classes: labels.to_vec(),
                    by_patient: false,
                };
            }
            of.push(block);
        }
        Blocks {
            of,
            classes,
            by_patient: true,
        }
    }

    /// The labels with the classes of the blocks in random order.
    fn permuted(&self, labels: &[usize], seed: u64, number: u64) -> Vec<usize> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(number + 1);
        let mut classes = self.classes.clone();
        shuffle(&mut classes, &mut rng);
        (0..labels.len())
            .map(|example| classes[self.of[example]])
            .collect()
    }
}

/// Scores of each example by the head that was fitted without its fold, `[N, orders * outputs]`.
fn scores(
    features: &Array2<f16>,
    orders: &[Vec<usize>],
    outputs: usize,
    folds: &[usize],
) -> Array2<f64> {
    let columns = orders.len() * outputs;
    let target = |row: usize, column: usize| {
        // One output of two classes is high for the second one.
        let class = if outputs == 1 { 1 } else { column % outputs };
        if orders[column / outputs][row] == class {
            1.0
        } else {
            -1.0
        }
    };
    let mut scores = Array2::zeros((folds.len(), columns));
    for fold in 0..FOLDS {
        let rows: Vec<usize> = (0..folds.len()).filter(|row| folds[*row] != fold).collect();
        let held: Vec<usize> = (0..folds.len()).filter(|row| folds[*row] == fold).collect();
        let x = features.select(Axis(0), &rows);
        let y = Array2::from_shape_fn((rows.len(), columns), |(row, column)| {
            target(rows[row], column)
        });
        let solved = solve(x.view(), y, &[penalty(&x)]);
        let (weight, bias) = &solved[0];
        let found = features.select(Axis(0), &held).mapv(f64::from).dot(weight) + bias;
        for (row, found) in held.iter().zip(found.outer_iter()) {
            scores.row_mut(*row).assign(&found);
        }
    }
    scores
}

/// [`PENALTY`] times the mean of the eigenvalues of the centred product of features that are not 0.
fn penalty(x: &Array2<f16>) -> f64 {
    let (n, f) = x.dim();
    let variance = |column: ndarray::ArrayView1<'_, f16>| {
        let mean = column.iter().map(|value| f64::from(*value)).sum::<f64>() / n as f64;
        column
            .iter()
            .map(|value| (f64::from(*value) - mean).powi(2))
            .sum::<f64>()
    };
    let trace: f64 = x.columns().into_iter().map(variance).sum();
    (PENALTY * trace / n.min(f).max(1) as f64).max(f64::MIN_POSITIVE)
}

/// The examples in the order of each output.
fn ranked(scores: ArrayView2<'_, f64>, labels: &[usize]) -> Vec<Ranked> {
    let outputs = scores.ncols();
    let output = |output: usize| {
        let class = if outputs == 1 { 1 } else { output };
        Ranked::of(output, scores.column(output).iter().copied(), |example| {
            labels[example] == class
        })
    };
    (0..outputs).map(output).collect()
}

fn macro_auroc(ranked: &[Ranked], weights: &Weights) -> Option<f64> {
    mean_of_all(&per_class(ranked, weights, auroc))
}

fn balanced_accuracy(scores: ArrayView2<'_, f64>, labels: &[usize], classes: usize) -> f64 {
    let (mut right, mut all) = (vec![0usize; classes], vec![0usize; classes]);
    for (row, &label) in scores.outer_iter().zip(labels) {
        let best = if row.len() == 1 {
            usize::from(row[0] > 0.0)
        } else {
            (0..classes).fold(
                0,
                |best, class| if row[class] > row[best] { class } else { best },
            )
        };
        all[label] += 1;
        right[label] += usize::from(best == label);
    }
    let shares = right
        .iter()
        .zip(&all)
        .map(|(right, all)| *right as f64 / (*all).max(1) as f64);
    shares.sum::<f64>() / classes as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::normal;
    use crate::trust::tests::questions;

    /// `n` examples of as many patients, whose first feature is moved by `shift` in the second class.
    fn example(n: usize, shift: f64) -> (Array2<f16>, Vec<Option<usize>>, Vec<String>) {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let values: Vec<Option<usize>> = (0..n).map(|i| Some(i % 2)).collect();
        let mut x = Array2::from_shape_simple_fn((n, 6), || normal(&mut rng));
        x.column_mut(0)
            .indexed_iter_mut()
            .for_each(|(i, x)| *x += shift * (i % 2) as f64);
        (
            x.mapv(f16::from_f64),
            values,
            (0..n).map(|i| format!("p{i}")).collect(),
        )
    }

    fn decoded(n: usize, shift: f64) -> Decoded {
        let (x, values, who) = example(n, shift);
        let who: Vec<&str> = who.iter().map(String::as_str).collect();
        decode(x.view(), &values, 2, &who, &questions())
            .unwrap()
            .unwrap()
    }

    #[test]
    fn a_planted_signal_is_found_and_noise_is_not() {
        let found = decoded(120, 4.0);
        assert!(
            found.auroc > 0.97 && found.balanced_accuracy > 0.9,
            "{found:?}"
        );
        assert_eq!(found.p, Some(1.0 / 41.0));
        let [low, high] = found.interval.unwrap();
        assert!(low <= found.auroc && found.auroc <= high && low > 0.9);
        let none = decoded(120, 0.0);
        assert!(
            (none.auroc - 0.5).abs() < 0.15 && none.p.unwrap() > 0.05,
            "{none:?}"
        );
    }

    #[test]
    fn the_values_of_a_patient_move_together() {
        let who = ["a", "a", "b", "c"];
        let blocks = Blocks::of(&who, &[1, 1, 0, 0]);
        assert!(blocks.by_patient);
        for number in 0..20 {
            let labels = blocks.permuted(&[1, 1, 0, 0], 3, number);
            assert_eq!(labels[0], labels[1]);
        }
        assert!(!Blocks::of(&who, &[1, 0, 0, 0]).by_patient);
    }

    #[test]
    fn a_patient_is_in_one_fold_and_each_class_in_all() {
        let who: Vec<String> = (0..60).map(|i| format!("p{}", i / 2)).collect();
        let who: Vec<&str> = who.iter().map(String::as_str).collect();
        let labels: Vec<usize> = (0..60).map(|i| usize::from(i >= 40)).collect();
        let folds = folds(&who, &labels, 0);
        assert!((0..30).all(|i| folds[2 * i] == folds[2 * i + 1]));
        for fold in 0..FOLDS {
            let of = |class| {
                (0..60)
                    .filter(|i| folds[*i] == fold && labels[*i] == class)
                    .count()
            };
            assert_eq!((of(0), of(1)), (8, 4));
        }
    }
}
