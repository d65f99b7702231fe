//! The help of the program.

use std::ffi::OsString;
use std::io::Write;

use anyhow::Result;
use clap::{Command, CommandFactory};
use terminal::{CompletionsArgs, Examples, Form, Group, ManArgs};

use super::{Cli, Outcome, few_shot};

/// Parses the command line of the process. Errors and requests for help end it, as clap does.
pub fn parse() -> Cli {
    let words: Vec<OsString> = std::env::args_os().collect();
    let mut command = command(&words);
    let matches = command.get_matches_mut();
    Cli::of(&matches).unwrap_or_else(|error| error.format(&mut command).exit())
}

/// The program with its help, in which `few-shot` shows the options of the head among `words`.
fn command(words: &[OsString]) -> Command {
    let command = FORM.complete(Cli::command());
    command.mut_subcommand(few_shot::NAME, |few_shot| {
        few_shot::of_head(few_shot, words)
    })
}

/// Prints completions for a shell; those of `few-shot` have the options of all heads.
pub(super) fn completions(args: CompletionsArgs, out: &mut impl Write) -> Result<Outcome> {
    write!(out, "{}", args.script(Cli::command()))?;
    Ok(Outcome::Done)
}

/// Prints the man page, or writes the pages of all commands.
pub(super) fn man(args: &ManArgs, out: &mut impl Write) -> Result<Outcome> {
    args.run(&FORM, Cli::command(), out)?;
    Ok(Outcome::Done)
}

const FORM: Form = Form {
    commands: COMMANDS,
    options: OPTIONS,
    rare: RARE,
    examples: EXAMPLES,
};

const COMMANDS: &[Group] = &[
    (
        "Evaluate",
        &[
            "knn", "linear", "logreg", "ridge", "few-shot", "segment", "adapt", "study",
        ],
    ),
    ("Apply", &["predict", "score"]),
    ("Look at results", &["ls", "compare", "report", "trust"]),
    ("Look at tokens", &["pca", "nearest", "retrieve", "map"]),
    ("Set up a shell", &["completions", "man"]),
];

const OPTIONS: &[Group] = &[
    (
        "Data",
        &[
            "cache",
            "local-copy",
            "model",
            "dataset",
            "image-size",
            "labels",
            "split",
            "no-verify",
        ],
    ),
    (
        "Evaluation",
        &[
            "protocol",
            "train",
            "eval",
            "unit",
            "pool",
            "per-patient",
            "val-share",
            "control",
            "permutations",
            "bootstrap",
            "level",
            "seed",
        ],
    ),
    (
        "Output",
        &[
            "out",
            "runs",
            "force",
            "threads",
            "per-class",
            "wide",
            "format",
        ],
    ),
];

/// Options that `-h` leaves out.
const RARE: &[&str] = &[
    "allow-mismatch",
    "batch-size",
    "bootstrap",
    "ef",
    "exclude-self",
    "image-size",
    "index",
    "labels",
    "level",
    "local-copy",
    "loss",
    "momentum",
    "no-verify",
    "per-class",
    "permutations",
    "pool",
    "seed",
    "select",
    "solver",
    "target",
    "temperature",
    "threads",
    "train",
    "unnamed-values",
    "val-share",
];

