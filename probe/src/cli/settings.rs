//! Options that all probes have.

use std::io::Write;

use anyhow::{Result, bail};
use cache::Split;
use clap::{Args, ValueEnum};

use super::effect::{self, Idle, NEVER};
use crate::control::Control;
use crate::evaluate::{Select, Settings};
use crate::examples::{Pool, Unit};
use crate::metrics::measures::Confidence;
use crate::protocol::Protocol;

/// Random orders of shuffled labels where no number is asked for.
const PERMUTATIONS: u32 = 20;
/// Draws of the bootstrap where no number is asked for.
const DRAWS: u32 = 1000;
/// Level of intervals where none is asked for.
const LEVEL: f64 = 0.95;
/// Why options that name tokens have no effect.
const NO_TOKENS: &str = "`--control metadata-only` takes no tokens";

#[derive(Debug, Args)]
pub(super) struct SettingsArgs {
    #[command(flatten)]
    rules: RulesArgs,
    /// What an example is [default: a volume where all slices of a sample have its labels, else a slice]
    #[arg(long)]
    unit: Option<UnitArg>,
    /// How the features of slices become those of a volume [default: mean]
    #[arg(long)]
    pool: Option<PoolArg>,
    /// Put something meaningless in the place of labels or features
    #[arg(long)]
    control: Option<ControlArg>,
    /// Random orders of --control shuffled-labels, each fitted anew [default: 20]
    #[arg(long, value_name = "N", requires = "control", value_parser = clap::value_parser!(u32).range(2..=100_000))]
    permutations: Option<u32>,
    /// Measure a patient's cases as one: the mean of their scores. Settings and thresholds are chosen by
    /// patients too
    #[arg(long)]
    per_patient: bool,
}

/// By what rules, and on which split.
#[derive(Debug, Args)]
pub(super) struct RulesArgs {
    /// Rules: the study's with its traps, or honest ones; both with a comma between them
    #[arg(long, value_delimiter = ',', default_value = "strict")]
    protocol: Vec<ProtocolArg>,
    /// How samples are split: a name that `extract split` gave [default: as they were extracted]
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
    /// Share of the patients in `train`, drawn at random, that take the place of a missing `val`
    /// [default: 0.2, or 0.1 for logistic regression]
    #[arg(long, value_name = "SHARE", value_parser = level)]
    val_share: Option<f64>,
    #[command(flatten)]
    confidence: ConfidenceArgs,
}

/// What is fitted on.
#[derive(Debug, Args)]
pub(super) struct FitArgs {
    /// Splits to fit on [default: train+val, or train with --eval val]
    #[arg(long)]
    train: Option<Fit>,
}

