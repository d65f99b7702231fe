//! The commands of the probes: `probe knn`, `probe linear` …

use std::io::Write;
use std::sync::Arc;

use anyhow::Result;
use cache::{CacheReader, Split};
use clap::error::ErrorKind;
use clap::{ArgMatches, Args, Command, Error, FromArgMatches, Subcommand, ValueEnum};

use super::over::{Job, results};
use super::settings::{FitArgs, SettingsArgs};
use super::{Caches, Outcome, Output};
use crate::evaluate::{AnyProbe, Settings};
use crate::kinds::{KINDS, Kind};

/// A probe on whole splits.
#[derive(Debug)]
pub(super) struct ProbeCommand {
    kind: &'static Kind,
    /// All that stood on the command line.
    matches: ArgMatches,
    pub(super) args: ProbeArgs,
    eval: Eval,
}

#[derive(Debug, Args)]
pub(super) struct ProbeArgs {
    #[command(flatten)]
    pub(super) caches: Caches,
    #[command(flatten)]
    pub(super) fit: FitArgs,
    #[command(flatten)]
    pub(super) settings: SettingsArgs,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
struct EvalArg {
    /// Split to evaluate
    #[arg(long, default_value = "test")]
    eval: Eval,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Eval {
    Test,
    Val,
}

impl ProbeCommand {
    pub(super) fn run(&self, out: &mut impl Write, messages: &mut impl Write) -> Result<Outcome> {
        self.job(messages)?.run(out, messages)
    }

    /// Checks that a cache has the splits that the evaluation needs.
    pub(super) fn check_splits(
        &self,
        reader: &CacheReader,
        settings: &Settings,
    ) -> Result<(), crate::Error> {
        // Options have been parsed for the job.
        let probe = self.kind.parse(&self.matches);
        probe.map_or(Ok(()), |probe| probe.check_splits(reader, settings, false))
    }

    /// What the command evaluates.
    pub(super) fn job(&self, messages: &mut impl Write) -> Result<Job<'_>> {
        let (kind, args) = (self.kind, &self.args);
        let probe: Arc<dyn AnyProbe> = kind.parse(&self.matches)?.into();
        let of_key = Arc::clone(&probe);
        let eval = match self.eval {
            Eval::Test => Split::Test,
            Eval::Val => Split::Val,
        };
        let idle = args.settings.without_tokens(&kind.given(&self.matches));
        Ok(Job {
            caches: &args.caches,
            output: &args.output,
            probe: kind.name,
            settings: args.settings.whole(&args.fit, eval, idle, messages)?,
            key: Box::new(move |reader, settings| of_key.key(reader, settings, None)),
            evaluate: Box::new(move |reader, settings, progress| {
                let found = progress.steps(|steps| probe.evaluate(reader, settings, None, steps));
                found.map(results)
            }),
            recorded: None,
        })
    }
}

/// The kinds that are commands.
fn commands() -> impl Iterator<Item = &'static Kind> {
    KINDS.iter().filter(|kind| kind.is_command)
}

fn command(kind: &Kind) -> Command {
    let mut command = (kind.augment)(Command::new(kind.name));
    if kind.evaluates_val {
        command = EvalArg::augment_args(command);
    }
    ProbeArgs::augment_args(command).about(kind.about())
}

impl Subcommand for ProbeCommand {
    fn augment_subcommands(parent: Command) -> Command {
        commands().fold(parent, |parent, kind| parent.subcommand(command(kind)))
    }

    fn augment_subcommands_for_update(parent: Command) -> Command {
        Self::augment_subcommands(parent)
    }

    fn has_subcommand(name: &str) -> bool {
        commands().any(|kind| kind.name == name)
    }
}

impl FromArgMatches for ProbeCommand {
    fn from_arg_matches(matches: &ArgMatches) -> Result<ProbeCommand, Error> {
        let found = matches.subcommand().and_then(|(name, matches)| {
            let kind = commands().find(|kind| kind.name == name)?;
            Some((kind, matches))
        });
        let (kind, matches) = found.ok_or_else(|| Error::new(ErrorKind::InvalidSubcommand))?;
        Ok(ProbeCommand {
            kind,
            matches: matches.clone(),
            args: ProbeArgs::from_arg_matches(matches)?,
            eval: if kind.evaluates_val {
                EvalArg::from_arg_matches(matches)?.eval
            } else {
                Eval::Test
            },
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = ProbeCommand::from_arg_matches(matches)?;
        Ok(())
    }
}
