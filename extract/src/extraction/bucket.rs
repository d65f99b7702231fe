//! Extractions into a bucket: they run in a local folder, from which finished shards are copied.

use std::path::Path;

use cache::{CacheLock, CacheMeta, Mirror, Parts, Staged};
use common::counted;

use super::lock::lock;
use super::target::Target;
use super::{BackboneChoice, Event, Extraction, Summary};
use crate::Error;

impl Extraction<'_> {
    /// Extracts into the cache `whole` of a bucket, or a part of it.
    pub(super) fn run_for_bucket(
        &self,
        whole: &Path,
        report: &mut dyn FnMut(Event),
    ) -> Result<Summary, Error> {
        let samples = self.samples()?;
        let there = Target::new(whole.into(), self.settings.part, samples.clone());
        there.refuse_mixture()?;
        if let Some(lock) = self.lock_to_extend(&there, report)? {
            return self.extend_in_bucket(lock, &there, report);
        }
        let is_done = |meta: CacheMeta| meta.complete && !self.is_retried(&meta);
        let is_finished = || {
            let finished = there.finished();
            finished.is_some_and(|dir| CacheMeta::read(dir).is_ok_and(is_done))
        };
        // Another process may finish it while this one waits.
        let lock = (!is_finished()).then(|| lock(&there.dir, self.settings.wait, report));
        let lock = lock.transpose()?.filter(|_| !is_finished());
        let summary = if let Some(lock) = lock {
            let here = Target::new(
                cache::local_path(whole, self.staging),
                self.settings.part,
                samples,
            );
            let mirror = Mirror::begin(lock, &here.dir)?;
            let mut report = named(&there, report);
            let summary = mirror.run(self.stop, || self.run_in(&here, &mut report))?;
            Summary {
                dir: there.dir.clone(),
                ..summary
            }
        } else {
            self.run_in(&there, report)?
        };
        if self.settings.part.is_some() && summary.outcome.meta.complete {
            self.join_in_bucket(whole, summary, report)
        } else {
            Ok(summary)
        }
    }

    /// Locks a finished cache in a bucket if patch tokens are to be added to it.
    fn lock_to_extend(
        &self,
        there: &Target,
        report: &mut dyn FnMut(Event),
    ) -> Result<Option<CacheLock>, Error> {
        let is_extended = || {
            let meta = there.finished().map(CacheMeta::read).transpose()?;
            Ok::<_, Error>(meta.is_some_and(|meta| {
                let backbone = BackboneChoice {
                    tokens: Some(self.tokens(Some(&meta))),
                    ..self.backbone.clone()
                };
                let with_tokens = Extraction {
                    backbone: &backbone,
                    ..*self
                };
                with_tokens.extends(&meta)
            }))
        };
        if !is_extended()? {
            return Ok(None);
        }
        let lock = lock(&there.dir, self.settings.wait, report)?;
        // Another process may have added them meanwhile.
        Ok(is_extended()?.then_some(lock))
    }

    /// Adds patch tokens to a copy of a finished cache, and their tables to the bucket.
    fn extend_in_bucket(
        &self,
        lock: CacheLock,
        there: &Target,
        report: &mut dyn FnMut(Event),
    ) -> Result<Summary, Error> {
        let staged = Staged::to_extend(lock, self.staging)?;
        let here = Target::new(staged.dir().into(), None, there.samples.clone());
        let mut report = named(there, report);
        let summary = self.run_in(&here, &mut report)?;
        if summary.outcome.meta.complete {
            staged.add_tables()?;
        }
        Ok(Summary {
            dir: there.dir.clone(),
            ..summary
        })
    }

    /// Joins the parts in a bucket in a local folder if all of them are done.
    fn join_in_bucket(
        &self,
        whole: &Path,
        mut summary: Summary,
        report: &mut dyn FnMut(Event),
    ) -> Result<Summary, Error> {
        let mut tell = |text: String| report(Event::Message(text));
        if !CacheMeta::read(whole).is_ok_and(|meta| meta.complete) {
            let Some(parts) = Parts::of(whole)? else {
                return Ok(summary);
            };
            if !parts.missing().is_empty() {
                let text = parts.unjoined().to_string();
                tell(text.lines().next().unwrap_or_default().to_owned());
                return Ok(summary);
            }
            let all = counted(parts.count(), "part");
            tell(format!("all {all} are done: joining them"));
        }
        let threads = self.backbone.threads();
        match cache::merge_in_bucket(whole, self.staging, threads, self.stop) {
            Ok(meta) => {
                summary.dir = whole.into();
                summary.outcome.meta = meta;
            }
            Err(cache::Error::Raced { .. } | cache::Error::Locked { .. }) => {
                tell("another process joins the parts".to_owned());
            }
            Err(error) => return Err(error.into()),
        }
        Ok(summary)
    }
}

/// Events of a run in a local folder, with the name of the cache in the bucket.
fn named<'a>(there: &'a Target, report: &'a mut dyn FnMut(Event)) -> impl FnMut(Event) + 'a {
    |event| {
        report(match event {
            Event::Writing(_) => Event::Writing(there.dir.clone()),
            event => event,
        });
    }
}
