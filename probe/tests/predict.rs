//! `probe predict`: heads and decoders on caches like and unlike those that they were trained on.
#![allow(clippy::unwrap_used)]

mod lab;

use std::fs;

use cache::{CacheMeta, MaskClass, Split, write_split};
use lab::{QUICK, ROWS, lab, meta, probe, trained, write, write_with};
use probe::cli::Outcome;
use probe::predictions::Predictions;
use serde_json::json;

#[test]
fn a_head_measures_the_same_as_when_it_was_trained_whatever_labels_are_blank_or_uncertain() {
    let lab = lab();
    for protocol in ["strict", "paper"] {
        for more in ["", "--per-patient"] {
            let words = format!("linear {QUICK} --blocks 1 --protocol {protocol} {more}");
            let (expected, predict) = trained(lab.path(), "own", &words);
            let found = probe(lab.path(), &format!("{predict} {more}")).one();
            assert!(expected["metrics"]["auroc_macro"].is_number(), "{expected}");
            assert_eq!(found["n_test"], expected["n_test"], "{protocol} {more}");
            for (name, expected) in expected["metrics"].as_object().unwrap() {
                let found = &found["metrics"][name];
                match (found.as_f64(), expected.as_f64()) {
                    (Some(found), Some(expected)) => {
                        assert!(
                            (found - expected).abs() < 1e-6,
                            "{name}: {found}, {expected}"
                        );
                    }
                    _ if expected.is_object() || expected.is_array() => {}
                    _ => assert_eq!(found, expected, "{protocol} {more}: {name}"),
                }
            }
        }
    }
}

#[test]
fn a_patient_is_saved_with_the_scores_that_are_measured() {
    let lab = lab();
    let words = format!("linear {QUICK} --blocks 1 --per-patient");
    let (expected, predict) = trained(lab.path(), "own", &words);
    let found = probe(lab.path(), &format!("{predict} --per-patient")).one();
    let read = |record: &serde_json::Value| {
        let path = record["predictions"].as_str().unwrap();
        Predictions::read(&lab.path().join("runs").join(path))
            .unwrap()
            .0
    };
    let (expected, found) = (read(&expected), read(&found));
    let found = found.in_order_of(&expected.cases).unwrap();
    assert_eq!(found.targets, expected.targets);
    let (found, expected) = (found.scores.values, expected.scores.values);
    for (found, expected) in found.iter().zip(&expected) {
        assert!((found - expected).abs() < 1e-12, "{found}, {expected}");
    }
}

#[test]
fn who_was_trained_on_is_known_in_other_datasets_too() {
    let lab = lab();
    write_with(lab.path(), "copy", &meta("copy"), |_, slice| {
        slice.split = None;
    });
    write_with(lab.path(), "others", &meta("others"), |_, slice| {
        slice.patient = slice.patient.take().map(|patient| patient + "b");
    });
    let linear = format!("linear {QUICK} --blocks 1");
    for train in [linear.as_str(), "segment --epochs 1 --lr 0.1"] {
        let (_, predict) = trained(lab.path(), "own", train);
        let copy = probe(lab.path(), &format!("{predict} --dataset copy"));
        let warning = "has seen 10 of 15 patients by their names";
        assert!(copy.messages.contains(warning), "{}", copy.messages);
        let others = probe(lab.path(), &format!("{predict} --dataset others"));
        assert!(!others.messages.contains("has seen"), "{}", others.messages);
    }
}

