//! Completions and man pages.

use std::process::{Command, Stdio};
use std::{fs, io::Write};

use crate::lab::{Lab, Run, program};

const PROGRAMS: [&str; 2] = ["extract", "probe"];

#[test]
fn bash_completes_commands_options_and_values() {
    let lab = Lab::new();
    for (name, words, expected) in [
        ("extract", "extract pl", "plan"),
        ("extract", "extract verify --rep", "--repair"),
        ("extract", "extract --provider t", "tensorrt"),
        ("probe", "probe few", "few-shot"),
        ("probe", "probe knn --vote maj", "majority"),
        ("probe", "probe few-shot --solver lb", "lbfgs"),
    ] {
        let script = Run::of(program(name).args(["completions", "bash"])).expect(0);
        let file = lab.write("completions.bash", script.stdout);
        let complete = format!(
            "set -e; source '{}'; COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             cur=${{COMP_WORDS[COMP_CWORD]}}; _{name} {name} \"$cur\" \"${{COMP_WORDS[COMP_CWORD - 1]}}\" || true; \
             printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            file.display()
        );
        let run = Run::of(Command::new("bash").args(["-c", &complete])).expect(0);
        assert!(
            run.stdout.lines().any(|line| line == expected),
            "{words}: {run:?}"
        );
    }
}

#[test]
fn every_shell_has_completions_that_name_all_commands() {
    for name in PROGRAMS {
        let help = Run::of(program(name).arg("--help")).expect(0).stdout;
        let commands: Vec<&str> = help
            .lines()
            .filter_map(|line| line.strip_prefix("  ")?.split_once("  "))
            .map(|(command, _)| command)
            .filter(|command| {
                command
                    .chars()
                    .all(|letter| letter.is_ascii_lowercase() || letter == '-')
            })
            .collect();
        assert!(commands.len() > 15, "{commands:?}");
        for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
            let run = Run::of(program(name).args(["completions", shell])).expect(0);
            for command in &commands {
                assert!(run.stdout.contains(command), "{name} {shell}: no {command}");
            }
        }
    }
}

/// Warnings of groff about a page; none where it is not installed.
fn warnings(page: &str) -> String {
    let mut groff = Command::new("groff");
    groff.args(["-man", "-Kutf8", "-Tutf8", "-ww"]);
    let pipes = groff
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let Ok(mut child) = pipes.spawn() else {
        return String::new();
    };
    child
        .stdin
        .take()
        .unwrap()
        .write_all(page.as_bytes())
        .unwrap();
    String::from_utf8(child.wait_with_output().unwrap().stderr).unwrap()
}

#[test]
fn there_is_a_man_page_of_each_program_and_each_command() {
    let lab = Lab::new();
    let folder = lab.path("share/man/man1");
    for name in PROGRAMS {
        let run = Run::of(program(name).args(["man", "--out"]).arg(&folder)).expect(0);
        let page = Run::of(program(name).arg("man")).expect(0).stdout;
        let file = folder.join(format!("{name}.1"));
        assert_eq!(fs::read_to_string(file).unwrap(), page);
        let files: Vec<String> = fs::read_dir(&folder)
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .filter(|file| file.starts_with(name))
            .collect();
        assert!(
            run.stdout
                .starts_with(&format!("{} pages in ", files.len())),
            "{run:?}"
        );
        for file in files {
            let text = fs::read_to_string(folder.join(&file)).unwrap();
            for part in [
                ".SH SYNOPSIS",
                ".SH DESCRIPTION",
                ".SH EXAMPLES",
                "Slicebank",
            ] {
                assert!(text.contains(part), "{file}: no {part}");
            }
            assert_eq!(warnings(&text), "", "{file}");
        }
    }
    let few_shot = fs::read_to_string(folder.join("probe-few-shot.1")).unwrap();
    for option in ["\\-\\-solver", "\\-\\-epochs", "\\-\\-vote"] {
        assert!(few_shot.contains(option), "{option}");
    }
    lab.write("taken", "");
    let mut command = program("extract");
    Run::of(command.args(["man", "--out"]).arg(lab.path("taken")))
        .expect_error(2, &["taken", "hint:"]);
}
