//! Parts of evaluations: protocols, choices, controls, few shots, stored scores and heads.

use std::process::{Command, Stdio};

use serde_json::Value;

use crate::lab::{Lab, Run, program};
use crate::probe::three_splits;

const QUICK: [&str; 6] = ["--epochs", "20", "--batch-size", "8", "--format", "json"];

fn records(run: &Run) -> Vec<Value> {
    let lines = run.stdout.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn auroc(record: &Value) -> f64 {
    record["metrics"]["auroc_macro"].as_f64().unwrap()
}

#[test]
fn both_protocols_run_side_by_side_and_say_where_k_was_chosen() {
    let lab = Lab::new();
    three_splits(&lab, &[]);
    let run = lab
        .probe(&[
            "--protocol",
            "paper,strict",
            "--k",
            "3,10",
            "--format",
            "json",
        ])
        .expect(0);
    let records = records(&run);
    let of = |at: usize| {
        (
            records[at]["protocol"].as_str(),
            records[at]["chosen_on"].as_str(),
        )
    };
    assert_eq!(of(0), (Some("paper"), Some("test")));
    assert_eq!(of(3), (Some("strict"), Some("val")));
    for pair in records.chunks(2) {
        let chosen = pair.iter().filter(|record| record["chosen"] == true);
        assert_eq!(chosen.count(), 1);
    }
    assert!(
        run.stderr.contains("paper: k chosen on test"),
        "{}",
        run.stderr
    );
    assert!(!run.stderr.contains("strict: k chosen"), "{}", run.stderr);
    let interval = records[3]["ci"]["auroc_macro"].as_array().unwrap();
    assert!(interval[0].as_f64().unwrap() <= auroc(&records[3]));
    assert_eq!(records[3]["metrics"]["threshold_rule"], "val-f1");
    assert_eq!(records[1]["metrics"]["threshold_rule"], "0.5");
    assert!(records[0]["metrics"]["threshold_rule"].is_null());
}

#[test]
fn what_is_recorded_is_not_evaluated_again_unless_forced() {
    let lab = Lab::new();
    three_splits(&lab, &[]);
    let lines = || std::fs::read_to_string(lab.path("runs/knn.jsonl")).unwrap();
    let first = lab.probe(&["--k", "3", "--format", "json"]).expect(0);
    let again = lab.probe(&["--k", "3", "--format", "json"]).expect(0);
    assert_eq!(again.stdout, first.stdout);
    assert!(
        again.stderr.contains("recorded already"),
        "{}",
        again.stderr
    );
    assert_eq!(lines().lines().count(), 1);
    lab.probe(&["--k", "5"]).expect(0);
    assert_eq!(lines().lines().count(), 2);
    lab.probe(&["--k", "3", "--force"]).expect(0);
    assert_eq!(lines().lines().count(), 3);
}

#[test]
fn a_full_disk_leaves_no_part_of_a_record_and_equal_commands_record_once() {
    let lab = Lab::new();
    three_splits(&lab, &[]);
    let file = lab.path("runs/knn.jsonl");
    let arguments = |command: &mut Command| {
        command.args(["knn", "--k", "3,5", "--format", "json", "--cache"]);
        command
            .arg(lab.path("cache"))
            .arg("--runs")
            .arg(lab.path("runs"));
    };
    // Room for a part of the first record; blocks are of 512 bytes.
    let room = 2048 * 512 - 200;
    let before = "\n".repeat(room);
    lab.write("runs/knn.jsonl", &before);
    let mut limited = Command::new("sh");
    limited.args(["-c", "trap '' XFSZ; ulimit -f 2048; exec \"$@\"", "sh"]);
    limited.arg(program("probe").get_program());
    arguments(&mut limited);
    Run::of(&mut limited).expect_error(2, &["knn.jsonl", "cannot write a run record", "--runs"]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), before);
    let start = || {
        let mut command = program("probe");
        arguments(&mut command);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let started = [start(), start(), start()];
    let printed = started.map(|child| child.wait_with_output().unwrap().stdout);
    assert!(!printed[0].is_empty() && printed[1] == printed[0] && printed[2] == printed[0]);
    let text = std::fs::read_to_string(&file).unwrap();
    assert_eq!(text.trim().lines().count(), 2);
}

#[test]
fn an_approximate_search_tells_its_recall_and_finds_the_same_again() {
    let lab = Lab::new();
    three_splits(&lab, &[]);
    let run = |more: &[&str]| {
        let words = [&["--k", "5", "--format", "json", "--force"], more].concat();
        records(&lab.probe(&words).expect(0)).remove(0)
    };
    let (exact, approximate) = (run(&[]), ["--index", "hnsw", "--ef", "50"]);
    assert!(exact["params"].get("index").is_none());
    let found = run(&approximate);
    assert_eq!(found["params"]["index"], "hnsw");
    assert_eq!(found["params"]["ef"], 50);
    assert!(found["params"]["recall"].as_f64().unwrap() > 0.8);
    assert!((auroc(&found) - auroc(&exact)).abs() < 0.1);
    let again = run(&approximate);
    for what in ["metrics", "ci", "params"] {
        assert_eq!(found[what], again[what]);
    }
    let table = lab.probe(&["--k", "5", "--index", "hnsw"]).expect(0);
    assert!(
        table.stdout.contains("recall") && table.stdout.contains("k=5 hnsw  "),
        "{}",
        table.stdout
    );
}

#[test]
fn nothing_is_learnt_from_shuffled_labels_or_random_features() {
    let lab = Lab::new();
    three_splits(&lab, &[]);
    let run = |more: &[&str]| {
        records(
            &lab.probe_with("linear", &[&QUICK[..], more].concat())
                .expect(0),
        )
    };
    let real = run(&[]);
    assert!(auroc(&real[0]) > 0.95);
    let words = ["--control", "shuffled-labels", "--permutations", "9"];
    let shuffled = run(&words).remove(0);
    assert!((0.2..0.8).contains(&auroc(&shuffled)), "{shuffled}");
    let draws = shuffled["spread"]["auroc_macro"]["draws"].as_array();
    assert_eq!(draws.unwrap().len(), 9);
    assert_eq!(
        shuffled["metrics"]["true_labels_auroc_macro"],
        auroc(&real[0])
    );
    assert_eq!(shuffled["metrics"]["p_permutation"], 0.1);
    lab.probe_with(
        "linear",
        &["--control", "random-features", "--permutations", "9"],
    )
    .expect_error(2, &["--control shuffled-labels", "hint"]);
    for control in ["random-features", "metadata-only"] {
        let found: Vec<f64> = ["1", "2", "3"]
            .iter()
            .map(|seed| {
                let record = run(&["--control", control, "--seed", seed]).remove(0);
                assert_eq!(record["control"], control);
                auroc(&record)
            })
            .collect();
        let mean = found.iter().sum::<f64>() / 3.0;
        assert!((0.2..0.8).contains(&mean), "{control}: {found:?}");
    }
}

#[test]
fn few_shots_are_drawn_several_times_and_the_same_again() {
    let lab = Lab::new();
    three_splits(&lab, &[]);
    for (head, quick) in [
        ("linear", &QUICK[..]),
        ("knn", &["--format", "json"]),
        ("centroid", &["--format", "json"]),
        ("logreg", &["--C", "0.01,1", "--format", "json"]),
    ] {
        let few = [
            "--head",
            head,
            "--shots",
            "2,all",
            "--repeats",
            "3",
            "--force",
        ];
        let run = || {
            records(
                &lab.probe_with("few-shot", &[quick, &few].concat())
                    .expect(0),
            )
        };
        let found = run();
        assert_eq!(
            found[0]["params"]["train_per_draw"],
            serde_json::json!([4, 4, 4])
        );
        let draws = found[0]["spread"]["auroc_macro"]["draws"]
            .as_array()
            .unwrap();
        let mean = draws.iter().map(|draw| draw.as_f64().unwrap()).sum::<f64>() / 3.0;
        assert!((mean - auroc(&found[0])).abs() < 1e-12);
        assert_eq!(found[1]["n_train"], 20);
        assert!(
            found[1]["spread"].is_null() && auroc(&found[1]) > 0.9,
            "{head}"
        );
        for (record, again) in found.iter().zip(run()) {
            assert_eq!(record["metrics"], again["metrics"]);
        }
    }
    let paper = ["--protocol", "paper", "--shots", "4", "--head", "centroid"];
    let json = ["--format", "json"];
    let run = lab.probe_with("few-shot", &[&paper[..], &json].concat());
    let record = records(&run.expect(0));
    assert_eq!(record[0]["n_train"], 4);
}

#[test]
fn a_saved_head_gives_the_same_scores_again_and_is_applied_to_other_data() {
    let lab = Lab::new();
    three_splits(&lab, &[]);
    let predict = |head: &str, more: &[&str]| {
        let words = [&["--head", head, "--format", "json"], more].concat();
        records(&lab.probe_with("predict", &words).expect(0)).remove(0)
    };
    let mut heads = Vec::new();
    for (probe, words) in [
        ("linear", &QUICK[..]),
        ("logreg", &["--C", "0.01,1", "--format", "json"]),
    ] {
        let trained = records(&lab.probe_with(probe, words).expect(0)).remove(0);
        assert!(auroc(&trained) > 0.95, "{trained}");
        assert_eq!(trained["chosen_on"], "val");
        let head = lab.path("runs").join(trained["head"].as_str().unwrap());
        let head = head.to_str().unwrap().to_owned();
        let applied = predict(&head, &["--eval", "test"]);
        for measure in ["auroc_macro", "f1_macro", "accuracy"] {
            assert_eq!(applied["metrics"][measure], trained["metrics"][measure]);
        }
        let brier = [&applied, &trained].map(|r| r["metrics"]["brier"].as_f64().unwrap());
        assert!((brier[0] - brier[1]).abs() < 1e-6, "{brier:?}");
        assert_eq!(applied["ci"], trained["ci"]);
        heads.push(head);
    }
    let head = &heads[0];
    let mut csv = String::from("image\n");
    for i in 0..5u32 {
        lab.png(&format!("new/{i}.png"), i, 100 + i);
        csv += &format!("new/{i}.png\n");
    }
    let table = lab.write("new.csv", csv);
    Run::of(&mut lab.extract_as("new", "manifest", &table)).expect(0);
    let unlabelled = predict(head, &["--dataset", "new"]);
    assert_eq!(unlabelled["n_test"], 0);
    assert_eq!(unlabelled["params"]["scored"], 5);
    assert!(unlabelled["metrics"].as_object().unwrap().is_empty());
    let file = unlabelled["predictions"].as_str().unwrap();
    assert!(lab.path("runs").join(file).is_file());
    lab.probe_with("predict", &["--head", head, "--label-maps", "maps"])
        .expect_error(2, &["no label maps", "leave out --label-maps"]);
    let broken = lab.write("broken.safetensors", "no head");
    lab.probe_with("predict", &["--head", broken.to_str().unwrap()])
        .expect_error(2, &["broken.safetensors", "hint"]);
}

#[test]
fn backbones_are_compared_on_the_same_cases() {
    let lab = Lab::new();
    three_splits(&lab, &[]);
    lab.probe(&["--k", "5"]).expect(0);
    lab.compare(&[]).expect_error(2, &["two backbones", "hint"]);
    let again = std::fs::read_to_string(lab.path("images.csv")).unwrap();
    lab.extract(
        "manifest",
        &lab.write("images.csv", again),
        &["--image-size", "28"],
    )
    .expect(0);
    lab.probe(&["--k", "5"]).expect(0);
    let run = lab.compare(&["--format", "json"]).expect(0);
    let found = records(&run).remove(0);
    assert_eq!(found["cases"], 20);
    assert_eq!(found["measure"], "auroc_macro");
    let [first, second] = [0, 1].map(|i| found["values"][i].as_f64().unwrap());
    assert!((found["difference"].as_f64().unwrap() - (first - second)).abs() < 1e-12);
    assert!(found["p_mcnemar"].as_f64().unwrap() <= 1.0);
    assert_eq!(
        found["p_holm"], found["p"],
        "a single test needs no correction"
    );
    let text = lab.compare(&[]).expect(0).stdout;
    for words in [
        "p (Holm): p corrected for the 1 test of",
        "first less second",
    ] {
        assert!(text.contains(words), "no `{words}` in {text}");
    }
}

#[test]
fn a_patient_who_is_fitted_on_and_tested_is_told_of_and_one_class_alone_refused() {
    let lab = Lab::new();
    let mut csv = String::from("image,label,patient,split\n");
    for i in 0..12u32 {
        lab.png(&format!("images/{i:04}.png"), i, i);
        let class = ["left", "right"][i as usize % 2];
        let split = ["train", "test"][i as usize / 6];
        csv += &format!("images/{i:04}.png,{class},p{},{split}\n", i % 6);
    }
    let overlapping = lab.write("images.csv", &csv);
    lab.extract("manifest", &overlapping, &["--allow-patient-overlap"])
        .expect(0);
    let run = lab.probe(&["--k", "3"]).expect(0);
    assert!(
        run.stderr
            .contains("6 patients fitted on and evaluated too"),
        "{}",
        run.stderr
    );

    let other = Lab::new();
    let mut csv = String::from("image,label,split\n");
    for i in 0..12u32 {
        other.png(&format!("images/{i:04}.png"), i, i);
        let (class, split) = match i {
            0..6 => ("left", "train"),
            _ => (["left", "right"][i as usize % 2], "test"),
        };
        csv += &format!("images/{i:04}.png,{class},{split}\n");
    }
    other
        .extract("manifest", &other.write("images.csv", csv), &[])
        .expect(0);
    other
        .probe(&["--k", "3"])
        .expect_error(2, &["all training examples are of the class `left`"]);
}
