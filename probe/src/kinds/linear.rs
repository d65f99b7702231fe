//! Linear heads.

use cache::{CacheReader, Task as Labels};
use clap::Args;
use serde_json::{Map, Value, json};

use crate::Error;
use crate::evaluate::{
    Fitted, Grid, LinearModel, Probe, Report, Select, Task, choose, fields, no_effect,
};
use crate::features::Tokens;
use crate::probes::linear::{
    self, Batches, Data, Head, HeadOptions, Loss, Reduction, Schedule, train,
};
use crate::protocol::Protocol;
use crate::values::{brief, positive};

/// Usual numbers of last blocks of the grid.
const BLOCKS: [u32; 2] = [1, 4];

/// The study's learning rates (appendix B.2).
const LEARNING_RATES: &str = "0.1,0.01,0.05,0.001,0.005,0.0001,0.0005,0.00001";
/// Learning rates of DINOv2's evaluation, for batches of 256.
const DINOV2: [f32; 13] = [
    1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1,
];

/// Classify by a linear head
///
/// The heads of a grid are trained together, and the one that is best on `val` is chosen.
#[derive(Args, Debug)]
pub(super) struct Linear {
    /// Initial learning rates of the grid [default: the study's eight, from 0.00001 to 0.1]
    ///
    /// They fall to 0 along a cosine. `dinov2` stands for the 13 rates of DINOv2's evaluation, each times the
    /// batch size / 256.
    #[arg(long, value_delimiter = ',', default_value = LEARNING_RATES, value_parser = rates)]
    #[arg(hide_default_value = true)]
    lr: Vec<Rates>,
    /// Numbers of last blocks whose CLS tokens a head takes, each with and without the mean patch token
    /// [default: 1 and 4, or only 1 if the cache has fewer]
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=1024))]
    blocks: Vec<u32>,
    /// Passes over the training examples
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    epochs: u32,
    /// Examples per step
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    batch_size: u32,
    /// Momentum
    #[arg(long, default_value_t = 0.9, value_parser = momentum)]
    momentum: f32,
    /// Multi-label data: mean or sum of the loss over a batch [default: mean, or sum with --protocol paper]
    ///
    /// The sum, as in the study's code, acts like a learning rate multiplied by the batch size.
    #[arg(long)]
    loss: Option<Reduction>,
    /// Measure by which the head is chosen
    #[arg(long, default_value = "auroc")]
    select: Select,
}

/// A learning rate, or those of DINOv2.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rates {
    One(f32),
    Dinov2,
}

fn rates(word: &str) -> Result<Rates, String> {
    if word == "dinov2" {
        return Ok(Rates::Dinov2);
    }
    let rate = positive(word).map_err(|error| format!("{error}, or `dinov2`"))?;
    Ok(Rates::One(rate))
}

fn momentum(word: &str) -> Result<f32, String> {
    let value = word.parse().ok();
    let value = value.filter(|value: &f32| (0.0..1.0).contains(value));
    value.ok_or_else(|| "expected a number from 0 to below 1".into())
}

impl Linear {
    fn learning_rates(&self) -> Vec<f32> {
        let scale = self.batch_size as f32 / 256.0;
        let rates = self.lr.iter().flat_map(|&rates| match rates {
            Rates::One(rate) => vec![rate],
            Rates::Dinov2 => DINOV2.iter().map(|rate| rate * scale).collect(),
        });
        rates.collect()
    }

    /// Numbers of last blocks of the grid, for a cache with `layers` blocks.
    fn blocks(&self, layers: u32) -> Vec<u32> {
        if self.blocks.is_empty() {
            let usual = BLOCKS.into_iter();
            return usual.filter(|&blocks| blocks <= layers).collect();
        }
        self.blocks.clone()
    }

    fn reduction(&self, protocol: Protocol) -> Reduction {
        self.loss.unwrap_or(protocol.reduction())
    }
}

impl Probe for Linear {
    const NAME: &'static str = "linear";

    fn tokens(&self, layers: u32) -> Tokens {
        Tokens::last_blocks(self.blocks(layers).into_iter().max().unwrap_or(1))
    }

    fn options(
        &self,
        protocol: Protocol,
        reader: &CacheReader,
    ) -> Result<Map<String, Value>, Error> {
        if self.loss.is_some() && reader.meta().task == Labels::SingleLabel {
            let why = "it is for multi-label data, but classes of this dataset are exclusive";
            return Err(no_effect(reader, "--loss", why));
        }
        Ok(fields(&json!({
            "learning_rates": self.learning_rates(),
            "blocks": self.blocks(reader.meta().layers),
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "momentum": self.momentum,
            "reduction": self.reduction(protocol),
            "select": self.select,
        })))
    }

