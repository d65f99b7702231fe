//! `probe few-shot`.

use std::ffi::OsString;
use std::io::Write;
use std::sync::Arc;

use anyhow::Result;
use cache::{CacheReader, Split};
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Arg, ArgMatches, Args, Command, Error, FromArgMatches};

use super::curve::CurveArgs;
use super::effect::{Idle, NEVER, NoEffect};
use super::over::{Job, results};
use super::settings::SettingsArgs;
use super::{Caches, Outcome, Output};
use crate::evaluate::{self, AnyProbe, Draw, Settings};
use crate::kinds::{KINDS, Kind};
use crate::protocol::Protocol;
use crate::values::integer;

/// Name of the command, of its records and of their file.
pub(super) const NAME: &str = "few-shot";

/// Default head.
const HEAD: &str = "linear";

/// Default number of random draws.
pub(super) const REPEATS: u32 = 5;

#[derive(Debug)]
pub(super) struct FewShot {
    pub(super) args: FewShotArgs,
    /// All that stood on the command line.
    matches: ArgMatches,
}

#[derive(Debug, Args)]
pub(super) struct FewShotArgs {
    #[command(flatten)]
    pub(super) caches: Caches,
    /// Probe to fit; `--head NAME --help` shows its options
    #[arg(long, default_value = HEAD, value_parser = heads())]
    head: &'static Kind,
    /// Numbers of patients (or samples) per class; `all` for all
    #[arg(long, value_delimiter = ',', default_value = "1,2,4,8,16,all", value_parser = shots)]
    shots: Vec<Shots>,
    /// Random draws of each number; their mean and standard deviation are reported [default: 5]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    repeats: Option<u32>,
    /// Unit of a random draw. The study's draw follows its own rules [default: patients]
    #[arg(long)]
    draw: Option<Draw>,
    #[command(flatten)]
    curve: CurveArgs,
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(flatten)]
    output: Output,
}

/// A number of shots; `None` for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shots(pub(super) Option<usize>);

/// The kinds by their names.
fn heads() -> impl TypedValueParser<Value = &'static Kind> {
    let values = KINDS
        .iter()
        .map(|kind| PossibleValue::new(kind.name).help(kind.about()));
    PossibleValuesParser::new(values).try_map(|name| {
        let kind = KINDS.iter().find(|kind| kind.name == name);
        kind.ok_or("no such probe")
    })
}

impl FewShot {
    pub(super) fn run(&self, out: &mut impl Write, messages: &mut impl Write) -> Result<Outcome> {
        let job = self.job(messages)?;
        self.args.curve.run_after(&job, out, messages)
    }

    /// Checks that a cache has the splits that the evaluation needs.
    pub(super) fn check_splits(
        &self,
        reader: &CacheReader,
        settings: &Settings,
    ) -> Result<(), crate::Error> {
        // Options have been parsed for the job.
        let probe = self.probe();
        probe.map_or(Ok(()), |probe| probe.check_splits(reader, settings, true))
    }

    /// What the command evaluates.
    pub(super) fn job(&self, messages: &mut impl Write) -> Result<Job<'_>> {
        let args = &self.args;
        let probe: Arc<dyn AnyProbe> = self.probe()?.into();
        let of_key = Arc::clone(&probe);
        let few = evaluate::FewShot {
            shots: args.shots.iter().map(|shots| shots.0).collect(),
            repeats: args.repeats.unwrap_or(REPEATS) as usize,
            draw: args.draw.unwrap_or_default(),
        };
        let settings = args
            .settings
            .settings(Split::Test, &[], self.idle(), messages)?;
        let few_of_key = few.clone();
        Ok(Job {
            caches: &args.caches,
            output: &args.output,
            probe: NAME,
            settings,
            key: Box::new(move |reader, settings| of_key.key(reader, settings, Some(&few_of_key))),
            evaluate: Box::new(move |reader, settings, progress| {
                let few = Some(&few);
                let found = progress.steps(|steps| probe.evaluate(reader, settings, few, steps));
                found.map(results)
            }),
            recorded: None,
        })
    }

    /// Options without effect.
    fn idle(&self) -> Vec<Idle> {
        let args = &self.args;
        let rules = args.settings.rules();
        let mut idle = drawn(&args.shots, args.repeats, args.draw.is_some());
        idle.extend(
            args.settings
                .without_tokens(&args.head.given(&self.matches)),
        );
        let why = "intervals need `--protocol paper`, which makes a single draw";
        let confidence = rules.confidence();
        idle.extend(confidence.without_intervals(why, Protocol::one_draw));
        if !args.head.chooses {
            idle.push(rules.without_choice("nothing is chosen with this `--head`"));
        }
        idle
    }

    /// The probe of the head; options of other heads are errors.
    fn probe(&self) -> Result<Box<dyn AnyProbe>> {
        let head = self.args.head;
        let own: Vec<String> = head.options().collect();
        let given = KINDS.iter().flat_map(|kind| kind.given(&self.matches));
        if let Some(option) = given.into_iter().find(|option| !own.contains(option)) {
            let text = format!(
                "`--{option}`: `--head {}` has no such option\nhint: leave it out, or give another --head",
                head.name
            );
            return Err(NoEffect::new(&format!("--{option}"), text).into());
        }
        head.parse(&self.matches)
    }
}

