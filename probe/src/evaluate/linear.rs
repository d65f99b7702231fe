//! Linear heads.

use cache::Split;
use ndarray::Array2;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::fitted::best;
use super::{Choice, Fitted, Select, Task};
use crate::Error;
use crate::examples::Tokens;
use crate::head::SavedHead;
use crate::metrics::measures::Scored;
use crate::probes::linear::{
    self, Batches, Data, Head, HeadOptions, Loss, Reduction, Schedule, train,
};

/// How linear heads are trained and chosen.
#[derive(Clone, Debug, Serialize)]
pub struct LinearOptions {
    /// Learning rates of the grid.
    pub learning_rates: Vec<f32>,
    /// Of how many of the last blocks heads see the CLS tokens.
    pub blocks: Vec<u32>,
    /// Passes over the training examples.
    pub epochs: usize,
    /// Examples in a step.
    pub batch_size: usize,
    /// Momentum of the gradient descent.
    pub momentum: f32,
    /// How a multi-label loss is reduced; `None` for what the protocol says.
    pub reduction: Option<Reduction>,
    /// What the best head is best in.
    pub select: Select,
}

impl LinearOptions {
    pub(super) fn tokens(&self) -> Tokens {
        Tokens::last_blocks(self.blocks.iter().copied().max().unwrap_or(1))
    }
}

/// Trains the heads of the grid on the first part, chooses the best one on the second (of equal ones
/// the first), trains it anew on the third, and scores the last with it.
pub(super) fn fit(task: &Task<'_>, options: &LinearOptions) -> Result<Fitted, Error> {
    options.select.check(task)?;
    if task.parts.val.is_empty() {
        task.examples.part(&[Split::Val])?;
    }
    let reduction = options.reduction;
    let reduction = reduction.unwrap_or(task.settings.protocol.reduction());
    let run = Run {
        loss: Loss::of(&task.examples.targets, task.classes(), reduction),
        reduction,
        task,
        options,
    };
    let (fresh, trained, on_val) = run.choose()?;
    let head = if task.parts.fit == task.parts.train {
        trained
    } else {
        run.train(vec![fresh], &task.parts.fit).remove(0)
    };
    if !head.is_finite() {
        return Err(Error::Diverged {
            path: task.reader.dir().into(),
            learning_rate: head.options.learning_rate,
        });
    }
    Ok(run.fitted(&head, &on_val))
}

struct Run<'a> {
    task: &'a Task<'a>,
    options: &'a LinearOptions,
    loss: Loss,
    reduction: Reduction,
}

impl Run<'_> {
    /// The grid's heads before training; one that is trained anew begins alike.
    fn grid(&self) -> Vec<Head> {
        let blocks: Vec<usize> = self.options.blocks.iter().map(|&n| n as usize).collect();
        let outputs = self.loss.outputs(self.task.classes());
        let heads = linear::grid(&self.options.learning_rates, &blocks).into_iter();
        let columns = &self.task.examples.columns;
        let new = |(stream, options): (usize, HeadOptions)| {
            let features = columns.range(options.inputs).len();
            let seed = self.task.settings.seed;
            Head::new(options, features, outputs, seed, stream as u64)
        };
        heads.enumerate().map(new).collect()
    }

    fn train(&self, heads: Vec<Head>, part: &[usize]) -> Vec<Head> {
        let examples = self.task.examples;
        let rows = examples.training_rows(part);
        let batches = Batches::new(rows, self.options.batch_size, self.task.settings.seed);
        let schedule = Schedule {
            steps: batches.steps(self.options.epochs),
            momentum: self.options.momentum,
        };
        let data = Data {
            features: examples.features.view(),
            columns: &examples.columns,
            targets: &examples.targets,
        };
        train(&data, self.loss, heads, schedule, batches)
    }

    fn scores(&self, head: &Head, part: &[usize]) -> Array2<f64> {
        let examples = self.task.examples;
        let logits = head.logits(examples.plain(part).view(), &examples.columns);
        let by_sigmoid = self.task.settings.protocol.scores_by_sigmoid();
        self.task.probabilities(logits, by_sigmoid)
    }

    /// The best head on the part to choose on: before training, after it, and what it reached.
    fn choose(&self) -> Result<(Head, Head, Scored), Error> {
        let parts = &self.task.parts;
        let fresh = self.grid();
        let trained = self.train(fresh.clone(), &parts.train);
        let finite = trained.iter().map(|head| {
            if head.is_finite() {
                self.task
                    .scored(&parts.val, self.scores(head, &parts.val))
                    .map(Some)
            } else {
                Ok(None)
            }
        });
        let scored = finite.collect::<Result<Vec<Option<Scored>>, Error>>()?;
        let measured: Vec<Option<f64>> = scored
            .iter()
            .map(|scored| self.measured(scored.as_ref()?))
            .collect();
        let chosen = best(&measured).and_then(|index| {
            let scored = scored[index].clone()?;
            Some((fresh[index].clone(), trained[index].clone(), scored))
        });
        chosen.ok_or_else(|| self.task.no_choice("head", Some("a smaller --lr")))
    }

    /// How good scores are, by what is chosen.
    fn measured(&self, scored: &Scored) -> Option<f64> {
        let undefined = self.task.settings.protocol.undefined_auroc();
        self.options.select.of(scored, undefined)
    }

    fn fitted(&self, head: &Head, on_val: &Scored) -> Fitted {
        let (task, inputs) = (self.task, head.options.inputs);
        let mean = if inputs.mean { "+mean" } else { "" };
        let on = task.parts.chosen_on;
        let (thresholds, without) = match on {
            Split::Val => task.thresholds(on_val),
            _ => (None, None),
        };
        let on_test = (on == Split::Test).then(|| "the head chosen on test".to_owned());
        let (weight, bias) = (&head.weight, &head.bias);
        Fitted {
            setting: format!(
                "blocks={}{mean} lr={}",
                inputs.blocks, head.options.learning_rate
            ),
            params: self.params(head, on_val),
            scores: self.scores(head, &task.parts.test),
            n_train: task.parts.fit.len(),
            choice: Some(Choice {
                is_chosen: true,
                on,
            }),
            warnings: on_test.into_iter().chain(without).collect(),
            head: Some(SavedHead::of(
                task,
                inputs.tokens(),
                weight,
                bias,
                task.settings.protocol.scores_by_sigmoid(),
                thresholds.as_ref(),
            )),
            thresholds,
        }
    }

    fn params(&self, head: &Head, on_val: &Scored) -> Map<String, Value> {
        let options = self.options;
        let mut params = json!({
            "blocks": head.options.inputs.blocks,
            "mean": head.options.inputs.mean,
            "learning_rate": head.options.learning_rate,
            "grid_learning_rates": options.learning_rates,
            "grid_blocks": options.blocks,
            "select": options.select,
            "epochs": options.epochs,
            "batch_size": options.batch_size,
            "momentum": options.momentum,
            "multi_label_loss": match self.reduction {
                Reduction::Mean => "mean",
                Reduction::Sum => "sum",
            },
        });
        params[format!("val_{}", options.select.measure())] = json!(self.measured(on_val));
        params.as_object().cloned().unwrap_or_default()
    }
}
