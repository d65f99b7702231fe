//! From the probes of a study to the commands that one would type.

use std::collections::BTreeSet;
use std::io::{self, Write};

use anyhow::{Result, anyhow};
use cache::CacheReader;
use clap::{Arg, CommandFactory, Parser};
use common::similar;
use toml::{Table, Value};

use super::super::effect::NoEffect;
use super::super::over::Job;
use super::super::probe::ProbeCommand;
use super::super::{Cli, Command, adapt::Adapt, few_shot::FewShot, segment::Segment};
use super::Study;
use super::finetune::{self, Finetune};
use super::keys::as_keys;
use super::label::label;
use crate::Error;
use crate::evaluate::Settings;
use crate::kinds::KINDS;
use crate::study::{Entry, Folds, StudyFile};

/// Options that the study or its command gives, and where.
const GIVEN: [(&str, &str); 14] = [
    ("model", "list models in `models`"),
    ("dataset", "list datasets in `datasets`"),
    ("protocol", "list protocols in `protocols`"),
    ("cache", "give `--cache` to `probe study`"),
    ("runs", "give `--runs` to `probe study`"),
    ("force", "give `--force` to `probe study`"),
    ("threads", "give `--threads` to `probe study`"),
    ("format", "give `--format` to `probe study`"),
    (
        "local-copy",
        "copy the caches, and give that folder as `--cache`",
    ),
    ("per-class", "records have all classes"),
    ("wide", "records have all columns"),
    (
        "curve",
        "type the command with `--curve` when the study has run: it reads the study's results",
    ),
    (
        "target",
        "type the command with `--curve` when the study has run: it reads the study's results",
    ),
    ("help", "see `probe COMMAND --help`"),
];

/// A command of a study.
#[derive(Debug)]
pub(super) struct Parsed<'a> {
    /// The probe that it is of.
    entry: &'a Entry,
    /// The fold whose split it evaluates.
    fold: Option<u32>,
    command: Typed,
    /// Options of `[options]` that the command has.
    shared: BTreeSet<&'a str>,
}

#[derive(Debug)]
enum Typed {
    Probe(ProbeCommand),
    FewShot(FewShot),
    Segment(Segment),
    Adapt(Adapt),
    Finetune(Finetune),
}

/// A command that is ready to evaluate caches.
pub(super) struct Evaluation<'a> {
    pub(super) entry: &'a Entry,
    /// Name of the probe for people.
    pub(super) label: String,
    pub(super) fold: Option<u32>,
    pub(super) job: Job<'a>,
    command: &'a Typed,
}

impl<'a> Evaluation<'a> {
    /// The evaluations of all commands; warnings about options without effect go to `messages`.
    pub(super) fn all(
        parsed: &'a [Parsed<'a>],
        messages: &mut impl Write,
    ) -> Result<Vec<Evaluation<'a>>> {
        let entries: Vec<&Entry> = parsed.iter().map(|parsed| parsed.entry).collect();
        let evaluations = parsed.iter().map(|parsed| {
            // Commands of other folds give the same warnings.
            let mut sink = Vec::new();
            let name = &parsed.entry.name;
            let job = parsed.command.job(parsed.entry, &mut sink);
            let job = job.map_err(|error| anyhow!("probe `{name}`: {error}"))?;
            if parsed.fold.is_none() {
                let text = String::from_utf8_lossy(&sink);
                // What all probes share need not have an effect under each protocol.
                let is_shared = |line: &&str| {
                    let mut shared = parsed.shared.iter();
                    shared.any(|option| line.starts_with(&format!("warning: `--{option}` ")))
                };
                for line in text.lines().filter(|line| !is_shared(line)) {
                    let line = line.replace("warning: ", &format!("warning: probe `{name}`: "));
                    writeln!(messages, "{line}")?;
                }
            }
            Ok(Evaluation {
                entry: parsed.entry,
                label: label(parsed.entry, &entries),
                fold: parsed.fold,
                job,
                command: &parsed.command,
            })
        });
        evaluations.collect()
    }

    /// Checks that a cache has the splits that a probe needs; decoders and adaptations are not checked.
    ///
    /// # Errors
    ///
    /// The error with which its evaluation would end.
    pub(super) fn check_splits(
        &self,
        reader: &CacheReader,
        settings: &Settings,
    ) -> Result<(), Error> {
        match self.command {
            Typed::Probe(probe) => probe.check_splits(reader, settings),
            Typed::FewShot(few_shot) => few_shot.check_splits(reader, settings),
            Typed::Segment(_) | Typed::Adapt(_) | Typed::Finetune(_) => Ok(()),
        }
    }

    /// An error as people who write studies read it: with keys of the file for options.
    pub(super) fn told(&self, error: &Error) -> String {
        as_keys(&error.to_string(), &options_of(&self.entry.name))
    }

    /// Whether a script runs it.
    pub(super) fn is_by_script(&self) -> bool {
        self.entry.name == finetune::NAME
    }

    /// Whether it is of masks, and not of labels.
    pub(super) fn segments(&self) -> bool {
        self.entry.name == "segment"
            || self.is_by_script() && finetune::segments(&self.entry.options)
    }

    /// Whether it needs the tokens before the last blocks.
    pub(super) fn is_adaptation(&self) -> bool {
        self.entry.name == "adapt"
    }
}

