//! `probe predict`.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use cache::{CacheReader, Split};
use clap::{Args, ValueEnum};
use common::text::shown;

use super::adapt::models;
use super::caches::name_of;
use super::effect::{self, Idle, NEVER};
use super::heads::HeadArg;
use super::over::{Job, results};
use super::segment::UnnamedArg;
use super::settings::ConfidenceArgs;
use super::{Caches, Outcome, Output};
use crate::Error;
use crate::adapt::Folders;
use crate::evaluate::{self, Settings};
use crate::examples::Unit;
use crate::head::SavedHead;
use crate::origin::{Mismatch, Origin, Part, Relation};
use crate::protocol::Protocol;
use crate::segment::{self, Applying, SavedDecoder};

/// Name of the command, of its records and of their file.
pub(super) const NAME: &str = "predict";

/// Reason why a split has no effect.
const ALL: &str = "all examples are scored, whatever split they are in, unless `--eval` names one";

#[derive(Debug, Args)]
pub(super) struct Predict {
    /// Head or decoder: a file, the name of the run that saved it (or its beginning), or `latest`
    #[arg(long, value_name = "NAME|FILE")]
    head: HeadArg,
    /// Folder for label maps that a decoder predicts [default: `label_maps` in --runs]
    #[arg(long, value_name = "DIR")]
    label_maps: Option<PathBuf>,
    #[command(flatten)]
    pub(super) caches: Caches,
    /// Examples to score [default: test on the training dataset of the head, else all]
    ///
    /// Required for a dataset of the same name with other samples.
    #[arg(long)]
    eval: Option<Eval>,
    /// Apply the head to tokens of another backbone or recipe than it was trained on, with a warning
    #[arg(long)]
    allow_mismatch: bool,
    /// Name of a split made by `extract split` [default: that of the training or the extraction]
    ///
    /// On the training dataset of the head, the default is the split of the training, elsewhere that of the
    /// extraction.
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
    /// Average the scores of a patient's cases and measure patients
    #[arg(long)]
    per_patient: bool,
    /// Decoders: pixels of masks whose value has no name although others have one: error or ignore
    /// [default: error]
    #[arg(long, value_name = "WHAT")]
    unnamed_values: Option<UnnamedArg>,
    /// Heads of `probe adapt`: folder of model cards and weights [default: `$SLICEBANK_HOME/onnx_models`, else
    /// `onnx_models`]
    #[arg(long, value_name = "DIR")]
    models: Option<PathBuf>,
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
        effect::check(self.idle(), &[Protocol::Strict], messages)?;
        let path = self.head.file(&self.output.runs, messages)?;
        let file = shown(&path);
        if let Some(decoder) = SavedDecoder::read(&path)? {
            if self.per_patient {
                bail!(
                    "`{file}` has a decoder, which is measured by volume\nhint: leave out --per-patient"
                );
            }
            self.refuse_models(&path)?;
            return self.segment((&decoder, &path), out, messages);
        }
        let head = SavedHead::read(&path)?;
        if self.label_maps.is_some() {
            bail!(
                "`{file}` has a head for classes, which predicts no label maps\nhint: leave out --label-maps"
            );
        }
        if self.unnamed_values.is_some() {
            bail!(
                "`{file}` has a head for classes, which reads no masks\nhint: leave out --unnamed-values"
            );
        }
        if head.about.blocks.is_none() {
            self.refuse_models(&path)?;
        }
        let models = models(self.models.as_deref());
        // A head lies in a folder of that of the records, as trained blocks do.
        let folders = Folders {
            runs: path.parent().and_then(Path::parent).unwrap_or(&path),
            models: &models,
        };
        let origin = &head.about.origin;
        let job = Job {
            caches: &self.caches(origin),
            output: &self.output,
            probe: NAME,
            settings: vec![self.settings(&head)],
            key: Box::new(|reader, settings| {
                let (settings, part) = self.of_cache(reader, settings, origin)?;
                Ok(settings.of_head(reader, (&head, &path), part)?.key)
            }),
            evaluate: Box::new(|reader, settings, _| {
                let (settings, part) = self.of_cache(reader, settings, origin)?;
                let head = (&head, path.as_path());
                let how = (self.mismatch(), folders);
                evaluate::predict(reader, head, &settings, part, how).map(|one| results(vec![one]))
            }),
            recorded: None,
        };
        job.run(out, messages)
    }

    fn segment(
        &self,
        (decoder, path): (&SavedDecoder, &Path),
        out: &mut impl Write,
        messages: &mut impl Write,
    ) -> Result<Outcome> {
        let origin = &decoder.about.origin;
        let label_maps = self.label_maps.clone();
        let folder = label_maps.unwrap_or_else(|| self.output.runs.join("label_maps"));
        let folder_of = |reader: &CacheReader| folder.join(name_of(reader.dir()));
        let job = Job {
            caches: &self.caches(origin),
            output: &self.output,
            probe: NAME,
            settings: vec![self.rules(Protocol::Strict)],
            key: Box::new(|reader, settings| match folder_of(reader) {
                folder if folder.is_dir() => {
                    let (settings, part) = self.of_cache(reader, settings, origin)?;
                    let how = self.applying(part);
                    Ok(segment::of_decoder(reader, path, &settings, how, &folder)?.key)
                }
                // No record has this key: missing label maps are written again.
                _ => Ok(String::new()),
            }),
            evaluate: Box::new(|reader, settings, progress| {
                let (settings, part) = self.of_cache(reader, settings, origin)?;
                let (head, how) = ((decoder, path), self.applying(part));
                let folder = folder_of(reader);
                let applied = progress
                    .steps(|steps| segment::apply(reader, head, &settings, how, &folder, steps));
                applied.map(|one| results(vec![one]))
            }),
            recorded: None,
        };
        job.run(out, messages)
    }

    fn caches(&self, origin: &Origin) -> Caches {
        let mut caches = self.caches.clone();
        let name = origin.labels_name.clone();
        caches.labels_of_head = name.map(|name| (name, origin.labels_sha256.clone()));
        if caches.model.is_none() {
            caches.model = Some(origin.tokens.model.name.clone());
            caches.image_size = caches.image_size.or(Some(origin.tokens.image_size));
        }
        caches
    }

    /// Options without effect.
    fn idle(&self) -> Vec<Idle> {
        let split = self.split.is_some() && self.eval == Some(Eval::All);
        let mut idle = self.confidence.idle().to_vec();
        idle.push(Idle::new("--split", split, ALL, NEVER));
        idle
    }

    fn applying(&self, part: Part) -> Applying {
        Applying {
            part,
            mismatch: self.mismatch(),
            ignore_unnamed: self.unnamed_values == Some(UnnamedArg::Ignore),
        }
    }

    fn refuse_models(&self, file: &Path) -> Result<()> {
        if self.models.is_some() {
            bail!(
                "`{}` takes tokens of the cache as they are, and reads no weights\nhint: leave out --models",
                shown(file)
            );
        }
        Ok(())
    }

    fn mismatch(&self) -> Mismatch {
        if self.allow_mismatch {
            Mismatch::Warned
        } else {
            Mismatch::Refused
        }
    }

    /// Settings for a cache, and the cases to score. On the training dataset of the head, the default is the
    /// split of the training, without the training data.
    fn of_cache(
        &self,
        reader: &CacheReader,
        settings: &Settings,
        origin: &Origin,
    ) -> Result<(Settings, Part), Error> {
        let mut settings = settings.clone();
        let path = || reader.dir().into();
        let relation = origin.relation(reader);
        if relation == Relation::Same && settings.split_name.is_none() {
            settings.split_name.clone_from(&origin.split_name);
        }
        let part = match (self.eval, relation) {
            (None, Relation::Namesake) => {
                return Err(Error::Namesake {
                    path: path(),
                    dataset: origin.dataset.clone(),
                });
            }
            (None, Relation::Other) if self.split.is_some() => {
                return Err(Error::NoEffect {
                    path: path(),
                    option: "--split",
                    why: ALL,
                });
            }
            (Some(Eval::All), _) | (None, Relation::Other) => Part::All,
            _ => Part::Split,
        };
        Ok((settings, part))
    }

    fn settings(&self, head: &SavedHead) -> Settings {
        Settings {
            unit: Some(head.about.unit),
            pool: Some(head.about.pool).filter(|_| head.about.unit == Unit::Volume),
            per_patient: self.per_patient,
            ..self.rules(head.about.protocol)
        }
    }

    fn rules(&self, protocol: Protocol) -> Settings {
        Settings {
            protocol,
            unit: Some(Unit::Slice),
            pool: None,
            split_name: self.split.clone(),
            fit: Vec::new(),
            eval: match self.eval {
                Some(Eval::Train) => Split::Train,
                Some(Eval::Val) => Split::Val,
                Some(Eval::All | Eval::Test) | None => Split::Test,
            },
            val_share: None,
            control: None,
            seed: self.confidence.seed,
            confidence: self.confidence.confidence(),
            per_patient: false,
        }
    }
}
