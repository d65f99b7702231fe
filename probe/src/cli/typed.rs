//! The command that an evaluation was asked for with, for its records.

use std::path::Path;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, CommandFactory, FromArgMatches};
use common::text::argument;

use super::{Caches, Cli, Command};
use crate::record::RunRecord;

/// Options on which no result depends: folders, threads and printing.
const LEFT_OUT: [&str; 12] = [
    "cache",
    "local_copy",
    "runs",
    "models",
    "label_maps",
    "force",
    "threads",
    "no_verify",
    "per_class",
    "no_pictures",
    "wide",
    "format",
];

/// A command as it was typed.
#[derive(Clone, Debug, Default)]
pub(super) struct Typed {
    /// `probe linear --epochs 5`, without options on which no result depends.
    command: String,
    /// The study that the command is of.
    study: Option<String>,
}

impl Typed {
    fn of(name: &str, matches: &ArgMatches) -> Typed {
        let mut words = vec!["probe".to_owned(), name.to_owned()];
        if let Some(command) = Cli::command().find_subcommand(name) {
            words.extend(command.get_arguments().flat_map(|arg| given(arg, matches)));
        }
        Typed {
            command: words.join(" "),
            study: None,
        }
    }

    /// Writes the command into a record.
    pub(super) fn mark(&self, record: &mut RunRecord) {
        record.command.clone_from(&self.command);
        record.study.clone_from(&self.study);
    }
}

impl Cli {
    /// A command line of a study.
    pub(super) fn of_study(
        study: &str,
        words: impl IntoIterator<Item = String>,
    ) -> Result<Cli, clap::Error> {
        let mut cli = Cli::of(&Cli::command().try_get_matches_from(words)?)?;
        if let Some(caches) = cli.command.caches() {
            let name = Path::new(study).file_name().unwrap_or_default();
            caches.typed.study = Some(name.to_string_lossy().into_owned());
        }
        Ok(cli)
    }

    /// A command line that has been parsed.
    pub(super) fn of(matches: &ArgMatches) -> Result<Cli, clap::Error> {
        let mut cli = Cli::from_arg_matches(matches)?;
        if let (Some((name, of)), Some(caches)) = (matches.subcommand(), cli.command.caches()) {
            caches.typed = Typed::of(name, of);
        }
        Ok(cli)
    }
}

impl Command {
    /// The caches that the command evaluates.
    fn caches(&mut self) -> Option<&mut Caches> {
        match self {
            Command::Probe(of) => Some(&mut of.args.caches),
            Command::FewShot(of) => Some(&mut of.args.caches),
            Command::Segment(of) => Some(&mut of.caches),
            Command::Adapt(of) => Some(&mut of.caches),
            Command::Score(of) => Some(&mut of.caches),
            Command::Predict(of) => Some(&mut of.caches),
            Command::Trust(of) => Some(&mut of.caches),
            Command::Pca(of) => Some(&mut of.look.caches),
            Command::Nearest(of) => Some(&mut of.look.caches),
            Command::Retrieve(of) => Some(&mut of.look.caches),
            Command::Map(of) => Some(&mut of.look.caches),
            _ => None,
        }
    }
}

/// An option as it was typed, as often as it was; nothing if it was not.
fn given(arg: &Arg, matches: &ArgMatches) -> Vec<String> {
    let id = arg.get_id().as_str();
    let is_given = matches.value_source(id) == Some(ValueSource::CommandLine);
    if !is_given || LEFT_OUT.contains(&id) {
        return Vec::new();
    }
    let name = arg.get_long().map(|long| format!("--{long}"));
    if matches!(arg.get_action(), ArgAction::SetTrue) {
        return name.into_iter().collect();
    }
    let occurrences = matches.get_raw_occurrences(id).into_iter().flatten();
    let words = occurrences.map(|values| {
        let values: Vec<String> = values
            .map(|value| without_folder(&value.to_string_lossy()))
            .collect();
        let word = argument(Path::new(&values.join(",")));
        match &name {
            None => word,
            Some(name) if word.starts_with('-') => format!("{name}={word}"),
            Some(name) => format!("{name} {word}"),
        }
    });
    words.collect()
}

/// The name of a file that was typed with the path of its folder from the root, which tells of the machine only.
fn without_folder(value: &str) -> String {
    let path = Path::new(value);
    let name = path.file_name().filter(|_| path.is_absolute());
    name.map_or_else(
        || value.to_owned(),
        |name| name.to_string_lossy().into_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(words: &str) -> String {
        let words = words.split(' ').map(str::to_owned);
        let mut cli = Cli::of_study("studies/mine.toml", words).unwrap();
        let typed = cli.command.caches().unwrap().typed.clone();
        assert_eq!(typed.study.as_deref(), Some("mine.toml"));
        typed.command
    }

    #[test]
    fn a_command_keeps_what_results_depend_on() {
        for (typed, kept) in [
            ("probe knn", "probe knn"),
            (
                "probe linear --lr=0.1,0.01 --cache /data/e --runs r --force --threads 2 --per-patient",
                "probe linear --lr 0.1,0.01 --per-patient",
            ),
            (
                "probe few-shot --head knn --k 5 --shots 1,2 --dataset d --format json",
                "probe few-shot --dataset d --shots 1,2 --head knn --k 5",
            ),
            (
                "probe pca --case a --case b --threshold=-0.5 --wide",
                "probe pca --case a --case b --threshold=-0.5",
            ),
            (
                "probe map --metadata /home/someone/table.csv",
                "probe map --metadata table.csv",
            ),
        ] {
            let mut found: Vec<String> = command(typed).split(' ').map(str::to_owned).collect();
            let mut kept: Vec<String> = kept.split(' ').map(str::to_owned).collect();
            found.sort();
            kept.sort();
            assert_eq!(found, kept);
        }
    }
}
