//! Extractions into a bucket: they run in a local folder, from which finished shards are copied.

use std::path::Path;

use cache::{CacheMeta, Mirror, Parts};
use common::counted;

use super::lock::lock;
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
        let there = Target::new(whole.into(), self.settings.part, samples.clone());
        there.refuse_mixture()?;
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
        } else {
            self.run_in(&there, report)?
        };
        if self.settings.part.is_some() && summary.outcome.meta.complete {
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
