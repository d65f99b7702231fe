//! All probes.
//!
//! A probe is one file here, a struct of options that implements [`Probe`], and a line in [`KINDS`]. From
//! that line follow the command, the head of `few-shot`, the records that `compare` reads, and the probes
//! that `tests/versions.rs` runs.

mod centroid;
mod knn;
mod linear;
mod logreg;
mod ridge;

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args, Command};
use serde::Serialize;

use self::centroid::Centroid;
use self::knn::Knn;
use self::linear::Linear;
use self::logreg::Logreg;
use self::ridge::Ridge;
use crate::evaluate::{AnyProbe, Probe};
use crate::features::{Features, Tokens};

/// All probes, in the order of the help.
pub(crate) static KINDS: &[Kind] = &[
    Kind::of::<Knn>(),
    Kind::of::<Linear>(),
    Kind::of::<Logreg>(),
    Kind::of::<Ridge>(),
    Kind::of::<Centroid>(),
];

/// A type of probe, whatever its options.
#[derive(Debug)]
pub(crate) struct Kind {
    /// Name in records and on the command line.
    pub(crate) name: &'static str,
    /// Whether it is a command of its own, and not only a head of `few-shot`.
    pub(crate) is_command: bool,
    /// Whether it can be evaluated on `val`.
    pub(crate) evaluates_val: bool,
    /// Whether it chooses settings or thresholds on `val`.
    pub(crate) chooses: bool,
    /// Adds its options to a command.
    pub(crate) augment: fn(Command) -> Command,
    parse: fn(&ArgMatches) -> anyhow::Result<Box<dyn AnyProbe>>,
}

/// Tokens of one block as features.
#[derive(Args, Clone, Debug, Serialize)]
pub(crate) struct TokenArgs {
    /// Tokens used as features
    #[arg(long, default_value = "cls")]
    features: Features,
    /// Block whose tokens are used, 1 for the last
    #[arg(long, default_value_t = 1)]
    layer: u32,
}

impl Kind {
    const fn of<P: Probe + Args + 'static>() -> Kind {
        Kind {
            name: P::NAME,
            is_command: P::IS_COMMAND,
            evaluates_val: P::EVALUATES_VAL,
            chooses: P::CHOOSES,
            augment: P::augment_args,
            parse: parse::<P>,
        }
    }

    /// The probe with the options on the command line.
    ///
    /// # Errors
    ///
    /// If one option leaves another without effect.
    pub(crate) fn parse(&self, matches: &ArgMatches) -> anyhow::Result<Box<dyn AnyProbe>> {
        (self.parse)(matches)
    }

    /// Its options.
    pub(crate) fn arguments(&self) -> Vec<Arg> {
        let command = (self.augment)(Command::new(self.name));
        command.get_arguments().cloned().collect()
    }

    /// Names of its options.
    pub(crate) fn options(&self) -> impl Iterator<Item = String> {
        let arguments = self.arguments().into_iter();
        arguments.filter_map(|arg| arg.get_long().map(Into::into))
    }

    /// Names of its options that stand on the command line.
    pub(crate) fn given(&self, matches: &ArgMatches) -> Vec<String> {
        let is_given = |arg: &Arg| {
            matches.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine)
        };
        let given = self.arguments().into_iter().filter(is_given);
        given
            .filter_map(|arg| arg.get_long().map(Into::into))
            .collect()
    }

    /// One line that describes it.
    pub(crate) fn about(&self) -> String {
        let command = (self.augment)(Command::new(self.name));
        command
            .get_about()
            .map(ToString::to_string)
            .unwrap_or_default()
    }
}

fn parse<P: Probe + Args + 'static>(matches: &ArgMatches) -> anyhow::Result<Box<dyn AnyProbe>> {
    let probe = P::from_arg_matches(matches)?;
    probe.check()?;
    Ok(Box::new(probe))
}

impl TokenArgs {
    pub(crate) fn tokens(&self) -> Tokens {
        self.features.tokens(self.layer)
    }
}
