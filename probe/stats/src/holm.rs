//! Holm's correction for several tests.

/// p-values adjusted by Holm's step-down procedure (Holm 1979), in the order given: the `i`-th lowest of `m` is
/// multiplied by `m - i + 1`, and is at least as high as those before it and at most 1. A test whose adjusted
/// p-value is at most `alpha` is rejected; the probability of any false rejection is then at most `alpha`,
/// whatever the tests have to do with each other.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    let mut adjusted = vec![0.0; p.len()];
    let mut least = 0.0_f64;
    for (before, &at) in order.iter().enumerate() {
        least = least.max(p[at] * (p.len() - before) as f64).min(1.0);
        adjusted[at] = least;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adjusted_values_keep_the_order_and_stay_below_one() {
        let found = holm(&[0.04, 0.01, 0.03, 0.9]);
        let expected = [0.09, 0.04, 0.09, 0.9];
        let far = |(a, b): (&f64, &f64)| (a - b).abs() > 1e-15;
        assert!(!found.iter().zip(&expected).any(far), "{found:?}");
        assert_eq!(holm(&[0.6, 0.6]), [1.0, 1.0]);
        assert!(holm(&[]).is_empty());
    }
}
