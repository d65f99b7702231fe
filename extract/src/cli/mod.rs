//! The command line: the only place that prints.

mod extract;

use std::io::{self, Write};

use clap::{Parser, ValueEnum};

pub use self::extract::{DatasetArgs, ExtractArgs, NonFiniteArg, TokensArg};

/// Runs a frozen backbone once over a dataset of radiology images and caches its tokens.
///
/// The cache is written to CACHE/DATASET/MODEL@SIZE. A run that was stopped goes on where it was
/// when the same command is given again.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub struct Cli {
    /// What to extract.
    #[command(flatten)]
    pub extract: ExtractArgs,
}

/// The choices of `--format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For reading.
    Text,
    /// One JSON object on a line.
    Json,
}

/// What a successful run means for the exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// All is well: 0.
    Done,
    /// Some samples could not be read, or a check found something: 1.
    Skipped,
}

/// Does what the command line asks for, and prints the result.
///
/// # Errors
///
/// Whatever keeps it from being done; the text has a hint what to do.
pub fn run(cli: &Cli) -> anyhow::Result<Status> {
    extract::run(&cli.extract)
}

/// A reader that went away (`extract … | head`) is no error.
fn print_line(text: &str) -> io::Result<()> {
    match writeln!(io::stdout(), "{text}") {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

fn eprint_line(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
