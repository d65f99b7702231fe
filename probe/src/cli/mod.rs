//! The command line.

mod adapt;
mod caches;
mod compare;
mod curve;
mod effect;
mod embedding;
mod explore;
mod few_shot;
mod form;
mod heads;
mod help;
mod list;
mod map;
mod nearest;
mod over;
mod pca;
mod places;
mod predict;
mod probe;
mod report;
mod retrieve;
mod score;
mod segment;
mod settings;
mod study;
mod trust;
mod typed;

use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Args, Parser, Subcommand};
use common::text::{Printable, shown};
use terminal::{CompletionsArgs, ManArgs};

use self::adapt::Adapt;
use self::caches::Caches;
use self::compare::Compare;
use self::few_shot::FewShot;
use self::form::{Form, Format};
pub use self::help::parse;
use self::list::List;
use self::map::MapCommand;
use self::nearest::NearestCommand;
use self::pca::Pca;
use self::predict::Predict;
use self::probe::ProbeCommand;
use self::report::Report;
use self::retrieve::Retrieve;
use self::score::Score;
use self::segment::Segment;
use self::study::Study;
use self::trust::Trust;
use crate::kinds::KINDS;

/// Evaluate cached tokens on a CPU
#[derive(Debug, Parser)]
#[command(name = "probe", version, override_usage = "probe <COMMAND> [OPTIONS]")]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(flatten)]
    Probe(ProbeCommand),
    /// Classify after fitting on few examples
    FewShot(FewShot),
    /// Segment by a decoder over patch tokens
    ///
    /// Decoders of all learning rates are trained together, and the one that is best on `val` is chosen.
    Segment(Segment),
    /// Adapt the last blocks of the backbone, and classify
    ///
    /// The blocks are trained from the tokens before them, which `extract --tokens residual` keeps, with a linear head.
    /// The best epoch on `val` is chosen, and training is repeated on train and val.
    Adapt(Adapt),
    /// Evaluate the models, datasets and probes of a file
    ///
    /// What is not yet recorded is evaluated, the cheapest first.
    Study(Study),
    /// Apply a saved head to other caches
    Predict(Predict),
    /// Measure and record what a training outside of `probe` predicts
    ///
    /// `scripts/finetune` trains backbones on images and runs this command.
    Score(Score),
    /// Test whether backbones differ, by the scores of the same cases
    Compare(Compare),
    /// Make a page, Markdown, CSV or LaTeX of all records
    Report(Report),
    /// Ask what else tokens know: metadata, patients, duplicates, drift
    ///
    /// Metadata are predicted by a linear head, cross-validated by patient. Patients are found again by their nearest
    /// sample. Near-duplicates are looked for across splits, and drift between two caches (--against).
    Trust(Trust),
    /// Show the principal components of patch tokens as colours
    Pca(Pca),
    /// Show the nearest neighbours of some images as a contact sheet
    Nearest(NearestCommand),
    /// Draw a map of the embeddings in two dimensions
    Map(MapCommand),
    /// Measure how often similar images are of the same class
    Retrieve(Retrieve),
    /// List the caches, and the runs
    #[command(visible_alias = "list")]
    Ls(List),
    /// Print completions for a shell
    Completions(CompletionsArgs),
    /// Print the man page, or write those of all commands
    Man(ManArgs),
}

#[derive(Debug, Args)]
struct Output {
    /// Folder to append run records to
    #[arg(long, value_name = "DIR", default_value = "runs")]
    runs: PathBuf,
    /// Repeat evaluations that are already recorded
    #[arg(long)]
    force: bool,
    /// Print a table by class for each of several caches, and of more than 20 classes
    #[arg(long)]
    per_class: bool,
    /// Threads [default: one per core]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    #[command(flatten)]
    form: Form,
}

/// Outcome of a command that ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All caches were evaluated.
    Done,
    /// Some caches were skipped, with a warning each.
    Skipped,
    /// All caches were skipped, with a warning each.
    Nothing,
}

/// The program `probe`: parses the command line, runs the command, and prints its error.
#[must_use]
pub fn main() -> ExitCode {
    let mut messages = terminal::messages();
    match run(parse(), &mut Printable(io::stdout()), &mut messages) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Skipped) => ExitCode::from(1),
        Ok(Outcome::Nothing) => ExitCode::from(2),
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // If standard error is closed, the exit code remains.
            let _ = writeln!(messages, "error: {error}");
            ExitCode::from(2)
        }
    }
}

/// Whether the reader of the output, such as `head`, has seen enough.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let cause = error.downcast_ref::<io::Error>();
    cause.is_some_and(|cause| cause.kind() == ErrorKind::BrokenPipe)
}

/// Runs a command: data go to `out`, messages to `messages`.
///
/// # Errors
///
/// If there is no cache to run on, a run record cannot be written, or printing fails.
pub fn run(cli: Cli, out: &mut impl Write, messages: &mut impl Write) -> Result<Outcome> {
    match cli.command {
        Command::Probe(probe) => probe.run(out, messages),
        Command::FewShot(few_shot) => few_shot.run(out, messages),
        Command::Segment(segment) => segment.run(out, messages),
        Command::Adapt(adapt) => adapt.run(out, messages),
        Command::Study(study) => study.run(out, messages),
        Command::Predict(predict) => predict.run(out, messages),
        Command::Score(score) => score.run(out, messages),
        Command::Compare(compare) => compare.run(out, messages),
        Command::Report(report) => report.run(out, messages),
        Command::Trust(trust) => trust.run(out, messages),
        Command::Pca(pca) => pca.run(out, messages),
        Command::Nearest(nearest) => nearest.run(out, messages),
        Command::Retrieve(retrieve) => retrieve.run(out, messages),
        Command::Map(map) => map.run(out, messages),
        Command::Ls(list) => list.run(out, messages),
        Command::Completions(args) => help::completions(args, out),
        Command::Man(args) => help::man(&args, out),
    }
}

/// Names of all probes: those of their commands, and of heads of `few-shot`.
pub fn probe_names() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|kind| kind.name)
}

impl Output {
    /// Checks that `--per-class` is given with tables only, and `--wide` with those that leave out columns.
    fn check(&self) -> Result<()> {
        if cache::is_in_bucket(&self.runs) {
            bail!(
                "`--runs {}`: results are written to a folder, not to a bucket\nhint: give a folder, and copy it when the command has finished",
                shown(&self.runs)
            );
        }
        let format = self.form.format;
        if self.per_class && matches!(format, Format::Json | Format::Csv) {
            let name = if format == Format::Csv {
                "csv` prints one table, without classes"
            } else {
                "json` prints records, which have all classes"
            };
            bail!("`--per-class` has no effect: `--format {name}\nhint: leave it out");
        }
        self.form.check()
    }
}

#[cfg(test)]
mod tests;
