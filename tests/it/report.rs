//! Reports of run records.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::lab::{Lab, Run, program, python};

/// Records written by the script for developers.
fn records(lab: &Lab, more: &[&str]) -> PathBuf {
    let runs = lab.path("runs");
    let mut command = python("dev/make_records.py");
    Run::of(command.arg(&runs).args(["--cases", "60"]).args(more)).expect(0);
    runs
}

fn report(runs: &Path, out: &Path, more: &[&str]) -> Run {
    let mut command = program("probe");
    command
        .arg("report")
        .arg("--runs")
        .arg(runs)
        .arg("--out")
        .arg(out);
    Run::of(command.args(["--bootstrap", "100"]).args(more))
}

/// The tables of a page by name, a list of rows each.
pub fn data(page: &str) -> Value {
    let begin = "<script type=\"application/json\" id=\"data\">";
    let (_, rest) = page.split_once(begin).unwrap();
    let (json, _) = rest.split_once("</script>").unwrap();
    serde_json::from_str::<Value>(json).unwrap()["tables"].take()
}

#[test]
fn a_folder_without_records_gives_a_page_that_says_what_to_run() {
    let lab = Lab::new();
    let out = lab.path("report.html");
    let run = report(&lab.path("runs"), &out, &[]).expect(0);
    assert!(run.stderr.contains("no run records"), "{}", run.stderr);
    let page = fs::read_to_string(out).unwrap();
    assert!(page.contains("probe linear") && page.contains("What to run"));
    for name in ["report.md", "report.tex", "report.csv"] {
        let run = report(&lab.path("runs"), &lab.path(name), &[]).expect(0);
        assert!(run.stderr.contains("\n  probe linear\n"), "{run:#?}");
        let text = fs::read_to_string(lab.path(name)).unwrap();
        match name {
            "report.csv" => assert_eq!(text.lines().count(), 1, "{text}"),
            "report.tex" => {
                assert!(text.contains("\n% probe linear\n"), "{text}");
                assert!(
                    text.lines()
                        .all(|line| line.is_empty() || line.starts_with('%'))
                );
            }
            _ => assert!(text.contains("\nprobe linear\n"), "{text}"),
        }
    }
    let folder = lab.path("tables");
    report(&lab.path("runs"), &folder, &["--format", "csv"]).expect(0);
    let results = fs::read_to_string(folder.join("results.csv")).unwrap();
    assert!(results.starts_with("dataset,"), "{results}");
    report(&lab.path("runs"), &lab.path("report.pdf"), &[]).expect_error(2, &[".pdf", "--format"]);
}

#[test]
fn partial_records_show_what_is_missing_beside_the_published_figures() {
    let lab = Lab::new();
    let runs = records(&lab, &["--part", "few"]);
    let out = lab.path("report.html");
    report(&runs, &out, &[]).expect(0);
    let page = fs::read_to_string(&out).unwrap();
    let tables = data(&page);
    let table = tables["table-3-strict"].as_array().unwrap();
    let header: Vec<&str> = table[0]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap())
        .collect();
    let published = header
        .iter()
        .position(|name| *name == "NIH Chest X-ray published")
        .unwrap();
    // The first backbone is not in these records, the third is.
    let [first, third] = [1, 3].map(|row| &table[row]);
    assert_eq!((&first[1], &first[2]), (&"DenseNet201".into(), &"".into()));
    assert_eq!(first[published], "0.735");
    assert_eq!(third[1], "VGG19");
    assert!(third[2].as_str().unwrap().parse::<f64>().unwrap() > 0.5);
    assert!(page.contains("title=\"no record\""));
    // No record is of SARS-CoV-2.
    let ours = header
        .iter()
        .position(|name| *name == "SARS-CoV-2 ours")
        .unwrap();
    assert!(table[1..].iter().all(|row| row[ours] == ""));
    // Bold is what differs significantly, which needs the saved scores.
    assert!(page.contains("<strong>"));
    // The same records give the same bytes.
    let again = lab.path("again.html");
    report(&runs, &again, &[]).expect(0);
    assert!(fs::read(&again).unwrap() == fs::read(&out).unwrap());
    fs::remove_dir_all(runs.join("predictions")).unwrap();
    report(&runs, &again, &[]).expect(0);
    assert!(!fs::read_to_string(&again).unwrap().contains("<strong>"));
}

