use serde_json::json;

use super::*;
use crate::record::tests::record;

/// A record of a backbone with settings.
fn of(model: &str, probe: &str, setting: &str, settings: Value) -> RunRecord {
    let mut settings = settings.as_object().cloned().unwrap_or_default();
    settings.insert("confidence".into(), model.into());
    RunRecord {
        model: model.into(),
        probe: probe.into(),
        setting: setting.into(),
        settings,
        predictions: Some("scores".into()),
        ..record()
    }
}

/// The pairs by backbone and setting, and the messages.
fn found(records: &[RunRecord]) -> (Vec<String>, String) {
    let runs = tempfile::tempdir().unwrap();
    std::fs::write(runs.path().join("scores"), "").unwrap();
    let found = Pairs::of(records, runs.path());
    let text = |record: &RunRecord| format!("{} {}", record.model, record.setting);
    let pairs = found.pairs.iter();
    let pairs = pairs.map(|pair| format!("{} / {}", text(pair.first), text(pair.second)));
    (pairs.collect(), found.left_out.join("\n"))
}

#[test]
fn what_was_chosen_for_a_backbone_may_differ() {
    let settings = || json!({"learning_rates": [0.1, 0.01], "seed": 0});
    let records = [
        of("b", "linear", "blocks=1 lr=0.1", settings()),
        of("a", "linear", "blocks=4 lr=0.01", settings()),
    ];
    let (pairs, left_out) = found(&records);
    assert_eq!(pairs, ["a blocks=4 lr=0.01 / b blocks=1 lr=0.1"]);
    assert_eq!(left_out, "");
}

#[test]
fn settings_examples_and_results_that_differ_are_not_paired_but_named() {
    let settings = || json!({"features": "cls", "layer": 1, "few_shot": {"repeats": 1}});
    let one = |setting, settings| [of("a", "knn", setting, settings)];
    for (other, reason) in [
        (
            one(
                "k=5",
                json!({"features": "mean-patch", "layer": 1, "few_shot": {"repeats": 1}}),
            ),
            "features=",
        ),
        (
            one(
                "k=5",
                json!({"features": "cls", "layer": 2, "few_shot": {"repeats": 1}}),
            ),
            "layer=",
        ),
        (
            one(
                "k=5",
                json!({"features": "cls", "layer": 1, "few_shot": {"repeats": 2}}),
            ),
            "repeats=",
        ),
        (
            one("k=5", json!({"features": "cls", "layer": 1})),
            "no repeats (not 1)",
        ),
        (one("k=9", settings()), "with k=9 (not k=5)"),
    ] {
        let records = [of("b", "knn", "k=5", settings()), other[0].clone()];
        let (pairs, left_out) = found(&records);
        assert!(pairs.is_empty(), "{pairs:?}");
        assert!(left_out.contains(reason), "{reason}: {left_out}");
        assert!(
            left_out.contains("of b@224 on d: no record of a@224: only one with"),
            "{left_out}"
        );
    }
    let mut other = of("a", "knn", "k=5", settings());
    other.examples_sha256 = "1".into();
    let (pairs, left_out) = found(&[of("b", "knn", "k=5", settings()), other]);
    assert!(
        pairs.is_empty() && left_out.contains("other samples, splits or labels"),
        "{left_out}"
    );
}

#[test]
fn a_difference_is_told_once_and_commands_are_quoted() {
    let a = of("a", "knn", "k=5", json!({"ks": [5], "layer": 1}));
    let b = of("b", "knn", "k=1", json!({"ks": [1], "layer": 3}));
    let (_, left_out) = found(&[a, b]);
    assert!(
        left_out.contains("only one with k=1 (not 5), layer=3 (not 1)\n"),
        "{left_out}"
    );
    let mut lost = of("it's; $(id)", "knn", "k=5", json!({}));
    lost.predictions = None;
    lost.dataset = "my data".into();
    let (_, left_out) = found(&[lost]);
    let command = r"--dataset 'my data' --model 'it'\''s; $(id)' --image-size 224 --force";
    assert!(left_out.contains(command), "{left_out}");
}

#[test]
fn like_k_goes_with_like_and_the_chosen_with_the_chosen() {
    let all = |chosen: &str, model| {
        ["k=5", "k=9"].map(|setting| RunRecord {
            chosen: Some(setting == chosen),
            ..of(model, "knn", setting, json!({"ks": [5, 9]}))
        })
    };
    let (pairs, left_out) = found(&[all("k=5", "a"), all("k=9", "b")].concat());
    assert_eq!(pairs, ["a k=5 / b k=5", "a k=5 / b k=9", "a k=9 / b k=9"]);
    assert_eq!(left_out, "");
    let (pairs, _) = found(&[all("k=5", "a"), all("k=5", "b")].concat());
    assert_eq!(pairs, ["a k=5 / b k=5", "a k=9 / b k=9"]);
}

#[test]
fn of_a_backbone_the_latest_record_counts_and_missing_ones_are_named() {
    let settings = || json!({"ks": [5]});
    let first = of("a", "knn", "k=5", settings());
    let mut lost = of("c", "knn", "k=5", settings());
    lost.predictions = Some("lost.parquet".into());
    let mut drawn = of("c", "few-shot", "knn shots=2", settings());
    (drawn.predictions, drawn.spread) = (None, Some(Map::new()));
    let records = [
        first.clone(),
        first,
        of("b", "knn", "k=5", settings()),
        lost,
        drawn,
    ];
    let (pairs, left_out) = found(&records);
    assert_eq!(pairs, ["a k=5 / b k=5"]);
    for named in [
        "1 earlier record",
        "its scores `lost.parquet` are missing; `probe knn --dataset d --model c --image-size 224 --force`",
        "neither scores nor draws are kept; `probe few-shot --dataset d",
        "knn strict (k=5) of a@224, b@224 on d: no record of c@224: run `probe knn --dataset d --model c",
    ] {
        assert!(left_out.contains(named), "{named}: {left_out}");
    }
}

#[test]
fn draws_of_equal_shots_are_paired_and_those_of_controls_are_not() {
    let drawn = |model: &str, probe: &str, shots: u64, control: Option<&str>| {
        let spread = json!({"auroc_macro": {"sd": 0.1, "draws": [0.7, 0.8]}});
        RunRecord {
            predictions: None,
            spread: spread.as_object().cloned(),
            control: control.map(Into::into),
            params: Map::from_iter([("shots".into(), shots.into())]),
            ..of(
                model,
                probe,
                &format!("lr={model} shots={shots}"),
                json!({}),
            )
        }
    };
    let records = ["a", "b"].map(|model| [1, 2].map(|shots| drawn(model, "segment", shots, None)));
    let mut records = records.concat();
    records.extend(["a", "b"].map(|model| drawn(model, "knn", 1, Some("shuffled-labels"))));
    let (pairs, left_out) = found(&records);
    let expected = [1, 2].map(|shots| format!("a lr=a shots={shots} / b lr=b shots={shots}"));
    assert_eq!(pairs, expected);
    assert!(
        left_out.contains("a mean over draws of the control `shuffled-labels`"),
        "{left_out}"
    );
}
