//! `probe knn`.

use std::io::Write;
use std::ops::RangeInclusive;

use anyhow::{Result, bail};
use cache::Split;
use clap::{Args, ValueEnum};

use super::{Caches, Outcome, Output, over_caches};
use crate::evaluate::{self, KnnOptions};

#[derive(Debug, Args)]
pub(super) struct Knn {
    #[command(flatten)]
    caches: Caches,
    /// Numbers of neighbours, all answered from one search
    #[arg(long, value_delimiter = ',', default_value = "200", value_parser = neighbours)]
    k: Vec<usize>,
    /// Block whose CLS tokens are used, 1 for the last
    #[arg(long, default_value_t = 1)]
    layer: u32,
    /// Temperature of the softmax vote
    #[arg(long, default_value_t = 0.07, value_parser = temperature)]
    temperature: f64,
    /// Leave a training slice out of its own neighbours (ML-kNN)
    #[arg(long)]
    exclude_self: bool,
    /// Splits to fit on [default: train+val, or train with --eval val]
    #[arg(long)]
    train: Option<Fit>,
    /// Split to evaluate
    #[arg(long, default_value = "test")]
    eval: Eval,
    /// How samples are split: a name that `extract split` gave [default: as they were extracted]
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
    #[command(flatten)]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Fit {
    Train,
    #[value(name = "train+val")]
    TrainVal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Eval {
    Test,
    Val,
}

impl Knn {
    pub(super) fn run(&self, out: &mut impl Write, messages: &mut impl Write) -> Result<Outcome> {
        let options = self.options()?;
        over_caches(&self.caches, &self.output, out, messages, |reader| {
            evaluate::knn(reader, &options)
        })
    }

    fn options(&self) -> Result<KnnOptions> {
        let eval = match self.eval {
            Eval::Test => Split::Test,
            Eval::Val => Split::Val,
        };
        let train = match (self.train, self.eval) {
            (Some(Fit::TrainVal), Eval::Val) => {
                bail!("`--train train+val` holds `--eval val`\nhint: give --train train")
            }
            (Some(Fit::TrainVal) | None, Eval::Test) => vec![Split::Train, Split::Val],
            _ => vec![Split::Train],
        };
        Ok(KnnOptions {
            ks: distinct(&self.k),
            layer: self.layer,
            temperature: self.temperature,
            exclude_self: self.exclude_self,
            train,
            eval,
            split_name: self.split.clone(),
        })
    }
}

fn distinct(ks: &[usize]) -> Vec<usize> {
    let mut found = Vec::new();
    ks.iter().for_each(|k| {
        if !found.contains(k) {
            found.push(*k);
        }
    });
    found
}

fn neighbours(word: &str) -> Result<usize, String> {
    const RANGE: RangeInclusive<usize> = 1..=1_000_000;
    let k = word.parse().ok().filter(|k| RANGE.contains(k));
    k.ok_or_else(|| {
        format!(
            "expected a whole number from {} to {}",
            RANGE.start(),
            RANGE.end()
        )
    })
}

fn temperature(word: &str) -> Result<f64, String> {
    let value = word
        .parse()
        .ok()
        .filter(|value: &f64| value.is_finite() && *value > 0.0);
    value.ok_or_else(|| "expected a number above 0".into())
}

#[cfg(test)]
mod tests;
