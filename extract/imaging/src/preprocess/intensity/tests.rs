use ndarray::Array;
use proptest::prelude::*;

use super::*;

#[test]
fn windows_that_look_like_level_and_width_are_questioned() {
    let doubt = |word: &str| word.parse::<Intensity>().unwrap().doubt();
    for (word, meant) in [
        ("window:40:400", "window:-160:240"),
        ("window:-600:1500", "window:-1350:150"),
    ] {
        assert!(doubt(word).unwrap().contains(meant), "{word}");
    }
    for word in [
        "window:-160:240",
        "window:bone",
        "window:0:80",
        "minmax",
        "percentile:5:95",
    ] {
        assert_eq!(doubt(word), None, "{word}");
    }
    let refusal = |word: &str| word.parse::<Intensity>().unwrap_err().to_string();
    assert!(refusal("window:400:40").contains("`window:-160:240` is the width 400"));
    assert!(refusal("window:80:60").contains("`window:50:110` the width 60"));
    assert!(refusal("window:1500:-600").contains("`window:-1350:150` is the width"));
    assert!(!refusal("window:x:y").contains("width"));
    assert!(refusal("lung").contains("did you mean `window:lung`?"));
}

#[test]
fn percentiles_lie_between_the_ordered_values() {
    let mut values = vec![3.0, 1.0, 2.0, 4.0];
    assert_eq!(percentile(&mut values, 0.0), 1.0);
    assert_eq!(percentile(&mut values, 50.0), 2.5);
    assert_eq!(percentile(&mut values, 100.0), 4.0);
    assert!((percentile(&mut values, 5.0) - 1.15).abs() < 1e-6);
}

fn rule(word: &str) -> Intensity {
    word.parse().unwrap()
}

fn clipped<const N: usize>(word: &str, values: [f32; N]) -> Vec<f32> {
    let bounds = rule(word).bounds(&mut values.to_vec(), None);
    let mut plane = Array::from_vec(values.to_vec())
        .into_shape_with_order((1, 1, N))
        .unwrap();
    rule(word).clip(&mut plane, bounds);
    plane.into_raw_vec_and_offset().0
}

#[test]
fn what_is_not_above_the_range_becomes_zero_if_asked_for() {
    let values = [10.0, 20.0, 30.0, 40.0, 50.0];
    assert_eq!(
        clipped("percentile:25:75", values),
        [20.0, 20.0, 30.0, 40.0, 40.0]
    );
    assert_eq!(
        clipped("percentile:25:75:zero-below", values),
        [0.0, 0.0, 30.0, 40.0, 40.0]
    );
}

#[test]
fn zeros_can_be_left_out() {
    let bounds = rule("percentile:0:50:nonzero").bounds(&mut vec![0.0, 0.0, 2.0, 4.0], None);
    assert_eq!((bounds.low, bounds.high), (2.0, 3.0));
}

#[test]
fn windows_have_names_and_files_may_bring_their_own() {
    assert_eq!(rule("window:soft-tissue").to_string(), "window:-160:240");
    assert_eq!(rule("window:lung").to_string(), "window:-1350:150");
    let own = Bounds {
        low: 3.0,
        high: 4.0,
    };
    assert_eq!(rule("voi").bounds(&mut vec![0.0, 9.0], Some(own)), own);
}

#[test]
fn a_window_clips_both_ends() {
    assert_eq!(clipped("window:-1:2", [-5.0, 0.5, 9.0]), [-1.0, 0.5, 2.0]);
}

#[test]
fn wrong_words_are_refused_with_the_forms_there_are() {
    for word in [
        "",
        "window",
        "window:1",
        "window:2:1",
        "window:a:b",
        "percentile:0:101",
        "percentile:nan:5",
        "window:-inf:5",
        "minmax:1:2",
        "minmax:zero-below",
        "window:1:2:volume",
        "window:nose",
        "percentile:1:2:slice",
    ] {
        let text = word.parse::<Intensity>().unwrap_err().to_string();
        assert!(
            text.contains("percentile:LOW:HIGH") && text.contains("hint:"),
            "{word}: {text}"
        );
    }
}

#[test]
fn meta_json_holds_the_word() {
    let rule = rule("window:-1024:600");
    let json = serde_json::to_string(&rule).unwrap();
    assert_eq!(json, "\"window:-1024:600\"");
    assert_eq!(serde_json::from_str::<Intensity>(&json).unwrap(), rule);
}

proptest! {
    #[test]
    fn what_is_displayed_parses_to_the_same(low in -1e6f32..1e6, width in 1f32..1e6) {
        let range = Range::Window { low, high: low + width };
        let rule = Intensity { range, ..Intensity::default() };
        prop_assert_eq!(rule.to_string().parse::<Intensity>().unwrap(), rule);
    }

    #[test]
    fn percentile_equals_interpolation_in_a_sorted_copy(
        mut values in prop::collection::vec(-100f32..100.0, 1..60),
        percent in 0f32..=100.0,
    ) {
        let mut sorted: Vec<f64> = values.iter().map(|v| f64::from(*v)).collect();
        sorted.sort_by(f64::total_cmp);
        let at = f64::from(percent) / 100.0 * (sorted.len() - 1) as f64;
        let next = sorted[(at as usize + 1).min(sorted.len() - 1)];
        let expected = sorted[at as usize] * (1.0 - at.fract()) + next * at.fract();
        prop_assert!((f64::from(percentile(&mut values, percent)) - expected).abs() < 1e-4);
    }
}
