//! Options that all probes share.

use std::io::Write;

use anyhow::{Result, bail};
use cache::Split;
use clap::{Args, ValueEnum};

use super::effect::{self, Idle, NEVER, NoEffect};
use crate::control::Control;
use crate::evaluate::Settings;
use crate::examples::{Pool, Unit};
use crate::metrics::measures::Confidence;
use crate::protocol::Protocol;
use crate::values::fraction;

/// Default number of random permutations of labels.
const PERMUTATIONS: u32 = 20;
/// Default number of bootstrap draws.
pub(super) const DRAWS: u32 = 1000;
/// Default confidence level.
pub(super) const LEVEL: f64 = 0.95;
/// Reason why options that select tokens have no effect.
const NO_TOKENS: &str = "`--control metadata-only` takes no tokens";

#[derive(Debug, Args)]
pub(super) struct SettingsArgs {
    #[command(flatten)]
    rules: RulesArgs,
    /// Unit of examples [default: volume if its slices have equal labels, else slice]
    #[arg(long)]
    unit: Option<Unit>,
    /// Pooling of the features of slices to those of a volume [default: mean]
    #[arg(long)]
    pool: Option<Pool>,
    /// Negative control: shuffle labels or replace features
    #[arg(long)]
    control: Option<ControlArg>,
    /// Random permutations of --control shuffled-labels, each fitted again [default: 20]
    #[arg(long, value_name = "N", requires = "control", value_parser = clap::value_parser!(u32).range(2..=100_000))]
    permutations: Option<u32>,
    /// Average the scores of a patient's cases and measure patients
    ///
    /// Settings and thresholds are also chosen by patients.
    #[arg(long)]
    per_patient: bool,
}

/// Evaluation protocol and split.
#[derive(Debug, Args)]
pub(super) struct RulesArgs {
    /// Evaluation protocol; `paper,strict` for both
    #[arg(long, value_delimiter = ',', default_value = "strict")]
    protocol: Vec<Protocol>,
    /// Name of a split made by `extract split` [default: the split of the extraction]
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
    /// Share of the patients in `train` that replaces a missing `val` [default: 0.2, or 0.1 for logreg]
    ///
    /// They are drawn at random.
    #[arg(long, value_name = "SHARE", value_parser = fraction)]
    val_share: Option<f64>,
    #[command(flatten)]
    confidence: ConfidenceArgs,
}

/// Splits to fit on.
#[derive(Debug, Args)]
pub(super) struct FitArgs {
    /// Splits to fit on [default: train+val, or train with --eval val]
    #[arg(long)]
    train: Option<Fit>,
}

/// Confidence intervals.
#[derive(Debug, Args)]
pub(super) struct ConfidenceArgs {
    /// Bootstrap draws of patients for confidence intervals; 0 for no intervals [default: 1000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    bootstrap: Option<u32>,
    /// Confidence level [default: 0.95]
    #[arg(long, value_name = "SHARE", value_parser = fraction)]
    level: Option<f64>,
    /// Random seed
    #[arg(long, default_value_t = 0)]
    pub(super) seed: u64,
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

    /// `--level` without bootstrap draws.
    pub(super) fn idle(&self) -> [Idle; 1] {
        let is_idle = self.level.is_some() && self.bootstrap == Some(0);
        [Idle::new(
            "--level",
            is_idle,
            "`--bootstrap 0` gives no intervals",
            NEVER,
        )]
    }

    /// Options of intervals, if only some protocols give intervals. `--bootstrap 0` is always allowed.
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
    /// Splits to fit on if `eval` is evaluated.
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
    /// Settings for each given protocol, of a probe that is fitted on whole splits.
    pub(super) fn whole(
        &self,
        fit: &FitArgs,
        eval: Split,
        idle: impl IntoIterator<Item = Idle>,
        messages: &mut impl Write,
    ) -> Result<Vec<Settings>> {
        self.settings(eval, &fit.splits(eval)?, idle, messages)
    }

    /// Settings for each given protocol. Options without effect, of these and of `idle`, are errors, or
    /// warnings if they have an effect under another given protocol.
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
        let of_slices = self.pool.is_some() && self.unit == Some(Unit::Slice);
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
            let why = "shuffled labels give a standard deviation over permutations, not intervals";
            let confidence = &self.rules.confidence;
            idle.extend(confidence.without_intervals(why, NEVER));
        }
        idle
    }

    fn has_no_tokens(&self) -> bool {
        self.control == Some(ControlArg::MetadataOnly)
    }

    /// Options that select tokens, if a control takes none; `given` are the names of the given options.
    pub(super) fn without_tokens(&self, given: &[String]) -> [Idle; 2] {
        let is_idle = |name: &str| self.has_no_tokens() && given.iter().any(|given| given == name);
        [
            Idle::new("--features", is_idle("features"), NO_TOKENS, NEVER),
            Idle::new("--layer", is_idle("layer"), NO_TOKENS, NEVER),
        ]
    }

    pub(super) fn rules(&self) -> &RulesArgs {
        &self.rules
    }

    fn control(&self) -> Result<Option<Control>> {
        let shuffled = Some(ControlArg::ShuffledLabels);
        if self.permutations.is_some() && self.control != shuffled {
            let text =
                "`--permutations` belongs to `--control shuffled-labels`\nhint: leave it out";
            return Err(NoEffect::new("--permutations", text.into()).into());
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
            unit: self.unit,
            pool: self.pool,
            control,
            per_patient: self.per_patient,
            ..settings
        }
    }
}

impl RulesArgs {
    /// Settings for each given protocol.
    pub(super) fn settings(&self, eval: Split, fit: &[Split]) -> Vec<Settings> {
        let protocols = self.protocols().into_iter();
        protocols
            .map(|protocol| self.of(protocol, eval, fit.to_vec()))
            .collect()
    }

    /// Checks for options without effect, of these and of `idle`: errors, or warnings if they have an
    /// effect under another given protocol.
    pub(super) fn check(
        &self,
        idle: impl IntoIterator<Item = Idle>,
        messages: &mut impl Write,
    ) -> Result<()> {
        let mut own = self.confidence.idle().to_vec();
        let why = "the paper protocol draws no `val` from `train`";
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

    /// Given protocols, each once.
    fn protocols(&self) -> Vec<Protocol> {
        let mut protocols = Vec::new();
        for &protocol in &self.protocol {
            if !protocols.contains(&protocol) {
                protocols.push(protocol);
            }
        }
        protocols
    }

    /// `--val-share` if nothing is chosen.
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
