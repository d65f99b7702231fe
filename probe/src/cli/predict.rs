//! `probe predict`.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Result, bail};
use cache::{CacheReader, Split};
use clap::{Args, ValueEnum};

use super::over::{Job, Progress};
use super::settings::ConfidenceArgs;
use super::{Caches, Outcome, Output};
use crate::evaluate::{self, Settings};
use crate::examples::Pool;
use crate::head::SavedHead;
use crate::protocol::Protocol;
use crate::segment::{self, SavedDecoder};

#[derive(Debug, Args)]
pub(super) struct Predict {
    /// A head or decoder that another command has saved, in `heads` of its --runs
    #[arg(long, value_name = "FILE")]
    head: PathBuf,
    /// Folder for label maps that a decoder predicts [default: `label_maps` in --runs]
    #[arg(long, value_name = "DIR")]
    label_maps: Option<PathBuf>,
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
        let file = self.head.display();
        if let Some(decoder) = SavedDecoder::read(&self.head)? {
            if self.per_patient {
                bail!(
                    "`{file}` has a decoder, which is measured by volume\nhint: leave out --per-patient"
                );
            }
            return self.segment(&decoder, out, messages);
        }
        let head = SavedHead::read(&self.head)?;
        if self.label_maps.is_some() {
            bail!(
                "`{file}` has a head for classes, which predicts no label maps\nhint: leave out --label-maps"
            );
        }
        let all = self.eval == Eval::All;
        let job = Job {
            caches: &self.caches(&head.about.model, head.about.image_size),
            output: &self.output,
            probe: "predict",
            settings: vec![self.settings(&head)],
            key: &|reader, settings| settings.key(reader, &(&head, all)),
            evaluate: |reader: &_, settings: &_, _: &Progress<'_>| {
                evaluate::predict(reader, &head, &self.head, settings, all).map(|one| vec![one])
            },
        };
        job.run(out, messages)
    }

    fn segment(
        &self,
        decoder: &SavedDecoder,
        out: &mut impl Write,
        messages: &mut impl Write,
    ) -> Result<Outcome> {
        let about = &decoder.about;
        let all = self.eval == Eval::All;
        let label_maps = self.label_maps.clone();
        let folder = label_maps.unwrap_or_else(|| self.output.runs.join("label_maps"));
        let of_cache = |reader: &CacheReader| {
            let cache = reader.dir().strip_prefix(&self.caches.cache);
            folder.join(cache.unwrap_or(reader.dir()))
        };
        let job = Job {
            caches: &self.caches(&about.model, about.image_size as u32),
            output: &self.output,
            probe: "predict",
            settings: vec![self.rules(Protocol::Strict)],
            key: &|reader, settings| match of_cache(reader) {
                folder if folder.is_dir() => {
                    segment::apply_key(reader, &self.head, settings, all, &folder)
                }
                // No record has it: label maps that are gone are made again.
                _ => Ok(String::new()),
            },
            evaluate: |reader: &CacheReader, settings: &_, _: &Progress<'_>| {
                let head = (decoder, self.head.as_path());
                let applied = segment::apply(reader, head, settings, all, &of_cache(reader));
                applied.map(|one| vec![one])
            },
        };
        job.run(out, messages)
    }

    fn caches(&self, model: &str, image_size: u32) -> Caches {
        let mut caches = self.caches.clone();
        if caches.model.is_none() {
            caches.model = Some(model.into());
            caches.image_size = caches.image_size.or(Some(image_size));
        }
        caches
    }

    fn settings(&self, head: &SavedHead) -> Settings {
        Settings {
            unit: Some(head.about.unit),
            pool: head.about.pool,
            per_patient: self.per_patient,
            ..self.rules(head.about.protocol)
        }
    }

    fn rules(&self, protocol: Protocol) -> Settings {
        Settings {
            protocol,
            unit: None,
            pool: Pool::Mean,
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
            per_patient: false,
        }
    }
}
