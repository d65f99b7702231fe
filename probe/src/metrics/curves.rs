//! Curves over all thresholds, for charts.

use super::ranked::Ranked;
use super::weights::Weights;

/// Steps of a curve in each direction; smaller ones are not drawn.
const STEP: f64 = 0.01;

/// The ROC curve of a class: false positive rates and true positive rates, from (0, 0) to (1, 1).
///
/// `None` without a positive or without a negative case.
pub fn roc(class: &Ranked, weights: &Weights) -> Option<Vec<[f64; 2]>> {
    let [positives, negatives] = class.totals(weights);
    if positives == 0 || negatives == 0 {
        return None;
    }
    let (mut found, mut false_found) = (0, 0);
    let mut points = vec![[0.0, 0.0]];
    for step in class.steps(weights) {
        found += step.positives;
        false_found += step.negatives;
        points.push([
            false_found as f64 / negatives as f64,
            found as f64 / positives as f64,
        ]);
    }
    Some(points)
}

/// Precision by recall of a class, as scikit-learn's `precision_recall_curve` without its last point: recalls
/// and precisions from the highest threshold down.
///
/// `None` without a positive or without a negative case.
pub fn precision_recall(class: &Ranked, weights: &Weights) -> Option<Vec<[f64; 2]>> {
    let [positives, negatives] = class.totals(weights);
    if positives == 0 || negatives == 0 {
        return None;
    }
    let (mut found, mut all) = (0, 0);
    let mut points = Vec::new();
    for step in class.steps(weights) {
        found += step.positives;
        all += step.positives + step.negatives;
        if all > 0 {
            points.push([found as f64 / positives as f64, found as f64 / all as f64]);
        }
    }
    Some(points)
}

/// A curve to draw: points that differ from the one before by less than 0.01 in both directions are left out, except
/// for the last one.
pub fn thinned(points: Vec<[f64; 2]>) -> Vec<[f64; 2]> {
    let last = points.last().copied();
    let mut kept: Vec<[f64; 2]> = Vec::new();
    for point in points {
        let is_far = |before: &[f64; 2]| {
            (point[0] - before[0]).abs() >= STEP || (point[1] - before[1]).abs() >= STEP
        };
        if kept.last().is_none_or(is_far) {
            kept.push(point);
        }
    }
    if kept.last().copied() != last {
        kept.extend(last);
    }
    kept
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::super::scored::multi_label;
    use super::*;

    #[test]
    fn curves_equal_those_of_scikit_learn() {
        // roc_curve(drop_intermediate=False) and precision_recall_curve of these scores.
        let scores = array![[0.9], [0.8], [0.8], [0.4], [0.1]];
        let targets = array![
            [Some(true)],
            [Some(false)],
            [Some(true)],
            [Some(true)],
            [Some(false)]
        ];
        let class = &multi_label(scores.view(), targets.view()).unwrap()[0];
        let once = Weights::once(5);
        let third = 1.0 / 3.0;
        assert_eq!(
            roc(class, &once).unwrap(),
            [
                [0.0, 0.0],
                [0.0, third],
                [0.5, 2.0 * third],
                [0.5, 1.0],
                [1.0, 1.0]
            ]
        );
        assert_eq!(
            precision_recall(class, &once).unwrap(),
            [
                [third, 1.0],
                [2.0 * third, 2.0 * third],
                [1.0, 0.75],
                [1.0, 0.6]
            ]
        );
    }

    #[test]
    fn near_points_are_left_out_but_the_ends_stay() {
        let points: Vec<[f64; 2]> = (0..=10_000).map(|i| [f64::from(i) / 10_000.0; 2]).collect();
        let kept = thinned(points);
        assert!((100..=102).contains(&kept.len()), "{}", kept.len());
        assert_eq!([kept[0], kept[kept.len() - 1]], [[0.0; 2], [1.0; 2]]);
    }
}