    fn fit(&self, task: &Task<'_>) -> Result<Vec<Fitted>, Error> {
        let heads = Heads::new(task, self);
        Ok(vec![choose(task, &heads, self.select)?])
    }
}

/// The grid of heads.
struct Heads<'a> {
    task: &'a Task<'a>,
    options: &'a Linear,
    learning_rates: Vec<f32>,
    grid_blocks: Vec<u32>,
    reduction: Reduction,
    loss: Loss,
    /// Heads before training.
    fresh: Vec<Head>,
}

impl<'a> Heads<'a> {
    fn new(task: &'a Task<'a>, options: &'a Linear) -> Heads<'a> {
        let reduction = options.reduction(task.settings.protocol);
        let loss = Loss::of(&task.examples.targets, task.classes(), reduction);
        let learning_rates = options.learning_rates();
        let grid_blocks = options.blocks(task.examples.columns.cls.len() as u32);
        let blocks: Vec<usize> = grid_blocks.iter().map(|&n| n as usize).collect();
        let grid = linear::grid(&learning_rates, &blocks).into_iter();
        let (columns, outputs) = (&task.examples.columns, loss.outputs(task.classes()));
        let fresh = |(stream, options): (usize, HeadOptions)| {
            let features = columns.range(options.inputs).len();
            Head::new(
                options,
                features,
                outputs,
                task.settings.seed,
                stream as u64,
            )
        };
        Heads {
            fresh: grid.enumerate().map(fresh).collect(),
            task,
            options,
            learning_rates,
            grid_blocks,
            reduction,
            loss,
        }
    }
}

impl Grid for Heads<'_> {
    type Model = Head;
    const CHOSEN: &'static str = "the head";
    const REMEDY: Option<&'static str> = Some("a smaller --lr");

    fn fit(&self, part: &[usize], only: Option<usize>) -> Result<Vec<Head>, Error> {
        let (examples, options) = (self.task.examples, self.options);
        let fresh = only.map_or_else(
            || self.fresh.clone(),
            |index| vec![self.fresh[index].clone()],
        );
        let rows = examples.training_rows(part);
        let batches = Batches::new(rows, options.batch_size as usize, self.task.settings.seed);
        let schedule = Schedule {
            steps: batches.steps(options.epochs as usize),
            momentum: options.momentum,
        };
        let count = self.task.steps.count("training", schedule.steps, "steps");
        let batches = batches.inspect(|_| count.add(1));
        let data = Data {
            features: examples.features.view(),
            columns: &examples.columns,
            targets: &examples.targets,
        };
        let heads = train(&data, self.loss, fresh, schedule, batches);
        match heads.iter().find(|head| !head.is_finite()) {
            Some(head) if only.is_some() => Err(Error::Diverged {
                path: self.task.reader.dir().into(),
                learning_rate: head.options.learning_rate,
            }),
            _ => Ok(heads),
        }
    }

    fn is_usable(&self, head: &Head) -> bool {
        head.is_finite()
    }

    fn linear(&self, head: &Head) -> LinearModel {
        LinearModel {
            tokens: head.options.inputs.tokens(),
            columns: self.task.examples.columns.range(head.options.inputs),
            weight: head.weight.mapv(f64::from),
            bias: head.bias.mapv(f64::from),
            link: self.task.settings.protocol.link(),
        }
    }

    fn report(&self, head: &Head, _: &[Head]) -> Report {
        let (options, inputs) = (self.options, head.options.inputs);
        let mean = if inputs.mean { "+mean" } else { "" };
        let params = json!({
            "blocks": inputs.blocks,
            "mean": inputs.mean,
            "learning_rate": head.options.learning_rate,
            "grid_learning_rates": self.learning_rates,
            "grid_blocks": self.grid_blocks,
            "select": options.select,
            "epochs": options.epochs,
            "batch_size": options.batch_size,
            "momentum": options.momentum,
            "multi_label_loss": self.reduction,
        });
        let rate = brief(f64::from(head.options.learning_rate));
        Report {
            setting: format!("blocks={}{mean} lr={rate}", inputs.blocks),
            params: fields(&params),
            warnings: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dinov2_s_learning_rates_are_scaled_by_the_batch_size() {
        let parse = |words: &str| {
            let command = Linear::augment_args(clap::Command::new("linear"));
            let matches = command.try_get_matches_from(words.split_whitespace());
            <Linear as clap::FromArgMatches>::from_arg_matches(&matches.unwrap()).unwrap()
        };
        let rates = parse("linear --lr 0.5,dinov2 --batch-size 128").learning_rates();
        assert_eq!((rates.len(), rates[0], rates[13]), (14, 0.5, 0.05));
    }
}
