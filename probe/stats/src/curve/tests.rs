use super::*;

const DRAWS: Draws = Draws {
    count: 200,
    seed: 1,
    level: 0.95,
};

/// Errors of a curve with a little noise at 1, 2, 4, … patients.
fn sizes(curve: Curve, count: u32, noise: f64) -> Vec<Size> {
    let size = |at: u32| {
        let n = f64::from(1 << at);
        let shift = |draw: u32| noise * (f64::from((at * 5 + draw * 7) % 11) / 5.0 - 1.0);
        let errors = (0..5).map(|draw| curve.error(n) + shift(draw));
        Size {
            n,
            errors: errors.collect(),
        }
    };
    (0..count).map(size).collect()
}

const CURVE: Curve = Curve {
    floor: 0.1,
    scale: 0.3,
    exponent: 0.6,
};

#[test]
fn a_curve_is_found_again_and_tells_the_patients_needed() {
    let found = fit(&sizes(CURVE, 8, 1e-3), &DRAWS).unwrap();
    assert!((found.curve.floor - 0.1).abs() < 0.01, "{:?}", found.curve);
    let [low, high] = found.intervals[2];
    assert!(low < 0.6 && 0.6 < high, "{low} {high}");
    let expected = CURVE.patients(0.11).unwrap();
    let need = found.needed(0.11).unwrap();
    assert!(need.is_extrapolated && need.low < expected, "{need:?}");
    assert!(need.high.is_none_or(|high| high > expected), "{need:?}");
    assert!(!found.needed(0.2).unwrap().is_extrapolated);
    let [low, high] = found.error_interval(1000.0);
    assert!(low < high && high < 0.12, "{low} {high}");
}

#[test]
fn numbers_that_the_curve_does_not_tell_are_refused_in_words() {
    let found = fit(&sizes(CURVE, 8, 1e-3), &DRAWS).unwrap();
    for (error, words) in [
        (0.05, "levels off"),
        (0.1012, "too far"),
        (0.5, "reach it already"),
    ] {
        let refused = found.needed(error).unwrap_err().to_string();
        assert!(refused.contains(words), "{refused}");
    }
}

#[test]
fn points_that_do_not_support_a_curve_are_refused_in_words() {
    let flat = Curve {
        scale: 0.0,
        ..CURVE
    };
    let line: Vec<Size> = [1.0, 2.0, 3.0, 3.5]
        .map(|n| Size {
            n,
            errors: vec![0.5 - 0.1 * n, 0.51 - 0.1 * n],
        })
        .to_vec();
    let mut single = sizes(CURVE, 6, 1e-3);
    single.iter_mut().for_each(|size| size.errors.truncate(1));
    let mut wrong = sizes(CURVE, 6, 1e-3);
    wrong[2].errors[0] = f64::NAN;
    // The error falls faster the more patients there are.
    let hollow: Vec<Size> = (0..6)
        .map(|at| Size {
            n: f64::from(1 << at),
            errors: vec![0.4 - 0.002 * f64::from(at * at * at); 2],
        })
        .map(|mut size| {
            size.errors[0] += 1e-4;
            size
        })
        .collect();
    for (sizes, words) in [
        (sizes(CURVE, 3, 1e-3), "at least 4"),
        (line, "at least 4 times"),
        (single, "only one of each"),
        (sizes(flat, 6, 1e-3), "does not clearly fall"),
        (wrong, "not a finite number"),
        (hollow, "no power law fits"),
    ] {
        let refused = fit(&sizes, &DRAWS).unwrap_err().to_string();
        assert!(refused.contains(words), "{words}: {refused}");
    }
    let none = Draws { count: 0, ..DRAWS };
    let refused = fit(&sizes(CURVE, 6, 1e-3), &none).unwrap_err();
    assert_eq!(refused, NoFit::Draws(Error::Draws));
}

#[test]
fn sizes_of_equal_numbers_are_one_and_the_order_does_not_matter() {
    let all = sizes(CURVE, 6, 1e-3);
    let mut halves: Vec<Size> = Vec::new();
    for size in all.iter().rev() {
        for part in size.errors.chunks(3) {
            halves.push(Size {
                n: size.n,
                errors: part.to_vec(),
            });
        }
    }
    let (whole, parts) = (fit(&all, &DRAWS).unwrap(), fit(&halves, &DRAWS).unwrap());
    assert_eq!(whole.curve, parts.curve);
    assert_eq!(
        whole.error_interval(50.0),
        fit(&all, &DRAWS).unwrap().error_interval(50.0)
    );
}
