//! Measures of rankings: precision, recall and average precision.

use super::weights::Weights;

/// Measures of one ranking.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    /// Mean over the relevant items of the precision at their rank.
    pub(crate) average_precision: f64,
    /// Share of relevant items in the ranking: the expected precision of a random order.
    pub(crate) chance: f64,
    /// For each `k`, the share of relevant items among the first `k`.
    pub(crate) precision: Vec<f64>,
    /// For each `k`, the share of the relevant items that is among the first `k`.
    pub(crate) recall: Vec<f64>,
    /// For each `k`, 1 if a relevant item is among the first `k`, else 0.
    pub(crate) hit: Vec<f64>,
}

/// Measures of a ranking of `items` items, of which those at the ranks `relevant` (from 0, rising) are
/// relevant. `None` if no item is.
pub(crate) fn answer(relevant: &[usize], items: usize, ks: &[usize]) -> Option<Answer> {
    let all = relevant.len() as f64;
    if relevant.is_empty() {
        return None;
    }
    let precisions = relevant.iter().zip(1..);
    let precisions = precisions.map(|(&rank, found)| f64::from(found) / (rank + 1) as f64);
    let among = |k: usize| relevant.partition_point(|&rank| rank < k) as f64;
    Some(Answer {
        average_precision: precisions.sum::<f64>() / all,
        chance: all / items as f64,
        precision: ks.iter().map(|&k| among(k) / k as f64).collect(),
        recall: ks.iter().map(|&k| among(k) / all).collect(),
        hit: ks.iter().map(|&k| among(k).min(1.0)).collect(),
    })
}

/// A number of an answer.
pub(crate) type Number<'a> = &'a (dyn Fn(&Answer) -> f64 + Sync);

/// Answers of queries, each with the number of its query.
pub(crate) type Answers = Vec<(usize, Answer)>;

/// Mean over answers, each as often as its query counts; `None` if none counts.
pub(crate) fn mean(answers: &Answers, weights: &Weights, number: Number<'_>) -> Option<f64> {
    let (mut count, mut sum) = (0, 0.0);
    for (query, answer) in answers {
        let times = weights.of(*query);
        count += times;
        sum += f64::from(times) * number(answer);
    }
    (count > 0).then(|| sum / f64::from(count))
}

/// Mean over classes of the means over the answers of each; `None` if a class has no answer that counts.
pub(crate) fn macro_mean(
    classes: &[Answers],
    weights: &Weights,
    number: Number<'_>,
) -> Option<f64> {
    let means: Option<Vec<f64>> = classes.iter().map(|of| mean(of, weights, number)).collect();
    let means = means.filter(|means| !means.is_empty())?;
    Some(means.iter().sum::<f64>() / means.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of scikit-learn's `average_precision_score` and torchmetrics' functional retrieval measures.
    #[test]
    fn measures_equal_the_references() {
        let found = answer(&[0, 2, 5], 8, &[1, 3, 5, 10]).unwrap();
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
        near(found.average_precision, (1.0 + 2.0 / 3.0 + 3.0 / 6.0) / 3.0);
        near(found.chance, 0.375);
        assert_eq!(found.precision, [1.0, 2.0 / 3.0, 0.4, 0.3]);
        assert_eq!(found.recall, [1.0 / 3.0, 2.0 / 3.0, 2.0 / 3.0, 1.0]);
        assert_eq!(found.hit, [1.0; 4]);
        assert_eq!(answer(&[4], 8, &[1, 5]).unwrap().hit, [0.0, 1.0]);
        assert_eq!(answer(&[], 8, &[1]), None);
    }

    #[test]
    fn means_count_queries_as_often_as_they_are_drawn() {
        let of = |query, rank: usize| (query, answer(&[rank], 4, &[1]).unwrap());
        let classes = [vec![of(0, 0), of(1, 3)], vec![of(2, 1)]];
        let number: Number<'_> = &|answer| answer.average_precision;
        let once = Weights::once(3);
        assert_eq!(
            macro_mean(&classes, &once, number),
            Some((0.625 + 0.5) / 2.0)
        );
        let twice = Weights(vec![2, 0, 1]);
        assert_eq!(mean(&classes[0], &twice, number), Some(1.0));
        assert_eq!(mean(&classes[0], &Weights(vec![0, 0, 3]), number), None);
        assert_eq!(macro_mean(&classes, &Weights(vec![0, 0, 3]), number), None);
        assert_eq!(macro_mean(&[], &once, number), None);
    }
}
