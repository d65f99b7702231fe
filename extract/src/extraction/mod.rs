//! A whole extraction: from an opened dataset and a model card to a finished cache.

mod backbone;
mod bucket;
mod describe;
mod extend;
mod forecast;
mod lock;
mod repair;
mod retry;
mod session;
mod settings;
mod size;
mod space;
mod target;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use cache::{CacheLock, CacheMeta, CacheReader, CacheWriter};
use common::text::printable;
use imaging::preprocess::{Preprocess, Resize};
use imaging::read::Reader;
use onnx_models::ModelCard;

pub use self::backbone::BackboneChoice;
use self::backbone::Place;
pub use self::forecast::{Burst, Forecast};
use self::lock::lock;
pub(crate) use self::lock::wait_elsewhere;
pub use self::settings::Settings;
pub use self::size::{SliceCount, Tables};
use self::target::Target;
use crate::backbone::{Backbone, Precision, Runtime, lacks_memory};
use crate::dataset::Dataset;
use crate::pipeline::{self, Job, Outcome, Progress};
use crate::split::SplitRule;
use crate::{Error, ModelError, sources};

/// What to extract, and how.
#[derive(Clone, Copy)]
pub struct Extraction<'a> {
    /// ONNX Runtime; a process can load it only once.
    pub runtime: &'a Runtime,
    /// Folder that holds `onnx_models/`.
    pub home: &'a Path,
    /// Model card of the backbone.
    pub card: &'a ModelCard,
    /// Options of the backbone.
    pub backbone: &'a BackboneChoice,
    /// Dataset, with its splits assigned.
    pub dataset: &'a Dataset,
    /// Rule that assigned the splits.
    pub rule: &'a SplitRule,
    /// Preprocessing of slices, to the input size of the backbone.
    pub recipe: &'a Preprocess,
    /// Folder of caches, or a place in a bucket.
    pub caches: &'a Path,
    /// Folder of caches until they are in their bucket.
    pub staging: &'a Path,
    /// Choices that have a default.
    pub settings: Settings,
    /// Set to true, it stops the run after the batch that is being computed; all whole batches are saved.
    pub stop: &'a AtomicBool,
}

/// News of a running extraction.
#[derive(Clone, Debug)]
pub enum Event {
    /// Information for the user.
    Message(String),
    /// Information for those who ask for more.
    Detail(String),
    /// A warning for the user.
    Warning(String),
    /// The cache in this folder, or in a bucket, is about to be locked.
    Locking(PathBuf),
    /// The cache in this folder is opened, and slices are about to be embedded.
    Writing(PathBuf),
    /// Slices and samples that are done.
    Progress(Progress),
}

/// Result of an extraction.
#[derive(Debug)]
pub struct Summary {
    /// Folder of the cache, or of the part.
    pub dir: PathBuf,
    /// What this run did.
    pub outcome: Outcome,
}