#[test]
fn trained_backbones_fill_their_rows_with_figures_parameters_and_costs() {
    let lab = Lab::new();
    let runs = records(&lab, &["--part", "trained"]);
    let out = lab.path("report.html");
    report(&runs, &out, &[]).expect(0);
    let tables = data(&fs::read_to_string(&out).unwrap());
    let cell = |table: &str, row: &str, column: &str| {
        let table = tables[table].as_array().unwrap();
        let header = table[0].as_array().unwrap();
        let at = header.iter().position(|name| name == column);
        let at = at.unwrap_or_else(|| panic!("no {column} in {header:?}"));
        let found = table[1..].iter().find(|cells| {
            let first = [&cells[0], &cells[1]].map(|cell| cell.as_str().unwrap());
            first.join(" ").contains(row)
        });
        found.unwrap()[at].as_str().unwrap().to_owned()
    };
    let nine = |row: &str, column: &str| cell("table-9-strict", row, column);
    for (row, ours, published, parameters) in [
        ("Fine-tuning", "0.8", "0.769", "1136M (100%)"),
        ("LoRA ViT", "0.81", "0.767", "8.0M (0.70%)"),
        ("BitFit ViT", "0.82", "0.768", "0.8M (0.070%)"),
        ("LoRA, last 4 blocks", "0.714", "", "0.8M (0.070%)"),
        ("BitFit, last block", "0.721", "", "20000 (0.0018%)"),
        ("Linear probing", "", "0.759", ""),
    ] {
        let number = |text: String| text.parse::<f64>().ok();
        let expected = ours.parse::<f64>().ok();
        assert_eq!(number(nine(row, "NIH Chest X-ray ours")), expected, "{row}");
        assert_eq!(nine(row, "NIH Chest X-ray published"), published, "{row}");
        assert_eq!(nine(row, "trainable parameters ours"), parameters, "{row}");
    }
    let ours = cell(
        "table-4-strict",
        "DINOv2 ViT-g/14",
        "NIH Chest X-ray, fine-tuning ours",
    );
    assert_eq!(ours.parse::<f64>().unwrap(), 0.8);
    assert_eq!(
        cell("table-6-strict", "TransUnet", "parameters ours"),
        "324M"
    );
    assert_eq!(
        cell("table-6-strict", "U-Net", "trainable parameters ours"),
        "31M (100%)"
    );
    let cost = |column: &str| cell("table-9-strict-costs", "LoRA ViT", column);
    assert_eq!(cost("CheXpert seconds"), "1.5");
    assert_eq!(cost("CheXpert peak memory, GB"), "12.34");
    assert_eq!(cost("trainable parameters"), "8.0M (0.70%)");
}

#[test]
fn text_of_files_is_text_in_every_format() {
    let lab = Lab::new();
    let runs = records(&lab, &["--part", "one", "--hostile"]);
    let page = lab.path("report.html");
    report(&runs, &page, &[]).expect(0);
    let page = fs::read_to_string(page).unwrap();
    assert!(
        !page.contains("<script>alert") && !page.contains("<b>&\""),
        "markup of a name"
    );
    assert_eq!(page.matches("</script>").count(), 2);
    assert!(page.contains("&lt;/script&gt;&lt;script&gt;alert(1)"));
    assert!(!page.contains('\u{202e}') && !page.contains('\u{1b}'));
    assert!(
        data(&page)["results"][1][0]
            .as_str()
            .unwrap()
            .contains("</script>")
    );
    let markdown = lab.path("report.md");
    report(&runs, &markdown, &[]).expect(0);
    let markdown = fs::read_to_string(markdown).unwrap();
    assert!(!markdown.contains("<script>") && markdown.contains("&lt;script&gt;"));
    let rows = markdown
        .lines()
        .filter(|line| line.starts_with("| brain-tumor"));
    assert!(rows.count() > 0);
    let csv = lab.path("report.csv");
    report(&runs, &csv, &[]).expect(0);
    let csv = fs::read_to_string(csv).unwrap();
    assert!(
        csv.contains("</script>") && !csv.contains('\u{1b}'),
        "{csv:?}"
    );
    let latex = lab.path("report.tex");
    report(&runs, &latex, &[]).expect(0);
    let latex = fs::read_to_string(latex).unwrap();
    assert!(latex.contains("\\textless{}script\\textgreater{}"));
}

