//! Names out of files that hold line breaks and terminal escapes, in all that `extract` prints.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::lab::{Lab, Run, gzip, nifti, program, ramp};
use crate::models::models;

/// A name that would add a line and colour what follows.
fn bad(name: &str) -> String {
    format!("{name}\nINJECTED\u{1b}[31m\u{9b}1m\r\u{202e}")
}

/// Runs a command; what it prints has neither control characters nor lines of its own making.
#[track_caller]
fn run(command: &mut Command, status: i32) -> Run {
    let run = Run::of(command).expect(status);
    for text in [&run.stdout, &run.stderr] {
        let mut lines = text.lines();
        assert!(
            !lines.any(|line| line.trim_start().starts_with("INJECTED")),
            "{run:#?}"
        );
        let is_unsafe = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
        assert!(!text.contains(is_unsafe), "{run:#?}");
    }
    run
}

fn datasets(name: &str, root: &Path) -> Command {
    let mut command = program("extract");
    command
        .args(["datasets", name, "--pixels", "--root"])
        .arg(root);
    command
}

#[test]
fn names_of_files_and_classes_add_no_line() {
    let lab = Lab::new();
    for class in ["a", "b"] {
        for k in 0..3 {
            lab.png(
                &format!("data/{}/{}.png", bad(class), bad(&k.to_string())),
                k,
                k,
            );
        }
    }
    let [class, root] = [lab.path(&format!("data/{}", bad("a"))), lab.path("data")];
    lab.write(&format!("data/{}/{}", bad("a"), bad("note")), "text");
    fs::write(class.join(bad("cut") + ".png"), b"\x89PNG").unwrap();
    fs::write(class.join(bad("empty") + ".png"), "").unwrap();
    fs::write(class.join(bad("odd") + ".png"), "odd").unwrap();
    fs::write(class.join(bad("gz") + ".nii.gz"), gzip(b"text")).unwrap();
    run(&mut datasets("folder", &root), 1);
    run(datasets("folder", &root).args(["--format", "json"]), 1);
    let extracted = run(&mut lab.extract_command("folder", &root), 1);
    assert!(
        extracted
            .stderr
            .contains("skipped `a\\nINJECTED\\u001b[31m"),
        "{extracted:#?}"
    );
    let again = run(&mut lab.extract_command("folder", &root), 1);
    assert!(again.stderr.contains("already complete"), "{again:#?}");
    let table = lab.write(
        &bad("splits.csv"),
        format!("sample,split\n\"{}\",test\n", bad("x")),
    );
    let mut split = lab.split("images");
    split.args(["--name", "s", "--rule"]);
    run(split.arg(format!("file:{}", table.display())), 2);
    fs::create_dir_all(root.join("train/a")).unwrap();
    lab.png("data/train/a/1.png", 0, 0);
    run(&mut lab.extract_command("folder", &root), 2);
}

#[test]
fn cells_of_tables_add_no_line() {
    let lab = Lab::new();
    lab.png("1.png", 0, 0);
    let quoted = |name: &str| format!("\"{}\"", bad(name));
    let tables = [
        format!("image,label,{}\n1.png,a,\n", quoted("column")),
        format!(
            "image,label,split\n1.png,{},{}\n",
            quoted("a"),
            quoted("train")
        ),
        format!("image,label\n{},a\n", quoted("../1.png")),
        format!("image,label\n{},a\n", quoted("2.png")),
        format!(
            "image,label\n1.png,{}\n1.png,{}\n",
            quoted("a"),
            quoted("b")
        ),
        format!("{},label\n1.png,a\n", quoted("picture")),
        format!("image,labels\n1.png,\"['{}']\"\n", bad("a")),
        format!("image,slices\n1.png,{}\n", quoted("0")),
        format!("image,id,label\n1.png,{0},a\n1.png,{0},a\n", quoted("id")),
    ];
    for (k, table) in tables.into_iter().enumerate() {
        let csv = lab.write("m.csv", table);
        run(
            &mut lab.extract_command("manifest", &csv),
            if k == 0 { 0 } else { 2 },
        );
    }
    let [class, patient] = ["a", "p"].map(|name| bad(name).replace(['\n', '\r'], " "));
    let label = format!("image,label,patient\n1.png,{class},{patient}\n");
    let csv = lab.write("m.csv", label);
    run(&mut lab.extract_as("other", "manifest", &csv), 0);
    run(&mut datasets("manifest", &csv), 0);
}

