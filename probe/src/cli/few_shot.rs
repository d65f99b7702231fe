//! `probe few-shot`.

use std::io::Write;

use anyhow::Result;
use cache::Split;
use clap::{Args, ValueEnum};

use super::knn::KnnArgs;
use super::linear::LinearArgs;
use super::logreg::LogregArgs;
use super::over::{Job, Progress};
use super::settings::{SelectArg, SettingsArgs};
use super::{Caches, Outcome, Output};
use crate::evaluate::{self, Draw, Probe};

#[derive(Debug, Args)]
pub(super) struct FewShot {
    #[command(flatten)]
    caches: Caches,
    /// What is fitted
    #[arg(long, default_value = "linear")]
    head: Head,
    /// Numbers of patients (or samples) of each class; `all` for all
    #[arg(long, value_delimiter = ',', default_value = "1,2,4,8,16,all", value_parser = shots)]
    shots: Vec<Shots>,
    /// Random draws of each number, of which the mean and the spread are reported
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    repeats: u32,
    /// What a random draw takes of each class: patients with all of their images, or examples, as in
    /// DINOv2's evaluation. The study's draw is made by its own rules
    #[arg(long, default_value = "patients")]
    draw: DrawArg,
    #[command(flatten)]
    knn: KnnArgs,
    #[command(flatten)]
    linear: LinearArgs,
    #[command(flatten)]
    logreg: LogregArgs,
    /// `linear` and `logreg`: what the best head is best in, on the part that is chosen on
    #[arg(long, default_value = "auroc")]
    select: SelectArg,
    #[command(flatten)]
    settings: SettingsArgs,
    #[command(flatten)]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Head {
    Knn,
    Linear,
    Logreg,
    /// The nearest mean of a class's features
    Centroid,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum DrawArg {
    Patients,
    Examples,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shots(pub(super) Option<usize>);

impl FewShot {
    pub(super) fn run(&self, out: &mut impl Write, messages: &mut impl Write) -> Result<Outcome> {
        let probe = match self.head {
            Head::Knn => Probe::Knn(self.knn.options()),
            Head::Linear => Probe::Linear(self.linear.options(self.select)),
            Head::Logreg => {
                let (features, layer) = self.knn.tokens();
                Probe::Logreg(self.logreg.options(features, layer, self.select))
            }
            Head::Centroid => Probe::Centroid(self.knn.centroid()),
        };
        let few = evaluate::FewShot {
            shots: self.shots.iter().map(|shots| shots.0).collect(),
            repeats: self.repeats as usize,
            draw: match self.draw {
                DrawArg::Patients => Draw::Patients,
                DrawArg::Examples => Draw::Examples,
            },
        };
        let job = Job {
            caches: &self.caches,
            output: &self.output,
            probe: "few-shot",
            settings: self
                .settings
                .settings(Split::Test, &[], probe.val_share())?,
            key: &|reader, settings| settings.key(reader, &(&probe, &few)),
            evaluate: |reader: &_, settings: &_, _: &Progress<'_>| {
                evaluate::few_shot(reader, &probe, settings, &few)
            },
        };
        job.run(out, messages)
    }
}

pub(super) fn shots(word: &str) -> Result<Shots, String> {
    if word == "all" {
        return Ok(Shots(None));
    }
    let number = word
        .parse()
        .ok()
        .filter(|number| (1..=1_000_000).contains(number));
    let number: Result<usize, String> =
        number.ok_or_else(|| "expected a whole number from 1 to 1000000, or `all`".into());
    number.map(|number| Shots(Some(number)))
}
