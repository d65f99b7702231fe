//! Whether the samples of two caches differ: a classifier of the caches, and the energy distance.
//!
//! The energy distance of samples `X` and `Y` is `2 E|X - Y| - E|X - X'| - E|Y - Y'|`, 0 for equal distributions
//! (Székely and Rizzo 2013), here between rows of length 1. Its p-value is the share of random assignments of the
//! patients to the two sides that give at least the found one.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use cache::CacheReader;
use common::draw::shuffle;
use half::f16;
use ndarray::{Array2, ArrayView2, Axis, concatenate};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rayon::prelude::*;
use serde_json::json;

use super::decode::decode;
use super::subject::Subject;
use super::{Answer, Questions, name_of, p_value};
use crate::Error;
use crate::random;

/// Most samples of a cache for the classifier, drawn at random.
const MOST: usize = 4000;
/// Most samples of a cache for distances between all.
const MOST_PAIRED: usize = 1000;

/// How far two caches differ.
pub(super) fn answer(
    first: &Subject,
    (second, other): (&Subject, &CacheReader),
    questions: &Questions,
) -> Result<Answer, Error> {
    let against = name_of(other);
    let mut answer = Answer::new(
        format!("drift to {against}"),
        "drift",
        json!({"against": against, "against_sha256": other.sha256()}),
    );
    let (first, second) = (
        drawn(first, MOST, questions.seed),
        drawn(second, MOST, questions.seed),
    );
    let who = who(&first, &second);
    let views = [first.features.view(), second.features.view()];
    let features: Array2<f16> = concatenate(Axis(0), &views).unwrap_or_default();
    let sides = [first.cases.len(), second.cases.len()];
    let values: Vec<Option<usize>> = (0..features.nrows())
        .map(|row| Some(usize::from(row >= sides[0])))
        .collect();
    let names: Vec<&str> = who.iter().map(String::as_str).collect();
    answer.params.insert("samples".into(), json!(sides));
    let word = first.word();
    answer = match decode(features.view(), &values, 2, &names, questions)? {
        Ok(decoded) => answer.with(&decoded, word),
        Err(why) => answer.without(why),
    };
    let (first, second) = (
        drawn(&first, MOST_PAIRED, questions.seed),
        drawn(&second, MOST_PAIRED, questions.seed),
    );
    let who = self::who(&first, &second);
    let rows: Array2<f32> =
        concatenate(Axis(0), &[first.unit.view(), second.unit.view()]).unwrap_or_default();
    let energy = Energy::of(rows.view(), first.cases.len());
    answer.measure("energy_distance", energy.found());
    answer.params.insert(
        "samples_paired".into(),
        json!([first.cases.len(), second.cases.len()]),
    );
    let permuted = energy.permuted(&who, questions);
    if !permuted.is_empty() {
        answer.measure("p_energy", p_value(energy.found(), &permuted));
    }
    Ok(answer)
}

/// At most `most` samples, drawn at random, in their order.
fn drawn(subject: &Subject, most: usize, seed: u64) -> Subject {
    let all: BTreeSet<usize> = (0..subject.cases.len()).collect();
    let taken: BTreeSet<usize> = random::sample(all, most, seed, 0).collect();
    subject.select(&taken.into_iter().collect::<Vec<_>>())
}

/// Patients of the samples of both sides; of different datasets, equal names are different patients.
fn who(first: &Subject, second: &Subject) -> Vec<String> {
    let side = |subject: &Subject| -> Vec<String> {
        let name = |case: &crate::examples::Case| format!("{}/{}", subject.dataset, case.cluster());
        subject.cases.iter().map(name).collect()
    };
    [side(first), side(second)].concat()
}

/// Distances between all rows, of which the first ones are of the first side.
struct Energy {
    distances: Array2<f32>,
    first: usize,
}

impl Energy {
    /// Takes rows of any length.
    fn of(rows: ArrayView2<'_, f32>, first: usize) -> Energy {
        let n = rows.nrows();
        let mut distances = Array2::zeros((n, n));
        distances
            .outer_iter_mut()
            .into_par_iter()
            .enumerate()
            .for_each(|(i, mut to)| {
                for (j, to) in to.iter_mut().enumerate() {
                    // In one order, so that the sum does not depend on the processor.
                    let (a, b) = (rows.row(i), rows.row(j));
                    let squares = a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2));
                    *to = squares.sum::<f64>().sqrt() as f32;
                }
            });
        Energy { distances, first }
    }

    fn found(&self) -> f64 {
        let sides: Vec<bool> = (0..self.distances.nrows())
            .map(|row| row < self.first)
            .collect();
        self.between(&sides)
    }

    /// The energy distance of the rows of the first side to the others.
    fn between(&self, is_first: &[bool]) -> f64 {
        let mut sums = [[0.0; 2]; 2];
        for (row, a) in self.distances.outer_iter().zip(is_first) {
            for (distance, b) in row.iter().zip(is_first) {
                sums[usize::from(*a)][usize::from(*b)] += f64::from(*distance);
            }
        }
        let n = is_first.iter().filter(|is_first| **is_first).count() as f64;
        let m = is_first.len() as f64 - n;
        2.0 * sums[1][0] / (n * m) - sums[1][1] / (n * n) - sums[0][0] / (m * m)
    }

    /// Energy distances of random assignments of patients to the sides, with as many on each as before.
    fn permuted(&self, who: &[String], questions: &Questions) -> Vec<f64> {
        let mut blocks: BTreeMap<(&str, bool), Vec<usize>> = BTreeMap::new();
        for (row, who) in who.iter().enumerate() {
            blocks
                .entry((who.as_str(), row < self.first))
                .or_default()
                .push(row);
        }
        let sides: Vec<bool> = blocks.keys().map(|(_, is_first)| *is_first).collect();
        let block: HashMap<usize, usize> = blocks
            .values()
            .enumerate()
            .flat_map(|(i, rows)| rows.iter().map(move |row| (*row, i)))
            .collect();
        let one = |number: usize| {
            let mut rng = ChaCha8Rng::seed_from_u64(questions.seed);
            rng.set_stream(number as u64 + 1);
            let mut sides = sides.clone();
            shuffle(&mut sides, &mut rng);
            let is_first: Vec<bool> = (0..who.len()).map(|row| sides[block[&row]]).collect();
            self.between(&is_first)
        };
        (0..questions.permutations)
            .into_par_iter()
            .map(one)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::normal;
    use crate::trust::tests::questions;

    #[test]
    fn the_energy_distance_is_that_of_scipy() {
        // The square of `scipy.stats.energy_distance([0, 1, 3, 7], [2, 4, 4.5])`.
        let rows = ndarray::array![[0.0], [1.0], [3.0], [7.0], [2.0], [4.0], [4.5]];
        let found = Energy::of(rows.view(), 4).found();
        assert!((found - 1.347_222_222_222_222_3).abs() < 1e-6, "{found}");
    }

    #[test]
    fn a_shift_is_found_and_the_same_is_not() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let rows = Array2::from_shape_simple_fn((80, 4), || normal(&mut rng) as f32);
        let who: Vec<String> = (0..80).map(|i| format!("p{i}")).collect();
        let p = |rows: &Array2<f32>| {
            let energy = Energy::of(rows.view(), 40);
            p_value(energy.found(), &energy.permuted(&who, &questions()))
        };
        assert!(p(&rows) > 0.05);
        let mut moved = rows;
        moved
            .slice_mut(ndarray::s![..40, 0])
            .mapv_inplace(|value| value + 1.5);
        assert_eq!(p(&moved), 1.0 / 41.0);
    }
}
