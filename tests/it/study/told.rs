//! What a study tells about its cells.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use super::study;
use crate::lab::{Lab, Run, program};
use crate::signals::kill;

#[test]
fn cells_of_different_settings_have_different_names() {
    let lab = Lab::new();
    lab.extract("manifest", &lab.manifest(18), &["--layers", "2"])
        .expect(0);
    let toml = r#"
models = ["tiny-vit"]
datasets = ["images"]
[options]
bootstrap = 0
[[probe]]
name = "knn"
k = 3
[[probe]]
name = "knn"
k = 5
[[probe]]
name = "knn"
k = 3
layer = 2
[[probe]]
name = "ridge"
control = "shuffled-labels"
permutations = 2
[[probe]]
name = "ridge"
"#;
    let names = [
        "knn k=3",
        "knn k=5",
        "knn k=3 layer=2",
        "ridge control=shuffled-labels",
        "ridge",
    ];
    let column = |run: &Run| -> Vec<String> {
        let rows = run
            .stdout
            .lines()
            .skip(1)
            .take_while(|line| !line.is_empty());
        let name = |line: &str| line.split("  ").next().unwrap_or_default().to_owned();
        rows.map(name).collect()
    };
    let plan = study(&lab, toml, "runs", &["--dry-run"]).expect(0);
    assert_eq!(column(&plan), names, "{plan:#?}");
    let run = study(&lab, toml, "runs", &[]).expect(0);
    assert_eq!(column(&run), names, "{run:#?}");
    for name in names {
        let line = format!("] {name} strict, images/tiny-vit");
        assert_eq!(run.stderr.matches(&line).count(), 1, "{name}: {run:#?}");
    }
    let mut list = program("probe");
    list.args(["ls", "--wide", "--cache"])
        .arg(lab.path("cache"));
    let list = Run::of(list.arg("--runs").arg(lab.path("runs"))).expect(0);
    for setting in ["layer=2", "control=shuffled-labels"] {
        assert_eq!(list.stdout.matches(setting).count(), 1, "{list:#?}");
    }
}

#[test]
fn a_dataset_without_a_cache_and_a_card_is_unknown() {
    let lab = Lab::new();
    lab.extract("manifest", &lab.manifest(12), &[]).expect(0);
    let toml = "models = [\"tiny-vit\"]\ndatasets = [\"image\", \"chexpret\"]\n[[probe]]\nname = \"knn\"\n";
    for (more, code) in [(&["--dry-run"][..], 0), (&[], 2)] {
        let run = study(&lab, toml, "runs", more).expect(code);
        for said in [
            "is called `image`, did you mean `images`?",
            "is called `chexpret`, did you mean `chexpert`?",
        ] {
            assert!(run.stderr.contains(said), "{run:#?}");
        }
        assert!(!run.stderr.contains("--root DIR"), "{run:#?}");
    }
    let own = format!("{toml}[extract.image]\ndataset = \"manifest\"\n");
    let run = study(&lab, &own, "runs", &["--dry-run"]).expect(0);
    let command = "extract --model tiny-vit --dataset manifest --name image --root DIR";
    assert!(run.stderr.contains(command), "{run:#?}");
}

#[test]
fn a_signal_says_how_many_cells_are_done() {
    let lab = Lab::new();
    lab.extract("manifest", &lab.manifest(24), &[]).expect(0);
    let names = "models = [\"tiny-vit\"]\ndatasets = [\"images\"]\n";
    let long = "[[probe]]\nname = \"linear\"\nepochs = 100000\nlr = 0.1\n";
    let file = lab.write(
        "study.toml",
        format!("{names}[[probe]]\nname = \"knn\"\n{long}"),
    );
    let mut command = program("probe");
    command.arg("study").arg(file).arg("--cache");
    command.arg(lab.path("cache")).arg("--runs");
    command.arg(lab.path("runs")).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    lines.find(|line| line.as_ref().unwrap().contains("[1/2] knn"));
    std::thread::sleep(std::time::Duration::from_millis(200));
    kill(&child, "INT");
    let told: Vec<String> = lines.map(Result::unwrap).collect();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{told:?}");
    let said = "stopped after 1 of 2 cells; the same command continues";
    assert_eq!(told.last().map(String::as_str), Some(said), "{told:?}");
}
