//! The command line: the only place that prints.

mod advice;
mod args;
mod backbone;
mod datasets;
mod extract;
mod models;
mod progress;
mod report;
mod split;

use std::io::{self, Write};

use clap::{ArgMatches, Args, Command, CommandFactory, FromArgMatches, Parser, ValueEnum};
use common::text::{printable, printable_lines};

pub use self::args::{DatasetArgs, ExtractArgs, LayoutArgs, NonFiniteArg};
pub use self::backbone::{BackboneArgs, ProviderArg, TokensArg};
pub use self::datasets::DatasetsArgs;
pub use self::models::{ExportArgs, ModelsArgs};
pub use self::split::SplitArgs;

/// What the user asks for.
///
/// Written by hand since derived code would ask for `--model` even where a command is given.
#[derive(Debug)]
pub enum Cli {
    /// `extract --model … --dataset …`.
    Extract(Box<ExtractArgs>),
    /// `extract models`.
    Models(ModelsArgs),
    /// `extract export`.
    Export(ExportArgs),
    /// `extract datasets`.
    Datasets(DatasetsArgs),
    /// `extract split`.
    Split(SplitArgs),
}

const ABOUT: &str =
    "Runs a frozen backbone once over a dataset of radiology images and caches its tokens";

const LONG_ABOUT: &str = "\
Runs a frozen backbone once over a dataset of radiology images and caches its tokens.

The cache is written to CACHE/DATASET/MODEL@SIZE. A run that was stopped goes on
where it was when the same command is given again.";

const EXAMPLES: &str = "\
Examples:
  extract models                                      what backbones there are
  extract datasets                                    what datasets there are
  extract datasets amos --root data/amos22            is this download whole?
  extract --model dinov2-s14 --dataset amos --root data/amos22
  extract split --dataset amos --rule kfold:5:0 --name fold0";

const MODELS_ABOUT: &str =
    "Lists the backbones that there are cards of, describes one, or checks its exports";

const EXPORT_ABOUT: &str = "Gets a backbone's weights and writes its ONNX graph";

const EXPORT_LONG_ABOUT: &str = "\
Gets a backbone's weights and writes its ONNX graph to onnx_models/.

Weights come from the places that the card names, or from --weights. `extract
--model` does the same by itself when it needs a graph that is not there.";

const DATASETS_ABOUT: &str =
    "Lists the datasets that are built in, describes one, or checks a download of it";

const DATASETS_LONG_ABOUT: &str = "\
Lists the datasets that are built in, describes one, or checks a download of it.

With --root, nothing is extracted and no model is needed. Ends with 0 if nothing
is wrong, 1 if something is, and 2 if the dataset cannot be opened.";

const SPLIT_ABOUT: &str = "Splits the samples of finished caches in another way, under a name";

const SPLIT_LONG_ABOUT: &str = "\
Splits the samples of finished caches in another way, under a name.

No image is read. The split is written beside the tokens of every cache of the
dataset, and `probe … --split NAME` uses it in place of the one with which they
were extracted.";

impl CommandFactory for Cli {
    fn command() -> Command {
        let models = ModelsArgs::augment_args(Command::new("models"));
        let export = ExportArgs::augment_args(Command::new("export"));
        let datasets = DatasetsArgs::augment_args(Command::new("datasets"));
        let split = SplitArgs::augment_args(Command::new("split"));
        let extract = ExtractArgs::augment_args(Command::new("extract"));
        described(extract, ABOUT, LONG_ABOUT)
            .version(env!("CARGO_PKG_VERSION"))
            .after_help(EXAMPLES)
            .arg_required_else_help(true)
            .args_conflicts_with_subcommands(true)
            .subcommand_negates_reqs(true)
            .subcommand(described(models, MODELS_ABOUT, MODELS_ABOUT))
            .subcommand(described(export, EXPORT_ABOUT, EXPORT_LONG_ABOUT))
            .subcommand(described(datasets, DATASETS_ABOUT, DATASETS_LONG_ABOUT))
            .subcommand(described(split, SPLIT_ABOUT, SPLIT_LONG_ABOUT))
    }

    fn command_for_update() -> Command {
        Cli::command()
    }
}

/// Arguments bring the text of their struct, which is not for users.
fn described(command: Command, about: &'static str, long: &'static str) -> Command {
    command.about(about).long_about(long)
}

impl FromArgMatches for Cli {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Cli, clap::Error> {
        match matches.subcommand() {
            Some(("models", matches)) => ModelsArgs::from_arg_matches(matches).map(Cli::Models),
            Some(("export", matches)) => ExportArgs::from_arg_matches(matches).map(Cli::Export),
            Some(("datasets", matches)) => {
                DatasetsArgs::from_arg_matches(matches).map(Cli::Datasets)
            }
            Some(("split", matches)) => SplitArgs::from_arg_matches(matches).map(Cli::Split),
            _ => ExtractArgs::from_arg_matches(matches).map(|args| Cli::Extract(Box::new(args))),
        }
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Cli::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Parser for Cli {}

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
    match cli {
        Cli::Extract(args) => extract::run(args),
        Cli::Models(args) => models::run(args),
        Cli::Export(args) => models::export(args),
        Cli::Datasets(args) => datasets::run(args),
        Cli::Split(args) => split::run(args),
    }
}

/// Prints lines; a reader that went away (`extract … | head`) is no error.
fn print_line(text: &str) -> io::Result<()> {
    match writeln!(io::stdout(), "{}", printable_lines(text)) {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

fn eprint_line(text: &str) {
    let _ = writeln!(io::stderr(), "{}", printable_lines(text));
}

/// Prints a line on stderr, whatever names out of files are in it.
fn tell(line: &str) {
    eprint_line(&printable(line));
}

/// Prints warnings, a line each.
fn warn(warnings: &[String]) {
    for warning in warnings {
        tell(&format!("warning: {warning}"));
    }
}

/// Columns with two spaces between them; those from `first_number` on are aligned to the right.
fn table(header: &[&str], rows: Vec<Vec<String>>, first_number: usize) -> String {
    let rows = rows.into_iter();
    let rows = rows.map(|row| row.into_iter().map(|cell| printable(&cell).into_owned()));
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::NOTHING);
    table.set_header(header.to_vec()).add_rows(rows);
    for column in table.column_iter_mut().skip(first_number) {
        column.set_cell_alignment(comfy_table::CellAlignment::Right);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn commands_need_no_model_and_extracting_does() {
        let parse = |words: &str| Cli::try_parse_from(words.split_whitespace());
        assert!(matches!(
            parse("extract datasets").unwrap(),
            Cli::Datasets(_)
        ));
        let split = parse("extract split --dataset a --rule none --name b").unwrap();
        assert!(matches!(split, Cli::Split(_)));
        let extract = parse("extract --model m --dataset d --split kfold:3:0").unwrap();
        assert!(matches!(extract, Cli::Extract(_)));
        let text = parse("extract --dataset d").unwrap_err().to_string();
        assert!(text.contains("--model"), "{text}");
        assert!(parse("extract --model m datasets").is_err());
        assert_eq!(parse("extract").unwrap_err().exit_code(), 2);
    }
}