/// How sure figures are.
#[derive(Debug, Args)]
pub(super) struct ConfidenceArgs {
    /// Draws of the bootstrap over patients that gives intervals; 0 for none [default: 1000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    bootstrap: Option<u32>,
    /// Share of draws inside of an interval [default: 0.95]
    #[arg(long, value_name = "SHARE", value_parser = level)]
    level: Option<f64>,
    /// What everything random begins with
    #[arg(long, default_value_t = 0)]
    pub(super) seed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ProtocolArg {
    Paper,
    Strict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum SelectArg {
    Auroc,
    Accuracy,
}

impl From<SelectArg> for Select {
    fn from(word: SelectArg) -> Select {
        match word {
            SelectArg::Auroc => Select::Auroc,
            SelectArg::Accuracy => Select::Accuracy,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum UnitArg {
    Slice,
    Volume,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PoolArg {
    Mean,
    Max,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Fit {
    Train,
    #[value(name = "train+val")]
    TrainVal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ControlArg {
    ShuffledLabels,
    MetadataOnly,
    RandomFeatures,
}

impl ConfidenceArgs {
    pub(super) fn confidence(&self) -> Option<Confidence> {
        let draws = self.bootstrap.unwrap_or(DRAWS);
        (draws > 0).then_some(Confidence {
            draws: draws as usize,
            level: self.level.unwrap_or(LEVEL),
            seed: self.seed,
        })
    }

    /// `--level` without draws.
    pub(super) fn idle(&self) -> [Idle; 1] {
        let is_idle = self.level.is_some() && self.bootstrap == Some(0);
        [Idle::new(
            "--level",
            is_idle,
            "`--bootstrap 0` gives no intervals",
            NEVER,
        )]
    }

    /// Both options where intervals are given under some protocols only. No draws are asked for
    /// everywhere.
    pub(super) fn without_intervals(
        &self,
        why: &'static str,
        has_intervals: fn(Protocol) -> bool,
    ) -> [Idle; 2] {
        let draws = self.bootstrap.is_some_and(|draws| draws > 0);
        [
            Idle::new("--bootstrap", draws, why, has_intervals),
            Idle::new("--level", self.level.is_some(), why, has_intervals),
        ]
    }
}

impl FitArgs {
    /// The splits to fit on, where `eval` is evaluated.
    fn splits(&self, eval: Split) -> Result<Vec<Split>> {
        match (self.train, eval) {
            (Some(Fit::TrainVal), Split::Val) => {
                bail!("`--train train+val` holds `--eval val`\nhint: give --train train")
            }
            (Some(Fit::TrainVal) | None, Split::Test) => Ok(vec![Split::Train, Split::Val]),
            _ => Ok(vec![Split::Train]),
        }
    }
}

impl SettingsArgs {
    /// One per protocol that is asked for, of a probe that is fitted on whole splits.
    pub(super) fn whole(
        &self,
        fit: &FitArgs,
        eval: Split,
        idle: impl IntoIterator<Item = Idle>,
        messages: &mut impl Write,
    ) -> Result<Vec<Settings>> {
        self.settings(eval, &fit.splits(eval)?, idle, messages)
    }

    /// One per protocol that is asked for. Refuses options that have no effect, of these and of `idle`,
    /// and warns of those that have none under one of several protocols.
    pub(super) fn settings(
        &self,
        eval: Split,
        fit: &[Split],
        idle: impl IntoIterator<Item = Idle>,
        messages: &mut impl Write,
    ) -> Result<Vec<Settings>> {
        let control = self.control()?;
        let own = self.idle(eval).into_iter();
        self.rules.check(own.chain(idle), messages)?;
        let settings = self.rules.settings(eval, fit).into_iter();
        Ok(settings
            .map(|settings| self.of(settings, control))
            .collect())
    }

    fn idle(&self, eval: Split) -> Vec<Idle> {
        let of_slices = self.pool.is_some() && self.unit == Some(UnitArg::Slice);
        let of_metadata = self.pool.is_some() && self.has_no_tokens();
        let no_choice = self.rules.val_share.is_some() && eval == Split::Val;
        let mut idle = vec![
            Idle::new("--pool", of_slices, "`--unit slice` pools nothing", NEVER),
            Idle::new("--pool", of_metadata, NO_TOKENS, NEVER),
            Idle::new(
                "--val-share",
                no_choice,
                "`--eval val` evaluates `val` itself",
                NEVER,
            ),
        ];
        if self.control == Some(ControlArg::ShuffledLabels) {
            let why = "of shuffled labels the spread over orders is given, not intervals";
            let confidence = &self.rules.confidence;
            idle.extend(confidence.without_intervals(why, NEVER));
        }
        idle
    }

    fn has_no_tokens(&self) -> bool {
        self.control == Some(ControlArg::MetadataOnly)
    }

    /// Options that name tokens, where there are none.
    pub(super) fn without_tokens(&self, features: bool, layer: bool) -> [Idle; 2] {
        let has_none = self.has_no_tokens();
        [
            Idle::new("--features", features && has_none, NO_TOKENS, NEVER),
            Idle::new("--layer", layer && has_none, NO_TOKENS, NEVER),
        ]
    }

    pub(super) fn rules(&self) -> &RulesArgs {
        &self.rules
    }

    fn control(&self) -> Result<Option<Control>> {
        let shuffled = Some(ControlArg::ShuffledLabels);
        if self.permutations.is_some() && self.control != shuffled {
            bail!("`--permutations` belongs to `--control shuffled-labels`\nhint: leave it out");
        }
        Ok(self.control.map(|control| match control {
            ControlArg::ShuffledLabels => Control::ShuffledLabels {
                permutations: self.permutations.unwrap_or(PERMUTATIONS) as usize,
            },
            ControlArg::MetadataOnly => Control::MetadataOnly,
            ControlArg::RandomFeatures => Control::RandomFeatures,
        }))
    }

    fn of(&self, settings: Settings, control: Option<Control>) -> Settings {
        Settings {
            unit: self.unit.map(|unit| match unit {
                UnitArg::Slice => Unit::Slice,
                UnitArg::Volume => Unit::Volume,
            }),
            pool: self.pool.map(|pool| match pool {
                PoolArg::Mean => Pool::Mean,
                PoolArg::Max => Pool::Max,
            }),
            control,
            per_patient: self.per_patient,
            ..settings
        }
    }
}

impl RulesArgs {
    /// One per protocol that is asked for.
    pub(super) fn settings(&self, eval: Split, fit: &[Split]) -> Vec<Settings> {
        let protocols = self.protocols().into_iter();
        protocols
            .map(|protocol| self.of(protocol, eval, fit.to_vec()))
            .collect()
    }

    /// Refuses options that have no effect, of these and of `idle`, and warns of those that have none
    /// under one of several protocols.
    pub(super) fn check(
        &self,
        idle: impl IntoIterator<Item = Idle>,
        messages: &mut impl Write,
    ) -> Result<()> {
        let mut own = self.confidence.idle().to_vec();
        let why = "the study's rules draw no `val` out of `train`";
        let has_share = self.val_share.is_some();
        own.push(Idle::new(
            "--val-share",
            has_share,
            why,
            Protocol::holds_out,
        ));
        let protocols = self.protocols();
        effect::check(own.into_iter().chain(idle), &protocols, messages)
    }

    /// Each that is asked for, once.
    fn protocols(&self) -> Vec<Protocol> {
        let mut protocols = Vec::new();
        for protocol in &self.protocol {
            let protocol = match protocol {
                ProtocolArg::Paper => Protocol::Paper,
                ProtocolArg::Strict => Protocol::Strict,
            };
            if !protocols.contains(&protocol) {
                protocols.push(protocol);
            }
        }
        protocols
    }

    /// `--val-share` where nothing is chosen.
    pub(super) fn without_choice(&self, why: &'static str) -> Idle {
        Idle::new("--val-share", self.val_share.is_some(), why, NEVER)
    }

    pub(super) fn confidence(&self) -> &ConfidenceArgs {
        &self.confidence
    }

    fn of(&self, protocol: Protocol, eval: Split, fit: Vec<Split>) -> Settings {
        Settings {
            protocol,
            unit: Some(Unit::Slice),
            pool: None,
            split_name: self.split.clone(),
            fit,
            eval,
            val_share: self.val_share,
            control: None,
            seed: self.confidence.seed,
            confidence: self.confidence.confidence(),
            per_patient: false,
        }
    }
}

fn level(word: &str) -> Result<f64, String> {
    let value = word.parse().ok();
    let value = value.filter(|value: &f64| 0.0 < *value && *value < 1.0);
    value.ok_or_else(|| "expected a number between 0 and 1".into())
}
