//! `probe linear`.

use std::io::Write;

use anyhow::Result;
use cache::Split;
use clap::{Args, ValueEnum};

use super::settings::{FitArgs, SelectArg, SettingsArgs};
use super::{Caches, Outcome, Output, over};
use crate::evaluate::{LinearOptions, Probe};
use crate::probes::linear::Reduction;

/// The study's learning rates (appendix B.2).
const LEARNING_RATES: &str = "0.1,0.01,0.05,0.001,0.005,0.0001,0.0005,0.00001";
/// Those of DINOv2's evaluation, for batches of 256.
const DINOV2: [f32; 13] = [
    1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1,
];

#[derive(Debug, Args)]
pub(super) struct Linear {
    #[command(flatten)]
    caches: Caches,
    #[command(flatten)]
    linear: LinearArgs,
    /// What the best head is best in, on the part that is chosen on
    #[arg(long, default_value = "auroc")]
    select: SelectArg,
    #[command(flatten)]
    fit: FitArgs,
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
pub(super) struct LinearArgs {
    /// Learning rates of the grid, at the beginning; they fall along a cosine to 0. `dinov2` stands for
    /// the 13 rates of DINOv2's evaluation, each times the batch size / 256
    #[arg(long, value_delimiter = ',', default_value = LEARNING_RATES, value_parser = rates)]
    lr: Vec<Rates>,
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

/// A learning rate, or those of DINOv2.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rates {
    One(f32),
    Dinov2,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LossArg {
    Mean,
    Sum,
}

impl Linear {
    pub(super) fn run(&self, out: &mut impl Write, messages: &mut impl Write) -> Result<Outcome> {
        let probe = Probe::Linear(self.linear.options(self.select));
        let settings = self.settings.whole(&self.fit, Split::Test, [], messages)?;
        over::evaluate(&probe, settings, &self.caches, &self.output, out, messages)
    }
}

impl LinearArgs {
    pub(super) fn options(&self, select: SelectArg) -> LinearOptions {
        LinearOptions {
            learning_rates: self.learning_rates(),
            blocks: self.blocks.clone(),
            epochs: self.epochs as usize,
            batch_size: self.batch_size as usize,
            momentum: self.momentum,
            reduction: self.loss.map(|loss| match loss {
                LossArg::Mean => Reduction::Mean,
                LossArg::Sum => Reduction::Sum,
            }),
            select: select.into(),
        }
    }

    fn learning_rates(&self) -> Vec<f32> {
        let scale = self.batch_size as f32 / 256.0;
        let rates = self.lr.iter().flat_map(|&rates| match rates {
            Rates::One(rate) => vec![rate],
            Rates::Dinov2 => DINOV2.iter().map(|rate| rate * scale).collect(),
        });
        rates.collect()
    }
}

fn rates(word: &str) -> Result<Rates, String> {
    if word == "dinov2" {
        return Ok(Rates::Dinov2);
    }
    let rate = learning_rate(word).map_err(|error| format!("{error}, or `dinov2`"))?;
    Ok(Rates::One(rate))
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
