//! Damaged shards of a finished cache, extracted again.

use std::ops::Range;
use std::path::Path;

use cache::Repair;
use imaging::read::Reader;

use super::{Event, Extraction, Place};
use crate::Error;
use crate::pipeline::{self, Job};

impl Extraction<'_> {
    /// Extracts the sorted `shards` of the finished cache `dir` again, and no others. What is written equals
    /// what was damaged, byte for byte, or else nothing is replaced.
    ///
    /// # Errors
    ///
    /// [`cache::Error::Mismatch`] and [`cache::Error::OtherSamples`] if this extraction would give another cache,
    /// [`cache::Error::OtherTokens`] if it gives other bytes, and those of [`Extraction::run`].
    pub fn repair(
        &self,
        dir: &Path,
        shards: &[usize],
        report: &mut dyn FnMut(Event),
    ) -> Result<(), Error> {
        let repair = Repair::begin(dir)?;
        let place = Place {
            runtime: self.runtime,
            home: self.home,
            card: self.card,
            halved: false,
        };
        let mut backbone = self.backbone.open(place, Some(repair.meta()), report)?;
        let mut run = self.describe(&backbone)?;
        self.adopt(repair.meta(), &mut run, report);
        repair.check_same(&run)?;
        for shards in runs(shards) {
            let mut writer = repair.writer(shards.start)?;
            writer.record(self.session("repair", dir, &backbone, None)?);
            let end = self.end(repair.first_sample(shards.end)?.as_deref());
            let job = Job {
                dataset: self.dataset,
                samples: 0..end,
                reader: &Reader::new(&self.dataset.root),
                recipe: self.recipe,
                pictures: run.has_pictures,
                batch_size: backbone.slices_at_once(),
                readers: self.backbone.threads(),
                // Samples that were skipped are skipped again.
                is_repeated: false,
                save_every: self.settings.save_every,
                stop: self.stop,
            };
            report(Event::Writing(dir.to_path_buf()));
            let outcome = pipeline::run(&job, &mut backbone, writer, &mut |progress| {
                report(Event::Progress(progress));
            })?;
            repair.replace(&outcome.meta, shards)?;
        }
        Ok(())
    }

    /// The end of the samples up to `last`, which is part of them; of all if there is no last one.
    fn end(&self, last: Option<&str>) -> usize {
        let mut samples = self.dataset.samples.iter();
        let last = last.and_then(|last| samples.position(|sample| sample.id == last));
        last.map_or(self.dataset.samples.len(), |last| last + 1)
    }
}

/// Runs of consecutive numbers.
fn runs(sorted: &[usize]) -> Vec<Range<usize>> {
    let runs = sorted.chunk_by(|one, next| one + 1 == *next);
    runs.map(|run| run[0]..run[run.len() - 1] + 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_one_run() {
        assert_eq!(runs(&[0, 1, 2, 5, 7, 8]), [0..3, 5..6, 7..9]);
        assert!(runs(&[]).is_empty());
    }
}
