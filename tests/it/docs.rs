//! The pages of `docs/`.

use std::fs;
use std::process::Command;

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

fn program_of(words: &[String]) -> Command {
    let mut command = program(words[0].rsplit('/').next().unwrap());
    command.args(&words[1..]);
    command
}

#[test]
fn the_programs_understand_every_command_of_the_pages() {
    let pages = fs::read_dir(project().join("docs")).unwrap();
    let pages = pages.map(|page| format!("docs/{}", page.unwrap().file_name().to_string_lossy()));
    let more = [
        "README.md",
        "extract/datasets/README.md",
        "onnx_models/README.md",
    ];
    let pages = pages.filter(|page| page.ends_with(".md"));
    let pages: Vec<String> = pages.chain(more.map(str::to_owned)).collect();
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
fn the_commands_of_the_readme_run_on_a_folder_of_images() {
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
    let readme = commands("README.md");
    assert_eq!(readme.len(), 3, "{readme:?}");
    for words in &readme {
        let mut command = program_of(words);
        command
            .current_dir(lab.path("."))
            .env("SLICEBANK_HOME", project());
        let run = Run::of(&mut command).expect(0);
        let word = if words[0] == "extract" {
            "40 slices"
        } else {
            "chest-xrays"
        };
        assert!(run.stdout.contains(word), "{words:?}: {run:?}");
    }
}
