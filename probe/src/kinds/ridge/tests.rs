use half::f16;
use ndarray::s;
use serde_json::Value;

use super::*;
use crate::probes::linear::logits;

fn numbers(value: &Value) -> Vec<f64> {
    let values = value.as_array().unwrap().iter();
    values.map(|n| n.as_f64().unwrap_or(f64::NAN)).collect()
}

fn matrix(value: &Value) -> Array2<f64> {
    let rows: Vec<Vec<f64>> = value.as_array().unwrap().iter().map(numbers).collect();
    Array2::from_shape_vec((rows.len(), rows[0].len()), rows.concat()).unwrap()
}

fn targets(value: &Value) -> Targets {
    if value[0].is_array() {
        Targets::Multi(matrix(value).mapv(|y| (!y.is_nan()).then_some(y == 1.0)))
    } else {
        Targets::Single(numbers(value).into_iter().map(|y| y as u32).collect())
    }
}

/// `scripts/dev/golden_ridge.py` wrote the expected values.
#[test]
fn decision_values_equal_those_of_scikit_learn() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/ridge.json");
    let golden: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let alphas = numbers(&golden["alphas"]);
    for case in golden["cases"].as_array().unwrap() {
        let (x, targets) = (
            matrix(&case["x"]).mapv(f16::from_f64),
            targets(&case["targets"]),
        );
        let classes = case["classes"].as_u64().unwrap() as usize;
        let (train, test) = x.view().split_at(Axis(0), targets.len());
        let models = fit(train, &targets, classes, &alphas);
        for (model, expected) in models.iter().zip(case["decisions"].as_array().unwrap()) {
            let found = logits(test, model.weight.view(), model.bias.view());
            let most = (found - matrix(expected)).fold(0.0, |a: f64, b| a.max(b.abs()));
            let name = &case["name"];
            assert!(most < 1e-9, "{name}, alpha = {}: {most}", model.alpha);
        }
    }
}

#[test]
fn a_label_without_examples_has_no_weights_and_one_of_all_a_constant() {
    let x = Array2::from_shape_fn((6, 2), |(i, j)| f16::from_f32((i * (j + 1)) as f32));
    let states = Array2::from_shape_fn((6, 2), |(_, class)| (class == 0).then_some(true));
    let models = fit(x.view(), &Targets::Multi(states), 2, &[1.0]);
    assert_eq!(models[0].weight, Array2::<f64>::zeros((2, 2)));
    assert_eq!(models[0].bias.slice(s![..]), ndarray::array![1.0, 0.0]);
}
