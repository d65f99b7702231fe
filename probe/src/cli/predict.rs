//! `probe predict`.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use cache::Split;
use clap::{Args, ValueEnum};

use super::over::Job;
use super::settings::ConfidenceArgs;
use super::{Caches, Outcome, Output};
use crate::evaluate::{self, Settings};
use crate::head::SavedHead;

#[derive(Debug, Args)]
pub(super) struct Predict {
    /// A head that another command has saved, in `heads` of its --runs
    #[arg(long, value_name = "FILE")]
    head: PathBuf,
    #[command(flatten)]
    caches: Caches,
    /// Examples to score
    #[arg(long, default_value = "all")]
    eval: Eval,
    /// How samples are split: a name that `extract split` gave [default: as they were extracted]
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
    /// Take a patient's cases as one: the mean of their scores
    #[arg(long)]
    per_patient: bool,
    #[command(flatten)]
    confidence: ConfidenceArgs,
    #[command(flatten)]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Eval {
    All,
    Train,
    Val,
    Test,
}

impl Predict {
    /// Without --model, the caches of the head's backbone and image size.
    pub(super) fn run(&self, out: &mut impl Write, messages: &mut impl Write) -> Result<Outcome> {
        let head = SavedHead::read(&self.head)?;
        let mut caches = self.caches.clone();
        if caches.model.is_none() {
            caches.model = Some(head.about.model.clone());
            caches.image_size = caches.image_size.or(Some(head.about.image_size));
        }
        let all = self.eval == Eval::All;
        let job = Job {
            caches: &caches,
            output: &self.output,
            probe: "predict",
            settings: vec![self.settings(&head)],
            key: &|reader, settings| settings.key(reader, &(&head, all)),
            evaluate: |reader: &_, settings: &_, _: &_| {
                evaluate::predict(reader, &head, &self.head, settings, all).map(|one| vec![one])
            },
        };
        job.run(out, messages)
    }

    fn settings(&self, head: &SavedHead) -> Settings {
        Settings {
            protocol: head.about.protocol,
            unit: Some(head.about.unit),
            pool: head.about.pool,
            split_name: self.split.clone(),
            fit: Vec::new(),
            eval: match self.eval {
                Eval::Train => Split::Train,
                Eval::Val => Split::Val,
                Eval::All | Eval::Test => Split::Test,
            },
            control: None,
            seed: self.confidence.seed,
            confidence: self.confidence.confidence(),
            per_patient: self.per_patient,
        }
    }
}
