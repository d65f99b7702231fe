//! `probe linear`.

use std::io::Write;

use anyhow::Result;
use clap::{Args, ValueEnum};

use super::{Caches, Outcome, Output, over_caches};
use crate::evaluate::{self, LinearOptions};
use crate::examples::Unit;
use crate::probes::linear::Reduction;

/// The study's learning rates (appendix B.2).
const LEARNING_RATES: &str = "0.1,0.01,0.05,0.001,0.005,0.0001,0.0005,0.00001";

#[derive(Debug, Args)]
pub(super) struct Linear {
    #[command(flatten)]
    caches: Caches,
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
    /// What weights and the order of examples are drawn from
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Multi-label data: the mean loss over a batch, or the sum as in the study's code, which acts as a
    /// learning rate that is a batch size larger
    #[arg(long, default_value = "mean")]
    loss: LossArg,
    /// What an example is [default: a volume where all slices of a sample have its labels, else a slice]
    #[arg(long)]
    unit: Option<UnitArg>,
    /// How samples are split: a name that `extract split` gave [default: as they were extracted]
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
    #[command(flatten)]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LossArg {
    Mean,
    Sum,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum UnitArg {
    Slice,
    Volume,
}

impl Linear {
    pub(super) fn run(&self, out: &mut impl Write, messages: &mut impl Write) -> Result<Outcome> {
        let options = self.options();
        over_caches(&self.caches, &self.output, out, messages, |reader| {
            let (evaluation, _) = evaluate::linear(reader, &options)?;
            Ok(vec![evaluation])
        })
    }

    fn options(&self) -> LinearOptions {
        LinearOptions {
            learning_rates: self.lr.clone(),
            blocks: self.blocks.clone(),
            epochs: self.epochs as usize,
            batch_size: self.batch_size as usize,
            momentum: self.momentum,
            seed: self.seed,
            reduction: match self.loss {
                LossArg::Mean => Reduction::Mean,
                LossArg::Sum => Reduction::Sum,
            },
            unit: self.unit.map(|unit| match unit {
                UnitArg::Slice => Unit::Slice,
                UnitArg::Volume => Unit::Volume,
            }),
            split_name: self.split.clone(),
        }
    }
}

fn learning_rate(word: &str) -> Result<f32, String> {
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
