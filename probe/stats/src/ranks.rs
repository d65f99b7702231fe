//! Tables of scores, and ranks.

use crate::Error;

/// Scores `[N, K]` of `K` models on `N` datasets, of which higher is better. A cell without a score is `None`.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    models: usize,
    rows: Vec<Vec<Option<f64>>>,
}

/// Ranks on the datasets that have a score of every model. Datasets with a missing score are left out, because
/// ranks among fewer models are not comparable; [`left_out`](Ranks::left_out) names them.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranks {
    /// The datasets that are ranked, as rows of the table.
    pub used: Vec<usize>,
    /// The datasets with a missing score.
    pub left_out: Vec<usize>,
    /// Ranks `[N, K]` of the used datasets. The highest score has rank 1; equal scores share their mean rank.
    pub rows: Vec<Vec<f64>>,
    /// The mean rank of each model, `[K]`.
    pub mean: Vec<f64>,
}

impl Table {
    /// Takes a row for each dataset.
    ///
    /// # Errors
    ///
    /// [`Error::Models`], [`Error::Row`] and [`Error::Score`].
    pub fn new(rows: Vec<Vec<Option<f64>>>) -> Result<Table, Error> {
        let models = rows.first().map_or(0, Vec::len);
        if models < 2 {
            return Err(Error::Models { found: models });
        }
        for (row, scores) in rows.iter().enumerate() {
            if scores.len() != models {
                return Err(Error::Row {
                    row,
                    found: scores.len(),
                    expected: models,
                });
            }
            let is_wrong = |score: &Option<f64>| score.is_some_and(|score| !score.is_finite());
            if let Some(model) = scores.iter().position(is_wrong) {
                return Err(Error::Score { row, model });
            }
        }
        Ok(Table { models, rows })
    }

    /// Number of models.
    pub fn models(&self) -> usize {
        self.models
    }

    /// The scores, a row for each dataset.
    pub fn rows(&self) -> &[Vec<Option<f64>>] {
        &self.rows
    }

    /// Ranks of the models on each complete dataset.
    ///
    /// # Errors
    ///
    /// [`Error::Incomplete`] if no dataset has a score of every model.
    pub fn ranks(&self) -> Result<Ranks, Error> {
        let (mut used, mut left_out, mut rows) = (Vec::new(), Vec::new(), Vec::new());
        for (row, scores) in self.rows.iter().enumerate() {
            let complete: Option<Vec<f64>> = scores.iter().copied().collect();
            match complete {
                Some(scores) => {
                    used.push(row);
                    rows.push(best_first(&scores));
                }
                None => left_out.push(row),
            }
        }
        if used.is_empty() {
            return Err(Error::Incomplete);
        }
        let mean = means(&rows);
        Ok(Ranks {
            used,
            left_out,
            rows,
            mean,
        })
    }
}

impl Ranks {
    /// Number of models.
    pub fn models(&self) -> usize {
        self.mean.len()
    }

    /// The models from the lowest mean rank to the highest; equal ones in their order in the table.
    pub fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.models()).collect();
        order.sort_by(|&a, &b| self.mean[a].total_cmp(&self.mean[b]));
        order
    }
}

/// Ranks from 1, the lowest value first; equal values share their mean rank, as SciPy's `rankdata`. Values
/// must be numbers.
pub fn average_ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut lower = 0;
    for tied in order.chunk_by(|&a, &b| values[a] == values[b]) {
        for &at in tied {
            ranks[at] = lower as f64 + (tied.len() + 1) as f64 / 2.0;
        }
        lower += tied.len();
    }
    ranks
}

/// Ranks from 1, the highest value first.
pub(crate) fn best_first(scores: &[f64]) -> Vec<f64> {
    let negative: Vec<f64> = scores.iter().map(|score| -score).collect();
    average_ranks(&negative)
}

/// The means of the columns of rows, at least one.
pub(crate) fn means(rows: &[Vec<f64>]) -> Vec<f64> {
    let sum = |model: usize| rows.iter().map(|row| row[model]).sum::<f64>();
    (0..rows[0].len())
        .map(|model| sum(model) / rows.len() as f64)
        .collect()
}

/// The numbers of equal values, of those that occur more than once.
pub(crate) fn ties(values: &[f64]) -> Vec<usize> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let counts = sorted.chunk_by(|a, b| a == b).map(<[f64]>::len);
    counts.filter(|&count| count > 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_scores_share_the_mean_of_their_ranks() {
        assert_eq!(best_first(&[0.9, 0.7, 0.9, 0.8]), [1.5, 4.0, 1.5, 3.0]);
        assert_eq!(average_ranks(&[0.0, -0.0, 0.0]), [2.0, 2.0, 2.0]);
    }

    #[test]
    fn datasets_with_a_missing_score_are_left_out_and_named() {
        let rows = vec![
            vec![Some(0.9), Some(0.8)],
            vec![None, Some(0.8)],
            vec![Some(0.5), Some(0.6)],
        ];
        let ranks = Table::new(rows).unwrap().ranks().unwrap();
        assert_eq!((ranks.used, ranks.left_out), (vec![0, 2], vec![1]));
        assert_eq!(ranks.mean, [1.5, 1.5]);
    }

    #[test]
    fn tables_that_cannot_be_ranked_are_refused() {
        let table =
            |rows: &[&[Option<f64>]]| Table::new(rows.iter().map(|row| row.to_vec()).collect());
        assert_eq!(table(&[]), Err(Error::Models { found: 0 }));
        assert_eq!(table(&[&[Some(1.0)]]), Err(Error::Models { found: 1 }));
        let uneven = table(&[&[None, None], &[None]]);
        assert!(matches!(
            uneven,
            Err(Error::Row {
                row: 1,
                found: 1,
                expected: 2
            })
        ));
        let infinite = table(&[&[Some(0.0), Some(f64::NAN)]]);
        assert_eq!(infinite, Err(Error::Score { row: 0, model: 1 }));
        let empty = table(&[&[Some(1.0), None]]).unwrap();
        assert_eq!(empty.ranks(), Err(Error::Incomplete));
    }
}
