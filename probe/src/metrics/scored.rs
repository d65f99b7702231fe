//! Scores and targets, checked before measures are computed.

use ndarray::{Array2, ArrayView1, ArrayView2};

use super::ranked::{Example, Ranked};
use crate::Error;
use crate::error::MeasureError;

/// Scores of `N` cases, each of which is of one of `C` classes.
#[derive(Clone, Debug, PartialEq)]
pub struct SingleLabel {
    scores: Array2<f64>,
    labels: Vec<usize>,
}

impl SingleLabel {
    /// Takes `scores [N, C]`, higher for more probable classes, and `labels [N]`.
    ///
    /// # Errors
    ///
    /// [`MeasureError::NoCases`] if `N` or `C` is 0, [`MeasureError::ScoreShape`] if there are not as many labels
    /// as rows, [`MeasureError::Score`] if a score is NaN or infinite, and [`MeasureError::ScoreLabel`] if a label
    /// is not below `C`.
    pub fn new<T: Copy + Into<f64>>(
        scores: ArrayView2<T>,
        labels: &[u32],
    ) -> Result<SingleLabel, Error> {
        let classes = scores.ncols();
        let scores = checked(scores, [labels.len(), classes])?;
        let labels: Vec<usize> = labels.iter().map(|&label| label as usize).collect();
        match labels.iter().position(|&label| label >= classes) {
            Some(case) => Err(Error::Measure(MeasureError::ScoreLabel {
                case,
                label: labels[case],
                classes,
            })),
            None => Ok(SingleLabel { scores, labels }),
        }
    }

    /// Number of cases.
    pub fn cases(&self) -> usize {
        self.labels.len()
    }

    /// Scores `[N, C]`.
    pub fn scores(&self) -> ArrayView2<'_, f64> {
        self.scores.view()
    }

    /// Classes `[N]`.
    pub fn labels(&self) -> &[usize] {
        &self.labels
    }

    /// Class with the highest score of each case, of equal scores the first; `[N]`.
    pub fn predicted(&self) -> Vec<usize> {
        self.scores.rows().into_iter().map(first_highest).collect()
    }

    /// Whether each case is predicted correctly, `[N]`.
    pub fn right(&self) -> Vec<bool> {
        let pairs = self.predicted().into_iter().zip(&self.labels);
        pairs
            .map(|(predicted, &label)| predicted == label)
            .collect()
    }

    /// Each class against the rest; only class 1 of two classes.
    pub fn classes(&self) -> Vec<Ranked> {
        let classes = self.scores.ncols();
        let first = usize::from(classes == 2);
        (first..classes)
            .map(|class| {
                ranked(self.scores.view(), class, |case| {
                    Some(self.labels[case] == class)
                })
            })
            .collect()
    }
}

/// The classes of `scores [N, C]`, with `targets [N, C]`: present, absent, or not known (blank). Cases that are
/// blank for a class are excluded from it.
///
/// # Errors
///
/// [`MeasureError::NoCases`] if `N` or `C` is 0, [`MeasureError::ScoreShape`] if the shapes differ, and
/// [`MeasureError::Score`] if a score is NaN or infinite, whether its target is blank or not.
pub fn multi_label<T: Copy + Into<f64>>(
    scores: ArrayView2<T>,
    targets: ArrayView2<Option<bool>>,
) -> Result<Vec<Ranked>, Error> {
    let scores = checked(scores, targets.dim().into())?;
    Ok((0..scores.ncols())
        .map(|class| ranked(scores.view(), class, |case| targets[[case, class]]))
        .collect())
}

fn checked<T: Copy + Into<f64>>(
    scores: ArrayView2<T>,
    targets: [usize; 2],
) -> Result<Array2<f64>, Error> {
    let found: [usize; 2] = scores.dim().into();
    if found != targets || u32::try_from(found[0]).is_err() {
        let scores = found;
        return Err(Error::Measure(MeasureError::ScoreShape { scores, targets }));
    }
    if scores.is_empty() {
        return Err(Error::Measure(MeasureError::NoCases));
    }
    let scores = scores.mapv(Into::<f64>::into);
    let bad = scores.indexed_iter().find(|(_, value)| !value.is_finite());
    match bad {
        Some(((case, class), &value)) => {
            Err(Error::Measure(MeasureError::Score { case, class, value }))
        }
        None => Ok(scores),
    }
}

fn ranked(scores: ArrayView2<f64>, class: usize, target: impl Fn(usize) -> Option<bool>) -> Ranked {
    let example = |case: usize| {
        Some(Example {
            case: case as u32,
            score: scores[[case, class]],
            positive: target(case)?,
        })
    };
    Ranked::new(class, (0..scores.nrows()).filter_map(example).collect())
}

/// Index of the highest value, of equal values the first.
pub(crate) fn first_highest(row: ArrayView1<f64>) -> usize {
    let higher = |best: usize, i: usize| if row[i] > row[best] { i } else { best };
    (1..row.len()).fold(0, higher)
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn scores_that_are_not_finite_are_refused() {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let scores = array![[0.1, 0.2], [0.3, value]];
            let single = SingleLabel::new(scores.view(), &[0, 1]).unwrap_err();
            assert!(matches!(
                single,
                Error::Measure(MeasureError::Score {
                    case: 1,
                    class: 1,
                    ..
                })
            ));
            let targets = Array2::from_elem((2, 2), None);
            let multi = multi_label(scores.view(), targets.view()).unwrap_err();
            assert!(matches!(
                multi,
                Error::Measure(MeasureError::Score {
                    case: 1,
                    class: 1,
                    ..
                })
            ));
        }
    }

    #[test]
    fn labels_must_fit_the_scores() {
        let scores = array![[0.1, 0.9], [0.2, 0.8]];
        let few = SingleLabel::new(scores.view(), &[0]).unwrap_err();
        assert!(matches!(
            few,
            Error::Measure(MeasureError::ScoreShape {
                scores: [2, 2],
                targets: [1, 2]
            })
        ));
        let large = SingleLabel::new(scores.view(), &[0, 2]).unwrap_err();
        assert!(matches!(
            large,
            Error::Measure(MeasureError::ScoreLabel {
                case: 1,
                label: 2,
                classes: 2
            })
        ));
        let wide = Array2::from_elem((2, 3), Some(true));
        let wide = multi_label(scores.view(), wide.view()).unwrap_err();
        assert!(matches!(
            wide,
            Error::Measure(MeasureError::ScoreShape {
                targets: [2, 3],
                ..
            })
        ));
    }

    #[test]
    fn no_cases_or_no_classes_are_refused() {
        let empty = SingleLabel::new(Array2::<f64>::zeros((0, 2)).view(), &[]).unwrap_err();
        assert!(matches!(empty, Error::Measure(MeasureError::NoCases)));
        let targets = Array2::from_elem((2, 0), None);
        let empty = multi_label(Array2::<f64>::zeros((2, 0)).view(), targets.view()).unwrap_err();
        assert!(matches!(empty, Error::Measure(MeasureError::NoCases)));
    }

    #[test]
    fn two_exclusive_classes_are_ranked_by_the_second() {
        let scores = array![[0.5, 0.5], [0.3, 0.7]];
        let classes = SingleLabel::new(scores.view(), &[0, 1]).unwrap().classes();
        assert_eq!(classes.len(), 1);
        assert_eq!(classes[0].class(), 1);
    }
}
