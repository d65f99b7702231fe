//! `probe score`.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::over::{Job, results};
use super::settings::ConfidenceArgs;
use super::{Caches, Outcome, Output};
use crate::outside::{self, Run, Task};
use crate::segment;

#[derive(Debug, Args)]
pub(super) struct Score {
    /// Folder of the training, with `run.json` and `scores.parquet` or `masks.parquet`
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    #[command(flatten)]
    pub(super) caches: Caches,
    /// Average the scores of a patient's cases and measure patients
    #[arg(long)]
    per_patient: bool,
    #[command(flatten)]
    confidence: ConfidenceArgs,
    #[command(flatten)]
    output: Output,
}

impl Score {
    pub(super) fn run(&self, out: &mut impl Write, messages: &mut impl Write) -> Result<Outcome> {
        let (run, folder) = (Run::read(&self.folder)?, &self.folder);
        let confidence = self.confidence.confidence();
        let job = Job {
            caches: &self.caches,
            output: &self.output,
            probe: "finetune",
            settings: vec![run.evaluation(confidence, self.per_patient)],
            key: Box::new(|reader, settings| match run.task {
                Task::Classification => outside::key(&run, folder, reader, settings),
                Task::Segmentation => segment::key_of_run(&run, folder, reader, settings),
            }),
            evaluate: Box::new(|reader, settings, progress| match run.task {
                Task::Classification => progress.steps(|steps| {
                    outside::evaluate(&run, folder, reader, settings, steps).map(results)
                }),
                Task::Segmentation => {
                    let found = segment::evaluate_run(&run, folder, reader, settings)?;
                    Ok(results(vec![found]))
                }
            }),
            recorded: None,
        };
        job.run(out, messages)
    }
}
