//! Measures of label maps against MONAI's and the study's; `scripts/dev/golden_segment.py` wrote them down.
#![allow(clippy::unwrap_used)]

use ndarray::Array3;
use probe::metrics::overlap::Confusion;
use probe::metrics::surface::hausdorff_95;
use serde::Deserialize;

#[derive(Deserialize)]
struct Case {
    shape: [usize; 3],
    spacing_mm: [f64; 3],
    truth: Vec<u16>,
    predicted: Vec<u16>,
    dice: Vec<Option<f64>>,
    iou: Vec<Option<f64>>,
    hd95_mm: Vec<Option<f64>>,
    foreground_jaccard: Vec<f64>,
}

fn assert_near(found: Option<f64>, expected: Option<f64>, bound: f64) {
    match (found, expected) {
        (Some(found), Some(expected)) => {
            assert!(
                (found - expected).abs() < bound,
                "{found}, expected {expected}"
            );
        }
        (found, expected) => assert_eq!(found, expected),
    }
}

#[test]
fn overlaps_and_distances_are_monai_s() {
    let text = include_str!("../golden/segment.json");
    let cases: Vec<Case> = serde_json::from_str(text).unwrap();
    assert_eq!(cases.len(), 4);
    for case in cases {
        let mut counts = Confusion::new(case.dice.len() + 1);
        counts.add(&case.truth, &case.predicted);
        let volume = |labels: &[u16], class: u16| {
            let [k, i, j] = case.shape;
            let all = Array3::from_shape_vec((k, i, j), labels.to_vec()).unwrap();
            all.map(|&label| label == class)
        };
        for at in 0..case.dice.len() {
            let class = at + 1;
            assert_near(counts.dice(class), case.dice[at], 1e-6);
            assert_near(counts.iou(class), case.iou[at], 1e-6);
            let jaccard = Some(case.foreground_jaccard[at]);
            assert_near(counts.foreground_jaccard(class), jaccard, 1e-12);
            let [truth, predicted] =
                [&case.truth, &case.predicted].map(|labels| volume(labels, class as u16));
            let found = hausdorff_95(truth.view(), predicted.view(), case.spacing_mm);
            assert_near(found, case.hd95_mm[at], 1e-4);
        }
    }
}
