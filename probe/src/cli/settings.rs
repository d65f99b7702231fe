//! Options that all probes have.

use anyhow::{Result, bail};
use cache::Split;
use clap::{Args, ValueEnum};

use crate::control::Control;
use crate::evaluate::{Select, Settings, VAL_SHARE};
use crate::examples::{Pool, Unit};
use crate::metrics::measures::Confidence;
use crate::protocol::Protocol;

/// Random orders of shuffled labels where no number is asked for.
const PERMUTATIONS: u32 = 20;

#[derive(Debug, Args)]
pub(super) struct SettingsArgs {
    #[command(flatten)]
    rules: RulesArgs,
    /// What an example is [default: a volume where all slices of a sample have its labels, else a slice]
    #[arg(long)]
    unit: Option<UnitArg>,
    /// How the features of slices become those of a volume
    #[arg(long, default_value = "mean")]
    pool: PoolArg,
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
    /// Draws of the bootstrap over patients that gives intervals; 0 for none
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    bootstrap: u32,
    /// Share of draws inside of an interval
    #[arg(long, default_value_t = 0.95, value_parser = level)]
    level: f64,
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
        (self.bootstrap > 0).then_some(Confidence {
            draws: self.bootstrap as usize,
            level: self.level,
            seed: self.seed,
        })
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
        val_share: f64,
    ) -> Result<Vec<Settings>> {
        self.settings(eval, &fit.splits(eval)?, val_share)
    }

    /// One per protocol that is asked for.
    pub(super) fn settings(
        &self,
        eval: Split,
        fit: &[Split],
        val_share: f64,
    ) -> Result<Vec<Settings>> {
        let control = self.control()?;
        let settings = self.rules.settings(eval, fit, val_share).into_iter();
        Ok(settings
            .map(|settings| self.of(settings, control))
            .collect())
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
            pool: match self.pool {
                PoolArg::Mean => Pool::Mean,
                PoolArg::Max => Pool::Max,
            },
            control,
            per_patient: self.per_patient,
            ..settings
        }
    }
}

impl RulesArgs {
    /// One per protocol that is asked for; `val_share` where none is given.
    pub(super) fn settings(&self, eval: Split, fit: &[Split], val_share: f64) -> Vec<Settings> {
        let mut settings: Vec<Settings> = Vec::new();
        for &protocol in &self.protocol {
            let protocol = match protocol {
                ProtocolArg::Paper => Protocol::Paper,
                ProtocolArg::Strict => Protocol::Strict,
            };
            if settings.iter().all(|known| known.protocol != protocol) {
                settings.push(Settings {
                    val_share: self.val_share.unwrap_or(val_share),
                    ..self.of(protocol, eval, fit.to_vec())
                });
            }
        }
        settings
    }

    fn of(&self, protocol: Protocol, eval: Split, fit: Vec<Split>) -> Settings {
        Settings {
            protocol,
            unit: Some(Unit::Slice),
            pool: Pool::Mean,
            split_name: self.split.clone(),
            fit,
            eval,
            val_share: VAL_SHARE,
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
