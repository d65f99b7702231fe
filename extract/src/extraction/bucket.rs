//! Extractions into a bucket: they run in a local folder, from which finished shards are copied.

use std::path::Path;

use cache::{CacheMeta, Mirror, Parts};
use common::counted;

use super::target::Target;
use super::{Event, Extraction, Summary};
use crate::Error;

impl Extraction<'_> {
    /// Extracts into the cache `whole` of a bucket, or a part of it.
    pub(super) fn run_for_bucket(
        &self,
        whole: &Path,
        report: &mut dyn FnMut(Event),
    ) -> Result<Summary, Error> {
        let samples = self.samples()?;
        let there = Target::new(whole.into(), self.part, samples.clone());
        there.refuse_mixture()?;
        let is_done = |meta: CacheMeta| meta.complete && !self.is_retried(&meta);
        let mut finished = there.finished().into_iter();
        let summary = if finished.any(|dir| CacheMeta::read(dir).is_ok_and(is_done)) {
            self.run_in(&there, report)?
        } else {
            let here = Target::new(cache::local_path(whole, self.staging), self.part, samples);
            let mirror = Mirror::begin(&there.dir, &here.dir)?;
            let mut report = |event| {
                report(match event {
                    Event::Writing(_) => Event::Writing(there.dir.clone()),
                    event => event,
                });
            };
            let summary = mirror.run(self.stop, || self.run_in(&here, &mut report))?;
            Summary {
                dir: there.dir.clone(),
                ..summary
            }
        };
        if self.part.is_some() && summary.outcome.meta.complete {
            self.join_in_bucket(whole, summary, report)
        } else {
            Ok(summary)
        }
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
            match self.join_here(whole) {
                Err(Error::Cache(cache::Error::Raced { .. } | cache::Error::Locked { .. })) => {
                    tell("another process joins the parts".to_owned());
                    return Ok(summary);
                }
                joined => joined?,
            }
        }
        cache::delete_parts(whole)?;
        summary.dir = whole.into();
        summary.outcome.meta = CacheMeta::read(whole)?;
        Ok(summary)
    }

    /// Fetches all parts, joins them, and copies the whole to the bucket.
    fn join_here(&self, whole: &Path) -> Result<(), Error> {
        let work = cache::local_path(whole, self.staging);
        let mirror = Mirror::begin(whole, &work)?;
        cache::download(whole, &work)?;
        let threads = self.backbone.threads();
        mirror.run(self.stop, || cache::merge(&work, threads))?;
        Ok(())
    }
}