#[test]
fn a_broken_record_is_reported_and_skipped() {
    let lab = Lab::new();
    let runs = records(&lab, &["--part", "one"]);
    let file = runs.join("linear.jsonl");
    let whole = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{whole}{{\"dataset\": \"torn\n")).unwrap();
    fs::write(runs.join("knn.jsonl"), b"\xff\xfe\n").unwrap();
    let out = lab.path("report.html");
    let run = report(&runs, &out, &[]).expect(1);
    assert!(
        run.stderr.contains("linear.jsonl") && run.stderr.contains("line 2, column 17"),
        "{}",
        run.stderr
    );
    let page = fs::read_to_string(&out).unwrap();
    assert!(page.contains("Left out") && page.contains("knn.jsonl"));
    assert_eq!(data(&page)["results"].as_array().unwrap().len(), 2);
    // A line for each file, which names it and what is wrong, in every format.
    let (markdown, latex) = (lab.path("report.md"), lab.path("report.tex"));
    for (path, begin) in [
        (&out, "<li>"),
        (&markdown, "- Left out: "),
        (&latex, "% Left out: "),
    ] {
        report(&runs, path, &[]).expect(1);
        let text = fs::read_to_string(path).unwrap();
        let text = text.replace("</li>", "\n").replace("<li>", "\n<li>");
        let mut lines = text.lines().filter(|line| line.starts_with(begin));
        let line = lines.find(|line| line.contains("linear.jsonl")).unwrap();
        for word in [
            "line 2, column 17",
            "EOF while parsing",
            "delete what is torn",
        ] {
            assert!(line.contains(word), "no `{word}` in {line}");
        }
        assert!(!line.contains("\\n") && !line.contains("hint:"), "{line}");
    }
}

#[test]
fn csv_is_the_table_of_results_or_a_folder_of_all_tables() {
    let lab = Lab::new();
    let runs = records(&lab, &["--part", "one"]);
    let (file, folder) = (lab.path("results.csv"), lab.path("tables"));
    report(&runs, &file, &[]).expect(0);
    let text = fs::read_to_string(&file).unwrap();
    assert!(
        text.starts_with("dataset,backbone,probe,protocol,setting,"),
        "{text}"
    );
    assert_eq!(text.lines().count(), 2);
    report(&runs, &folder, &["--format", "csv"]).expect(0);
    for name in ["results", "table-3-strict", "caches", "commands"] {
        assert!(folder.join(format!("{name}.csv")).is_file(), "{name}");
    }
    assert_eq!(
        fs::read_to_string(folder.join("results.csv")).unwrap(),
        text
    );
}

/// Real commands, from images to a page with pictures.
#[test]
fn results_of_own_data_are_shown_with_pictures_of_cases() {
    let lab = Lab::new();
    let pictures = ["--pictures", "true"];
    lab.extract("manifest", &lab.manifest(60), &pictures)
        .expect(0);
    lab.probe_with("linear", &["--epochs", "1", "--lr", "0.00001"])
        .expect(0);
    let out = lab.path("report.html");
    let cache = lab.path("cache");
    report(
        &lab.path("runs"),
        &out,
        &["--cache", cache.to_str().unwrap()],
    )
    .expect(0);
    let page = fs::read_to_string(&out).unwrap();
    for text in [
        "Confusion",
        "Calibration",
        "ROC",
        "Hardest",
        "data:image/png;base64,",
    ] {
        assert!(page.contains(text), "{text}");
    }
    // Nothing of the study belongs to these records.
    assert!(!page.contains("Tables of the reference study"));
    // A file that is no picture, or lies elsewhere, is not put into the page.
    let records = lab.path("runs/linear.jsonl");
    let text = fs::read_to_string(&records).unwrap();
    let begun = text.trim_end().strip_suffix('}').unwrap();
    let stolen = lab.write("secret.png", "no PNG, secret");
    let names = format!(
        r#"["../secret.png", {:?}, "linear.jsonl"]"#,
        stolen.to_str().unwrap()
    );
    fs::write(&records, format!("{begun},\"pictures\":{names}}}\n")).unwrap();
    let run = report(&lab.path("runs"), &out, &[]).expect(1);
    assert_eq!(
        run.stderr.matches("no such file below").count(),
        2,
        "{}",
        run.stderr
    );
    assert!(
        run.stderr.contains("it is neither PNG nor SVG"),
        "{}",
        run.stderr
    );
    assert!(!fs::read_to_string(&out).unwrap().contains("bm8gUE5H"));
    // Tables need no pictures.
    for name in ["report.md", "report.csv", "report.tex"] {
        let run = report(&lab.path("runs"), &lab.path(name), &[]).expect(0);
        assert!(!run.stderr.contains("picture"), "{}", run.stderr);
    }
    report(&lab.path("runs"), &out, &["--cache", "nope"])
        .expect_error(2, &["`nope`", "no such folder", "--cache"]);
}