#[test]
fn descriptions_of_datasets_add_no_line() {
    let lab = Lab::new();
    let name = bad("liver");
    lab.write(
        "nn/imagesTr/c_0000.nii.gz",
        gzip(&nifti([6, 5, 4], &ramp([6, 5, 4]))),
    );
    lab.write("nn/labelsTr/c.nii.gz", gzip(&nifti([6, 5, 4], &[1.0; 120])));
    let json = serde_json::json!({
        "channel_names": {"0": name, "1": bad("PET")},
        "labels": {"background": 0, (name.clone()): 1},
        "file_ending": ".nii.gz",
    });
    lab.write("nn/dataset.json", json.to_string());
    run(&mut datasets("nnunet", &lab.path("nn")), 0);
    run(&mut lab.extract_command("nnunet", &lab.path("nn")), 0);
    let mut wrong = json.clone();
    wrong["file_ending"] = name.into();
    lab.write("nn/dataset.json", wrong.to_string());
    run(&mut lab.extract_command("nnunet", &lab.path("nn")), 2);
    let quoted = serde_json::Value::from(bad("x")).to_string();
    let cards = [
        (
            format!(
                "layout = 'folder'\nname = 'mine'\ntitle = {quoted}\nlicence = {quoted}\nclasses = [{quoted}]\n"
            ),
            0,
        ),
        (format!("layout = {quoted}\nname = 'mine'\n"), 0),
        (format!("layout = 'folder'\n{quoted} = 1\n"), 2),
    ];
    for (card, status) in cards {
        let card = lab.write("mine.toml", card);
        let mut show = program("extract");
        let shown = run(show.arg("datasets").arg(&card), status);
        assert_eq!(
            shown.stdout.contains("x\\nINJECTED"),
            status == 0,
            "{shown:#?}"
        );
        run(
            &mut lab.extract_command(card.to_str().unwrap(), &lab.path("nn")),
            2,
        );
    }
}

#[test]
fn cards_of_models_add_no_line() {
    let lab = Lab::new();
    let mut card = fs::read_to_string(models().join("tiny-vit.toml")).unwrap();
    let quoted = |name: &str| serde_json::Value::from(bad(name)).to_string();
    for key in ["title", "licence", "access"] {
        let line = card.lines().find(|line| line.starts_with(key)).unwrap();
        card = card.replace(line, &format!("{key} = {}", quoted(key)));
    }
    card.insert_str(0, &format!("page = {}\n", quoted("page")));
    lab.write("home/onnx_models/tiny-vit.toml", &card);
    lab.write("home/onnx_models/tiny-vit@56.onnx", "no graph");
    let home = lab.path("home");
    let extract = |words: &[&str], status| {
        let mut command = program("extract");
        command.args(words).env("HF_HUB_OFFLINE", "1");
        run(command.env("SLICEBANK_HOME", &home), status)
    };
    let list = extract(&["models", "--wide"], 0);
    assert!(list.stdout.contains("licence\\nINJECTED"), "{list:#?}");
    let show = extract(&["models", "tiny-vit"], 0);
    assert!(
        show.stdout.contains("tiny-vit: title\\nINJECTED"),
        "{show:#?}"
    );
    extract(&["models", "tiny-vit", "--format", "json"], 0);
    let export = extract(&["export", "tiny-vit"], 2);
    assert!(export.stderr.contains("access\\nINJECTED"), "{export:#?}");
    let wrong = [
        (bad("name"), card.replace("\"tiny-vit\"", &quoted("name"))),
        (bad("file"), card.clone()),
        ("key".to_owned(), format!("{} = 1\n{card}", quoted("key"))),
        (
            "kind".to_owned(),
            card.replace("\"local\"", &quoted("local")),
        ),
    ];
    for (name, card) in &wrong {
        lab.write(&format!("home/onnx_models/{name}.toml"), card);
        extract(&["models", name], 2);
    }
    let list = extract(&["models"], 1);
    assert_eq!(
        list.stderr.matches("warning: ").count(),
        wrong.len(),
        "{list:#?}"
    );
    extract(&["models", &bad("none")], 2);
}