impl Typed {
    fn job<'a>(&'a self, entry: &'a Entry, messages: &mut impl Write) -> Result<Job<'a>> {
        match self {
            Typed::Probe(probe) => probe.job(messages),
            Typed::FewShot(few_shot) => few_shot.job(messages),
            Typed::Segment(segment) => segment.job(messages),
            Typed::Adapt(adapt) => adapt.job(messages),
            Typed::Finetune(finetune) => Ok(finetune.job(&entry.options)),
        }
    }
}

/// Names of commands that a study may have.
fn names() -> Vec<&'static str> {
    let kinds = KINDS.iter().filter(|kind| kind.is_command);
    kinds
        .map(|kind| kind.name)
        .chain(["few-shot", "segment", "adapt", finetune::NAME])
        .collect()
}

/// Whether the results of a probe on folds can be pooled.
pub(super) fn has_folds(entry: &Entry) -> bool {
    !["few-shot", finetune::NAME].contains(&entry.name.as_str())
}

/// The commands of all probes: one for the caches' own splits, and one for each fold. Options of `[options]` that a probe
/// does not have, or that have no effect on it, are left out of its commands.
///
/// # Errors
///
/// [`Error::Study`] if there is no such command, or it does not have such an option or value, or if an option of
/// `[options]` is left out everywhere.
pub(super) fn parse<'a>(
    file: &str,
    study: &'a StudyFile,
    args: &Study,
) -> Result<Vec<Parsed<'a>>, Error> {
    let failed = |(problem, hint)| Error::Study {
        file: file.into(),
        problem,
        hint,
    };
    let most = study.folds.values().map(|folds| folds.0).max().unwrap_or(0);
    let mut commands = Vec::new();
    for entry in &study.probes {
        let folds = if has_folds(entry) { most } else { 0 };
        for fold in [None].into_iter().chain((0..folds).map(Some)) {
            commands.push(parsed(file, study, entry, fold, args).map_err(failed)?);
        }
    }
    let used = |option: &str| {
        commands
            .iter()
            .any(|command| command.shared.contains(option))
    };
    match study.options.keys().find(|option| !used(option)) {
        None => Ok(commands),
        Some(option) => Err(failed((
            format!(
                "`options.{option}`: no probe of the study has such an option, or it has no effect on them"
            ),
            "see `probe COMMAND --help` for the options".into(),
        ))),
    }
}

/// The command of a probe, for a fold if one is given.
fn parsed<'a>(
    file: &str,
    study: &'a StudyFile,
    entry: &'a Entry,
    fold: Option<u32>,
    args: &Study,
) -> Result<Parsed<'a>, (String, String)> {
    let known = options_of(&entry.name);
    let shared = study.options.keys().map(String::as_str);
    let mut shared: BTreeSet<&str> = shared
        .filter(|option| known.iter().any(|known| known == option))
        .collect();
    loop {
        let split = fold.map(|fold| format!("--split={}", Folds::name(fold)));
        let words = words(study, entry, &shared)?.into_iter();
        let command = typed(file, &entry.name, words.chain(split).chain(args.words()))?;
        let error = command.job(entry, &mut io::sink()).err();
        let option = error
            .as_ref()
            .and_then(|error| error.downcast_ref::<NoEffect>());
        let is_own = |option: &str| entry.options.contains_key(option);
        // Other errors are told with the names of their probes when the commands are used.
        match option.map(|error| error.option.as_str()) {
            Some(option) if !is_own(option) && shared.remove(option) => {}
            _ => {
                return Ok(Parsed {
                    entry,
                    fold,
                    command,
                    shared,
                });
            }
        }
    }
}

