//! Training and evaluation.

use super::{QUICK, head_file, only_record, records, volumes};
use crate::lab::{Lab, Run};

#[test]
fn decoders_learn_from_the_cache_alone_and_are_kept() {
    let lab = Lab::new();
    volumes(&lab, &[]).expect(0);
    std::fs::remove_dir_all(lab.path("images")).unwrap();
    for (decoder, least) in [("linear", 0.6), ("unet", 0.6)] {
        let words = [
            &QUICK[..],
            &["--decoder", decoder, "--protocol", "paper,strict"],
        ]
        .concat();
        let run = lab.probe_with("segment", &words).expect(0);
        let found = records(&run);
        let (paper, strict) = (&found[0], &found[1]);
        assert_eq!(
            (&paper["protocol"], &strict["protocol"]),
            (&"paper".into(), &"strict".into())
        );
        let dice = strict["metrics"]["dice_macro"].as_f64().unwrap();
        assert!(dice > least, "{strict}");
        assert!(paper["metrics"]["dice_pooled"].as_f64().unwrap() > least);
        assert_eq!(strict["metrics"]["volumes"], 3);
        assert!(strict["metrics"]["hd95_mm_macro"].as_f64().unwrap() < 12.0);
        assert!(
            strict["metrics"]["dice_per_class"]["slab"]
                .as_f64()
                .unwrap()
                > 0.3
        );
        assert!(strict["ci"]["dice_macro"][0].as_f64().unwrap() <= dice);
        assert_eq!(
            (&strict["n_train"], &strict["n_test"]),
            (&36.into(), &12.into())
        );
        assert_eq!(strict["params"]["augmentation"], "none");
        assert_eq!(strict["chosen_on"], "val");
        assert_eq!(paper["head"], strict["head"], "one training serves both");
        let head = head_file(&lab, strict);
        assert!(head.is_file() && head.with_extension("onnx").is_file());
        let training = std::fs::read_dir(lab.path("runs/training")).unwrap();
        assert_eq!(training.count(), 0, "nothing is left of the training");
        let again = lab.probe_with("segment", &words).expect(0);
        assert!(
            again.stderr.contains("is recorded already"),
            "{}",
            again.stderr
        );
        assert_eq!(records(&again), found);
        let forced = records(
            &lab.probe_with("segment", &[&words[..], &["--force"]].concat())
                .expect(0),
        );
        for (forced, first) in forced.iter().zip(&found) {
            assert_eq!(forced["metrics"], first["metrics"]);
        }
    }
    let text = lab.probe_with("segment", &QUICK[..6]).expect(0).stdout;
    assert!(text.contains("HD95 mm") && text.contains("slab"), "{text}");
}

#[test]
fn a_batch_larger_than_the_dataset_is_all_of_it() {
    let lab = Lab::new();
    volumes(&lab, &[]).expect(0);
    let words = ["--epochs", "2", "--lr", "0.5", "--format", "json"];
    let of = |size: &str| {
        let words = [&words[..], &["--batch-size", size]].concat();
        only_record(lab.probe_with("segment", &words))["metrics"].clone()
    };
    assert_eq!(of("65536"), of("48"));
}

#[test]
fn stored_views_are_learnt_from_and_patience_ends_a_training_that_gains_nothing() {
    let lab = Lab::new();
    volumes(&lab, &["--views", "1"]).expect(0);
    let hopeless = ["--lr", "1e-30,1e-31", "--epochs", "500", "--patience", "2"];
    let words = [&hopeless[..], &["--batch-size", "4", "--format", "json"]].concat();
    let record = only_record(lab.probe_with("segment", &words));
    assert_eq!(record["params"]["augmentation"], "1 stored view");
    assert_eq!(
        (&record["params"]["epochs"], &record["n_train"]),
        (&1.into(), &72.into())
    );
    assert_eq!(record["n_test"], 12, "views are not measured");
}

#[test]
fn few_volumes_are_drawn_as_the_protocol_says() {
    let lab = Lab::new();
    volumes(&lab, &[]).expect(0);
    let few = ["--shots", "1,2,all", "--repeats", "2"];
    let strict = records(
        &lab.probe_with("segment", &[&QUICK[..], &few].concat())
            .expect(0),
    );
    assert_eq!(strict.len(), 3);
    assert_eq!(
        (&strict[0]["n_train"], &strict[1]["n_train"]),
        (&4.into(), &8.into())
    );
    assert_eq!(
        strict[0]["spread"]["dice_macro"]["draws"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let paper = [&QUICK[..], &few[..2], &["--protocol", "paper"]].concat();
    let paper = records(&lab.probe_with("segment", &paper).expect(0));
    assert!(paper[0]["spread"].is_null());
    assert_eq!(paper[0]["chosen_on"], "test");
}

#[test]
fn few_volumes_have_a_learning_curve_or_the_reason_why_there_is_none() {
    let lab = Lab::new();
    volumes(&lab, &["--tokens", "all"]).expect(0);
    let more = [
        "--epochs",
        "1",
        "--lr",
        "0.5",
        "--shots",
        "1,6",
        "--repeats",
        "2",
        "--curve",
    ];
    let run = lab.probe_with("segment", &[&more[..], &["--format", "json"]].concat());
    let found = records(&run.expect(0));
    let curve = &found[2]["params"];
    assert_eq!(
        (&curve["measure"], &curve["unit"]),
        (&"dice_macro".into(), &"patient".into())
    );
    assert_eq!(curve["points"][0]["n"], 1.0);
    assert!(
        curve["refused"]
            .as_str()
            .unwrap()
            .contains("needs at least 4"),
        "{curve}"
    );
    // Six of six patients: the draws differ by their seed alone.
    assert_eq!(found[1]["params"]["draws_take_all"], true);
    assert!(found[0]["params"].get("draws_take_all").is_none());
}

#[test]
fn without_val_decoders_are_chosen_on_a_part_of_train() {
    let lab = Lab::new();
    volumes(&lab, &[]).expect(0);
    let csv = std::fs::read_to_string(lab.path("volumes.csv")).unwrap();
    let table = lab.write("volumes.csv", csv.replace(",val\n", ",train\n"));
    let mut extract = lab.extract_as("two-parts", "manifest", &table);
    Run::of(extract.args(["--tokens", "all"])).expect(0);
    let of = ["--dataset", "two-parts", "--protocol", "paper,strict"];
    let run = lab
        .probe_with("segment", &[&QUICK[..], &of].concat())
        .expect(0);
    let [paper, strict] = &records(&run)[..] else {
        panic!("{run:#?}");
    };
    assert_eq!(paper["chosen_on"], "test");
    assert_eq!(
        (&strict["chosen_on"], &strict["n_train"]),
        (&"val".into(), &36.into())
    );
    let held_out = &strict["params"]["val_from_train"];
    assert_eq!(
        (&held_out["patients"], &held_out["of"]),
        (&2.into(), &9.into())
    );
    assert!(
        run.stderr
            .contains("no `val`: 2 patients of the 9 in `train`"),
        "{}",
        run.stderr
    );
}
