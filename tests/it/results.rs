//! Names of runs, places of results, and the form of tables.

use serde_json::Value;

use crate::lab::{Lab, Run, program};
use crate::probe::three_splits;

/// The records in a file of runs.
fn records(lab: &Lab, probe: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(lab.path(&format!("runs/{probe}.jsonl"))).unwrap();
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn trained(lab: &Lab) -> (Run, String) {
    three_splits(lab, &[]);
    let run = lab
        .probe_with(
            "linear",
            &["--epochs", "2", "--blocks", "1", "--lr", "0.1,0.01"],
        )
        .expect(0);
    let name = records(lab, "linear")[0]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    (run, name)
}

#[test]
fn a_head_is_found_by_the_name_of_its_run_its_beginning_or_as_the_latest() {
    let lab = Lab::new();
    let (run, name) = trained(&lab);
    assert!(name.starts_with("linear-images-tiny-vit-"), "{name}");
    for words in ["records ", "runs ", "scores ", "heads "] {
        assert!(run.stderr.contains(words), "{}", run.stderr);
    }
    assert!(run.stderr.contains(&name), "{}", run.stderr);
    let file = records(&lab, "linear")[0]["head"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(lab.path(&format!("runs/{file}")).is_file());
    for head in ["latest", "linear-", &name] {
        let words = ["--head", head, "--force", "--format", "json"];
        let run = lab.probe_with("predict", &words).expect(0);
        let told = run.stderr.lines().next().unwrap();
        assert!(told.starts_with(&format!("head        {name} (")), "{told}");
        let record: Value = serde_json::from_str(run.stdout.trim()).unwrap();
        assert!(
            record["params"]["head"].as_str().unwrap().ends_with(&file),
            "{record}"
        );
    }
    lab.probe_with("predict", &["--head", "logreg"])
        .expect_error(2, &["`logreg`", "no run", &name]);
    lab.probe(&["--k", "3"]).expect(0);
    lab.probe_with("predict", &["--head", "knn-images"])
        .expect_error(2, &["knn-images-tiny-vit-", "has no head"]);
    lab.probe_with("linear", &["--epochs", "1", "--blocks", "1", "--lr", "0.1"])
        .expect(0);
    lab.probe_with("predict", &["--head", "linear"])
        .expect_error(2, &["2 runs", "hint: give more of the name", &name]);
}

#[test]
fn runs_are_listed_also_those_of_earlier_versions() {
    let lab = Lab::new();
    let (_, name) = trained(&lab);
    // A record without a name, as of an earlier version.
    let path = lab.path("runs/linear.jsonl");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(
        &path,
        text.replacen(&format!("\"name\":\"{name}\","), "", 1),
    )
    .unwrap();
    let run = lab.probe_with("ls", &[]).expect(0);
    assert!(
        run.stdout.contains(&name) && run.stdout.contains("images/tiny-vit@56"),
        "{}",
        run.stdout
    );
}

#[test]
fn tables_fit_80_columns_and_come_as_csv_and_markdown() {
    let lab = Lab::new();
    let (run, name) = trained(&lab);
    assert!(
        run.stdout.lines().all(|line| line.chars().count() <= 80),
        "{}",
        run.stdout
    );
    assert!(
        run.stdout.contains("(--wide shows ") && run.stdout.contains("lr=0.1"),
        "{}",
        run.stdout
    );
    let again = |more: &[&str]| {
        let grid = ["--epochs", "2", "--blocks", "1", "--lr", "0.1,0.01"];
        lab.probe_with("linear", &[&grid, more].concat())
    };
    let wide = again(&["--wide"]).expect(0).stdout;
    assert!(
        wide.contains("40 slices") && wide.contains("strict") && !wide.contains("--wide"),
        "{wide}"
    );
    let csv = again(&["--format", "csv"]).expect(0).stdout;
    let rows: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len(), 2);
    let cell = |name: &str| rows[1][rows[0].iter().position(|of| *of == name).unwrap()];
    let record = &records(&lab, "linear")[0];
    assert_eq!(cell("name"), name);
    assert_eq!((cell("n_test"), cell("test_unit")), ("20", "slice"));
    let auroc: f64 = cell("auroc_macro").parse().unwrap();
    assert_eq!(Some(auroc), record["metrics"]["auroc_macro"].as_f64());
    let low: f64 = cell("auroc_macro_low").parse().unwrap();
    assert_eq!(Some(low), record["ci"]["auroc_macro"][0].as_f64());
    let markdown = again(&["--format", "markdown"]).expect(0).stdout;
    assert!(
        markdown.contains("| images | tiny-vit@56 | strict |"),
        "{markdown}"
    );
    again(&["--format", "csv", "--wide"]).expect_error(2, &["`--wide` has no effect"]);
}

#[test]
fn all_probes_show_the_same_measures_of_the_same_caches() {
    let lab = Lab::new();
    three_splits(&lab, &[]);
    let header = |probe: &str, more: &[&str]| {
        let run = lab.probe_with(probe, more).expect(0);
        let tables: Vec<&str> = run.stdout.split("\n\n").collect();
        let table = tables.last().unwrap();
        let wide = table.lines().find(|line| line.chars().count() > 80);
        assert_eq!(wide, None, "{table}");
        // Numbers of examples are in the last line if not in a column.
        assert!(table.contains("test 20 slices"), "{table}");
        let columns = table.lines().next().unwrap().split_whitespace();
        columns.map(str::to_owned).collect::<Vec<String>>()
    };
    let expected = ["model@size", "setting", "AUROC", "AP", "accuracy"];
    for (probe, more) in [
        ("knn", &["--k", "1,3"][..]),
        ("linear", &["--epochs", "1"]),
        ("logreg", &[]),
        ("ridge", &[]),
    ] {
        let found = header(probe, more);
        let found: Vec<&str> = found.iter().map(String::as_str).collect();
        assert!(found.ends_with(&expected), "{probe}: {found:?}");
    }
}

#[test]
fn the_csv_of_a_learning_curve_has_the_curve() {
    let lab = Lab::new();
    // A fifth of the labels is wrong, so that scores are not perfect.
    let mut csv = String::from("image,label,patient,split\n");
    for i in 0..80_u32 {
        lab.png(&format!("images/{i:04}.png"), i, i);
        let class = ["left", "right"][(i as usize + usize::from(i % 5 == 2)) % 2];
        let split = ["train", "test"][i as usize / 40];
        csv += &format!("images/{i:04}.png,{class},p{i},{split}\n");
    }
    lab.extract("manifest", &lab.write("images.csv", csv), &[])
        .expect(0);
    let words = "--head centroid --shots 1,2,4,8 --repeats 5 --curve --target 0.7,0.8 --format csv";
    let words: Vec<&str> = words.split(' ').collect();
    let csv = lab.probe_with("few-shot", &words).expect(0).stdout;
    let rows: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
    let cell =
        |row: usize, name: &str| rows[row][rows[0].iter().position(|of| *of == name).unwrap()];
    assert_eq!(rows.len(), 5, "{csv}");
    let curve = &records(&lab, "curve")[0];
    assert_eq!(cell(1, "curve"), curve["name"].as_str().unwrap());
    for (at, point) in curve["params"]["points"]
        .as_array()
        .unwrap()
        .iter()
        .enumerate()
    {
        let number = |name: &str| cell(at + 1, name).parse::<f64>().unwrap();
        assert_eq!(Some(number("curve_n")), point["n"].as_f64());
        let [floor, scale, exponent] =
            ["floor", "scale", "exponent"].map(|name| number(&format!("curve_{name}")));
        let expected = 1.0 - floor - scale * number("curve_n").powf(-exponent);
        assert!((number("curve_on_curve") - expected).abs() < 1e-9, "{csv}");
    }
    for name in ["needed_for_0.7", "needed_for_0.8_high"] {
        assert!(rows[0].contains(&name), "{csv}");
    }
}

#[test]
fn the_summary_of_an_extraction_has_splits_patients_and_classes() {
    let lab = Lab::new();
    let mut csv = String::from("image,label,split,patient\n");
    for i in 0..6u32 {
        lab.png(&format!("images/{i}.png"), i, i);
        let (class, split) = (
            ["left", "right"][i as usize % 2],
            ["train", "test"][i as usize / 4],
        );
        csv += &format!("images/{i}.png,{class},{split},p{}\n", i / 2);
    }
    let manifest = lab.write("images.csv", csv);
    let text = lab.extract("manifest", &manifest, &[]).expect(0).stdout;
    for line in [
        "split  slices  samples  patients",
        "train       4        4         2",
        "slices of class  train  test",
        "left                 2     1",
    ] {
        assert!(
            text.lines().any(|found| found.trim_end() == line),
            "no `{line}` in {text}"
        );
    }
    let json = lab
        .extract("manifest", &manifest, &["--format", "json"])
        .expect(0)
        .stdout;
    let summary: Value = serde_json::from_str(json.trim()).unwrap();
    assert_eq!(summary["splits"]["test"]["classes"]["right"], 1);
    assert_eq!(summary["splits"]["test"]["patients"], 1);
}

#[test]
fn runs_are_told_apart_in_80_columns() {
    let lab = Lab::new();
    let name = "chest-radiographs-of-children-of-a-hospital";
    let table = lab.manifest(24);
    Run::of(&mut lab.extract_as(name, "manifest", &table)).expect(0);
    for fold in ["fold0", "fold1"] {
        let rule = format!("kfold:4:{}", &fold[4..]);
        let options = ["--rule", rule.as_str(), "--name", fold];
        Run::of(lab.split(name).args(options)).expect(0);
        lab.probe(&["--k", "3", "--split", fold]).expect(0);
    }
    let mut ls = program("probe");
    ls.arg("ls").arg("--cache").arg(lab.path("cache"));
    let list = Run::of(ls.arg("--runs").arg(lab.path("runs"))).expect(0);
    let wide = list.stdout.lines().find(|line| line.chars().count() > 80);
    assert_eq!(wide, None, "{}", list.stdout);
    for fold in ["fold0", "fold1"] {
        let split = format!("split={fold}");
        assert_eq!(list.stdout.matches(&split).count(), 1, "{}", list.stdout);
    }
}

#[test]
fn help_of_every_command_fits_80_columns() {
    for name in ["extract", "probe"] {
        let help = Run::of(program(name).arg("--help")).expect(0).stdout;
        let commands = help.lines().filter_map(|line| {
            let (command, _) = line.strip_prefix("  ")?.split_once("  ")?;
            let is_command = command.starts_with(|c: char| c.is_ascii_lowercase());
            is_command.then_some(command)
        });
        let commands: Vec<&str> = commands.filter(|name| !name.contains(' ')).collect();
        assert!(commands.contains(&"completions"), "{commands:?}");
        for command in commands {
            for option in ["-h", "--help"] {
                let help = Run::of(program(name).args([command, option]))
                    .expect(0)
                    .stdout;
                let wide = help.lines().find(|line| line.chars().count() > 80);
                assert_eq!(wide, None, "{name} {command} {option}");
            }
        }
    }
}

#[test]
fn lists_of_extract_fit_80_columns_and_come_as_csv_and_markdown() {
    let lab = Lab::new();
    trained(&lab);
    let extract = |words: &[&str]| {
        let run = Run::of(program("extract").args(words));
        run.expect(0).stdout
    };
    let cache = lab.cache();
    let cards = [
        &["datasets"][..],
        &["datasets", "amos"],
        &["models", "dinov2-l14"],
        &["show", cache.to_str().unwrap()],
    ];
    for words in cards {
        let text = extract(words);
        // Words that are longer, such as addresses and hashes, stay whole.
        let is_long = |line: &&str| line.chars().count() > 80 && line.trim().contains(' ');
        let long = text
            .lines()
            .find(|line| is_long(line) && !line.contains("http"));
        assert!(long.is_none(), "{words:?}: {long:?}");
    }
    let all = lab.path("cache");
    let list = ["ls", "--cache", all.to_str().unwrap(), "--format"];
    let csv = extract(&[&list[..], &["csv"]].concat());
    assert!(
        csv.starts_with("cache,") && csv.lines().count() == 2,
        "{csv}"
    );
    let markdown = extract(&[&list[..], &["markdown"]].concat());
    assert!(markdown.starts_with("| cache |"), "{markdown}");
    let csv = extract(&["models", "--format", "csv"]);
    assert!(
        csv.starts_with("model,licence,") && csv.contains("tiny-vit,"),
        "{csv}"
    );
}
