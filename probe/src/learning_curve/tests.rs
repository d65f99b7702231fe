use super::*;
use crate::record::tests::record;

const CONFIDENCE: Confidence = Confidence {
    draws: 100,
    level: 0.95,
    seed: 0,
};

/// A result of `patients`, whose draws lie around `0.9 - 0.3 n^-0.6`.
fn result(patients: u32, draws: u32) -> RunRecord {
    let n = f64::from(patients);
    let expected = 0.9 - 0.3 * n.powf(-0.6);
    let values: Vec<f64> = (0..draws)
        .map(|draw| expected + 2e-3 * (f64::from((draw * 3 + patients) % 5) - 2.0))
        .collect();
    let mean = values.iter().sum::<f64>() / f64::from(draws);
    let numbers = vec![patients; draws as usize];
    let params = json!({
        "head": "centroid", "patients_per_draw": numbers, "train_per_draw": numbers, "patient_unit": "patient",
    });
    let spread = json!({"auroc_macro": {"sd": 0.01, "draws": values}});
    RunRecord {
        probe: "few-shot".into(),
        params: params.as_object().cloned().unwrap(),
        metrics: Map::from_iter([("auroc_macro".into(), mean.into())]),
        spread: spread.as_object().cloned().filter(|_| draws > 1),
        predictions: Some("scores".into()),
        ..record()
    }
}

fn results() -> Vec<RunRecord> {
    // Not in the order of their sizes, and with all patients in a single draw.
    [(16, 5), (4, 5), (2, 5), (8, 5), (64, 1)]
        .map(|(patients, draws)| result(patients, draws))
        .to_vec()
}

fn wanted(targets: &[f64]) -> Wanted<'_> {
    Wanted {
        targets,
        confidence: CONFIDENCE,
    }
}

#[test]
fn a_record_has_the_points_the_curve_and_the_patients_needed() {
    let found = wanted(&[0.87, 0.95]).record(&results());
    assert_eq!(
        (found.probe.as_str(), found.setting.as_str()),
        ("curve", "centroid")
    );
    assert_eq!((found.predictions, found.n_train), (None, 3));
    let params = Value::Object(found.params);
    assert_eq!(params["unit"], "patient");
    let sizes: Vec<f64> = params["points"]
        .as_array()
        .unwrap()
        .iter()
        .map(|point| point["n"].as_f64().unwrap())
        .collect();
    assert_eq!(sizes, [2.0, 4.0, 8.0, 16.0, 64.0]);
    let floor = params["curve"]["floor"].as_f64().unwrap();
    assert!((floor - 0.1).abs() < 0.02, "{floor}");
    let [first, second] = [0, 1].map(|at: usize| &params["targets"][at]);
    // 0.9 - 0.3 n^-0.6 = 0.87.
    let needed = first["patients"].as_f64().unwrap();
    assert!((needed / 46.4 - 1.0).abs() < 0.2, "{needed}");
    assert!(first["low"].as_f64().unwrap() < needed);
    assert!(
        second["refused"].as_str().unwrap().contains("levels off"),
        "{second}"
    );
    let line = params["line"].as_array().unwrap();
    let ends = [&line[0]["n"], &line[LINE - 1]["n"]].map(|n| n.as_f64().unwrap().round());
    assert_eq!(ends, [2.0, 64.0]);
    assert!(
        line.iter()
            .all(|at| at["low"].as_f64() <= at["mean"].as_f64())
    );
}

#[test]
fn results_without_a_curve_are_recorded_with_the_reason() {
    let found = wanted(&[0.9]).record(&results()[..3]);
    let refused = found.params["refused"].as_str().unwrap();
    assert!(refused.contains("at least 4"), "{refused}");
    assert!(!found.params.contains_key("curve"));
}

#[test]
fn drawn_examples_and_earlier_records_count_examples() {
    let mut examples = results();
    examples[0]
        .params
        .insert("draw_of".into(), "examples".into());
    let mut earlier = results();
    earlier
        .iter_mut()
        .for_each(|result| drop(result.params.remove("patients_per_draw")));
    for results in [examples, earlier] {
        assert_eq!(wanted(&[]).record(&results).params["unit"], "example");
    }
    let mut samples = results();
    samples[1]
        .params
        .insert("patient_unit".into(), "sample".into());
    assert_eq!(wanted(&[]).record(&samples).params["unit"], "sample");
}

#[test]
fn the_key_depends_on_what_is_asked_for() {
    let [one, other] = [&[0.9][..], &[0.8]].map(|targets| wanted(targets).key("k"));
    assert_ne!(one, other);
    assert_ne!(one, wanted(&[0.9]).key("l"));
}