#[test]
fn what_was_trained_on_is_not_measured_by_default_and_told_where_it_is() {
    let lab = lab();
    write(lab.path(), "other", &meta("other"));
    let linear = format!("linear {QUICK} --blocks 1");
    for (train, n_test, all) in [
        (linear.as_str(), 16, 48),
        ("segment --epochs 1 --lr 0.1", 20, 60),
    ] {
        let (_, predict) = trained(lab.path(), "own", train);
        let records = probe(lab.path(), &predict).records;
        let of = |dataset: &str| {
            let found = records.iter().find(|record| record["dataset"] == dataset);
            found.map(|r| {
                (
                    r["split"].clone(),
                    r["n_test"].clone(),
                    r["warnings"].to_string(),
                )
            })
        };
        let (split, n, warnings) = of("own").unwrap();
        assert_eq!((split, n), (json!("test"), json!(n_test)));
        assert!(!warnings.contains("has seen"), "{warnings}");
        let (split, n, warnings) = of("other").unwrap();
        assert_eq!((split, n), (json!("all"), json!(all)));
        assert!(warnings.contains("unless these are others"), "{warnings}");
        let own = format!("{predict} --dataset own --eval");
        for (eval, seen) in [("all", "10 of 15 patients"), ("val", "5 of 5 patients")] {
            let found = probe(lab.path(), &format!("{own} {eval}"));
            assert!(found.messages.contains(seen), "{eval}: {}", found.messages);
        }
    }
}

#[test]
fn a_head_keeps_to_the_split_that_it_was_trained_by() {
    let lab = lab();
    let dir = lab.path().join("cache/own/tiny@8");
    let turned = |row: usize| (format!("s{row:02}"), Some(Split::ALL[(row / 4 + 1) % 3]));
    let splits: Vec<_> = (0..ROWS).map(turned).collect();
    write_split(&dir, "turned", "made by hand", &splits).unwrap();
    let words = format!("linear {QUICK} --blocks 1 --split turned");
    let (expected, predict) = trained(lab.path(), "own", &words);
    let found = probe(lab.path(), &predict).one();
    assert_eq!(found["split_name"], "turned");
    assert_eq!(
        found["metrics"]["auroc_macro"],
        expected["metrics"]["auroc_macro"]
    );
    fs::remove_file(dir.join("splits/turned.parquet")).unwrap();
    write_split(&dir, "own", "as before", &splits).unwrap();
    // Whatever the split is called, it is known who was trained on.
    for (eval, has_seen) in [("test", false), ("val", true)] {
        let found = probe(lab.path(), &format!("{predict} --split own --eval {eval}"));
        let told = found.messages.contains("has seen 5 of 5 patients");
        assert_eq!(told, has_seen, "{}", found.messages);
    }
}

#[test]
fn tokens_of_other_weights_or_another_recipe_are_refused_by_the_field_that_differs() {
    let lab = lab();
    let other = |name: &str, change: &dyn Fn(&mut CacheMeta)| {
        let mut meta = meta(name);
        change(&mut meta);
        write(lab.path(), name, &meta);
    };
    other("views", &|meta| {
        meta.preprocess["views"] = json!({"count": 2});
    });
    other("weights", &|meta| meta.model.sha256 = "others".into());
    other("window", &|meta| {
        meta.preprocess["intensity"] = json!("window:0:100");
    });
    other("int8", &|meta| meta.precision = "int8".into());
    let linear = format!("linear {QUICK} --blocks 1");
    for train in [linear.as_str(), "segment --epochs 1 --lr 0.1"] {
        let (_, predict) = trained(lab.path(), "own", train);
        let views = probe(lab.path(), &format!("{predict} --dataset views"));
        assert_eq!(views.outcome, Outcome::Done, "{}", views.messages);
        for (dataset, field) in [
            ("weights", "`model.sha256` \"others\", expected \"weights\""),
            (
                "window",
                "`preprocess.intensity` \"window:0:100\", expected \"minmax\"",
            ),
            ("int8", "`precision` \"int8\", expected \"fp32\""),
        ] {
            let words = format!("{predict} --dataset {dataset}");
            let refused = probe(lab.path(), &words);
            assert_eq!(refused.outcome, Outcome::Nothing, "{dataset}");
            for word in [field, "--allow-mismatch"] {
                assert!(refused.messages.contains(word), "{}", refused.messages);
            }
            let allowed = probe(lab.path(), &format!("{words} --allow-mismatch"));
            let name = field.split(' ').next().unwrap();
            assert!(allowed.messages.contains(name), "{}", allowed.messages);
            allowed.one();
        }
    }
}

