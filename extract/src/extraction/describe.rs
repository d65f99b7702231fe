//! The description of the cache that an extraction writes.

use std::path::PathBuf;

use cache::{CacheMeta, FORMAT_VERSION, PatchDtype, Tokens};
use common::counted;
use common::text::printable;

use super::{Event, Extraction};
use crate::backbone::Backbone;
use crate::{Error, fingerprint, pipeline};

/// Approximate size of a shard's tensors in bytes.
const SHARD_BYTES: usize = 256 << 20;

/// Most rows of a shard.
const SHARD_ROWS: usize = 1024;

impl Extraction<'_> {
    /// Tokens to keep: those that were asked for; else those of the unfinished cache `begun`; else patch
    /// tokens if there are masks. A finished cache with tokens of single positions keeps them.
    pub(super) fn tokens(&self, begun: Option<&CacheMeta>) -> Tokens {
        let has_rows = begun.filter(|begun| !begun.is_blank());
        let is_kept = |begun: &&CacheMeta| {
            begun.complete && (begun.tokens != Tokens::Cls || self.settings.retry_skipped)
        };
        if let Some(begun) = has_rows.filter(is_kept) {
            return begun.tokens;
        }
        let unfinished = has_rows.filter(|begun| !begun.complete);
        self.backbone
            .tokens
            .or(unfinished.map(|begun| begun.tokens))
            .unwrap_or(if pipeline::has_masks(self.dataset) {
                Tokens::All
            } else {
                Tokens::Cls
            })
    }

    /// The element type of patch tokens, if they are kept.
    pub(super) fn patch_dtype_of(
        &self,
        tokens: Option<Tokens>,
        begun: Option<&CacheMeta>,
    ) -> Result<Option<PatchDtype>, Error> {
        if tokens.is_some_and(|tokens| tokens != Tokens::Cls) {
            let there = begun.filter(|begun| begun.tokens != Tokens::Cls && !begun.is_blank());
            return Ok(self
                .settings
                .patch_dtype
                .or(there.map(|there| there.patch_dtype)));
        }
        if self.settings.patch_dtype == Some(PatchDtype::Int8) {
            return Err(Error::Options {
                found: "`--token-dtype int8` without patch tokens, which it is for".to_owned(),
                hint: "give `--tokens all` or `residual`, or leave `--token-dtype` out".to_owned(),
            });
        }
        Ok(None)
    }

    /// Takes over from a begun cache what changes no token, and what caches of earlier versions lack.
    pub(super) fn adopt(
        &self,
        begun: &CacheMeta,
        meta: &mut CacheMeta,
        report: &mut dyn FnMut(Event),
    ) {
        // A cache of an earlier version is finished as it was begun, unless an option says otherwise.
        meta.has_placement = begun.has_placement;
        meta.has_pictures = self.settings.pictures.unwrap_or(begun.has_pictures);
        if begun.is_blank() {
            return;
        }
        if let Some(asked) = self.settings.shard_rows
            && meta.shard_rows != begun.shard_rows
        {
            report(Event::Message(format!(
                "`--shard-rows {asked}` has no effect: the cache was begun with shards of {}",
                counted(begun.shard_rows, "slice")
            )));
        }
        meta.shard_rows = begun.shard_rows;
    }

    pub(super) fn dir(&self) -> Result<PathBuf, Error> {
        let name = &self.dataset.name;
        if name.is_empty() || name.starts_with('.') || name.contains(['/', '\\']) {
            return Err(Error::Options {
                found: format!("`{}` is not the name of a folder", printable(name)),
                hint: "give the dataset another `--name`".to_owned(),
            });
        }
        let model = format!("{}@{}", self.card.name, self.backbone.image_size(self.card));
        Ok(self.caches.join(name).join(model))
    }

    pub(super) fn describe(&self, backbone: &Backbone) -> Result<CacheMeta, Error> {
        let options = backbone.options();
        let dataset = self.dataset;
        let has_masks = pipeline::has_masks(dataset);
        let shapes = backbone.shapes().to_vec();
        let last = shapes.last().copied().unwrap_or_default();
        let mut meta = CacheMeta {
            format_version: FORMAT_VERSION,
            tool_version: env!("CARGO_PKG_VERSION").to_string(),
            dataset: dataset.name.clone(),
            task: dataset.task,
            classes: dataset.classes.clone(),
            has_masks,
            mask_classes: dataset.mask_classes.clone(),
            ignored_mask_value: dataset.ignored_mask_value().filter(|_| has_masks),
            has_placement: true,
            has_pictures: self
                .settings
                .pictures
                .unwrap_or(has_masks && options.tokens == Tokens::All),
            has_provenance: true,
            split: Some(self.rule.recorded()),
            part: None,
            samples: dataset.samples.len() as u64,
            samples_sha256: fingerprint::of_samples(dataset),
            model: backbone.meta().clone(),
            image_size: options.image_size,
            tokens: options.tokens,
            layers: options.layers,
            width: last.cls,
            grid: last.grid,
            shapes,
            first_tokens: backbone.first_tokens(),
            dtype: "f16".to_string(),
            patch_dtype: self.settings.patch_dtype.unwrap_or_default(),
            preprocess: serde_json::to_value(self.recipe)?,
            provider: options.device.provider.name().to_string(),
            precision: options.device.precision.name().to_string(),
            imported: None,
            onnxruntime_version: self.runtime.version(),
            parity: None,
            added: None,
            batch_size: options.batch_size,
            shard_rows: 0,
            rows: 0,
            shards: Vec::new(),
            pending: Vec::new(),
            skipped: Vec::new(),
            complete: false,
            writer: None,
        };
        meta.shard_rows = self.shard_rows(&meta);
        Ok(meta)
    }

    /// A multiple of the batch size, so that a resumed run forms the same batches.
    fn shard_rows(&self, meta: &CacheMeta) -> u32 {
        let fitting = SHARD_BYTES / meta.token_bytes().max(1);
        let fitting = u32::try_from(fitting.clamp(1, SHARD_ROWS));
        let wanted = self.settings.shard_rows.unwrap_or(fitting.unwrap_or(1));
        wanted.next_multiple_of(meta.batch_size)
    }
}