const EXAMPLES: &[Examples] = &[
    (
        "",
        &[
            ("probe ls", "caches and runs"),
            ("probe knn --dataset amos", "all backbones on a dataset"),
            (
                "probe linear --protocol paper,strict",
                "two protocols, all caches",
            ),
            ("probe compare --dataset amos", "are backbones different?"),
        ],
    ),
    (
        "knn",
        &[
            ("probe knn --dataset amos", "all backbones on a dataset"),
            (
                "probe knn --k 5,20 --protocol paper,strict",
                "numbers of neighbours, both protocols",
            ),
        ],
    ),
    (
        "linear",
        &[
            (
                "probe linear --dataset amos --model dinov2-s14",
                "one cache",
            ),
            (
                "probe linear --control shuffled-labels",
                "a negative control",
            ),
        ],
    ),
    (
        "logreg",
        &[
            (
                "probe logreg --dataset amos --per-patient",
                "measure patients",
            ),
            ("probe logreg --C 0.1,1,10", "a grid of your own"),
        ],
    ),
    (
        "study",
        &[
            (
                "probe study small --dry-run",
                "cells and time of a built-in study",
            ),
            (
                "probe study mine.toml --extract --root amos=data/amos22",
                "missing caches too",
            ),
            ("probe study small --print", "a start for your own"),
        ],
    ),
    (
        "ridge",
        &[
            ("probe ridge --dataset amos", "all backbones on a dataset"),
            ("probe ridge --features cls+mean-patch", "more features"),
        ],
    ),
    (
        "few-shot",
        &[
            (
                "probe few-shot --dataset amos --shots 1,4,16",
                "patients per class",
            ),
            (
                "probe few-shot --head logreg --curve --target 0.9",
                "patients that are needed",
            ),
            (
                "probe few-shot --head knn --help",
                "options of another head",
            ),
        ],
    ),
    (
        "adapt",
        &[
            (
                "probe adapt --dataset nih-chest-xray --blocks 2",
                "low-rank adapters of two blocks",
            ),
            (
                "probe adapt --method bitfit --epochs 20 --patience 3",
                "biases, until `val` gets no better",
            ),
        ],
    ),
    (
        "segment",
        &[
            ("probe segment --dataset msd-spleen", "a linear decoder"),
            (
                "probe segment --decoder unet --lr 0.05 --epochs 5",
                "a U-Net",
            ),
        ],
    ),
    (
        "predict",
        &[
            (
                "probe predict --head latest --dataset ours",
                "the head that was saved last",
            ),
            (
                "probe predict --head linear-amos --eval test",
                "by the beginning of a run's name",
            ),
        ],
    ),
    (
        "score",
        &[
            (
                "probe score runs/adapters/finetune-1f --dataset amos --model dinov2-s14",
                "a training on this cache",
            ),
            (
                "probe score runs/adapters/finetune-1f --dataset amos --per-patient",
                "measure patients",
            ),
        ],
    ),
    (
        "trust",
        &[
            (
                "probe trust --dataset amos",
                "all that the cache can answer",
            ),
            (
                "probe trust --columns site --against other",
                "a label set, and drift to a dataset",
            ),
        ],
    ),
    (
        "compare",
        &[
            ("probe compare --dataset amos", "all pairs on a dataset"),
            (
                "probe compare --model dinov2-s14 --format csv",
                "pairs of one backbone",
            ),
        ],
    ),
    (
        "report",
        &[
            ("probe report --out report.html", "a page"),
            (
                "probe report --out tables --format csv",
                "a folder with a file per table",
            ),
        ],
    ),
    (
        "pca",
        &[
            ("probe pca --dataset chest-ct", "four images"),
            (
                "probe pca --dataset amos --case amos_0004:40 --layer 2",
                "a slice, the block before the last",
            ),
        ],
    ),
    (
        "nearest",
        &[
            (
                "probe nearest --dataset amos",
                "four images and their neighbours",
            ),
            (
                "probe nearest --query amos_0004:40 --other-patients",
                "a slice among other patients",
            ),
        ],
    ),
    (
        "retrieve",
        &[
            ("probe retrieve --dataset amos", "test among train and val"),
            (
                "probe retrieve --eval all --k 1,20",
                "each among all others",
            ),
        ],
    ),
    (
        "map",
        &[
            ("probe map --dataset amos", "t-SNE by label, split, patient"),
            (
                "probe map --metadata about.csv --colour site",
                "by a column of a table",
            ),
        ],
    ),
    (
        "ls",
        &[
            ("probe ls", "caches and runs"),
            ("probe ls --wide", "with heads and scores"),
        ],
    ),
    (
        "completions",
        &[
            (
                "probe completions bash",
                "for ~/.local/share/bash-completion/completions/probe",
            ),
            (
                "probe completions zsh",
                "for ~/.zfunc/_probe, with ~/.zfunc in $fpath",
            ),
        ],
    ),
    (
        "man",
        &[
            ("probe man", "the page, to be piped to `man -l -`"),
            (
                "probe man --out ~/.local/share/man/man1",
                "all pages: `man probe-knn`",
            ),
        ],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    fn help(line: &str) -> String {
        let words = words(line);
        let error = command(&words).try_get_matches_from(words).unwrap_err();
        error.to_string()
    }

    #[test]
    fn help_is_complete_and_fits_a_terminal() {
        assert_eq!(FORM.faults(&command(&[]), 60), [""; 0]);
    }

    #[test]
    fn few_shot_shows_the_options_of_its_head() {
        for (line, shown, hidden) in [
            ("probe few-shot --help", "--epochs", "--k "),
            ("probe few-shot --head knn --help", "--k ", "--epochs"),
            ("probe few-shot --head=logreg --help", "--solver", "--k "),
            ("probe few-shot --head centroid -h", "--features", "--lr"),
        ] {
            let text = help(line);
            assert!(
                text.contains(shown) && !text.contains(hidden),
                "{line}: {text}"
            );
        }
    }
}
