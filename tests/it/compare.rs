//! `probe compare`: the form of its tables.

use crate::lab::Lab;

/// Results of two backbones on images of three classes.
fn lab() -> Lab {
    lab_of(|i| format!("p{i}"))
}

/// The same with other patients.
fn lab_of(patient: fn(u32) -> String) -> Lab {
    let lab = Lab::new();
    let mut csv = String::from("image,label,patient,split\n");
    for i in 0..36 {
        let class = ["left", "middle", "right"][i as usize % 3];
        let split = if i % 2 == 0 { "train" } else { "test" };
        lab.png(&format!("images/{i:04}.png"), i, i);
        csv += &format!("images/{i:04}.png,{class},{},{split}\n", patient(i));
    }
    let table = lab.write("images.csv", csv);
    for size in ["56", "112"] {
        lab.extract("manifest", &table, &["--image-size", size])
            .expect(0);
    }
    lab
}

#[test]
fn settings_are_written_as_they_are_typed_and_all_lines_fit_80_columns() {
    let lab = lab();
    lab.probe(&["--k", "1,3"]).expect(0);
    lab.probe(&["--k", "3", "--control", "random-features"])
        .expect(0);
    let few = ["--head", "centroid", "--repeats", "3"];
    lab.probe_with("few-shot", &[&few[..], &["--shots", "1,2,all"]].concat())
        .expect(0);
    lab.probe_with("few-shot", &[&few[..], &["--shots", "1"]].concat())
        .expect(0);
    lab.probe_with("ridge", &[]).expect(0);
    let run = lab.compare(&[]).expect(0);
    let wide = run.stdout.lines().find(|line| line.chars().count() > 80);
    assert_eq!(wide, None, "{}", run.stdout);
    let markdown = lab.compare(&["--format", "markdown"]).expect(0).stdout;
    for words in [
        "(shots=1,2,all)",
        "centroid shots=1 |",
        "knn k=3 (control=random-features)",
    ] {
        assert!(markdown.contains(words), "{words}: {markdown}");
    }
    for text in [&run.stdout, &markdown] {
        for word in ["null", "few_shot.", "ks=", "control=none", "[1,"] {
            assert!(!text.contains(word), "{word}: {text}");
        }
    }
}

#[test]
fn csv_has_exact_numbers_and_blank_cells_and_no_test_of_a_single_class() {
    let lab = lab();
    lab.probe(&["--k", "3"]).expect(0);
    let json = lab.compare(&["--format", "json"]).expect(0).stdout;
    let json: serde_json::Value = serde_json::from_str(json.trim()).unwrap();
    assert_eq!(json["p_delong"].as_object().unwrap().len(), 3, "{json}");
    let csv = lab.compare(&["--format", "csv"]).expect(0).stdout;
    let mut lines = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let header = lines.next().unwrap();
    let row: Vec<&str> = csv
        .lines()
        .nth(1)
        .unwrap()
        .replace("\"bootstrap of patients, percentiles\"", "method")
        .leak()
        .split(',')
        .collect();
    let cell = |name: &str| row[header.iter().position(|of| *of == name).unwrap()];
    for (name, value) in [
        ("p", &json["p"]),
        ("p_holm", &json["p_holm"]),
        ("difference", &json["difference"]),
        ("difference_low", &json["ci"][0]),
        ("second_value", &json["values"][1]),
    ] {
        let found: f64 = cell(name).parse().unwrap();
        assert_eq!(Some(found), value.as_f64(), "{name}");
    }
    for name in ["p_delong", "p_wilcoxon", "rank_biserial", "options"] {
        assert_eq!(cell(name), "", "{name}: {csv}");
    }
    let wide = lab.compare(&["--wide"]).expect(0).stdout;
    let header: Vec<&str> = wide
        .lines()
        .next()
        .unwrap()
        .split("  ")
        .map(str::trim)
        .collect();
    assert!(header.contains(&"p (DeLong)"), "{wide}");
}

#[test]
fn few_patients_have_a_difference_and_the_reason_why_there_is_no_interval() {
    for (patient, warning) in [
        (
            (|i| format!("{}", i % 2)) as fn(u32) -> String,
            "one patient evaluated: no intervals",
        ),
        (
            |i| format!("{}", i % 6),
            "3 patients evaluated: the interval claims more than they can tell",
        ),
    ] {
        let lab = lab_of(patient);
        let run = lab.probe(&["--k", "3"]).expect(0);
        assert!(run.stderr.contains(warning), "{}", run.stderr);
        let json = lab.compare(&["--format", "json"]).expect(0).stdout;
        let json: serde_json::Value = serde_json::from_str(json.trim()).unwrap();
        assert!(json["difference"].is_number(), "{json}");
        assert_eq!(json["method"], "none: fewer than 6 patients evaluated");
        let text = lab.compare(&[]).expect(0).stdout;
        let note = "no interval and no p: fewer than 6 patients evaluated";
        assert!(text.contains(note), "{text}");
        for word in ["undefined", "0 tests"] {
            assert!(!text.contains(word), "{word}: {text}");
        }
    }
}

#[test]
fn draws_of_all_patients_have_no_deviation_and_shots_are_not_chosen() {
    let lab = lab();
    let few = ["--head", "knn", "--k", "1,3", "--shots", "2,18,all"];
    let run = lab.probe_with("few-shot", &few).expect(0);
    let row = |word: &str| run.stdout.lines().find(|line| line.contains(word)).unwrap();
    assert!(row("shots=2").contains(" ± "), "{}", run.stdout);
    assert!(!row("shots=18").contains('±'), "{}", run.stdout);
    assert!(!run.stdout.contains('*'), "{}", run.stdout);
}
