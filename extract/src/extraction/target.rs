//! The cache that a run writes: that of the whole dataset, or of a part below it.

use std::ops::Range;
use std::path::{Path, PathBuf};

use cache::{CacheMeta, Part, Parts, part_dir};
use common::counted;
use common::text::shown;
use imaging::preprocess::Preprocess;

use super::{Event, Summary, retry};
use crate::Error;
use crate::dataset::Dataset;
use crate::part::DatasetPart;

/// Where a run writes, and what.
pub(super) struct Target {
    /// Folder of the whole cache.
    whole: PathBuf,
    /// Folder of the run's cache: that of a part is below the whole.
    pub(super) dir: PathBuf,
    part: Option<DatasetPart>,
    /// Indices of its samples.
    pub(super) samples: Range<usize>,
}

impl Target {
    pub(super) fn new(whole: PathBuf, part: Option<DatasetPart>, samples: Range<usize>) -> Target {
        let dir = part.map(|of| part_dir(&whole, of.index, of.of));
        Target {
            dir: dir.unwrap_or_else(|| whole.clone()),
            whole,
            part,
            samples,
        }
    }

    /// The folder of the finished cache that makes the run needless.
    pub(super) fn finished(&self) -> Option<&Path> {
        let is_finished = |dir: &&Path| CacheMeta::read(dir).is_ok_and(|meta| meta.complete);
        [&*self.whole, &*self.dir].into_iter().find(is_finished)
    }

    /// Refuses a run over the whole dataset if parts of it were begun, and a first part if a run over the
    /// whole dataset was begun.
    ///
    /// # Errors
    ///
    /// [`cache::Error::Parts`] and [`Error::Options`].
    pub(super) fn refuse_mixture(&self) -> Result<(), Error> {
        if self.finished().is_some() {
            return Ok(());
        }
        let is_begun = CacheMeta::read(&self.whole).is_ok_and(|meta| !meta.is_blank());
        match (self.part, Parts::of(&self.whole)?) {
            (None, Some(parts)) if !is_begun || parts.begun().next().is_some() => {
                Err(parts.unjoined().into())
            }
            (Some(_), None) if is_begun => Err(Error::Options {
                found: format!(
                    "`{}`: a run without `--shard` was begun there",
                    shown(&self.whole)
                ),
                hint: "finish it by its command, without `--shard`, or delete the cache".to_owned(),
            }),
            _ => Ok(()),
        }
    }

    /// A cache whose batch size and tables the run takes over: its own, the whole, or another part.
    pub(super) fn begun(&self) -> Result<Option<CacheMeta>, Error> {
        let read = |dir: &Path| CacheMeta::read(dir).ok();
        let own = read(&self.dir).or_else(|| read(&self.whole));
        if own.is_some() || self.part.is_none() {
            return Ok(own);
        }
        let parts = Parts::of(&self.whole)?;
        let mut others = parts.iter().flat_map(Parts::begun).map(|(_, meta)| meta);
        Ok(others.find(|meta| !meta.is_blank()).cloned())
    }

    /// The description of the run's cache, from that of the whole.
    ///
    /// # Errors
    ///
    /// [`cache::Error::Mismatch`] and [`cache::Error::OtherSamples`] if another command has begun other
    /// parts, and [`Error::Options`] if a file was repaired since.
    pub(super) fn describe(
        &self,
        whole: CacheMeta,
        (dataset, recipe): (&Dataset, &Preprocess),
    ) -> Result<CacheMeta, Error> {
        let Some(DatasetPart { index, of }) = self.part else {
            return Ok(whole);
        };
        let meta = CacheMeta {
            part: Some(Part {
                index,
                of,
                first_sample: self.samples.start as u64,
                samples: whole.samples,
            }),
            samples: self.samples.len() as u64,
            ..whole
        };
        if let Some(parts) = Parts::of(&self.whole)? {
            match parts.check_same(&meta) {
                Err(error @ cache::Error::OtherSamples { .. }) => {
                    retry::refuse_repaired_parts(&parts, (dataset, recipe))?;
                    return Err(error.into());
                }
                checked => checked?,
            }
        }
        Ok(meta)
    }

    /// Joins the parts if the run has finished the last of them, and verifies them with `threads` threads.
    pub(super) fn join(
        &self,
        mut summary: Summary,
        threads: usize,
        report: &mut dyn FnMut(Event),
    ) -> Result<Summary, Error> {
        let whole = &self.whole;
        let is_whole = CacheMeta::read(whole).is_ok_and(|meta| meta.complete);
        if let Some(parts) = Parts::of(whole)?.filter(|_| !is_whole) {
            if !parts.missing().is_empty() {
                let text = parts.unjoined().to_string();
                let text = text.lines().next().unwrap_or_default();
                report(Event::Message(text.to_owned()));
                return Ok(summary);
            }
            let all = counted(parts.count(), "part");
            report(Event::Message(format!("all {all} are done: joining them")));
        }
        match cache::merge(whole, threads) {
            Ok(meta) => {
                summary.dir.clone_from(whole);
                summary.outcome.meta = meta;
            }
            Err(cache::Error::Locked { .. }) => {
                let text = "another process joins the parts";
                report(Event::Message(text.to_owned()));
            }
            Err(error) => return Err(error.into()),
        }
        Ok(summary)
    }
}
