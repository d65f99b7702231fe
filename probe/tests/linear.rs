//! Linear heads are those that PyTorch trains; `scripts/dev/golden_linear.py` wrote them down.
#![allow(clippy::unwrap_used, reason = "a test")]

use half::f16;
use ndarray::{Array1, Array2, ArrayView2, s};
use probe::features::{Columns, Inputs};
use probe::probes::linear::{self, Data, Head, HeadOptions, Loss, Reduction, Schedule};
use probe::targets::Targets;
use serde_json::Value;

/// Weights are of the order of 1; products are summed in another order than PyTorch's.
const TOLERANCE: f32 = 2e-6;

fn golden() -> Value {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/linear.json");
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|n| n.as_f64().unwrap())
        .collect()
}

fn whole(value: &Value) -> Vec<usize> {
    numbers(value).into_iter().map(|n| n as usize).collect()
}

fn matrix(value: &Value) -> Array2<f32> {
    let rows: Vec<Vec<f64>> = value.as_array().unwrap().iter().map(numbers).collect();
    let values = rows.concat().into_iter().map(|n| n as f32).collect();
    Array2::from_shape_vec((rows.len(), rows[0].len()), values).unwrap()
}

fn targets(case: &Value) -> Targets {
    if case["name"].as_str().unwrap().starts_with("multi") {
        Targets::Multi(matrix(&case["targets"]).mapv(|y| Some(y == 1.0)))
    } else {
        Targets::Single(
            whole(&case["targets"])
                .into_iter()
                .map(|y| y as u32)
                .collect(),
        )
    }
}

fn heads(case: &Value) -> Vec<Head> {
    let heads = case["heads"].as_array().unwrap().iter();
    let heads = heads.map(|head| {
        let weight = matrix(&head["weight"]);
        Head {
            options: HeadOptions {
                inputs: Inputs {
                    blocks: head["blocks"].as_u64().unwrap() as usize,
                    mean: head["mean"].as_bool().unwrap(),
                },
                learning_rate: head["rate"].as_f64().unwrap() as f32,
            },
            bias: Array1::zeros(weight.nrows()),
            weight,
        }
    });
    heads.collect()
}

#[track_caller]
fn assert_close(found: ArrayView2<f32>, expected: &Array2<f32>, what: &str) {
    assert_eq!(found.dim(), expected.dim(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            (found - expected).abs() < TOLERANCE * (1.0 + expected.abs()),
            "{what}: {found} {expected}"
        );
    }
}

fn trained(golden: &Value, case: &Value, heads: Vec<Head>) -> (Array2<f16>, Columns, Vec<Head>) {
    let features = matrix(&golden["x"]).mapv(f16::from_f32);
    let columns = Columns {
        cls: whole(&golden["widths"]),
        mean: golden["mean"].as_u64().unwrap() as usize,
    };
    let batches: Vec<_> = golden["batches"]
        .as_array()
        .unwrap()
        .iter()
        .map(whole)
        .collect();
    let targets = targets(case);
    let reduction = match case["name"].as_str().unwrap() {
        "multi_sum" => Reduction::Sum,
        _ => Reduction::Mean,
    };
    let classes = case["classes"].as_u64().unwrap() as usize;
    let data = Data {
        features: features.view(),
        columns: &columns,
        targets: &targets,
    };
    let schedule = Schedule {
        steps: batches.len(),
        momentum: 0.9,
    };
    let loss = Loss::of(&targets, classes, reduction);
    let heads = linear::train(&data, loss, heads, schedule, batches.into_iter());
    (features, columns, heads)
}

#[test]
fn weights_and_logits_equal_pytorch_s() {
    let golden = golden();
    for case in golden["cases"].as_array().unwrap() {
        let (features, columns, found) = trained(&golden, case, heads(case));
        let expected = case["heads"].as_array().unwrap();
        assert_eq!(found.len(), expected.len());
        for (head, expected) in found.iter().zip(expected) {
            let what = format!("{} {:?}", case["name"], head.options);
            assert_close(
                head.weight.view(),
                &matrix(&expected["trained_weight"]),
                &what,
            );
            let bias = numbers(&expected["trained_bias"])
                .into_iter()
                .map(|b| b as f32);
            let bias = Array1::from_iter(bias).insert_axis(ndarray::Axis(0));
            assert_close(head.bias.view().insert_axis(ndarray::Axis(0)), &bias, &what);
            let logits = matrix(&expected["logits"]);
            let evaluated = features.slice(s![-(logits.nrows() as isize).., ..]);
            let found = head.logits(evaluated, &columns).mapv(|z| z as f32);
            assert_close(found.view(), &logits, &what);
        }
    }
}

#[test]
fn heads_depend_neither_on_their_neighbours_nor_on_the_number_of_threads() {
    let golden = golden();
    let case = &golden["cases"][0];
    let all = trained(&golden, case, heads(case)).2;
    for (index, head) in heads(case).into_iter().enumerate() {
        let alone = trained(&golden, case, vec![head]).2;
        assert_close(alone[0].weight.view(), &all[index].weight, "alone");
    }
    let in_threads = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| trained(&golden, case, heads(case)).2)
    };
    assert_eq!(in_threads(1), in_threads(5));
}
