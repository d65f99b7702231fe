//! The help of the program.

use std::io::{self, ErrorKind};

use clap::{Command, CommandFactory, FromArgMatches};
use common::text::Printable;
use terminal::{CompletionsArgs, Examples, Form, Group, ManArgs};

use super::{Cli, Status, print_line};

/// Parses the command line of the process. Errors and requests for help end it, as clap does.
pub fn parse() -> Cli {
    let mut command = command();
    let matches = command.get_matches_mut();
    Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.format(&mut command).exit())
}

/// The program with its help.
fn command() -> Command {
    FORM.complete(Cli::command())
}

/// Prints completions for a shell.
pub(super) fn completions(args: CompletionsArgs) -> anyhow::Result<Status> {
    print_line(args.script(Cli::command()).trim_end())?;
    Ok(Status::Done)
}

/// Prints the man page, or writes the pages of all commands.
pub(super) fn man(args: &ManArgs) -> anyhow::Result<Status> {
    match args.run(&FORM, Cli::command(), &mut Printable(io::stdout())) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Status::Done),
        result => Ok(result.map(|()| Status::Done)?),
    }
}

const FORM: Form = Form {
    commands: COMMANDS,
    options: OPTIONS,
    rare: RARE,
    examples: EXAMPLES,
};

const COMMANDS: &[Group] = &[
    (
        "Prepare",
        &["sample", "models", "export", "datasets", "plan", "doctor"],
    ),
    ("Look at caches", &["ls", "show", "diff", "verify"]),
    (
        "Change caches",
        &["split", "relabel", "merge", "card", "gc", "rm"],
    ),
    (
        "Other programs",
        &["import-tokens", "export-tokens", "pixels"],
    ),
    ("Set up a shell", &["completions", "man"]),
];

const OPTIONS: &[Group] = &[
    (
        "Dataset",
        &[
            "limit",
            "label-columns",
            "image-root",
            "channel",
            "unnamed-values",
            "allow-missing",
            "keep-ids",
            "mask-paths",
            "staging",
            "cache-name",
        ],
    ),
    (
        "Cache",
        &["tokens", "layers", "token-dtype", "pictures", "shard-rows"],
    ),
    (
        "Run",
        &[
            "batch-size",
            "threads",
            "shard",
            "seed",
            "save-every",
            "retry-skipped",
            "wait",
            "verbose",
            "record-host",
            "format",
        ],
    ),
];

/// Options that `-h` leaves out.
const RARE: &[&str] = &[
    "allow-missing",
    "allow-patient-overlap",
    "augment",
    "batch-size",
    "cache-name",
    "card",
    "channel",
    "gpu",
    "image-root",
    "keep-ids",
    "label-columns",
    "mask-paths",
    "non-finite",
    "normalise",
    "onnx",
    "parity-bound",
    "parity-slices",
    "pictures",
    "precision",
    "record-host",
    "rescale",
    "resize",
    "retry-skipped",
    "run-limit",
    "save-every",
    "seed",
    "shard",
    "shard-rows",
    "slicing",
    "staging",
    "threads",
    "token-dtype",
    "unnamed-values",
    "verbose",
    "views",
    "wait",
];

