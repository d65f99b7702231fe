//! Friedman's test.

use serde::Serialize;
use statrs::function::beta::beta_reg;
use statrs::function::gamma::gamma_ur;

use crate::ranks::{Ranks, ties};

/// Friedman's test that all models are equally good.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Friedman {
    /// Chi-square, corrected for ties (Friedman 1937; Conover 1999, section 5.8).
    pub chi_square: f64,
    /// Its p-value, with `models - 1` degrees of freedom; SciPy's `friedmanchisquare`.
    pub p: f64,
    /// `(N - 1) chi_square / (N (K - 1) - chi_square)`, which is less conservative (Iman and Davenport 1980);
    /// infinite if all datasets agree.
    pub f: f64,
    /// Its p-value, with `K - 1` and `(K - 1) (N - 1)` degrees of freedom; 0 if `f` is infinite, and `None` for
    /// one dataset.
    pub p_f: Option<f64>,
    /// Datasets, `N`.
    pub datasets: usize,
    /// Models, `K`.
    pub models: usize,
}

impl Ranks {
    /// Friedman's test; `None` if all models have the same score on every dataset.
    pub fn friedman(&self) -> Option<Friedman> {
        let (n, k) = (self.rows.len() as f64, self.models() as f64);
        let tied = self.rows.iter().flat_map(|row| ties(row));
        let tied: f64 = tied.map(|t| t as f64).map(|t| t * (t * t - 1.0)).sum();
        let correction = 1.0 - tied / (n * k * (k * k - 1.0));
        if correction < 1e-12 {
            return None;
        }
        // Sums of squared deviations do not cancel, unlike those of squared sums.
        let middle = (k + 1.0) / 2.0;
        let squares: f64 = self.mean.iter().map(|mean| (mean - middle).powi(2)).sum();
        let chi_square = 12.0 * n / (k * (k + 1.0)) * squares / correction;
        let rest = n * (k - 1.0) - chi_square;
        let agree = rest <= 1e-9 * n * k;
        let f = if agree {
            f64::INFINITY
        } else {
            (n - 1.0) * chi_square / rest
        };
        let p_f = match (self.rows.len(), agree) {
            (1, _) => None,
            (_, true) => Some(0.0),
            _ => Some(f_above(f, k - 1.0, (k - 1.0) * (n - 1.0))),
        };
        Some(Friedman {
            chi_square,
            p: chi_square_above(chi_square, k - 1.0),
            f,
            p_f,
            datasets: self.rows.len(),
            models: self.models(),
        })
    }
}

/// The probability that a chi-square variable exceeds a number.
fn chi_square_above(value: f64, freedom: f64) -> f64 {
    if value <= 0.0 {
        1.0
    } else {
        gamma_ur(freedom / 2.0, value / 2.0)
    }
}

/// The probability that a variable of the F distribution exceeds a number.
fn f_above(value: f64, first: f64, second: f64) -> f64 {
    if value <= 0.0 {
        1.0
    } else {
        beta_reg(second / 2.0, first / 2.0, second / (second + first * value))
    }
}

#[cfg(test)]
mod tests {
    use crate::Table;

    fn table(rows: &[[f64; 3]]) -> Table {
        let rows = rows.iter().map(|row| row.map(Some).to_vec());
        Table::new(rows.collect()).unwrap()
    }

    #[test]
    fn models_that_never_differ_have_no_test() {
        let ranks = table(&[[0.5; 3], [0.7; 3]]).ranks().unwrap();
        assert_eq!(ranks.friedman(), None);
    }

    #[test]
    fn datasets_that_agree_have_an_infinite_f() {
        let ranks = table(&[[0.9, 0.8, 0.7]; 4]).ranks().unwrap();
        let found = ranks.friedman().unwrap();
        assert!((found.chi_square - 8.0).abs() < 1e-12);
        assert_eq!((found.f, found.p_f), (f64::INFINITY, Some(0.0)));
    }

    #[test]
    fn one_dataset_has_no_f() {
        let found = table(&[[0.9, 0.8, 0.7]]).ranks().unwrap().friedman();
        assert_eq!(found.unwrap().p_f, None);
    }
}