/// The command with the options of one head: that which `--head` names in `words`, or the default.
pub(super) fn of_head(command: Command, words: &[OsString]) -> Command {
    let words = words.iter().filter_map(|word| word.to_str());
    let words: Vec<&str> = words.collect();
    let after = words.iter().position(|word| *word == "--head");
    let after = after.and_then(|at| words.get(at + 1).copied());
    let joined = words.iter().find_map(|word| word.strip_prefix("--head="));
    let name = after.or(joined).unwrap_or(HEAD);
    let Some(head) = KINDS.iter().find(|kind| kind.name == name) else {
        return command;
    };
    let own = head.arguments();
    let all: Vec<Arg> = KINDS.iter().flat_map(Kind::arguments).collect();
    let is_of = |of: &[Arg], arg: &Arg| of.iter().any(|other| other.get_id() == arg.get_id());
    command.mut_args(|arg| {
        if is_of(&own, &arg) {
            arg.help_heading("Options of the head")
        } else if is_of(&all, &arg) {
            arg.hide(true)
        } else {
            arg
        }
    })
}

impl Args for FewShot {
    /// The options of all heads, each once.
    fn augment_args(command: Command) -> Command {
        let mut command = FewShotArgs::augment_args(command);
        for arg in KINDS.iter().flat_map(Kind::arguments) {
            let is_same = |other: &Arg| other.get_id() == arg.get_id();
            let order = command.get_arguments().count();
            if !command.get_arguments().any(is_same) {
                command = command.arg(arg.display_order(order));
            }
        }
        command
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for FewShot {
    fn from_arg_matches(matches: &ArgMatches) -> Result<FewShot, Error> {
        Ok(FewShot {
            args: FewShotArgs::from_arg_matches(matches)?,
            matches: matches.clone(),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = FewShot::from_arg_matches(matches)?;
        Ok(())
    }
}

/// Options of random draws if there are none.
pub(super) fn drawn(shots: &[Shots], repeats: Option<u32>, names_draw: bool) -> Vec<Idle> {
    let is_random: fn(Protocol) -> bool = |protocol| !protocol.one_draw();
    let (why, has_effect) = if shots.iter().all(|shots| shots.0.is_none()) {
        ("`--shots all` draws nothing", NEVER)
    } else {
        ("the study's draw is a single one", is_random)
    };
    vec![
        Idle::new("--repeats", repeats.is_some(), why, has_effect),
        Idle::new("--draw", names_draw, why, has_effect),
    ]
}

pub(super) fn shots(word: &str) -> Result<Shots, String> {
    if word == "all" {
        return Ok(Shots(None));
    }
    let number = integer(word, &(1..=1_000_000)).map_err(|error| format!("{error}, or `all`"))?;
    Ok(Shots(Some(number)))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn parse(words: &str) -> Result<Box<dyn AnyProbe>> {
        let words = ["probe", NAME].into_iter().chain(words.split_whitespace());
        match Cli::try_parse_from(words)?.command {
            Command::FewShot(few_shot) => few_shot.probe(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn options_of_other_heads_are_rejected() {
        for (words, option) in [
            ("--head centroid --C 5", "--C"),
            ("--head centroid --k 5", "--k"),
            ("--head centroid --lr 0.1", "--lr"),
            ("--head logreg --vote majority", "--vote"),
            ("--head logreg --epochs 3", "--epochs"),
            ("--head knn --C 5 --k 3", "--C"),
            ("--head knn --batch-size 128", "--batch-size"),
            ("--head knn --select accuracy", "--select"),
            ("--head centroid --select auroc", "--select"),
            ("--layer 2", "--layer"),
            ("--solver lbfgs", "--solver"),
        ] {
            let text = parse(words).unwrap_err().to_string();
            assert!(text.starts_with(&format!("`{option}`")), "{words}: {text}");
            assert!(text.contains("hint:"), "{text}");
        }
    }

    #[test]
    fn options_of_a_head_are_accepted() {
        for words in [
            "",
            "--lr 0.1 --epochs 3 --blocks 1",
            "--head centroid --features mean-patch --layer 2",
            "--head logreg --C 5 --solver lbfgs --features cls --layer 2",
            "--head knn --k 5 --vote majority --features cls --index hnsw --ef 20",
        ] {
            assert!(parse(words).is_ok(), "{words}: {:?}", parse(words));
        }
        for kind in KINDS {
            parse(&format!("--head {}", kind.name)).unwrap();
        }
        let linear = format!("{:?}", parse("--epochs 3").unwrap());
        assert!(
            linear.starts_with("Linear") && linear.contains("epochs: 3"),
            "{linear}"
        );
    }
}