const EXAMPLES: &[Examples] = &[
    (
        "",
        &[
            ("extract models", "list the backbones"),
            (
                "extract datasets amos --root data/amos22",
                "check a download",
            ),
            (
                "extract --model dinov2-s14 --dataset amos --root data/amos22",
                "run the backbone once and fill a cache",
            ),
            (
                "extract --model dinov2-s14 --dataset folder --root chest-xrays",
                "a folder of images per class",
            ),
        ],
    ),
    (
        "models",
        &[
            ("extract models", "list the backbones"),
            (
                "extract models dinov2-s14 --check",
                "compare exports with the card",
            ),
        ],
    ),
    (
        "export",
        &[
            ("extract export dinov2-s14", "download the weights"),
            (
                "extract export dinov2-s14 --weights my.pth",
                "weights of your own",
            ),
        ],
    ),
    (
        "sample",
        &[
            ("extract sample", "list the samples"),
            (
                "extract sample chest-xray",
                "16 radiographs, into data/chest-xray",
            ),
        ],
    ),
    (
        "datasets",
        &[
            ("extract datasets", "list the datasets"),
            (
                "extract datasets amos --root data/amos22 --pixels",
                "check a download",
            ),
        ],
    ),
    (
        "split",
        &[
            (
                "extract split --dataset amos --rule kfold:5:0 --name fold0",
                "the first of five folds",
            ),
            (
                "extract split --dataset all --rule random:0.7:0.1:0.2:1 --name s1",
                "70, 10 and 20% of patients",
            ),
        ],
    ),
    (
        "relabel",
        &[
            (
                "extract relabel --name checked --labels labels.csv amos/dinov2-s14@224",
                "labels of a table",
            ),
            (
                "extract relabel --name new --dataset amos --root data/amos22",
                "those of the dataset, read again",
            ),
        ],
    ),
    (
        "ls",
        &[
            ("extract ls --wide", "caches in embeddings/, all columns"),
            ("extract ls --cache s3://bucket/caches", "those in a bucket"),
        ],
    ),
    (
        "show",
        &[
            (
                "extract show amos/dinov2-s14@224",
                "all that is known of it",
            ),
            (
                "extract show amos/dinov2-s14@224 --format json",
                "the same for programs",
            ),
        ],
    ),
    (
        "verify",
        &[
            ("extract verify", "all caches"),
            (
                "extract verify --sources --root data/amos22 amos/dinov2-s14@224",
                "its source files too",
            ),
        ],
    ),
    (
        "merge",
        &[
            ("extract merge amos/dinov2-s14@224", "join its parts"),
            (
                "extract merge --threads 4 amos/dinov2-s14@224",
                "verify by four threads",
            ),
        ],
    ),
    (
        "diff",
        &[
            (
                "extract diff amos/dinov2-s14@224 amos/dinov2-s14@448",
                "two sizes",
            ),
            (
                "extract diff amos/dinov2-s14@224 /old/amos/dinov2-s14@224",
                "two versions",
            ),
        ],
    ),
    (
        "gc",
        &[
            (
                "extract gc --dry-run amos/dinov2-s14@224",
                "what would be deleted",
            ),
            ("extract gc amos/dinov2-s14@224", "delete it"),
        ],
    ),
    (
        "rm",
        &[
            ("extract rm --dry-run amos/dinov2-s14@224", "its size"),
            ("extract rm amos/dinov2-s14@224", "delete the cache"),
        ],
    ),
    (
        "plan",
        &[
            (
                "extract plan --model dinov2-s14,dinov2-b14 --dataset amos --root data/amos22",
                "two backbones on a dataset",
            ),
            (
                "extract plan --model dinov2-s14 --dataset amos --root data/amos22 --batches 0",
                "without loading the model",
            ),
        ],
    ),
    (
        "import-tokens",
        &[
            (
                "extract import-tokens x.npy --table rows.csv --model mine --dataset chest",
                "a vector for each row of the table",
            ),
            (
                "extract import-tokens features --from trident --model uni --dataset s",
                "files of TRIDENT",
            ),
        ],
    ),
    (
        "export-tokens",
        &[
            (
                "extract export-tokens amos/dinov2-s14@224 --to npz --out amos-npz",
                "arrays for NumPy and scikit-learn",
            ),
            (
                "extract export-tokens amos/dinov2-s14@224 --to webdataset --out w --patches",
                "patch tokens for PyTorch",
            ),
        ],
    ),
    (
        "pixels",
        &[
            (
                "extract pixels amos/dinov2-s14@224 --root data/amos22 --out amos.npy",
                "all slices and views",
            ),
            (
                "extract pixels amos/dinov2-s14@224 --root data/amos22 --rows 0-9 --out -",
                "ten rows, for a pipe",
            ),
        ],
    ),
    (
        "card",
        &[
            (
                "extract card amos/dinov2-s14@224",
                "into the folder of the cache",
            ),
            (
                "extract card amos/dinov2-s14@224 --out published --licence CC-BY-4.0",
                "into another folder",
            ),
        ],
    ),
    (
        "doctor",
        &[
            ("extract doctor", "check this machine"),
            ("extract doctor --cache /data/caches", "and another disk"),
        ],
    ),
    (
        "completions",
        &[
            (
                "extract completions bash",
                "for ~/.local/share/bash-completion/completions/extract",
            ),
            (
                "extract completions zsh",
                "for ~/.zfunc/_extract, with ~/.zfunc in $fpath",
            ),
        ],
    ),
    (
        "man",
        &[
            ("extract man", "the page, to be piped to `man -l -`"),
            (
                "extract man --out ~/.local/share/man/man1",
                "all pages: `man extract-plan`",
            ),
        ],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_is_complete_and_fits_a_terminal() {
        assert_eq!(FORM.faults(&command(), 95), [""; 0]);
    }
}
