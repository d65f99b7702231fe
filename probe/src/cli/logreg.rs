//! `probe logreg`.

use std::io::Write;

use anyhow::Result;
use cache::Split;
use clap::{Args, ValueEnum};

use super::knn::{FeaturesArg, tokens};
use super::settings::{FitArgs, SelectArg, SettingsArgs};
use super::{Caches, Outcome, Output, over};
use crate::evaluate::{LogregOptions, Probe};
use crate::probes::logreg::Solver;

/// Inverses of the penalty's strength in DINOv2's evaluation: 45 from 1e-6 to 1e5, at equal distances
/// of their logarithms.
const PENALTIES: usize = 45;

#[derive(Debug, Args)]
pub(super) struct Logreg {
    #[command(flatten)]
    caches: Caches,
    #[command(flatten)]
    logreg: LogregArgs,
    /// Tokens that are seen [default: cls]
    #[arg(long)]
    features: Option<FeaturesArg>,
    /// Block whose tokens are used, 1 for the last [default: 1]
    #[arg(long)]
    layer: Option<u32>,
    /// What the best C is best in, on the part that is chosen on; `accuracy` as in DINOv2's evaluation
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
pub(super) struct LogregArgs {
    /// Inverses of the penalty's strength [default: 45 from 1e-6 to 1e5]
    #[arg(long = "C", value_name = "C", value_delimiter = ',', value_parser = penalty)]
    cs: Option<Vec<f64>>,
    /// Who minimises
    #[arg(long, default_value = "lbfgs")]
    solver: SolverArg,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SolverArg {
    /// Our own, all penalties of the path together; Newton's method finishes what L-BFGS does not
    Lbfgs,
    /// linfa-logistic, much slower
    Linfa,
}

impl Logreg {
    pub(super) fn run(&self, out: &mut impl Write, messages: &mut impl Write) -> Result<Outcome> {
        let (features, layer) = tokens(self.features, self.layer);
        let probe = Probe::Logreg(self.logreg.options(features, layer, self.select));
        let given = (self.features.is_some(), self.layer.is_some());
        let idle = self.settings.without_tokens(given.0, given.1);
        let settings = self
            .settings
            .whole(&self.fit, Split::Test, idle, messages)?;
        over::evaluate(&probe, settings, &self.caches, &self.output, out, messages)
    }
}

impl LogregArgs {
    pub(super) fn options(
        &self,
        features: FeaturesArg,
        layer: u32,
        select: SelectArg,
    ) -> LogregOptions {
        let exponent = |k: usize| -6.0 + 11.0 * k as f64 / (PENALTIES - 1) as f64;
        let all = || (0..PENALTIES).map(|k| 10_f64.powf(exponent(k))).collect();
        LogregOptions {
            cs: self.cs.clone().unwrap_or_else(all),
            features: features.into(),
            layer,
            solver: match self.solver {
                SolverArg::Lbfgs => Solver::Lbfgs,
                SolverArg::Linfa => Solver::Linfa,
            },
            select: select.into(),
        }
    }
}

fn penalty(word: &str) -> Result<f64, String> {
    let value = word.parse().ok();
    let value = value.filter(|value: &f64| value.is_finite() && *value > 0.0);
    value.ok_or_else(|| "expected a number above 0".into())
}
