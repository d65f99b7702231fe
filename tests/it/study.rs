//! `probe study`: many probes on many caches.

mod folds;
mod told;
mod trained;

use std::fs::{self, File};
use std::path::Path;

use polars::prelude::{ParquetReader, SerReader};
use serde_json::Value;

use crate::lab::{Lab, Run, program};

/// Runs `probe study` over the lab's caches; records go to the folder `runs` of the lab.
pub fn study(lab: &Lab, toml: &str, runs: &str, more: &[&str]) -> Run {
    let file = lab.write("study.toml", toml);
    let mut command = program("probe");
    command.arg("study").arg(file).arg("--cache");
    command
        .arg(lab.path("cache"))
        .arg("--runs")
        .arg(lab.path(runs));
    Run::of(command.args(more))
}

fn records(lab: &Lab, file: &str) -> Vec<Value> {
    let text = fs::read_to_string(lab.path(file)).unwrap_or_default();
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn keys(lab: &Lab, file: &str) -> Vec<String> {
    let records = records(lab, file);
    let mut keys: Vec<String> = records.iter().map(|of| of["key"].to_string()).collect();
    keys.sort();
    keys
}

const TWO: &str = r#"
models = ["tiny-vit"]
datasets = ["images"]
protocols = ["strict", "paper"]

[options]
bootstrap = 20
seed = 3

[[probe]]
name = "knn"
k = [1, 3]

[[probe]]
name = "linear"
epochs = 2
lr = [0.1, 0.00005]
blocks = 1

[[probe]]
name = "few-shot"
head = "centroid"
shots = [1, "all"]
repeats = 2
bootstrap = 0
"#;

#[test]
fn a_study_records_what_the_typed_commands_record_and_runs_only_what_is_missing() {
    let lab = Lab::new();
    let table = lab.manifest(18);
    lab.extract("manifest", &table, &[]).expect(0);
    let both = ["--protocol", "strict,paper", "--seed", "3", "--bootstrap"];
    let typed = |probe: &str, more: &[&str]| {
        lab.probe_with(probe, &[&both[..], more].concat()).expect(0);
    };
    typed("knn", &["20", "--k", "1,3"]);
    typed(
        "linear",
        &[
            "20",
            "--epochs",
            "2",
            "--lr",
            "0.1,0.00005",
            "--blocks",
            "1",
        ],
    );
    typed(
        "few-shot",
        &[
            "0",
            "--head",
            "centroid",
            "--shots",
            "1,all",
            "--repeats",
            "2",
        ],
    );
    let plan = study(&lab, TWO, "runs", &["--dry-run"]).expect(0);
    assert!(plan.stdout.contains("6 cells, 0 to run"), "{plan:#?}");
    let plan = study(&lab, TWO, "own", &["--dry-run"]).expect(0);
    assert!(plan.stdout.contains("6 cells, 6 to run"), "{plan:#?}");
    assert!(!lab.path("own").exists());

    let run = study(&lab, TWO, "own", &[]).expect(0);
    assert!(run.stderr.contains("[6/6]"), "{run:#?}");
    for shots in ["shots=1: ", "shots=all: "] {
        assert_eq!(run.stdout.matches(shots).count(), 2, "{run:#?}");
    }
    for probe in ["knn", "linear", "few-shot"] {
        let [own, others] =
            ["own", "runs"].map(|runs| keys(&lab, &format!("{runs}/{probe}.jsonl")));
        assert_eq!(own, others, "{probe}");
    }
    // What a stop left out is run, and nothing else.
    fs::remove_file(lab.path("own/linear.jsonl")).unwrap();
    let knn = fs::read(lab.path("own/knn.jsonl")).unwrap();
    let again = study(&lab, TWO, "own", &[]).expect(0);
    assert!(again.stderr.contains("2 cells to run"), "{again:#?}");
    assert_eq!(fs::read(lab.path("own/knn.jsonl")).unwrap(), knn);
    assert_eq!(
        keys(&lab, "own/linear.jsonl"),
        keys(&lab, "runs/linear.jsonl")
    );
    assert_eq!(again.stdout, run.stdout);
    // Times are those that are recorded, also of what is repeated.
    let plan = study(&lab, TWO, "own", &["--dry-run", "--force"]).expect(0);
    let basis = "recorded times of the same probe and options: 6 cells";
    assert!(plan.stdout.contains(basis), "{plan:#?}");
    let others = TWO.replace("k = [1, 3]", "k = [5]");
    let plan = study(&lab, &others, "own", &["--dry-run"]).expect(0);
    let basis = "recorded times of the same probe with other options: 2 cells";
    assert!(plan.stdout.contains(basis), "{plan:#?}");
    let csv = study(&lab, TWO, "own", &["--format", "csv"])
        .expect(0)
        .stdout;
    assert_eq!(csv.matches("dataset,").count(), 1, "{csv}");
    let json = study(&lab, TWO, "own", &["--format", "json"]).expect(0);
    assert_eq!(json.stdout.lines().count(), 4 + 2 + 4);
}

#[test]
fn shared_options_apply_where_they_exist_and_have_an_effect() {
    let lab = Lab::new();
    let table = lab.manifest(18);
    lab.extract("manifest", &table, &[]).expect(0);
    let toml = |probes: &str| {
        format!(
            "models = [\"tiny-vit\"]\ndatasets = [\"images\"]\n[options]\nbootstrap = 30\nlevel = 0.9\nlayer = 2\n{probes}"
        )
    };
    let few =
        "[[probe]]\nname = \"few-shot\"\nhead = \"centroid\"\nshots = [1, \"all\"]\nrepeats = 2\n";
    let linear = "[[probe]]\nname = \"linear\"\nepochs = 1\nlr = 0.1\nblocks = 1\n";
    let knn = "[[probe]]\nname = \"knn\"\nk = 3\n";
    let run = study(&lab, &toml(&[knn, linear, few].concat()), "runs", &[]).expect(0);
    assert!(!run.stderr.contains("warning"), "{run:#?}");
    let [knn, linear, few_shot] =
        ["knn", "linear", "few-shot"].map(|probe| records(&lab, &format!("runs/{probe}.jsonl")));
    assert_eq!(
        (&knn[0]["ci"]["draws"], &knn[0]["ci"]["level"]),
        (&30.into(), &0.9.into())
    );
    assert_eq!(knn[0]["settings"]["layer"], 2);
    assert_eq!(linear[0]["ci"]["draws"], 30);
    assert!(few_shot[0]["spread"].is_object() && few_shot[0]["ci"].is_null());
    // An option in vain everywhere, and one of a probe's own, are errors before anything runs.
    let alone = toml(few).replace("layer = 2\n", "");
    study(&lab, &alone, "own", &[]).expect_error(2, &["`options.bootstrap`: no probe"]);
    let own = toml(&format!("{few}bootstrap = 30\n"));
    study(&lab, &own, "own", &[])
        .expect_error(2, &["probe `few-shot`: `--bootstrap` has no effect"]);
    assert!(!lab.path("own").exists());
}

#[test]
fn a_dry_run_foresees_caches_without_a_split_and_names_the_key_and_the_command() {
    let lab = Lab::new();
    let table = fs::read_to_string(lab.manifest(12)).unwrap();
    let table = lab.write("images.csv", table.replace(",test", ",train"));
    lab.extract("manifest", &table, &[]).expect(0);
    let probes = ["knn", "linear", "few-shot", "finetune"]
        .map(|name| format!("[[probe]]\nname = \"{name}\"\n"));
    let toml = format!(
        "models = [\"tiny-vit\"]\ndatasets = [\"images\"]\n{}",
        probes.concat()
    );
    for format in ["text", "json"] {
        let plan = study(&lab, &toml, "runs", &["--dry-run", "--format", format]).expect(0);
        assert_eq!(plan.stdout.matches("cannot run").count(), 4, "{plan:#?}");
        let told = format!("{}{}", plan.stdout, plan.stderr);
        let command = format!(
            "`extract split --dataset images --rule random:0.7:0.1:0.2 --name main --cache {}`",
            lab.path("cache").display()
        );
        assert!(told.contains(&command), "{plan:#?}");
        assert!(
            told.contains("`split = \"main\"`") && !told.contains("`--split"),
            "{plan:#?}"
        );
        let is_wide = |line: &&str| line.chars().count() > 80 && format == "text";
        let mut table = plan.stdout.lines().take_while(|line| !line.is_empty());
        assert_eq!(table.find(is_wide), None);
    }
    let split = ["--rule", "random:0.6:0.2:0.2", "--name", "main"];
    Run::of(lab.split("images").args(split)).expect(0);
    let toml = toml.replace("name =", "split = \"main\"\nname =");
    let plan = study(&lab, &toml, "runs", &["--dry-run"]).expect(0);
    assert!(plan.stdout.contains("4 cells, 3 to run"), "{plan:#?}");
}

#[test]
fn a_dry_run_foresees_decoders_and_adaptations_without_a_split() {
    let lab = Lab::new();
    let table = lab.manifest(12);
    let text = fs::read_to_string(&table)
        .unwrap()
        .replace(",test", ",train");
    lab.write("residual.csv", text);
    let adapted = lab.path("residual.csv");
    let mut extract = lab.extract_as("residual", "manifest", &adapted);
    Run::of(extract.args(["--tokens", "residual"])).expect(0);
    crate::segment::volumes(&lab, &["--split", "none"]).expect(0);
    let toml = r#"
models = ["tiny-vit"]
datasets = ["residual", "images"]

[[probe]]
name = "adapt"
datasets = ["residual"]

[[probe]]
name = "segment"
datasets = ["images"]
epochs = 1

[[probe]]
name = "finetune"
decoder = "linear"
datasets = ["images"]
"#;
    let plan = study(&lab, toml, "runs", &["--dry-run"]).expect(0);
    assert_eq!(plan.stdout.matches("cannot run").count(), 3, "{plan:#?}");
    for dataset in ["residual", "images"] {
        let command = format!("`extract split --dataset {dataset} --rule");
        assert!(plan.stderr.contains(&command), "{plan:#?}");
    }
    for dataset in ["residual", "images"] {
        let split = ["--rule", "random:0.6:0.2:0.2", "--name", "main"];
        Run::of(lab.split(dataset).args(split)).expect(0);
    }
    let toml = toml.replace("name =", "split = \"main\"\nname =");
    let plan = study(&lab, &toml, "runs", &["--dry-run"]).expect(0);
    assert!(plan.stdout.contains("3 cells, 2 to run"), "{plan:#?}");
    assert!(plan.stdout.contains("by script"), "{plan:#?}");
}

#[test]
fn shared_options_are_left_out_where_caches_give_them_no_effect() {
    let lab = Lab::new();
    lab.extract("manifest", &lab.manifest(12), &[]).expect(0);
    let shared = |options: &str| {
        format!(
            "models = [\"tiny-vit\"]\ndatasets = [\"images\"]\n[options]\n{options}\n[[probe]]\nname = \"knn\"\nk = 1\n[[probe]]\nname = \"linear\"\nepochs = 1\nlr = 0.1\nblocks = 1\n"
        )
    };
    // Examples are slices, of exclusive classes.
    let toml = shared("pool = \"max\"\nloss = \"sum\"\nseed = 3");
    let run = study(&lab, &toml, "runs", &[]).expect(0);
    for option in ["pool", "loss"] {
        let said = format!("warning: `options.{option}` has no effect on any cache of the study");
        assert!(run.stderr.contains(&said), "{run:#?}");
    }
    assert!(!run.stderr.contains("options.seed"), "{run:#?}");
    // The results are those of the command without these options, which is recorded.
    let plain = shared("seed = 3");
    let plan = study(&lab, &plain, "runs", &["--dry-run"]).expect(0);
    assert!(plan.stdout.contains("2 cells, 0 to run"), "{plan:#?}");
    let typed = records(&lab, "runs/linear.jsonl")[0]["command"].to_string();
    assert!(
        typed.contains("seed") && !typed.contains("pool") && !typed.contains("loss"),
        "{typed}"
    );
    // A probe's own option, and one that no command has, stay errors.
    let own = plain.replace("k = 1", "k = 1\npool = \"max\"");
    let plan = study(&lab, &own, "own", &["--dry-run"]).expect(0);
    assert_eq!(plan.stdout.matches("cannot run").count(), 1, "{plan:#?}");
    let typo = shared("poool = \"max\"");
    study(&lab, &typo, "own", &[]).expect_error(2, &["`options.poool`"]);
}

#[test]
fn tables_of_a_study_fit_80_columns() {
    let lab = Lab::new();
    let table = lab.manifest(18);
    let name = "chest-radiographs-of-children-of-a-hospital";
    Run::of(&mut lab.extract_as(name, "manifest", &table)).expect(0);
    let probe =
        "[[probe]]\nname = \"few-shot\"\nhead = \"centroid\"\nshots = [1, \"all\"]\nrepeats = 2\n";
    let knn = "[[probe]]\nname = \"knn\"\nk = [1, 3]\n";
    let toml = format!(
        "models = [\"tiny-vit\"]\ndatasets = [\"{name}\"]\nprotocols = [\"strict\", \"paper\"]\n{probe}{knn}"
    );
    for more in [&["--dry-run"][..], &[]] {
        let run = study(&lab, &toml, "runs", more).expect(0);
        let wide = run.stdout.lines().find(|line| line.chars().count() > 80);
        assert_eq!(wide, None, "{}", run.stdout);
    }
}

#[test]
fn a_failed_cell_and_a_missing_cache_stop_nothing_and_are_listed() {
    let lab = Lab::new();
    let table = lab.manifest(12);
    lab.extract("manifest", &table, &[]).expect(0);
    let toml = r#"
models = ["tiny-vit", "dinov2-s14"]
datasets = ["images"]

[[probe]]
name = "knn"
k = 5000

[[probe]]
name = "ridge"
image-size = 56

[[probe]]
name = "segment"
epochs = 1

[extract.images]
dataset = "manifest"
root = "my data"
limit = 3
"#;
    let run = study(&lab, toml, "runs", &[]).expect(1);
    // The cache has no masks, so that decoders are left out.
    assert!(run.stderr.contains("`k = 5000` exceeds"), "{run:#?}");
    assert!(run.stdout.contains("ridge"), "{run:#?}");
    let commands: Vec<&str> = run
        .stderr
        .lines()
        .filter(|line| line.starts_with("  extract "))
        .collect();
    let cache = lab.path("cache");
    let command = |size: &str| {
        format!(
            "  extract --model dinov2-s14 --dataset manifest --name images --root 'my data'{size} --limit=3 --cache {}",
            cache.display()
        )
    };
    assert_eq!(commands, [command(""), command(" --image-size 56")]);
    let plan = study(&lab, toml, "runs", &["--dry-run"]).expect(0);
    for state in ["done", "no cache", "to run"] {
        assert!(plan.stdout.contains(state), "{plan:#?}");
    }
    let root = ["--root", "images=there", "--dry-run"];
    let plan = study(&lab, toml, "runs", &root).expect(0);
    assert!(
        plan.stderr.contains("--root there --image-size 56"),
        "{plan:#?}"
    );
    let none = study(
        &lab,
        "models = [\"m\"]\ndatasets = [\"amos\"]\n[[probe]]\nname = \"knn\"",
        "runs",
        &[],
    );
    assert!(
        none.expect(2)
            .stderr
            .contains("extract --model m --dataset amos --root DIR")
    );
}

#[test]
fn what_is_not_in_a_study_is_an_error_with_a_suggestion() {
    let lab = Lab::new();
    for (toml, words) in [
        (
            "modls = []",
            &["unknown key `modls`", "did you mean `models`?"][..],
        ),
        ("models = [", &["line 1 is not TOML"]),
        ("models = [\"m\"]", &["it has no `[[probe]]`"]),
        ("[[probe]]\nname = \"knn\"", &["`knn` has no models"]),
        (
            "[[probe]]\nname = \"lineer\"",
            &["there is no probe `lineer`", "`linear`?"],
        ),
        (
            "[[probe]]\nname = \"knn\"\nkk = 1",
            &["`knn` has no option `kk`"],
        ),
        (
            "[[probe]]\nname = \"linear\"\nepoch = 1",
            &["did you mean `epochs`?"],
        ),
        (
            "[[probe]]\nname = \"linear\"\nepochs = 0",
            &["probe `linear`: invalid value '0'"],
        ),
        (
            "[[probe]]\nname = \"knn\"\nmodel = \"m\"",
            &["`model` cannot be given", "`models`"],
        ),
        (
            "[[probe]]\nname = \"few-shot\"\nhead = \"knn\"\nC = 1",
            &["`--C`", "no such option"],
        ),
        (
            "protocols = [\"strikt\"]\n[[probe]]\nname = \"knn\"",
            &["`strict`?"],
        ),
        (
            "[options]\nepoch = 3\n[[probe]]\nname = \"knn\"",
            &["no probe of the study"],
        ),
        (
            "[folds]\nimage = 4\n[[probe]]\nname = \"knn\"",
            &["did you mean `images`?"],
        ),
        (
            "[folds]\nimages = 2\n[[probe]]\nname = \"knn\"",
            &["from 3 to 100"],
        ),
        (
            "[extract]\nmodel = \"m\"\n[[probe]]\nname = \"knn\"",
            &["`model` cannot be given"],
        ),
    ] {
        let names = "models = [\"tiny-vit\"]\ndatasets = [\"images\"]\n";
        let is_whole = toml.contains("[[probe]]") && !words[0].contains("no models");
        let toml = if is_whole {
            format!("{names}{toml}")
        } else {
            toml.into()
        };
        let run = study(&lab, &toml, "runs", &[]);
        run.expect_error(2, words);
    }
    let run = Run::of(program("probe").args(["study", "smal"]));
    run.expect_error(2, &["`smal`: cannot read it", "--list"]);
}

#[test]
fn the_built_in_studies_are_listed_printed_and_valid() {
    let list = Run::of(program("probe").args(["study", "--list"])).expect(0);
    let lab = Lab::new();
    for name in ["small", "paper"] {
        assert!(list.stdout.lines().any(|line| line.starts_with(name)));
        let print = Run::of(program("probe").args(["study", name, "--print"])).expect(0);
        let plan = study(&lab, &print.stdout, "runs", &["--dry-run"]).expect(0);
        assert!(plan.stdout.contains("no cache"), "{plan:#?}");
        if name == "paper" {
            // The first column of fine-tuning in Table 4.
            let (_, cell) = print.stdout.split_once("method = \"full\"").unwrap();
            let (cell, _) = cell.split_once("[[probe]]").unwrap();
            for model in ["densenet201", "resnet152", "vgg19", "vit-l16-in21k"] {
                assert!(cell.contains(model), "no {model} in {cell}");
            }
        }
    }
}

/// Scores of two classes, and whether a case is of the second, from a table of predictions.
fn scores(table: &Path, classes: [&str; 2]) -> Vec<([f64; 2], bool)> {
    let frame = ParquetReader::new(File::open(table).unwrap())
        .finish()
        .unwrap();
    let column = |name: String| frame.column(&name).unwrap().clone();
    let [first, second] = classes.map(|class| column(format!("score/{class}")));
    let truth = column(format!("target/{}", classes[1]));
    let (first, second) = (first.f64().unwrap(), second.f64().unwrap());
    let rows = first
        .iter()
        .zip(second.iter())
        .zip(truth.bool().unwrap().iter());
    rows.map(|((a, b), is)| ([a.unwrap(), b.unwrap()], is.unwrap()))
        .collect()
}

/// AUROC of class 1 by counting pairs, and accuracy, from tables of two exclusive classes.
fn by_hand(tables: &[&Path]) -> (f64, f64, usize) {
    let mut cases: Vec<([f64; 2], bool)> = Vec::new();
    for table in tables {
        cases.extend(scores(table, ["left", "right"]));
    }
    let (mut won, mut pairs, mut right) = (0.0, 0.0, 0.0);
    for (scores, is_second) in &cases {
        right += f64::from(u8::from((scores[1] > scores[0]) == *is_second));
        for (others, other_is_second) in &cases {
            if *is_second && !other_is_second {
                pairs += 1.0;
                won += match scores[1].total_cmp(&others[1]) {
                    std::cmp::Ordering::Greater => 1.0,
                    std::cmp::Ordering::Equal => 0.5,
                    std::cmp::Ordering::Less => 0.0,
                };
            }
        }
    }
    (won / pairs, right / cases.len() as f64, cases.len())
}

#[test]
fn caches_and_folds_are_made_and_the_cases_of_all_folds_are_measured_together() {
    let lab = Lab::new();
    // Some images have the label of the others, so that scores are not perfect.
    let table = fs::read_to_string(lab.manifest(24)).unwrap();
    let swapped = |(number, line): (usize, &str)| match number % 5 {
        1 if line.contains(",left,") => line.replace(",left,", ",right,"),
        1 => line.replace(",right,", ",left,"),
        _ => line.to_owned(),
    };
    let lines: Vec<String> = table.lines().enumerate().map(swapped).collect();
    let table = lab.write("images.csv", lines.join("\n"));
    let toml = format!(
        r#"
models = ["tiny-vit"]
datasets = ["images"]
[folds]
images = 4
[[probe]]
name = "knn"
k = [1, 3]
bootstrap = 50
[extract.images]
dataset = "manifest"
root = "{}"
"#,
        table.display()
    );
    let run = study(&lab, &toml, "runs", &["--extract"]).expect(0);
    assert!(run.stderr.contains("[4/4] knn strict fold"), "{run:#?}");
    assert!(run.stdout.contains("mean ± sd of folds"), "{run:#?}");
    let all = records(&lab, "runs/knn.jsonl");
    let pooled = all.last().unwrap();
    assert_eq!(all.len(), 4 * 2 + 1);
    assert_eq!(pooled["split_name"], "kfold:4");
    assert_eq!(pooled["n_test"], 24);
    let chosen: Vec<&Value> = all.iter().filter(|of| of["chosen"] == true).collect();
    let file = |of: &Value| lab.path("runs").join(of["predictions"].as_str().unwrap());
    let files: Vec<_> = chosen.iter().map(|of| file(of)).collect();
    let files: Vec<&Path> = files.iter().map(|file| file.as_path()).collect();
    let (auroc, accuracy, cases) = by_hand(&files);
    assert_eq!(cases, 24);
    assert!(auroc < 0.99 && auroc > 0.01, "{auroc}");
    let measure = |name: &str| pooled["metrics"][name].as_f64().unwrap();
    assert!((measure("auroc_macro") - auroc).abs() < 1e-12);
    assert!((measure("accuracy") - accuracy).abs() < 1e-12);
    assert_eq!(by_hand(&[&file(pooled)]), (auroc, accuracy, cases));
    let folds = &pooled["params"]["folds"]["accuracy"];
    let values: Vec<f64> = serde_json::from_value(folds["values"].clone()).unwrap();
    let of_folds: Vec<f64> = chosen
        .iter()
        .map(|of| of["metrics"]["accuracy"].as_f64().unwrap())
        .collect();
    assert_eq!(values, of_folds);
    let mean = values.iter().sum::<f64>() / 4.0;
    assert!((folds["mean"].as_f64().unwrap() - mean).abs() < 1e-12);
    assert!(
        pooled["ci"]["method"]
            .as_str()
            .unwrap()
            .contains("patients")
    );
    // All is recorded.
    let again = study(&lab, &toml, "runs", &["--extract"]).expect(0);
    assert!(
        !again.stderr.contains("to run") && !again.stderr.contains("$ "),
        "{again:#?}"
    );
    assert_eq!(records(&lab, "runs/knn.jsonl").len(), all.len());
    assert_eq!(again.stdout, run.stdout);
}

#[test]
fn volumes_of_all_folds_are_measured_together() {
    let lab = Lab::new();
    crate::segment::volumes(&lab, &[]).expect(0);
    for fold in 0..3 {
        let (rule, name) = (format!("kfold:3:{fold}"), format!("fold{fold}"));
        let options = ["--rule", rule.as_str(), "--name", name.as_str()];
        Run::of(lab.split("images").args(options)).expect(0);
    }
    let toml = r#"
models = ["tiny-vit"]
datasets = ["images"]
protocols = ["strict", "paper"]
[folds]
images = 3
[[probe]]
name = "segment"
epochs = 3
lr = 0.5
batch-size = 4
"#;
    let run = study(&lab, toml, "runs", &[]).expect(0);
    assert!(run.stderr.contains("[6/6]"), "{run:#?}");
    let all = records(&lab, "runs/segment.jsonl");
    let [.., strict, paper] = &all[..] else {
        panic!("{all:#?}")
    };
    assert_eq!(strict["n_test"], 12);
    let table = lab
        .path("runs")
        .join(strict["predictions"].as_str().unwrap());
    let frame = ParquetReader::new(File::open(table).unwrap())
        .finish()
        .unwrap();
    let (classes, dice) = (
        frame.column("class").unwrap(),
        frame.column("dice").unwrap(),
    );
    let rows = classes
        .str()
        .unwrap()
        .iter()
        .zip(dice.f64().unwrap().iter());
    let rows: Vec<_> = rows
        .filter_map(|(class, dice)| Some((class?, dice?)))
        .collect();
    let mean = |class: &str| {
        let of: Vec<f64> = rows
            .iter()
            .filter(|row| row.0 == class)
            .map(|row| row.1)
            .collect();
        of.iter().sum::<f64>() / of.len() as f64
    };
    let expected = f64::midpoint(mean("block"), mean("slab"));
    let found = strict["metrics"]["dice_macro"].as_f64().unwrap();
    assert!((found - expected).abs() < 1e-12, "{found} {expected}");
    assert!(strict["ci"]["dice_macro"].is_array(), "{strict:#}");
    // The study's measures are of pixels: means over folds.
    let folds: Vec<f64> = all[..6]
        .iter()
        .filter_map(|of| of["metrics"]["dice_pooled"].as_f64())
        .collect();
    let mean = folds.iter().sum::<f64>() / 3.0;
    assert_eq!(folds.len(), 3);
    assert!((paper["metrics"]["dice_pooled"].as_f64().unwrap() - mean).abs() < 1e-12);
    assert!(
        paper["spread"]["dice_pooled"]["sd"].is_number(),
        "{paper:#}"
    );
}
