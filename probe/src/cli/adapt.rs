//! `probe adapt`.

use std::env;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;
use cache::{CacheReader, Split};
use clap::Args;

use super::effect::NoEffect;
use super::over::{Job, results};
use super::settings::RulesArgs;
use super::{Caches, Outcome, Output};
use crate::Error;
use crate::adapt::{
    self, LoraOptions, MOST_BLOCKS, MOST_EXAMPLES, MOST_RANK, Method, Options, Rule, Store,
};
use crate::evaluate::{Select, Settings};
use crate::record;
use crate::values::positive;

/// Name of the probe, and of its file of records.
const PROBE: &str = "adapt";

/// The study's adapters (appendix B.3).
const LORA: LoraOptions = LoraOptions {
    rank: 48,
    alpha: 16.0,
    dropout: 0.1,
};

#[derive(Debug, Args)]
pub(super) struct Adapt {
    #[command(flatten)]
    pub(super) caches: Caches,
    /// Number of last blocks that are trained
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=MOST_BLOCKS.into()))]
    blocks: u32,
    /// What of these blocks is trained
    #[arg(long, default_value = "lora")]
    method: Method,
    /// Rank of low-rank adapters [default: 48]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=MOST_RANK.into()))]
    rank: Option<u32>,
    /// Results of low-rank adapters are multiplied by this number / rank [default: 16]
    #[arg(long, value_parser = positive::<f32>)]
    alpha: Option<f32>,
    /// Share of the inputs of low-rank adapters that a step drops [default: 0.1]
    #[arg(long, value_name = "SHARE", value_parser = share)]
    dropout: Option<f32>,
    /// Initial learning rate of the blocks [default: 0.0002 for lora, 0.0005 for bitfit, 0.00001 for full]
    ///
    /// It falls to 0 along a cosine, as that of the head.
    #[arg(long, value_parser = positive::<f32>)]
    lr: Option<f32>,
    /// Initial learning rate of the head
    #[arg(long, default_value_t = 0.005, value_parser = positive::<f32>)]
    head_lr: f32,
    /// Rule by which gradients change parameters
    #[arg(long, default_value = "adamw")]
    optimiser: Rule,
    /// Weight decay of AdamW [default: 0.01]
    #[arg(long, value_parser = share)]
    weight_decay: Option<f32>,
    /// Passes over the training examples, each over another stored view
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    epochs: u32,
    /// Examples per step
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=MOST_EXAMPLES.into()))]
    batch_size: u32,
    /// Epochs without a better result on `val` after which training ends [default: no early end]
    #[arg(long, value_name = "EPOCHS", value_parser = clap::value_parser!(u32).range(1..))]
    patience: Option<u32>,
    /// Measure by which the epoch is chosen
    #[arg(long, default_value = "auroc")]
    select: Select,
    /// Folder of model cards and weights [default: `$SLICEBANK_HOME/onnx_models`, else `onnx_models`]
    #[arg(long, value_name = "DIR")]
    models: Option<PathBuf>,
    /// Average the scores of a patient's cases and measure patients
    #[arg(long)]
    per_patient: bool,
    #[command(flatten)]
    rules: RulesArgs,
    #[command(flatten)]
    output: Output,
}

fn share(word: &str) -> Result<f32, String> {
    let value = word.parse().ok();
    let value = value.filter(|value: &f32| (0.0..1.0).contains(value));
    value.ok_or_else(|| "expected a number from 0 to below 1".into())
}

/// The folder of model cards and weights.
pub(super) fn models(given: Option<&Path>) -> PathBuf {
    let home = || PathBuf::from(env::var_os("SLICEBANK_HOME").unwrap_or_default());
    given.map_or_else(|| home().join("onnx_models"), Path::to_path_buf)
}

impl Adapt {
    pub(super) fn run(&self, out: &mut impl Write, messages: &mut impl Write) -> Result<Outcome> {
        let job = self.job(messages)?;
        let known = record::read(&self.output.runs, PROBE)?;
        let mut tell = |text: &str| drop(writeln!(messages, "{text}"));
        adapt::sweep(&self.output.runs, |key| known.of(key).is_some(), &mut tell);
        job.run(out, messages)
    }

    /// Checks that a cache has the splits that the evaluation needs.
    pub(super) fn check_splits(
        &self,
        reader: &CacheReader,
        settings: &Settings,
    ) -> Result<(), Error> {
        // Options have been parsed for the job.
        let options = self.options();
        options.map_or(Ok(()), |options| {
            adapt::check_splits(&options, reader, settings)
        })
    }

    /// The command as a job; warnings about options without effect go to `messages`.
    pub(super) fn job(&self, messages: &mut impl Write) -> Result<Job<'_>> {
        let options = self.options()?;
        let models = models(self.models.as_deref());
        self.rules.check([], messages)?;
        let splits = [Split::Train, Split::Val];
        let settings = self.rules.settings(Split::Test, &splits).into_iter();
        let settings = settings.map(|settings| Settings {
            per_patient: self.per_patient,
            ..settings
        });
        let of_key = options.clone();
        Ok(Job {
            caches: &self.caches,
            output: &self.output,
            probe: PROBE,
            settings: settings.collect(),
            key: Box::new(move |reader, settings| adapt::key(&of_key, reader, settings)),
            evaluate: Box::new(move |reader, settings, progress| {
                let store = Store {
                    runs: &self.output.runs,
                    models: &models,
                    force: self.output.force,
                    say: &|text| progress.say(text),
                    tell: &|text| progress.tell(text),
                };
                adapt::evaluate(&options, reader, settings, store).map(results)
            }),
            recorded: Some(Box::new(|record| {
                adapt::forget(&self.output.runs, &record.key);
            })),
        })
    }

    fn options(&self) -> Result<Options> {
        let is_lora = self.method == Method::Lora;
        let of_lora = [
            ("--rank", self.rank.is_some()),
            ("--alpha", self.alpha.is_some()),
            ("--dropout", self.dropout.is_some()),
        ];
        if let Some((option, _)) = of_lora.iter().find(|(_, is_given)| *is_given && !is_lora) {
            let text = format!(
                "`{option}` has no effect: `--method {}` has no adapters\nhint: leave it out",
                self.method.name()
            );
            return Err(NoEffect::new(option, text).into());
        }
        if self.optimiser == Rule::Sgd && self.weight_decay.is_some() {
            let text = "`--weight-decay` has no effect: it belongs to `--optimiser adamw`\nhint: leave it out";
            return Err(NoEffect::new("--weight-decay", text.into()).into());
        }
        Ok(Options {
            blocks: self.blocks,
            method: self.method,
            lora: is_lora.then_some(LoraOptions {
                rank: self.rank.unwrap_or(LORA.rank),
                alpha: self.alpha.unwrap_or(LORA.alpha),
                dropout: self.dropout.unwrap_or(LORA.dropout),
            }),
            learning_rate: self.lr.unwrap_or(self.method.learning_rate()),
            head_learning_rate: self.head_lr,
            optimiser: self.optimiser,
            weight_decay: match self.optimiser {
                Rule::Adamw => self.weight_decay.unwrap_or(0.01),
                Rule::Sgd => 0.0,
            },
            epochs: self.epochs as usize,
            batch_size: self.batch_size as usize,
            patience: self.patience.map(|epochs| epochs as usize),
            select: self.select,
        })
    }
}
