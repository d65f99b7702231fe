use half::f16;
use ndarray::Array2;

use super::*;
use crate::evaluate::permuted::shuffled;
use crate::examples::{Case, Unit};
use crate::features::Columns;
use crate::made_class::tests::nih;
use crate::targets::Targets;

/// One row per example, all of `train`; the features are row numbers.
fn examples(patients: &[Option<&str>], targets: Targets) -> Examples {
    let case = |(number, patient): (usize, &Option<&str>)| Case {
        sample: format!("s{number}"),
        slice: None,
        patient: patient.map(Into::into),
        split: Some(Split::Train),
    };
    let n = patients.len();
    Examples::new(
        Array2::from_shape_fn((n, 1), |(row, _)| f16::from_f32(row as f32)),
        Columns {
            cls: vec![1],
            mean: 0,
        },
        targets,
        patients.iter().enumerate().map(case).collect(),
        Unit::Slice,
    )
}

/// NIH's radiographs, with or without edema and a mass.
fn radiographs(patients: &[Option<&str>], states: &[[bool; 2]]) -> Examples {
    let classes = nih();
    let shape = (states.len(), classes.len());
    let state = |(row, class): (usize, usize)| match classes[class].as_str() {
        "Edema" => states[row][0],
        "Mass" => states[row][1],
        "No Finding" => states[row] == [false, false],
        _ => false,
    };
    let targets = Targets::Multi(Array2::from_shape_fn(shape, |at| Some(state(at))));
    let mut examples = examples(patients, targets);
    examples.classes = classes;
    examples
}

#[test]
fn the_study_numbers_train_before_val() {
    let mut examples = examples(&[None; 5], Targets::Single(vec![0; 5]));
    examples.cases[0].split = Some(Split::Val);
    examples.cases[2].split = Some(Split::Val);
    examples.cases[4].split = Some(Split::Test);
    let pool = pool(&examples, &[Split::Train, Split::Val]).unwrap();
    assert_eq!(pool, [1, 3, 0, 2]);
    assert_eq!(study_draw(&examples, &pool, 2), [1, 0]);
}

#[test]
fn the_study_takes_the_first_patients_all_of_whose_images_have_a_class() {
    let patients = ["3", "1", "1", "2", "2", "4"].map(Some);
    let [neither, edema, both] = [[false, false], [true, false], [true, true]];
    let examples = radiographs(&patients, &[edema, edema, neither, both, edema, neither]);
    let pool: Vec<usize> = (0..6).collect();
    // Edema: patient 2 (1 has an image without it); Mass: none (2 has an image without it); No
    // Finding: patient 4.
    assert_eq!(study_draw(&examples, &pool, 1), [3, 4, 5]);
    // Edema: patients 2 and 3.
    assert_eq!(study_draw(&examples, &pool, 2), [0, 3, 4, 5]);
}

#[test]
fn a_patient_who_is_taken_for_a_class_is_not_replaced_in_another() {
    let examples = radiographs(&["1", "2"].map(Some), &[[true, true], [false, true]]);
    assert_eq!(study_draw(&examples, &[0, 1], 1), [0]);
}

#[test]
fn without_patients_and_of_other_datasets_the_study_takes_equal_distances() {
    let states = [[true, false]; 4];
    let without = radiographs(&[None; 4], &states);
    let mut other = radiographs(&["1", "2", "3", "4"].map(Some), &states);
    other.classes.truncate(14);
    for examples in [without, other] {
        assert_eq!(study_draw(&examples, &[0, 1, 2, 3], 2), [0, 2]);
    }
}

#[test]
fn random_draws_take_patients_of_each_class_with_all_images() {
    let patients: Vec<String> = (0..40).map(|i| format!("p{}", i / 2)).collect();
    let patients: Vec<Option<&str>> = patients.iter().map(|p| Some(p.as_str())).collect();
    let labels = (0..40).map(|i| (i / 2 % 2) as u32).collect();
    let examples = examples(&patients, Targets::Single(labels));
    let pool: Vec<usize> = (0..40).collect();
    let drawn = random_draw(&examples, &pool, 2, (3, Draw::Patients), 7);
    assert_eq!(drawn.len(), 12);
    assert!(drawn.chunks(2).all(|pair| pair[1] == pair[0] + 1));
    assert_eq!(
        drawn,
        random_draw(&examples, &pool, 2, (3, Draw::Patients), 7)
    );
    assert_ne!(
        drawn,
        random_draw(&examples, &pool, 2, (3, Draw::Patients), 8)
    );
    assert_eq!(
        random_draw(&examples, &pool, 2, (100, Draw::Patients), 7),
        pool
    );
}

#[test]
fn random_draws_of_examples_take_so_many_of_each_class_whoever_they_are_of() {
    let labels = (0..40).map(|i| u32::from(i % 4 == 0)).collect();
    let examples = examples(&[Some("one"); 40], Targets::Single(labels));
    let pool: Vec<usize> = (0..40).collect();
    let draw = |seed| random_draw(&examples, &pool, 2, (3, Draw::Examples), seed);
    let positives = draw(7).iter().filter(|&&example| example % 4 == 0).count();
    assert_eq!((draw(7).len(), positives), (6, 3));
    assert_ne!(draw(7), draw(8));
}

#[test]
fn shuffled_labels_stay_within_a_split_and_views_stay_together() {
    let mut examples = examples(&[None; 6], Targets::Single(vec![0, 1, 2, 3, 4, 5, 0]));
    examples.cases[5].split = Some(Split::Test);
    examples.rows[0] = vec![0, 6];
    let Targets::Single(dealt) = shuffled(&examples, 3, 0) else {
        panic!("other targets");
    };
    assert_eq!((dealt[5], dealt[6]), (5, dealt[0]));
    assert_ne!(dealt[..5], [0, 1, 2, 3, 4]);
    let mut sorted = dealt[..5].to_vec();
    sorted.sort_unstable();
    assert_eq!(sorted, [0, 1, 2, 3, 4]);
    assert_ne!(shuffled(&examples, 3, 1), Targets::Single(dealt));
}

#[test]
fn shuffled_labels_are_dealt_out_among_patients() {
    let patients: Vec<String> = (0..40).map(|i| format!("p{}", i / 4)).collect();
    let patients: Vec<Option<&str>> = patients.iter().map(|p| Some(p.as_str())).collect();
    let labels: Vec<u32> = (0..40).map(|i| i / 4).collect();
    let mut examples = examples(&patients, Targets::Single(labels.clone()));
    for case in &mut examples.cases[20..] {
        case.split = Some(Split::Test);
    }
    let Targets::Single(dealt) = shuffled(&examples, 0, 0) else {
        panic!("other targets");
    };
    let mut of_patients = dealt.chunks(4);
    assert!(of_patients.all(|dealt| dealt.iter().all(|&label| label == dealt[0])));
    for split in [0..20, 20..40] {
        let (dealt, labels) = (&dealt[split.clone()], &labels[split]);
        assert!(dealt != labels && dealt.iter().all(|label| labels.contains(label)));
    }
}