#[test]
fn a_damaged_cache_is_left_out_and_the_others_are_measured() {
    let lab = lab();
    let dir = write(lab.path(), "damaged", &meta("damaged"));
    let path = dir.join("cls/00000.parquet");
    let whole = fs::read(&path).unwrap();
    let footer = u32::from_le_bytes(whole[whole.len() - 8..][..4].try_into().unwrap()) as usize;
    let mut left_out = 0;
    for place in (whole.len() - 8 - footer..whole.len() - 8).step_by(37) {
        let mut bytes = whole.clone();
        bytes[place] ^= 0x80;
        fs::write(&path, bytes).unwrap();
        let ran = probe(lab.path(), "knn --k 3 --bootstrap 0");
        assert!(ran.records.iter().any(|record| record["dataset"] == "own"));
        left_out += usize::from(ran.outcome == Outcome::Skipped);
    }
    assert!(left_out > 0);
}

#[test]
fn a_dataset_of_the_same_name_with_other_samples_is_not_taken_for_the_one_that_was_trained_on() {
    let lab = lab();
    let namesake = CacheMeta {
        samples_sha256: "1".into(),
        ..meta("own")
    };
    write(lab.path(), "namesake", &namesake);
    let linear = format!("linear {QUICK} --blocks 1");
    for (train, [test, all]) in [
        (linear.as_str(), [16, 48]),
        ("segment --epochs 1 --lr 0.1", [20, 60]),
    ] {
        let (_, predict) = trained(lab.path(), "own", train);
        let ran = probe(lab.path(), &predict);
        assert_eq!(ran.outcome, Outcome::Skipped);
        let left_out = "cache/namesake/tiny@8`: it has the name of the dataset `own`";
        assert!(ran.messages.contains(left_out), "{}", ran.messages);
        assert!(ran.messages.contains("--eval test"), "{}", ran.messages);
        let namesake = format!("{predict} --dataset namesake --eval");
        for (eval, n_test, may_have_seen) in [("test", test, false), ("all", all, true)] {
            let ran = probe(lab.path(), &format!("{namesake} {eval}"));
            let told = ran
                .messages
                .contains("has seen 10 of 15 patients by their names");
            assert_eq!(told, may_have_seen, "{eval}: {}", ran.messages);
            assert_eq!(ran.one()["n_test"], n_test, "{eval}");
        }
    }
}

#[test]
fn values_without_a_name_are_an_error_for_a_decoder_too_or_ignored_as_is_asked() {
    let lab = lab();
    let odd = CacheMeta {
        mask_classes: vec![MaskClass {
            value: 7,
            name: "vessel".into(),
        }],
        ..meta("odd")
    };
    write(lab.path(), "odd", &odd);
    let (_, predict) = trained(lab.path(), "own", "segment --epochs 1 --lr 0.1");
    let predict = format!("{predict} --dataset odd");
    for refused in ["", "--unnamed-values error"] {
        let ran = probe(lab.path(), &format!("{predict} {refused}"));
        assert_eq!(ran.outcome, Outcome::Nothing, "{refused}");
        let reason = "without a class name: 1\nhint:";
        assert!(ran.messages.contains(reason), "{}", ran.messages);
    }
    let ran = probe(lab.path(), &format!("{predict} --unnamed-values ignore"));
    let warning = "pixels without a name are ignored: 1";
    assert!(ran.messages.contains(warning), "{}", ran.messages);
    // The decoder has a class of this value; nothing of it is left to be found.
    let dice = &ran.one()["metrics"]["dice_macro"];
    assert!(dice.is_null() || *dice == 0.0, "{dice}");
}
