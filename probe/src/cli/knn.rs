//! `probe knn`.

use std::io::Write;
use std::ops::RangeInclusive;

use anyhow::{Result, bail};
use cache::Split;
use clap::{Args, ValueEnum};

use super::effect::Idle;
use super::settings::{FitArgs, SettingsArgs};
use super::{Caches, Outcome, Output, over};
use crate::evaluate::{CentroidOptions, Features, IndexKind, KnnOptions, Probe};
use crate::probes::hnsw::HnswOptions;
use crate::probes::knn::Vote;

/// Temperature of the softmax vote in DINOv2's evaluation.
const TEMPERATURE: f64 = 0.07;
/// Candidates that a search of `--index hnsw` keeps.
const CANDIDATES: usize = 200;

#[derive(Debug, Args)]
pub(super) struct Knn {
    #[command(flatten)]
    caches: Caches,
    #[command(flatten)]
    knn: KnnArgs,
    /// Split to evaluate
    #[arg(long, default_value = "test")]
    eval: Eval,
    #[command(flatten)]
    fit: FitArgs,
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Args)]
pub(super) struct KnnArgs {
    /// Numbers of neighbours, all answered from one search [default: 10,20,100,200, or the study's, as
    /// far as there are training examples]
    #[arg(long, value_delimiter = ',', value_parser = neighbours)]
    k: Option<Vec<usize>>,
    /// Tokens by which neighbours are near [default: cls]
    #[arg(long)]
    features: Option<FeaturesArg>,
    /// Block whose tokens are used, 1 for the last [default: 1]
    #[arg(long)]
    layer: Option<u32>,
    /// How neighbours vote [default: softmax for single-label data, ML-kNN for multi-label data]
    #[arg(long)]
    vote: Option<VoteArg>,
    /// Temperature of --vote softmax [default: 0.07]
    #[arg(long, requires = "vote", value_parser = temperature)]
    temperature: Option<f64>,
    /// ML-kNN: whether a training example is left out of its own neighbours [default: true, or false
    /// with --protocol paper]
    #[arg(long, num_args = 0..=1, default_missing_value = "true")]
    exclude_self: Option<bool>,
    /// How neighbours are found: all of them, or most of them by following links, whose recall is
    /// measured
    #[arg(long, default_value = "exact")]
    index: IndexArg,
    /// Candidates that a search of --index hnsw keeps: more find more neighbours and take longer
    /// [default: 200]
    #[arg(long, requires = "index", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    ef: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum FeaturesArg {
    Cls,
    MeanPatch,
    #[value(name = "cls+mean-patch")]
    Both,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum VoteArg {
    Softmax,
    Majority,
    Distance,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum IndexArg {
    Exact,
    Hnsw,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Eval {
    Test,
    Val,
}

impl Knn {
    pub(super) fn run(&self, out: &mut impl Write, messages: &mut impl Write) -> Result<Outcome> {
        let probe = Probe::Knn(self.knn.options()?);
        let eval = match self.eval {
            Eval::Test => Split::Test,
            Eval::Val => Split::Val,
        };
        let idle = self.knn.without_tokens(&self.settings);
        let settings = self.settings.whole(&self.fit, eval, idle, messages)?;
        over::evaluate(&probe, settings, &self.caches, &self.output, out, messages)
    }
}

impl KnnArgs {
    pub(super) fn centroid(&self) -> CentroidOptions {
        let (features, layer) = self.tokens();
        CentroidOptions {
            features: features.into(),
            layer,
        }
    }

    fn vote(&self) -> Option<Vote> {
        self.vote.map(|vote| match vote {
            VoteArg::Softmax => Vote::Softmax {
                temperature: self.temperature.unwrap_or(TEMPERATURE),
            },
            VoteArg::Majority => Vote::Majority,
            VoteArg::Distance => Vote::Distance,
        })
    }

    fn index(&self) -> IndexKind {
        match self.index {
            IndexArg::Exact => IndexKind::Exact,
            IndexArg::Hnsw => IndexKind::Hnsw(HnswOptions {
                ef: self.ef.map_or(CANDIDATES, |ef| ef as usize),
                ..HnswOptions::default()
            }),
        }
    }

    /// An option that another one leaves without effect, and that other one.
    fn without_effect(&self) -> Option<(&'static str, &'static str)> {
        let is_softmax = self.vote == Some(VoteArg::Softmax);
        if self.temperature.is_some() && !is_softmax {
            return Some(("--temperature", "--vote softmax"));
        }
        if self.exclude_self.is_some() && self.vote.is_some() {
            return Some(("--exclude-self", "ML-kNN, so no --vote"));
        }
        if self.ef.is_some() && self.index == IndexArg::Exact {
            return Some(("--ef", "--index hnsw"));
        }
        None
    }

    /// Which tokens of which block.
    pub(super) fn tokens(&self) -> (FeaturesArg, u32) {
        tokens(self.features, self.layer)
    }

    /// Options that name tokens, where a control takes none.
    pub(super) fn without_tokens(&self, settings: &SettingsArgs) -> [Idle; 2] {
        settings.without_tokens(self.features.is_some(), self.layer.is_some())
    }

    /// Refuses an option that another one leaves without effect.
    pub(super) fn options(&self) -> Result<KnnOptions> {
        if let Some((option, needed)) = self.without_effect() {
            bail!("`{option}`: needs {needed}\nhint: leave it out");
        }
        let (features, layer) = self.tokens();
        Ok(KnnOptions {
            ks: self.k.as_deref().map(distinct),
            features: features.into(),
            layer,
            vote: self.vote(),
            exclude_self: self.exclude_self,
            index: self.index(),
        })
    }
}

/// Tokens and block where one or both are not named.
pub(super) fn tokens(features: Option<FeaturesArg>, layer: Option<u32>) -> (FeaturesArg, u32) {
    (features.unwrap_or(FeaturesArg::Cls), layer.unwrap_or(1))
}

impl From<FeaturesArg> for Features {
    fn from(word: FeaturesArg) -> Features {
        match word {
            FeaturesArg::Cls => Features::Cls,
            FeaturesArg::MeanPatch => Features::Mean,
            FeaturesArg::Both => Features::Both,
        }
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
