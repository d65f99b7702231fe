//! Comparison with SciPy, scikit-posthocs and aeon, by `scripts/dev/golden_ranks.py`.

use serde_json::Value;

use super::*;
use crate::borda::over_datasets;
use crate::cliques::cliques;
use crate::curve::{Size, fit};
use crate::resample::Draws;
use crate::wilcoxon::wilcoxon;

fn golden() -> Value {
    serde_json::from_str(include_str!("../../golden/ranks.json")).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    let values = value.as_array().unwrap().iter();
    values.map(|value| value.as_f64().unwrap()).collect()
}

fn groups(value: &Value) -> Vec<Vec<usize>> {
    serde_json::from_value(value.clone()).unwrap()
}

#[track_caller]
fn assert_close(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        let allowed = 1e-9 * expected.abs().max(1.0);
        assert!(
            (found - expected).abs() <= allowed,
            "{found}, expected {expected}"
        );
    }
}

fn tables() -> Vec<(Value, Table)> {
    let golden = golden();
    let tables = golden["tables"].as_array().unwrap().iter();
    let of = |table: &Value| {
        let rows = table["scores"].as_array().unwrap().iter();
        let rows = rows.map(|row| row.as_array().unwrap().iter().map(Value::as_f64).collect());
        Table::new(rows.collect()).unwrap()
    };
    tables.map(|table| (table.clone(), of(table))).collect()
}

#[test]
fn ranks_and_friedmans_test_equal_those_of_scipy_and_aeon() {
    for (golden, table) in tables() {
        let ranks = table.ranks().unwrap();
        let used: Vec<f64> = ranks.used.iter().map(|&row| row as f64).collect();
        assert_close(&used, &numbers(&golden["used"]));
        assert_close(&ranks.mean, &numbers(&golden["mean"]));
        let found = ranks.friedman().unwrap();
        let expected = &golden["friedman"];
        for (name, value) in [
            ("chi_square", Some(found.chi_square)),
            ("p", Some(found.p)),
            ("f", Some(found.f)),
            ("p_f", found.p_f),
        ] {
            if let Some(expected) = expected[name].as_f64() {
                assert_close(&[value.unwrap()], &[expected]);
            }
        }
    }
}

#[test]
fn nemenyis_test_equals_those_of_scikit_posthocs_and_aeon() {
    let alphas = numbers(&golden()["alphas"]);
    for (golden, table) in tables() {
        let ranks = table.ranks().unwrap();
        let nemenyi = ranks.nemenyi();
        for (found, expected) in nemenyi.p.iter().zip(golden["nemenyi"].as_array().unwrap()) {
            assert_close(found, &numbers(expected));
        }
        let critical = |&alpha: &f64| nemenyi.critical_difference(alpha).unwrap();
        let critical: Vec<f64> = alphas.iter().map(critical).collect();
        assert_close(&critical, &numbers(&golden["critical"]));
        let mut found = cliques(table.models(), |i, j| nemenyi.p[i][j] <= 0.05);
        found.sort();
        assert_eq!(found, groups(&golden["nemenyi_groups"]));
    }
}

#[test]
fn the_studentized_range_equals_that_of_scipy() {
    for row in golden()["studentized_range"].as_array().unwrap() {
        let [q, k, p] = numbers(row)[..] else {
            panic!("{row}");
        };
        assert_close(&[studentized_range::above(q, k as usize)], &[p]);
    }
}

#[test]
fn signed_ranks_equal_those_of_scipy() {
    for golden in golden()["wilcoxon"].as_array().unwrap() {
        let found = wilcoxon(&numbers(&golden["differences"]));
        let found = [found.statistic, found.p, found.rank_biserial.unwrap()];
        let paired = paired::paired(&numbers(&golden["differences"]), 0.9)
            .unwrap()
            .unwrap();
        assert_close(&[paired.p], &[golden["t_p"].as_f64().unwrap()]);
        assert_close(&paired.interval, &numbers(&golden["t_interval"]));
        let expected = ["statistic", "p", "rank_biserial"].map(|name| golden[name].as_f64());
        assert_close(&found, &expected.map(Option::unwrap));
    }
}

#[test]
fn tests_of_all_pairs_equal_those_of_scikit_posthocs() {
    for (golden, table) in tables() {
        let pairs = table.wilcoxon_holm();
        let p: Vec<f64> = pairs.iter().map(|pair| pair.test.p).collect();
        assert_close(&p, &numbers(&golden["wilcoxon"]));
        let p: Vec<f64> = pairs.iter().map(|pair| pair.p_holm).collect();
        assert_close(&p, &numbers(&golden["holm"]));
        let found = cliques(table.models(), |i, j| {
            let is_pair = |pair: &&PairTest| (pair.first, pair.second) == (i, j);
            pairs.iter().find(is_pair).unwrap().p_holm <= 0.05
        });
        assert_eq!(found, groups(&golden["holm_groups"]));
    }
}

#[test]
fn borda_intervals_equal_those_of_the_same_draws_in_numpy() {
    let all = golden();
    let draws = Draws {
        count: all["draws"].as_u64().unwrap() as usize,
        seed: all["seed"].as_u64().unwrap(),
        level: 0.95,
    };
    for (golden, table) in tables() {
        let found = over_datasets(&table, &draws).unwrap();
        let golden = &golden["borda"];
        for (model, standing) in found.models.iter().enumerate() {
            let interval = standing.mean_rank_interval.unwrap();
            assert_close(&interval, &numbers(&golden["mean_rank"][model]));
            let interval = standing.place_interval.unwrap();
            assert_close(&interval, &numbers(&golden["place"][model]));
            let first = golden["first"][model].as_f64().unwrap();
            assert_close(&[standing.first.unwrap()], &[first]);
        }
    }
}

#[test]
fn curves_equal_those_of_scipys_curve_fit() {
    let draws = Draws {
        count: 20,
        seed: 0,
        level: 0.95,
    };
    for golden in golden()["curves"].as_array().unwrap() {
        let sizes = numbers(&golden["n"]).into_iter();
        let errors = golden["errors"].as_array().unwrap().iter().map(numbers);
        let sizes: Vec<Size> = sizes
            .zip(errors)
            .map(|(n, errors)| Size { n, errors })
            .collect();
        let curve = fit(&sizes, &draws).unwrap().curve;
        let expected = numbers(&golden["curve"]);
        let found = [curve.floor, curve.scale, curve.exponent];
        for (found, expected) in found.iter().zip(&expected) {
            // The optimum of squares is flat: `curve_fit` stops within the root of the rounding.
            assert!(
                (found - expected).abs() < 1e-6,
                "{found}, expected {expected}"
            );
        }
    }
}
