//! Linear probes.

use std::time::Instant;

use cache::{CacheReader, Split};
use serde_json::{Map, Value, json};

use super::{Evaluation, measure, metrics};
use crate::Error;
use crate::examples::{Examples, Unit};
use crate::metrics::classify::Classification;
use crate::probes::linear::{
    self, Batches, Data, Head, HeadOptions, Loss, Reduction, Schedule, train,
};
use crate::record::{self, RunRecord};

/// How linear heads are trained and chosen.
#[derive(Clone, Debug)]
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
    /// Where weights and the order of examples are drawn from.
    pub seed: u64,
    /// How a multi-label loss is reduced.
    pub reduction: Reduction,
    /// What an example is; found from the labels if `None`.
    pub unit: Option<Unit>,
    /// The name of the split of the samples; `None` for that of the extraction.
    pub split_name: Option<String>,
}

/// Trains the heads of the grid on `train`, chooses the one with the best macro AUROC on `val` (of
/// equal ones the first), trains it anew on both, and evaluates it on `test`.
///
/// # Errors
///
/// [`Error::EmptySplit`] if one of the splits is empty, [`Error::NoChoice`] if no head has an AUROC
/// on `val`, [`Error::Diverged`], and what [`Examples::read`] gives.
pub fn linear(reader: &CacheReader, options: &LinearOptions) -> Result<(Evaluation, Head), Error> {
    let start = Instant::now();
    let blocks = options.blocks.iter().copied().max().unwrap_or(1);
    let split = options.split_name.as_deref();
    let examples = Examples::read(reader, blocks, options.unit, split)?;
    let run = Run {
        loss: Loss::of(
            &examples.targets,
            reader.meta().classes.len(),
            options.reduction,
        ),
        reader,
        options,
        examples,
    };
    let test = run.examples.part(&[Split::Test])?;
    let (chosen, on_val) = run.choose()?;
    let both = run.examples.part(&[Split::Train, Split::Val])?;
    let head = run.train(vec![chosen], &both).remove(0);
    let measured = run.measure(&head, &test);
    if !head.is_finite() {
        return Err(Error::Diverged {
            path: reader.dir().into(),
            learning_rate: head.options.learning_rate,
        });
    }
    let seconds = start.elapsed().as_secs_f64();
    let evaluation = run.evaluation(&head, &on_val, measured, [both.len(), test.len()], seconds);
    Ok((evaluation, head))
}

struct Run<'a> {
    reader: &'a CacheReader,
    options: &'a LinearOptions,
    examples: Examples,
    loss: Loss,
}

impl Run<'_> {
    fn classes(&self) -> usize {
        self.reader.meta().classes.len()
    }

    /// The grid's heads before training; one that is trained anew begins alike.
    fn grid(&self) -> Vec<Head> {
        let blocks: Vec<usize> = self.options.blocks.iter().map(|&n| n as usize).collect();
        let outputs = self.loss.outputs(self.classes());
        let heads = linear::grid(&self.options.learning_rates, &blocks).into_iter();
        let new = |(stream, options): (usize, HeadOptions)| {
            let features = self.examples.columns.range(options.inputs).len();
            Head::new(options, features, outputs, self.options.seed, stream as u64)
        };
        heads.enumerate().map(new).collect()
    }

    fn train(&self, heads: Vec<Head>, part: &[usize]) -> Vec<Head> {
        let rows = self.examples.training_rows(part);
        let batches = Batches::new(rows, self.options.batch_size, self.options.seed);
        let schedule = Schedule {
            steps: batches.steps(self.options.epochs),
            momentum: self.options.momentum,
        };
        let data = Data {
            features: self.examples.features.view(),
            columns: &self.examples.columns,
            targets: &self.examples.targets,
        };
        train(&data, self.loss, heads, schedule, batches)
    }

    fn measure(&self, head: &Head, part: &[usize]) -> Classification {
        let (features, targets) = self.examples.plain(part);
        let scores = head.scores(features.view(), &self.examples.columns, self.classes());
        measure(scores.view(), &targets)
    }

    /// The best head on `val`, as it was before training, and what it reached.
    fn choose(&self) -> Result<(Head, Classification), Error> {
        let (train, val) = (
            self.examples.part(&[Split::Train])?,
            self.examples.part(&[Split::Val])?,
        );
        let fresh = self.grid();
        let mut best: Option<(usize, f64, Classification)> = None;
        for (index, head) in self.train(fresh.clone(), &train).iter().enumerate() {
            let measured = self.measure(head, &val);
            let auroc = measured.auroc_macro.filter(|_| head.is_finite());
            if let Some(auroc) = auroc.filter(|auroc| best.as_ref().is_none_or(|b| *auroc > b.1)) {
                best = Some((index, auroc, measured));
            }
        }
        let (index, _, measured) = best.ok_or_else(|| Error::NoChoice {
            path: self.reader.dir().into(),
        })?;
        Ok((fresh[index].clone(), measured))
    }

    fn evaluation(
        &self,
        head: &Head,
        on_val: &Classification,
        measured: Classification,
        [n_train, n_test]: [usize; 2],
        seconds: f64,
    ) -> Evaluation {
        let meta = self.reader.meta();
        let record = RunRecord {
            dataset: meta.dataset.clone(),
            model: meta.model.name.clone(),
            image_size: meta.image_size,
            probe: "linear".into(),
            params: self.params(head, on_val),
            split: Split::Test.name().into(),
            split_name: self.options.split_name.clone(),
            split_sha256: self.examples.split_sha256.clone(),
            n_train,
            n_test,
            metrics: metrics(&measured, &meta.classes),
            seconds,
            peak_rss_bytes: cache::peak_rss_bytes(),
            cache_sha256: self.reader.sha256().into(),
            tool_version: env!("CARGO_PKG_VERSION").into(),
            time: record::now(),
        };
        let inputs = head.options.inputs;
        let mean = if inputs.mean { "+mean" } else { "" };
        Evaluation {
            setting: format!(
                "blocks={}{mean} lr={}",
                inputs.blocks, head.options.learning_rate
            ),
            measured,
            record,
        }
    }

    fn params(&self, head: &Head, on_val: &Classification) -> Map<String, Value> {
        let options = self.options;
        let params = json!({
            "blocks": head.options.inputs.blocks,
            "mean": head.options.inputs.mean,
            "learning_rate": head.options.learning_rate,
            "grid_learning_rates": options.learning_rates,
            "grid_blocks": options.blocks,
            "val_auroc_macro": on_val.auroc_macro,
            "epochs": options.epochs,
            "batch_size": options.batch_size,
            "momentum": options.momentum,
            "seed": options.seed,
            "multi_label_loss": match options.reduction {
                Reduction::Mean => "mean",
                Reduction::Sum => "sum",
            },
            "unit": self.examples.unit.name(),
            "train": "train+val",
        });
        params.as_object().cloned().unwrap_or_default()
    }
}
