//! `probe segment`.

use std::io::Write;
use std::path::Path;
use std::sync::Mutex;

use anyhow::Result;
use cache::{CacheReader, Split};
use clap::{Args, ValueEnum};
use nn::{Kind, Loss};

use super::curve::CurveArgs;
use super::effect::{Idle, NEVER};
use super::few_shot::{REPEATS, Shots, drawn, shots};
use super::over::{Job, Keep, results};
use super::settings::RulesArgs;
use super::{Caches, Outcome, Output};
use crate::Error;
use crate::evaluate::Settings;
use crate::picture::write_picture;
use crate::protocol::Protocol;
use crate::record::RunRecord;
use crate::segment::{self, Evaluated, Options, Resolution, TrainingStore};
use crate::values::positive;

/// The study's learning rates (appendix B.4).
const LEARNING_RATES: &str = "0.01,0.05,0.001,0.005";

#[derive(Debug, Args)]
pub(super) struct Segment {
    #[command(flatten)]
    pub(super) caches: Caches,
    /// Decoder from tokens to classes of pixels
    ///
    /// `linear` is a 1 by 1 convolution of the last block's tokens, `unet` a U-Net over the last five blocks.
    #[arg(long, default_value = "linear")]
    decoder: DecoderArg,
    /// Initial learning rates of the decoders
    ///
    /// All are trained at the same time, and fall to 0 along a cosine. A single one is trained on train and val
    /// at once, without a choice.
    #[arg(long, value_delimiter = ',', default_value = LEARNING_RATES, value_parser = positive::<f32>)]
    lr: Vec<f32>,
    /// Passes over the training slices and their stored views
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    epochs: u32,
    /// Slices per step
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    batch_size: u32,
    /// Loss: soft Dice, or its sum with the cross-entropy
    #[arg(long, default_value = "dice")]
    loss: LossArg,
    /// Epochs without a better Dice on `val` after which training ends [default: no early end]
    #[arg(long, value_name = "EPOCHS", value_parser = clap::value_parser!(u32).range(1..))]
    patience: Option<u32>,
    /// Numbers of training patients (samples, if no patients are known); `all` for all
    #[arg(long, value_delimiter = ',', default_value = "all", value_parser = shots)]
    shots: Vec<Shots>,
    /// Random draws of each number; their mean and standard deviation are reported [default: 5]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    repeats: Option<u32>,
    #[command(flatten)]
    curve: CurveArgs,
    /// Pixels of masks whose value has no name although others have one: error or ignore
    #[arg(long, value_name = "WHAT", default_value = "error")]
    unnamed_values: UnnamedArg,
    #[command(flatten)]
    rules: RulesArgs,
    #[command(flatten)]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum DecoderArg {
    Linear,
    Unet,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LossArg {
    Dice,
    DiceCe,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum UnnamedArg {
    Error,
    Ignore,
}

impl Segment {
    pub(super) fn run(&self, out: &mut impl Write, messages: &mut impl Write) -> Result<Outcome> {
        let job = self.job(messages)?;
        self.curve.run_after(&job, out, messages)
    }

    /// Checks that a cache has the splits that the evaluation needs.
    pub(super) fn check_splits(
        &self,
        reader: &CacheReader,
        settings: &Settings,
    ) -> Result<(), Error> {
        self.options().check_splits(reader, settings)
    }

    /// What the command evaluates.
    pub(super) fn job(&self, messages: &mut impl Write) -> Result<Job<'_>> {
        let options = self.options();
        self.rules.check(self.idle(&options), messages)?;
        let trained = Mutex::default();
        let of_key = options.clone();
        Ok(Job {
            caches: &self.caches,
            output: &self.output,
            probe: "segment",
            settings: self.rules.settings(Split::Test, &[]),
            key: Box::new(move |reader, settings| Ok(of_key.identity(reader, settings)?.key)),
            evaluate: Box::new(move |reader, settings, progress| {
                progress.steps(|steps| {
                    let store = TrainingStore {
                        runs: &self.output.runs,
                        force: self.output.force,
                        trained: &trained,
                        steps: steps.clone(),
                        tell: &|text| progress.tell(text),
                    };
                    segment::evaluate(reader, &options, settings, &store).map(results)
                })
            }),
            recorded: None,
        })
    }

    /// Options without effect.
    fn idle(&self, options: &Options) -> Vec<Idle> {
        let mut idle = drawn(&self.shots, self.repeats, false);
        if !options.scans() {
            let why = "nothing is chosen with one `--lr` and without `--patience`";
            idle.push(self.rules.without_choice(why));
        }
        let is_repeated = options.repeats > 1 && !options.shots.contains(&None);
        let by_volume: fn(Protocol) -> bool =
            |protocol| protocol.resolution() == Resolution::Native;
        let (why, has_intervals) = if is_repeated {
            (
                "several draws give a standard deviation, not intervals",
                NEVER,
            )
        } else {
            (
                "the study's measures of all pixels have no intervals",
                by_volume,
            )
        };
        let confidence = self.rules.confidence();
        idle.extend(confidence.without_intervals(why, has_intervals));
        idle
    }

    fn options(&self) -> Options {
        Options {
            decoder: match self.decoder {
                DecoderArg::Linear => Kind::Linear,
                DecoderArg::Unet => Kind::UNet,
            },
            learning_rates: self.lr.clone(),
            epochs: self.epochs as usize,
            batch_size: self.batch_size as usize,
            loss: match self.loss {
                LossArg::Dice => Loss::Dice,
                LossArg::DiceCe => Loss::DiceCrossEntropy,
            },
            patience: self.patience.map(|epochs| epochs as usize),
            shots: self.shots.iter().map(|shots| shots.0).collect(),
            repeats: self.repeats.unwrap_or(REPEATS) as usize,
            ignore_unnamed: self.unnamed_values == UnnamedArg::Ignore,
        }
    }
}

impl Keep for Evaluated {
    fn keep(mut self: Box<Self>, runs: &Path, number: usize) -> Result<RunRecord, Error> {
        let table = self.table();
        let record = &mut self.record;
        let name = record.file_name(number);
        if record.spread.is_none() {
            let file = format!("predictions/{name}.parquet");
            table.write(&runs.join(&file))?;
            record.predictions = Some(file);
        }
        for (picture, pixels) in &self.pictures {
            let file = format!("overlays/{name}/{picture}.png");
            write_picture(pixels, &runs.join(&file))?;
            record.pictures.push(file);
        }
        Ok(self.record)
    }
}
