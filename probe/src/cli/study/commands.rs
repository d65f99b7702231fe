//! From the probes of a study to the commands that one would type.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use anyhow::Result;
use clap::{Arg, CommandFactory, Parser};
use common::similar;
use toml::{Table, Value};

use super::super::effect::NoEffect;
use super::super::over::Job;
use super::super::probe::ProbeCommand;
use super::super::{Cli, Command, adapt::Adapt, few_shot::FewShot, segment::Segment};
use super::Study;
use super::finetune::{self, Finetune};
use crate::Error;
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

/// A probe of a study with its command.
#[derive(Debug)]
pub(super) struct Parsed<'a> {
    pub(super) line: Line<'a>,
    pub(super) variant: Variant,
}

/// The parts of a command.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'a> {
    /// The study's file.
    file: &'a str,
    study: &'a StudyFile,
    args: &'a Study,
    /// The probe that it is of.
    pub(super) entry: &'a Entry,
    /// The fold whose split it evaluates.
    pub(super) fold: Option<u32>,
}

/// A command with some of `[options]`.
#[derive(Debug)]
pub(super) struct Variant {
    pub(super) typed: Typed,
    /// Options of `[options]` that the command has.
    pub(super) shared: BTreeSet<String>,
    /// The command without each of these.
    fewer: BTreeMap<String, OnceCell<Option<Box<Variant>>>>,
}

/// A command of a study, parsed.
#[derive(Debug)]
pub(super) enum Typed {
    Probe(ProbeCommand),
    FewShot(FewShot),
    Segment(Segment),
    Adapt(Adapt),
    Finetune(Finetune),
}

impl Typed {
    /// The command as a job; warnings about options without effect go to `messages`.
    pub(super) fn job<'a>(
        &'a self,
        entry: &'a Entry,
        messages: &mut impl Write,
    ) -> Result<Job<'a>> {
        match self {
            Typed::Probe(probe) => probe.job(messages),
            Typed::FewShot(few_shot) => few_shot.job(messages),
            Typed::Segment(segment) => segment.job(messages),
            Typed::Adapt(adapt) => adapt.job(messages),
            Typed::Finetune(finetune) => Ok(finetune.job(&entry.options)),
        }
    }
}

impl Line<'_> {
    /// Those of `[options]` that a command has, and the options of its probe.
    pub(super) fn options(&self, shared: &BTreeSet<String>) -> Table {
        let mut options = self.study.options.clone();
        options.retain(|option, _| shared.contains(option));
        options.extend(self.entry.options.clone());
        options
    }
}

impl Variant {
    /// The command of a line with these of `[options]`. Those that have no effect on it are left out.
    fn of(line: Line<'_>, mut shared: BTreeSet<String>) -> Result<Variant, (String, String)> {
        let Line {
            file,
            args,
            entry,
            fold,
            ..
        } = line;
        loop {
            let split = fold.map(|fold| format!("--split={}", Folds::name(fold)));
            let words = words(line, &shared)?.into_iter();
            let typed = typed(file, &entry.name, words.chain(split).chain(args.words()))?;
            let error = typed.job(entry, &mut io::sink()).err();
            let option = error
                .as_ref()
                .and_then(|error| error.downcast_ref::<NoEffect>());
            let is_own = |option: &str| entry.options.contains_key(option);
            // Other errors are told with the names of their probes when the commands are used.
            match option.map(|error| error.option.as_str()) {
                Some(option) if !is_own(option) && shared.remove(option) => {}
                _ => {
                    let fewer = shared.iter().cloned();
                    return Ok(Variant {
                        typed,
                        fewer: fewer.map(|option| (option, OnceCell::new())).collect(),
                        shared,
                    });
                }
            }
        }
    }

    /// The command without one of `[options]`, for caches on which it has no effect. `None` if the probe itself gives the
    /// option, or needs it.
    pub(super) fn without(&self, line: Line<'_>, option: &str) -> Option<&Variant> {
        if line.entry.options.contains_key(option) {
            return None;
        }
        let fewer = self.fewer.get(option)?.get_or_init(|| {
            let mut shared = self.shared.clone();
            shared.remove(option);
            Variant::of(line, shared).ok().map(Box::new)
        });
        fewer.as_deref()
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
    file: &'a str,
    study: &'a StudyFile,
    args: &'a Study,
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
        let known = options_of(&entry.name);
        let shared = study.options.keys();
        let shared: BTreeSet<String> = shared
            .filter(|option| known.contains(option))
            .cloned()
            .collect();
        for fold in [None].into_iter().chain((0..folds).map(Some)) {
            let line = Line {
                file,
                study,
                args,
                entry,
                fold,
            };
            let variant = Variant::of(line, shared.clone()).map_err(failed)?;
            commands.push(Parsed { line, variant });
        }
    }
    let used = |option: &str| {
        commands
            .iter()
            .any(|command| command.variant.shared.contains(option))
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
pub(super) fn options_of(name: &str) -> Vec<String> {
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
fn words(line: Line<'_>, shared: &BTreeSet<String>) -> Result<Vec<String>, (String, String)> {
    let Line { study, entry, .. } = line;
    let name = entry.name.as_str();
    if !names().contains(&name) {
        let meant = similar(name, names());
        let hint = meant.map_or_else(expected, |meant| format!("did you mean `{meant}`?"));
        return Err((format!("there is no probe `{name}`"), hint));
    }
    let known = options_of(name);
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    let options = line.options(shared);
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