impl Extraction<'_> {
    /// Extracts the samples into `CACHES/DATASET/MODEL@SIZE`, or resumes an unfinished cache there. A run
    /// that is stopped returns a summary of a cache that is not complete.
    ///
    /// A part is extracted into a folder below it. The run that finishes the last part joins them.
    ///
    /// # Errors
    ///
    /// [`Error::Options`] if options contradict each other or the dataset, [`cache::Error::Parts`] if the whole
    /// is to be extracted, but parts of it were, [`Error::NoDevice`] and
    /// [`Error::Model`] if the backbone cannot be run or fails the parity gate, and those of
    /// [`pipeline::run`].
    pub fn run(&self, report: &mut dyn FnMut(Event)) -> Result<Summary, Error> {
        self.check_crop()?;
        let whole = self.dir()?;
        if cache::is_in_bucket(&whole) {
            return self.run_for_bucket(&whole, report);
        }
        let to = Target::new(whole, self.settings.part, self.samples()?);
        to.refuse_mixture()?;
        let summary = self.run_in(&to, report)?;
        if self.settings.part.is_some() && summary.outcome.meta.complete {
            return to.join(summary, self.backbone.threads(), report);
        }
        Ok(summary)
    }

    fn run_in(&self, to: &Target, report: &mut dyn FnMut(Event)) -> Result<Summary, Error> {
        match self.attempt(to, false, report) {
            Err(Error::Model(error)) if self.may_halve(&error, &to.dir) => {
                report(Event::Warning(
                    "out of memory: batches are computed in halves from now on, which may change the last bits of tokens".to_owned(),
                ));
                self.attempt(to, true, report)
            }
            result => result,
        }
    }

    /// Whether a run that failed is repeated with batches in halves: if memory was lacking, and no other batch
    /// size can be chosen because slices are in the cache or one was asked for.
    fn may_halve(&self, error: &ModelError, dir: &Path) -> bool {
        let is_begun = || CacheMeta::read(dir).is_ok_and(|meta| !meta.is_blank());
        // In 8-bit integers, other runs give visibly other tokens.
        lacks_memory(error)
            && self.backbone.precision != Some(Precision::Int8)
            && (self.backbone.batch_size.is_some() || is_begun())
    }

    /// Extracts with whole batches, or with batches in halves.
    fn attempt(
        &self,
        to: &Target,
        halved: bool,
        report: &mut dyn FnMut(Event),
    ) -> Result<Summary, Error> {
        let dir = &*to.dir;
        let held = if to.finished().is_some() {
            // Nothing is written to it, so it may lie where nothing can be.
            None
        } else {
            Some(lock(dir, self.settings.wait, report)?)
        };
        let begun = to.begun()?;
        let own = to.finished().unwrap_or(dir);
        if let Ok(meta) = CacheMeta::read(own) {
            sources::compare(own, &meta, self.dataset)?;
        }
        if let Some(begun) = &begun {
            self.refuse_other_tokens(own, begun)?;
        }
        let backbone = BackboneChoice {
            tokens: Some(self.tokens(begun.as_ref())),
            ..self.backbone.clone()
        };
        let with_tokens = Extraction {
            backbone: &backbone,
            settings: Settings {
                patch_dtype: self.patch_dtype_of(backbone.tokens, begun.as_ref())?,
                ..self.settings
            },
            ..*self
        };
        with_tokens.compute(to, begun, (held, halved), report)
    }

    /// Writes the cache, once its kind of tokens is known.
    fn compute(
        &self,
        to: &Target,
        begun: Option<CacheMeta>,
        (mut held, halved): (Option<CacheLock>, bool),
        report: &mut dyn FnMut(Event),
    ) -> Result<Summary, Error> {
        let dir = &*to.dir;
        let with_rows = begun.as_ref().filter(|begun| !begun.is_blank());
        if let Some(begun) = with_rows {
            self.refuse_extended_part(dir, begun)?;
        }
        let is_extended = with_rows.is_some_and(|begun| self.extends(begun));
        let is_written = to.finished().is_none() || is_extended;
        let shapes = self.shapes_of_card()?;
        let is_known = shapes.is_some();
        if let Some(shapes) = shapes.filter(|_| is_written) {
            self.check_space(dir, with_rows, shapes, report)?;
        }
        let place = Place {
            halved,
            ..self.place()
        };
        let backbone = self.backbone.open(place, with_rows, report)?;
        let mut meta = self.describe(&backbone)?;
        if is_written && !is_known {
            self.check_space(dir, with_rows, backbone.shapes().to_vec(), report)?;
        }
        if let Some(finished) = begun.as_ref().filter(|_| is_extended) {
            return self.extend(dir, finished, meta, (place, backbone), report);
        }
        if let Some(begun) = &begun {
            self.adopt(begun, &mut meta, report);
        }
        let mut retry = None;
        if let Some(begun) = begun.as_ref().filter(|begun| self.is_retried(begun)) {
            held = Some(held.map_or_else(|| lock(dir, self.settings.wait, report), Ok)?);
            retry = retry::plan(dir, begun, self.dataset, self.recipe)?;
            report(Event::Message(retry::describe(retry.as_ref(), begun)));
            if retry.is_some()
                && let Some(text) = retry::stale_sets(dir)?
            {
                report(Event::Warning(text));
            }
            if retry.is_none() {
                // Their files may have changed.
                meta.samples_sha256.clone_from(&begun.samples_sha256);
            }
        }
        let finished = to.finished();
        if finished.is_none() || finished == Some(dir) {
            meta = to.describe(meta, (self.dataset, self.recipe))?;
        }
        if let Some(begun) = begun.as_ref().filter(|_| !self.settings.retry_skipped) {
            let own = finished.unwrap_or(dir);
            retry::refuse_repaired(own, begun, &meta, (self.dataset, self.recipe))?;
        }
        if retry.is_none()
            && let Some(dir) = finished
        {
            let name = cache::original_path(dir, self.staging);
            return summary_of(dir, (&name, &meta), report);
        }
        // Before the cache is created, so that after a failure another precision can be tried.
        let slices = (self.dataset, self.recipe);
        let (backbone, parity) = self.backbone.pass(place, backbone, slices, report)?;
        let lock = held.map_or_else(|| lock(dir, self.settings.wait, report), Ok)?;
        let mut writer = match retry {
            None => CacheWriter::locked(lock, meta)?,
            Some(retry) => CacheWriter::rewound(lock, meta, retry.shards, retry.skipped)?,
        };
        writer.record(self.session("extract", &to.dir, &backbone, parity)?);
        self.write(to, backbone, writer, false, report)
    }

    /// Indices of the samples that this run extracts.
    ///
    /// # Errors
    ///
    /// [`Error::Options`] if there are more parts than samples.
    pub fn samples(&self) -> Result<Range<usize>, Error> {
        let all = 0..self.dataset.samples.len();
        self.settings
            .part
            .map_or(Ok(all), |part| part.samples(self.dataset))
    }

    fn is_retried(&self, begun: &CacheMeta) -> bool {
        self.settings.retry_skipped && !begun.skipped.is_empty()
    }

    /// Embeds the slices that the cache of `writer` lacks. `is_repeated` as in [`Job`].
    fn write(
        &self,
        to: &Target,
        mut backbone: Backbone,
        writer: CacheWriter,
        is_repeated: bool,
        report: &mut dyn FnMut(Event),
    ) -> Result<Summary, Error> {
        if let Some(damage) = writer.damage() {
            let fault = damage.to_string();
            let fault = fault.lines().next().unwrap_or_default();
            report(Event::Warning(format!(
                "{fault}; these slices are computed again"
            )));
        }
        let job = Job {
            dataset: self.dataset,
            samples: to.samples.clone(),
            reader: &Reader::new(&self.dataset.root),
            recipe: self.recipe,
            pictures: writer.meta().has_pictures,
            batch_size: backbone.slices_at_once(),
            readers: self.backbone.threads(),
            is_repeated,
            save_every: self.settings.save_every,
            stop: self.stop,
        };
        report(Event::Writing(to.dir.clone()));
        let outcome = pipeline::run(&job, &mut backbone, writer, &mut |progress| {
            report(Event::Progress(progress));
        })?;
        Ok(Summary {
            dir: to.dir.clone(),
            outcome,
        })
    }

    /// Number of slices of the run's samples with their views, as far as it is known before they are read.
    pub fn slices(&self) -> Option<u64> {
        let views = self.recipe.views.as_ref().map_or(0, |views| views.count);
        let samples = self.dataset.samples[self.samples().ok()?].iter();
        let slices = samples.map(|sample| match &sample.slices {
            Some(slices) => Some(slices.clone().count() as u64),
            None => sample.is_picture().then_some(1),
        });
        let slices: Option<u64> = slices.sum();
        Some(slices? * (u64::from(views) + 1))
    }

    /// Refuses a crop of images with masks or augmented views, whose tokens would be misplaced.
    fn check_crop(&self) -> Result<(), Error> {
        let is_placed = self.recipe.views.is_some() || pipeline::has_masks(self.dataset);
        if self.recipe.resize != Resize::BicubicSquashCrop || !is_placed {
            return Ok(());
        }
        Err(Error::Options {
            found: format!(
                "`{}`: `bicubic-squash-crop` with masks or `--views`",
                printable(&self.dataset.name)
            ),
            hint: "give `--resize bicubic-squash`".to_owned(),
        })
    }
}

/// The summary of the finished cache in `dir`, named `name`, which an earlier run with this description has made.
fn summary_of(
    dir: &Path,
    (name, run): (&Path, &CacheMeta),
    report: &mut dyn FnMut(Event),
) -> Result<Summary, Error> {
    let meta = CacheReader::open_same(dir, run)?.meta().clone();
    report(Event::Message(format!(
        "{}: already complete",
        name.display()
    )));
    Ok(Summary {
        dir: dir.into(),
        outcome: Outcome::of_finished(meta),
    })
}
