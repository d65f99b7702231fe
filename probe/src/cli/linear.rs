//! `probe linear`.

use std::io::Write;

use anyhow::Result;
use cache::Split;
use clap::{Args, ValueEnum};

use super::settings::{FitArgs, SettingsArgs};
use super::{Caches, Outcome, Output, over};
use crate::evaluate::{LinearOptions, Probe};
use crate::probes::linear::Reduction;

/// The study's learning rates (appendix B.2).
const LEARNING_RATES: &str = "0.1,0.01,0.05,0.001,0.005,0.0001,0.0005,0.00001";

#[derive(Debug, Args)]
pub(super) struct Linear {
    #[command(flatten)]
    caches: Caches,
    #[command(flatten)]
    linear: LinearArgs,
    #[command(flatten)]
    fit: FitArgs,
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
pub(super) struct LinearArgs {
    /// Learning rates of the grid, at the beginning; they fall along a cosine to 0
    #[arg(long, value_delimiter = ',', default_value = LEARNING_RATES, value_parser = learning_rate)]
    lr: Vec<f32>,
    /// Numbers of last blocks whose CLS tokens a head sees, each with and without the mean patch token
    #[arg(long, value_delimiter = ',', default_value = "1,4", value_parser = clap::value_parser!(u32).range(1..=1024))]
    blocks: Vec<u32>,
    /// Passes over the training examples
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    epochs: u32,
    /// Examples in a step
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    batch_size: u32,
    /// Momentum
    #[arg(long, default_value_t = 0.9, value_parser = momentum)]
    momentum: f32,
    /// Multi-label data: the mean loss over a batch, or the sum as in the study's code, which acts as a
    /// learning rate that is a batch size larger [default: mean, or sum with --protocol paper]
    #[arg(long)]
    loss: Option<LossArg>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LossArg {
    Mean,
    Sum,
}

impl Linear {
    pub(super) fn run(&self, out: &mut impl Write, messages: &mut impl Write) -> Result<Outcome> {
        let probe = Probe::Linear(self.linear.options());
        let settings = self.settings.whole(&self.fit, Split::Test)?;
        over::evaluate(&probe, settings, &self.caches, &self.output, out, messages)
    }
}

impl LinearArgs {
    pub(super) fn options(&self) -> LinearOptions {
        LinearOptions {
            learning_rates: self.lr.clone(),
            blocks: self.blocks.clone(),
            epochs: self.epochs as usize,
            batch_size: self.batch_size as usize,
            momentum: self.momentum,
            reduction: self.loss.map(|loss| match loss {
                LossArg::Mean => Reduction::Mean,
                LossArg::Sum => Reduction::Sum,
            }),
        }
    }
}

pub(super) fn learning_rate(word: &str) -> Result<f32, String> {
    let value = word
        .parse()
        .ok()
        .filter(|value: &f32| value.is_finite() && *value > 0.0);
    value.ok_or_else(|| "expected a number above 0".into())
}

fn momentum(word: &str) -> Result<f32, String> {
    let value = word
        .parse()
        .ok()
        .filter(|value: &f32| (0.0..1.0).contains(value));
    value.ok_or_else(|| "expected a number from 0 to below 1".into())
}
