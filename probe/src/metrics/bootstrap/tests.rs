use crate::error::MeasureError;
use ndarray::Array2;
use proptest::prelude::*;

use super::super::ranked::{auroc, average_precision};
use super::super::scored::multi_label;
use super::*;

type Case = (u8, Option<bool>, u8);

fn class(cases: &[Case]) -> Ranked {
    let column = |value: fn(&Case) -> f64| cases.iter().map(value).collect();
    let scores = Array2::from_shape_vec((cases.len(), 1), column(|case| f64::from(case.0)));
    let targets = cases.iter().map(|case| case.1).collect();
    let targets = Array2::from_shape_vec((cases.len(), 1), targets).unwrap();
    multi_label(scores.unwrap().view(), targets.view())
        .unwrap()
        .remove(0)
}

fn bootstrap(cases: &[Case], draws: usize) -> Bootstrap {
    let patients: Vec<u8> = cases.iter().map(|case| case.2).collect();
    Bootstrap::new(&patients, draws, 7).unwrap()
}

fn resample(cases: &[Case], weights: &Weights) -> Vec<Case> {
    let times = |(i, &case): (usize, &Case)| vec![case; weights.of(i) as usize];
    cases.iter().enumerate().flat_map(times).collect()
}

/// Ten patients of one case each, of which one is positive.
fn one_positive() -> Vec<Case> {
    (0..10).map(|i| (i, Some(i == 9), i)).collect()
}

fn level() -> Level {
    Level::new(0.95).unwrap()
}

proptest! {
    #[test]
    fn a_weighted_pass_equals_the_materialised_resample(
        cases in prop::collection::vec((0..9_u8, any::<Option<bool>>(), 0..12_u8), 20..60),
        number in 0..1000_u64,
    ) {
        let weights = bootstrap(&cases, 1).draw(number);
        let resampled = resample(&cases, &weights);
        let once = Weights::once(resampled.len());
        let (weighted, resampled) = (class(&cases), class(&resampled));
        prop_assert_eq!(auroc(&weighted, &weights), auroc(&resampled, &once));
        let [found, expected] = [(&weighted, &weights), (&resampled, &once)]
            .map(|(class, weights)| average_precision(class, weights));
        prop_assert_eq!(found.is_some(), expected.is_some());
        prop_assert!((found.unwrap_or(0.0) - expected.unwrap_or(0.0)).abs() < 1e-12);
    }

    #[test]
    fn a_draw_takes_patients_whole_and_as_many_as_there_are(
        patients in prop::collection::vec(0..12_u8, 20..60),
        number in any::<u64>(),
    ) {
        let cases: Vec<Case> = patients.iter().map(|&patient| (0, None, patient)).collect();
        let weights = bootstrap(&cases, 1).draw(number);
        let mut times = HashMap::new();
        for (i, patient) in patients.iter().enumerate() {
            prop_assert_eq!(*times.entry(patient).or_insert(weights.of(i)), weights.of(i));
        }
        prop_assert_eq!(times.values().sum::<u32>() as usize, times.len());
    }
}

#[test]
fn draws_do_not_depend_on_threads_or_their_number() {
    let bootstrap = |draws| bootstrap(&one_positive(), draws);
    let on = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        let pool = pool.build().unwrap();
        pool.install(|| bootstrap(50).draws(Weights::clone))
    };
    assert_eq!(on(1), on(3));
    assert_eq!(on(1)[..20], bootstrap(20).draws(Weights::clone));
    assert_ne!(on(1)[0], on(1)[1]);
}

#[test]
fn other_seeds_give_other_draws() {
    let patients: Vec<u32> = (0..50).collect();
    let draw = |seed| Bootstrap::new(&patients, 1, seed).unwrap().draw(0);
    assert_ne!(draw(1), draw(2));
}

#[test]
fn undefined_draws_are_counted_and_left_out() {
    let (cases, draws) = (one_positive(), 500);
    let class = class(&cases);
    let bootstrap = bootstrap(&cases, draws);
    let without = |weights: &Weights| weights.of(9) == 0;
    let expected = bootstrap.draws(without).into_iter().filter(|&w| w).count();
    assert!((100..250).contains(&expected));
    let found = bootstrap.interval(level(), |weights| auroc(&class, weights));
    assert_eq!(found.undefined, expected);
    let (low, high) = (1.0, 1.0);
    assert_eq!(found.interval, Some(Interval { low, high }));
}

#[test]
fn an_interval_needs_half_of_the_draws() {
    let bootstrap = bootstrap(&one_positive(), 100);
    let found = bootstrap.interval(level(), |weights| (weights.of(0) > 2).then_some(1.0));
    assert_eq!(found.interval, None);
    assert!(found.undefined > 50);
}

#[test]
fn the_mean_is_of_the_same_classes_in_all_draws() {
    let cases = one_positive();
    let balanced: Vec<Case> = cases
        .iter()
        .map(|&(i, _, p)| (i, Some(i % 2 == 0), p))
        .collect();
    let never: Vec<Case> = cases.iter().map(|&(i, _, p)| (i, Some(false), p)).collect();
    let classes = [class(&cases), class(&balanced), class(&never)];
    let found = bootstrap(&cases, 400).intervals(level(), &classes, auroc);
    assert_eq!(found.classes[2].interval, None);
    assert_eq!(found.classes[2].undefined, 400);
    assert!(found.classes[0].undefined > found.classes[1].undefined);
    assert!(found.mean.undefined >= found.classes[0].undefined);
    assert!(found.mean.interval.is_some());
}

#[test]
fn equal_tables_do_not_differ_and_unequal_ones_do() {
    let cases: Vec<Case> = (0..40).map(|i| (i, Some(i >= 20), i)).collect();
    let turned: Vec<Case> = cases.iter().map(|&(i, y, p)| (i % 5, y, p)).collect();
    let (good, poor) = (class(&cases), class(&turned));
    let bootstrap = bootstrap(&cases, 999);
    let equal = bootstrap
        .compare(level(), |w| auroc(&good, w), |w| auroc(&good, w))
        .unwrap();
    assert_eq!((equal.difference, equal.p), (0.0, Some(1.0)));
    let unlike = bootstrap
        .compare(level(), |w| auroc(&good, w), |w| auroc(&poor, w))
        .unwrap();
    assert_eq!(unlike.difference, 0.5);
    assert_eq!(unlike.p, Some(2.0 / 1000.0));
    assert!(unlike.sampled.interval.unwrap().low > 0.0);
    assert_eq!(
        bootstrap.compare(level(), |w| auroc(&good, w), |_| None),
        None
    );
}

#[test]
fn a_single_patient_and_impossible_numbers_of_draws_are_refused() {
    let one = Bootstrap::new(&["a", "a"], 10, 0).unwrap_err();
    assert!(matches!(
        one,
        Error::Measure(MeasureError::TooFewPatients { found: 1 })
    ));
    for draws in [0, 1_000_001, usize::MAX] {
        let found = Bootstrap::new(&["a", "b"], draws, 0).unwrap_err();
        assert!(matches!(found, Error::Measure(MeasureError::Draws { .. })));
    }
}
