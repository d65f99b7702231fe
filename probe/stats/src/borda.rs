//! Borda ranks with intervals.

use serde::Serialize;

use crate::ranks::{Ranks, Table, average_ranks, means};
use crate::resample::Draws;
use crate::{Error, Interval};

/// The rule, in words for a caption.
pub const RULE: &str = "models are ranked on each dataset (1 is best, equal scores share their mean rank) and ordered by the mean of these ranks over the datasets that have a score of every model, each dataset with the same weight; K less the mean rank is the Borda count per dataset";

/// Borda ranks, and their intervals from draws of datasets or of patients.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Borda {
    /// The models, in the order of the table.
    pub models: Vec<Standing>,
    /// The datasets that are ranked, as rows of the table.
    pub used: Vec<usize>,
    /// The datasets with a missing score.
    pub left_out: Vec<usize>,
    /// Draws that the intervals are of.
    pub draws: usize,
    /// Draws left out because a score was undefined in them.
    pub undefined: usize,
}

/// The rank of a model. Intervals are `None` if less than half of the draws are defined.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Standing {
    /// The mean rank over datasets.
    pub mean_rank: f64,
    /// Its percentile interval over draws.
    pub mean_rank_interval: Option<Interval>,
    /// The place by mean rank, 1 is best; equal ones share their mean place.
    pub place: f64,
    /// Its percentile interval over draws.
    pub place_interval: Option<Interval>,
    /// Share of the draws in which no model has a lower mean rank, those with equal ones divided among them.
    pub first: Option<f64>,
}

/// Borda ranks with intervals by resampling datasets: what other datasets of the same kind would have given.
/// Of one dataset there are no intervals.
///
/// # Errors
///
/// [`Error::Incomplete`], [`Error::Share`] and [`Error::Draws`].
pub fn over_datasets(table: &Table, draws: &Draws) -> Result<Borda, Error> {
    draws.check()?;
    let ranks = table.ranks()?;
    let count = ranks.rows.len();
    let drawn = (0..if count > 1 { draws.count } else { 0 }).map(|number| {
        let rows = draws.draw(number, count).into_iter();
        let rows: Vec<Vec<f64>> = rows.map(|row| ranks.rows[row].clone()).collect();
        Some(means(&rows))
    });
    let drawn = drawn.collect();
    Ok(standings(ranks, drawn, draws))
}

/// Borda ranks with intervals by resampling patients: what other patients of the same datasets would have
/// given. `scores(draw)` gives the scores `[N, K]` of all datasets in a draw, computed on patients drawn with
/// replacement, the same for all models; [`Draws::draw`] draws them. A draw in which a dataset lacks a score
/// that the table has is left out and counted.
///
/// # Errors
///
/// [`Error::Incomplete`], [`Error::Share`] and [`Error::Draws`]; [`Error::Row`] or [`Error::Score`] if the
/// scores of a draw are no table like the first.
pub fn over_draws(
    table: &Table,
    draws: &Draws,
    mut scores: impl FnMut(usize) -> Vec<Vec<Option<f64>>>,
) -> Result<Borda, Error> {
    draws.check()?;
    let ranks = table.ranks()?;
    let mut drawn = Vec::with_capacity(draws.count);
    for number in 0..draws.count {
        let scores = scores(number);
        let (found, expected) = (scores.len(), table.rows().len());
        if found != expected {
            return Err(Error::Datasets { found, expected });
        }
        let used = ranks.used.iter().map(|&row| scores[row].clone());
        let of_draw = Table::new(used.collect())?;
        if of_draw.models() != table.models() {
            return Err(Error::Row {
                row: 0,
                found: of_draw.models(),
                expected: table.models(),
            });
        }
        let of_draw = of_draw.ranks().ok();
        let complete = of_draw.filter(|of_draw| of_draw.left_out.is_empty());
        drawn.push(complete.map(|of_draw| of_draw.mean));
    }
    Ok(standings(ranks, drawn, draws))
}

/// Summarises the mean ranks of draws.
fn standings(ranks: Ranks, drawn: Vec<Option<Vec<f64>>>, draws: &Draws) -> Borda {
    let all = drawn.len();
    let means: Vec<Vec<f64>> = drawn.into_iter().flatten().collect();
    let places: Vec<Vec<f64>> = means.iter().map(|mean| average_ranks(mean)).collect();
    let is_enough = all > 0 && 2 * means.len() >= all;
    let interval = |rows: &[Vec<f64>], model: usize| {
        is_enough.then(|| draws.interval(rows.iter().map(|row| row[model]).collect()))
    };
    let place = average_ranks(&ranks.mean);
    let first = |model: usize| {
        let share: f64 = means.iter().map(|mean| share_of_first(mean, model)).sum();
        is_enough.then(|| share / means.len() as f64)
    };
    let models = (0..ranks.models()).map(|model| Standing {
        mean_rank: ranks.mean[model],
        mean_rank_interval: interval(&means, model),
        place: place[model],
        place_interval: interval(&places, model),
        first: first(model),
    });
    Borda {
        models: models.collect(),
        used: ranks.used,
        left_out: ranks.left_out,
        draws: all,
        undefined: all - means.len(),
    }
}

/// A model's share of the first place.
fn share_of_first(mean: &[f64], model: usize) -> f64 {
    let lowest = mean.iter().copied().fold(f64::INFINITY, f64::min);
    if mean[model] > lowest {
        return 0.0;
    }
    1.0 / mean.iter().filter(|&&rank| rank == lowest).count() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAWS: Draws = Draws {
        count: 400,
        seed: 3,
        level: 0.9,
    };

    fn table(rows: &[[f64; 3]]) -> Table {
        let rows = rows.iter().map(|row| row.map(Some).to_vec());
        Table::new(rows.collect()).unwrap()
    }

    #[test]
    fn a_model_that_always_wins_is_first_in_every_draw() {
        let table = table(&[[0.9, 0.8, 0.7], [0.9, 0.7, 0.8], [0.9, 0.8, 0.1]]);
        let found = over_datasets(&table, &DRAWS).unwrap();
        let [first, second, _] = found.models[..] else {
            panic!("{found:?}");
        };
        assert_eq!(first.place_interval, Some([1.0, 1.0]));
        assert_eq!(first.first, Some(1.0));
        assert!((second.mean_rank - 7.0 / 3.0).abs() < 1e-12);
        assert_eq!(second.mean_rank_interval, Some([2.0, 8.0 / 3.0]));
    }

    #[test]
    fn one_dataset_has_ranks_and_no_intervals() {
        let found = over_datasets(&table(&[[0.9, 0.8, 0.7]]), &DRAWS).unwrap();
        assert_eq!((found.draws, found.models[0].place_interval), (0, None));
    }

    #[test]
    fn draws_without_a_score_are_left_out_and_counted() {
        let table = table(&[[0.9, 0.8, 0.7], [0.9, 0.7, 0.8]]);
        let scores = |number: usize| {
            let mut rows = table.rows().to_vec();
            match number % 4 {
                0 => rows[1][2] = None,
                1 => rows[0] = vec![Some(0.1), Some(0.2), Some(0.3)],
                _ => {}
            }
            rows
        };
        let found = over_draws(&table, &DRAWS, scores).unwrap();
        assert_eq!((found.draws, found.undefined), (400, 100));
        // Of three draws that are left, one puts the last model first.
        assert!((found.models[0].first.unwrap() - 2.0 / 3.0).abs() < 1e-12);
        assert!(over_draws(&table, &DRAWS, |_| Vec::new()).is_err());
    }
}
