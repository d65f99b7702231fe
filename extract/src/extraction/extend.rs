//! Tokens of single positions for a finished cache that has none.

use std::path::Path;

use cache::{CacheMeta, Extension, Tokens};
use common::text::shown;

use super::backbone::Place;
use super::lock::lock;
use super::target::Target;
use super::{Event, Extraction, Summary};
use crate::Error;
use crate::backbone::Backbone;
use crate::dataset::Dataset;

impl Extraction<'_> {
    /// Whether the finished cache has no tokens of single positions and this extraction keeps them.
    pub(super) fn extends(&self, finished: &CacheMeta) -> bool {
        finished.complete
            && self.settings.part.is_none()
            && finished.tokens == Tokens::Cls
            && self.keeps_positions()
    }

    fn keeps_positions(&self) -> bool {
        self.backbone
            .tokens
            .is_some_and(|tokens| tokens != Tokens::Cls)
    }

    /// Refuses patch tokens beside residual tokens: a cache holds one of the two.
    pub(super) fn refuse_other_tokens(&self, dir: &Path, begun: &CacheMeta) -> Result<(), Error> {
        let [there, asked] = [Some(begun.tokens), self.backbone.tokens];
        if begun.is_blank()
            || !self.keeps_positions()
            || there == asked
            || there == Some(Tokens::Cls)
        {
            return Ok(());
        }
        let word = |tokens| match tokens {
            Some(Tokens::Residual) => "residual",
            _ => "all",
        };
        Err(Error::Options {
            found: format!(
                "`--tokens {}`: `{}` was extracted with `--tokens {}`",
                word(asked),
                shown(dir),
                word(there)
            ),
            hint: "a cache holds one of the two: give another `--cache`".to_owned(),
        })
    }

    /// Refuses to add tokens of single positions with `--shard`: one process adds them to the whole cache.
    pub(super) fn refuse_extended_part(&self, dir: &Path, begun: &CacheMeta) -> Result<(), Error> {
        let Some(part) = self.settings.part else {
            return Ok(());
        };
        if begun.tokens != Tokens::Cls || !self.keeps_positions() {
            return Ok(());
        }
        Err(Error::Options {
            found: format!(
                "`--shard {part}`: `--tokens all` and `residual` cannot be added in parts to `{}`, which was extracted without",
                shown(dir)
            ),
            hint: "finish all parts with `--tokens cls`; then the command without `--shard` adds the others".to_owned(),
        })
    }

    /// Runs the backbone over the samples of a finished cache again and adds tokens of single positions to it.
    pub(super) fn extend(
        &self,
        dir: &Path,
        finished: &CacheMeta,
        described: CacheMeta,
        (place, backbone): (Place, Backbone),
        report: &mut dyn FnMut(Event),
    ) -> Result<Summary, Error> {
        let run = CacheMeta {
            has_placement: finished.has_placement,
            has_provenance: finished.has_provenance,
            has_pictures: finished.has_pictures || described.has_pictures,
            shard_rows: finished.shard_rows,
            ..described
        };
        let extension = Extension::open(lock(dir, self.settings.wait, report)?, &run)?;
        report(Event::Message(format!(
            "{}: complete, but without {} tokens; the backbone runs again to add them",
            cache::original_path(dir, self.staging).display(),
            if run.tokens == Tokens::Residual {
                "residual"
            } else {
                "patch"
            }
        )));
        let slices = (self.dataset, self.recipe);
        let (backbone, parity) = self.backbone.pass(place, backbone, slices, report)?;
        let bound = self
            .backbone
            .parity_bound(backbone.options().device.precision);
        let mut writer = extension.writer(run)?;
        writer.record(self.session("extend", dir, &backbone, parity)?);
        for skipped in &finished.skipped {
            writer.skip(skipped.clone());
        }
        let samples = self.dataset.samples.iter();
        let is_in_cache = |id: &str| finished.skipped.iter().all(|skipped| skipped.sample != id);
        let dataset = Dataset {
            samples: samples.filter(|s| is_in_cache(&s.id)).cloned().collect(),
            ..self.dataset.clone()
        };
        let to = Target::new(dir.into(), None, 0..dataset.samples.len());
        let of_rows = Extraction {
            dataset: &dataset,
            ..*self
        };
        let mut summary = of_rows.write(&to, backbone, writer, true, report)?;
        if summary.outcome.meta.complete {
            summary.outcome.meta = extension.finish(bound)?;
        }
        Ok(summary)
    }
}
