//! Logistic regression.

use cache::CacheReader;
use clap::Args;
use ndarray::Array2;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::TokenArgs;
use crate::Error;
use crate::error::LogregError;
use crate::evaluate::{Fitted, Grid, LinearModel, Probe, Report, Select, Task, choose, fields};
use crate::features::Tokens;
use crate::probes::linear::Link;
use crate::probes::logreg::{self, Data, Fit, Solver};
use crate::protocol::Protocol;
use crate::values::{brief, positive};

/// Number of values of C in DINOv2's evaluation, from 1e-6 to 1e5, equidistant in their logarithms.
const PENALTIES: usize = 45;

/// Classify by logistic regression
///
/// The L2 penalty is the one that is best on `val`.
#[derive(Args, Debug, Serialize)]
pub(super) struct Logreg {
    /// Inverses of the strength of the penalty [default: 45 from 1e-6 to 1e5]
    #[arg(long = "C", value_name = "C", value_delimiter = ',', value_parser = positive::<f64>)]
    #[arg(default_values_t = penalties(), hide_default_value = true)]
    cs: Vec<f64>,
    #[command(flatten)]
    #[serde(flatten)]
    tokens: TokenArgs,
    /// Solver
    #[arg(long, default_value = "lbfgs")]
    solver: Solver,
    /// Measure by which C is chosen
    #[arg(long, default_value = "auroc")]
    select: Select,
}

fn penalties() -> Vec<f64> {
    let exponent = |k: usize| -6.0 + 11.0 * k as f64 / (PENALTIES - 1) as f64;
    (0..PENALTIES).map(|k| 10_f64.powf(exponent(k))).collect()
}

impl Probe for Logreg {
    const NAME: &'static str = "logreg";
    /// DINOv2's.
    const VAL_SHARE: f64 = 0.1;

    fn tokens(&self, _: u32) -> Tokens {
        self.tokens.tokens()
    }

    fn options(&self, _: Protocol, _: &CacheReader) -> Result<Map<String, Value>, Error> {
        Ok(fields(self))
    }

    fn fit(&self, task: &Task<'_>) -> Result<Vec<Fitted>, Error> {
        let path = Path {
            task,
            options: self,
        };
        Ok(vec![choose(task, &path, self.select)?])
    }
}

/// The path of penalties.
struct Path<'a> {
    task: &'a Task<'a>,
    options: &'a Logreg,
}

impl Grid for Path<'_> {
    type Model = Fit;
    const CHOSEN: &'static str = "C";

    fn fit(&self, part: &[usize], only: Option<usize>) -> Result<Vec<Fit>, Error> {
        let examples = self.task.examples;
        let (features, targets) = (examples.plain(part), examples.truth(part));
        let data = Data {
            features: features.view(),
            targets: &targets,
            classes: self.task.classes(),
        };
        let all = &self.options.cs;
        let cs = only.map_or(&all[..], |index| &all[index..=index]);
        let steps = self.task.steps;
        let count = steps.count("logistic regression", cs.len(), "values of C");
        let path = logreg::fit_told(&data, cs, self.options.solver, &|done| count.add(done))?;
        if only.is_none() && path.iter().all(|fit| !fit.converged) {
            return Err(Error::Logreg(LogregError::Unconverged {
                path: self.task.reader.dir().into(),
            }));
        }
        Ok(path)
    }

    fn is_usable(&self, fit: &Fit) -> bool {
        fit.converged
    }

    /// Weights are rounded to f32, as in earlier versions. The link is a softmax under every protocol:
    /// no published evaluation has sigmoids of a multinomial model.
    fn linear(&self, fit: &Fit) -> LinearModel {
        LinearModel {
            tokens: self.options.tokens.tokens(),
            columns: 0..fit.weight.ncols(),
            weight: rounded(&fit.weight),
            bias: fit.bias.mapv(|b| f64::from(b as f32)),
            link: Link::Softmax,
        }
    }

    fn report(&self, fit: &Fit, path: &[Fit]) -> Report {
        let options = self.options;
        let left_out = path.iter().filter(|fit| !fit.converged);
        let left_out: Vec<f64> = left_out.map(|fit| fit.c).collect();
        let params = json!({
            "C": fit.c,
            "grid_C": options.cs,
            "select": options.select,
            "features": options.tokens.features,
            "layer": options.tokens.layer,
            "solver": options.solver,
            "loss": fit.loss,
            "evaluations": fit.evaluations,
            "converged": fit.converged,
            "unconverged_C": left_out,
        });
        let mut warnings = Vec::new();
        if !left_out.is_empty() {
            let words: Vec<String> = left_out.iter().map(|&c| brief(c)).collect();
            let words = words.join(", ");
            warnings.push(format!(
                "the minimum was not reached for C = {words}, left out"
            ));
        }
        if !fit.converged {
            warnings.push(format!(
                "the minimum was not reached for C = {}",
                brief(fit.c)
            ));
        }
        Report {
            setting: format!("C={}", brief(fit.c)),
            params: fields(&params),
            warnings,
        }
    }
}

fn rounded(values: &Array2<f64>) -> Array2<f64> {
    values.mapv(|value| f64::from(value as f32))
}
