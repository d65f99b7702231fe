use proptest::prelude::*;

use super::super::Reduction;
use super::*;
use crate::features::Inputs;
use crate::targets::Targets;

const COLUMNS: [usize; 3] = [200, 7, 385];
const EXAMPLES: usize = 23;

fn value(seed: usize, i: usize, j: usize) -> f32 {
    let x = (i * 1009 + j + 100_003 * seed) as u32;
    (x.wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 24) as f32 - 0.5
}

fn heads(columns: &Columns, outputs: usize, count: usize) -> Vec<Head> {
    let head = |k: usize| {
        let inputs = Inputs {
            blocks: 1 + k % 2,
            mean: k.is_multiple_of(3),
        };
        let learning_rate = [0.5, 0.1, 0.02][k % 3];
        let options = HeadOptions {
            inputs,
            learning_rate,
        };
        Head::new(options, columns.range(inputs).len(), outputs, 3, k as u64)
    };
    (0..count).map(head).collect()
}

/// One head alone, by the formulas, in f64.
fn plainly(
    data: &Data<'_>,
    head: &Head,
    schedule: Schedule,
    batches: &[Vec<usize>],
) -> Array2<f64> {
    let seen = s![.., data.columns.range(head.options.inputs)];
    let x = data.features.slice(seen).mapv(f64::from);
    let (mut weight, mut bias) = (head.weight.mapv(f64::from), head.bias.mapv(f64::from));
    let mut velocity = Array2::zeros(weight.dim());
    let mut bias_velocity = Array1::zeros(bias.dim());
    let Targets::Multi(present) = data.targets else {
        unreachable!()
    };
    for (step, rows) in batches.iter().enumerate() {
        let x = x.select(Axis(0), rows);
        let mut gradient = x.dot(&weight.t()) + &bias;
        let (batch, outputs) = gradient.dim();
        for ((row, class), z) in gradient.indexed_iter_mut() {
            let y = f64::from(u8::from(present[[rows[row], class]] == Some(true)));
            *z = (1.0 / (1.0 + (-*z).exp()) - y) / (batch * outputs) as f64;
        }
        let momentum = f64::from(schedule.momentum);
        let rate = f64::from(head.options.learning_rate * schedule.factor(step));
        velocity = momentum * velocity + gradient.t().dot(&x);
        bias_velocity = momentum * bias_velocity + gradient.sum_axis(Axis(0));
        weight = weight - rate * &velocity;
        bias = bias - rate * &bias_velocity;
    }
    weight
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn heads_of_any_shape_are_trained_as_each_alone(
        outputs in 1..20_usize,
        count in 1..6_usize,
        sizes in prop::collection::vec(1..20_usize, 1..6),
    ) {
        let columns = Columns {
            cls: COLUMNS[..2].to_vec(),
            mean: COLUMNS[2],
        };
        let features = Array2::from_shape_fn((EXAMPLES, columns.width()), |(i, j)| {
            half::f16::from_f32(value(1, i, j))
        });
        let targets = Array2::from_shape_fn((EXAMPLES, outputs), |(i, j)| {
            Some(value(2, i, j) > 0.0)
        });
        let targets = Targets::Multi(targets);
        let data = Data {
            features: features.view(),
            columns: &columns,
            targets: &targets,
        };
        let batches = sizes.iter().enumerate();
        let batches = batches.map(|(step, &size)| {
            (0..size).map(|i| (7 * i + 5 * step) % EXAMPLES).collect()
        });
        let batches: Vec<Vec<usize>> = batches.collect();
        let schedule = Schedule { steps: batches.len(), momentum: 0.9 };
        let before = heads(&columns, outputs, count);
        let loss = Loss::MultiLabel(Reduction::Mean);
        let found = train(&data, loss, before.clone(), schedule, batches.iter().cloned());
        for (found, before) in found.iter().zip(&before) {
            let expected = plainly(&data, before, schedule, &batches);
            for (found, expected) in found.weight.iter().zip(&expected) {
                prop_assert!((f64::from(*found) - expected).abs() < 1e-5, "{} {}", found, expected);
            }
            let alone = train(&data, loss, vec![before.clone()], schedule, batches.iter().cloned());
            prop_assert_eq!(&alone[0], found);
        }
    }
}