impl Study {
    /// Options that all commands get.
    fn words(&self) -> Vec<String> {
        let of = |name: &str, path: &std::path::Path| format!("--{name}={}", path.display());
        let mut words = vec![of("cache", &self.cache), of("runs", &self.runs)];
        words.extend(self.force.then(|| "--force".to_owned()));
        words
    }
}

fn typed(
    study: &str,
    name: &str,
    words: impl Iterator<Item = String>,
) -> Result<Typed, (String, String)> {
    if name == finetune::NAME {
        let words = [name.to_owned()].into_iter().chain(words);
        let parsed = Finetune::try_parse_from(words).map(Typed::Finetune);
        return parsed.map_err(|error| finetune::unknown(&said(&error)));
    }
    let program = ["probe".to_owned(), name.to_owned()];
    let command = Cli::of_study(study, program.into_iter().chain(words)).map(|cli| cli.command);
    match command {
        Ok(Command::Probe(probe)) => Ok(Typed::Probe(probe)),
        Ok(Command::FewShot(few_shot)) => Ok(Typed::FewShot(few_shot)),
        Ok(Command::Segment(segment)) => Ok(Typed::Segment(segment)),
        Ok(Command::Adapt(adapt)) => Ok(Typed::Adapt(adapt)),
        Ok(_) => Err((format!("`{name}` is no probe"), expected())),
        Err(error) => {
            let said = said(&error);
            let hint = format!("see `probe {name} --help` for the options and their values");
            Err((format!("probe `{name}`: {said}"), hint))
        }
    }
}

/// The first line of an error of the command line.
fn said(error: &clap::Error) -> String {
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    first.strip_prefix("error: ").unwrap_or(first).to_owned()
}

fn expected() -> String {
    format!("give one of `{}`", names().join("`, `"))
}

/// Names of the options of a command.
fn options_of(name: &str) -> Vec<String> {
    let cli = match name {
        finetune::NAME => clap::Command::new("study").subcommand(Finetune::command()),
        _ => Cli::command(),
    };
    let command = cli.find_subcommand(name);
    let arguments = command.into_iter().flat_map(clap::Command::get_arguments);
    arguments
        .filter_map(Arg::get_long)
        .map(str::to_owned)
        .collect()
}

/// The options of a probe, with these of `[options]`, as words of a command line.
fn words(
    study: &StudyFile,
    entry: &Entry,
    shared: &BTreeSet<&str>,
) -> Result<Vec<String>, (String, String)> {
    let name = entry.name.as_str();
    if !names().contains(&name) {
        let meant = similar(name, names());
        let hint = meant.map_or_else(expected, |meant| format!("did you mean `{meant}`?"));
        return Err((format!("there is no probe `{name}`"), hint));
    }
    let known = options_of(name);
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    let mut options = study.options.clone();
    options.retain(|option, _| shared.contains::<str>(option));
    options.extend(entry.options.clone());
    for option in options.keys() {
        if let Some((_, hint)) = GIVEN.iter().find(|(given, _)| given == option) {
            let problem = format!("probe `{name}`: `{option}` cannot be given here");
            return Err((problem, (*hint).to_owned()));
        }
        if !known.contains(&option.as_str()) {
            let meant = similar(option, known.iter().copied());
            let hint = match meant {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("see `probe {name} --help` for its options"),
            };
            return Err((format!("probe `{name}` has no option `{option}`"), hint));
        }
    }
    if options.contains_key("split") && !study.folds.is_empty() && has_folds(entry) {
        let problem = format!("probe `{name}`: `split` and `[folds]` exclude each other");
        return Err((problem, "leave one of them out".into()));
    }
    let protocol = format!("--protocol={}", study.protocols(entry).join(","));
    Ok(std::iter::once(protocol)
        .chain(words_of(&options)?)
        .collect())
}

/// The options of a table as words of a command line: `k = [1, 5]` is `--k=1,5`, and `true` a flag.
pub(super) fn words_of(options: &Table) -> Result<Vec<String>, (String, String)> {
    let mut words = Vec::new();
    for (option, value) in options {
        match value {
            Value::Boolean(true) => words.push(format!("--{option}")),
            Value::Boolean(false) => {}
            value => words.push(format!("--{option}={}", word(option, value)?)),
        }
    }
    Ok(words)
}

fn word(option: &str, value: &Value) -> Result<String, (String, String)> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        Value::Array(values) => {
            let words = values.iter().map(|value| word(option, value));
            Ok(words.collect::<Result<Vec<_>, _>>()?.join(","))
        }
        other => Err((
            format!("`{option}` is `{other}`"),
            "give a text, a number, true or false, or a list of them".into(),
        )),
    }
}