#[test]
fn a_damaged_picture_is_reported_and_left_out() {
    let lab = Lab::new();
    let runs = records(&lab, &["--part", "one"]);
    let file = runs.join("linear.jsonl");
    let text = fs::read_to_string(&file).unwrap();
    let begun = text.trim_end().strip_suffix('}').unwrap();
    fs::write(&file, format!("{begun},\"pictures\":[\"a.png\"]}}\n")).unwrap();
    let picture = lab.png("runs/a.png", 0, 0);
    let out = lab.path("report.html");
    report(&runs, &out, &[]).expect(0);
    let whole = fs::read(&picture).unwrap();
    fs::write(&picture, &whole[..whole.len() / 2]).unwrap();
    let run = report(&runs, &out, &[]).expect(1);
    assert!(run.stderr.contains("picture `a.png`"), "{}", run.stderr);
    assert!(!fs::read_to_string(&out).unwrap().contains("data:image/png"));
}

fn recorded(lab: &Lab, file: &str) -> Vec<Value> {
    let text = fs::read_to_string(lab.path(file)).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn the_commands_of_a_report_make_its_records_again() {
    let lab = Lab::new();
    lab.extract("manifest", &lab.manifest(24), &[]).expect(0);
    let typed = [
        "--lr",
        "0.001,0.00001",
        "--epochs",
        "2",
        "--seed",
        "3",
        "--bootstrap",
        "20",
        "--blocks",
        "1",
    ];
    lab.probe_with("linear", &typed).expect(0);
    let study = lab.write(
        "studies/mine.toml",
        "models = [\"tiny-vit\"]\ndatasets = [\"images\"]\n[options]\nseed = 5\n[[probe]]\nname = \"knn\"\nk = [1, 3]\nbootstrap = 10\n[[probe]]\nname = \"few-shot\"\nhead = \"centroid\"\nshots = [1, 2]\nrepeats = 2\n",
    );
    let mut command = program("probe");
    command
        .arg("study")
        .arg(study)
        .arg("--cache")
        .arg(lab.path("cache"));
    Run::of(command.arg("--runs").arg(lab.path("runs"))).expect(0);
    lab.probe_with("trust", &["--permutations", "9", "--columns", "split"])
        .expect(0);
    let page = lab.path("report.html");
    report(&lab.path("runs"), &page, &[]).expect(0);
    let page = fs::read_to_string(&page).unwrap();
    let commands = data(&page)["commands"].take();
    let commands = &commands.as_array().unwrap()[1..];
    assert_eq!(commands.len(), 4, "{commands:#?}");
    for row in commands {
        let words = row[0].as_str().unwrap();
        let probe = words.split(' ').nth(1).unwrap();
        let expected = if matches!(probe, "knn" | "few-shot") {
            "mine.toml"
        } else {
            ""
        };
        assert_eq!(row[1], expected, "{row}");
        let mut again = program("probe");
        again
            .args(words.split(' ').skip(1))
            .arg("--cache")
            .arg(lab.path("cache"));
        Run::of(again.arg("--runs").arg(lab.path("again"))).expect(0);
        let of = |folder: &str| -> Vec<(Value, Value)> {
            let records = recorded(&lab, &format!("{folder}/{probe}.jsonl")).into_iter();
            records
                .map(|mut of| (of["key"].take(), of["settings"].take()))
                .collect()
        };
        assert_eq!(of("again"), of("runs"), "{words}");
    }
}
