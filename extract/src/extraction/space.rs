//! The size of a cache against the free space of its disk.

use std::path::Path;

use cache::{CacheMeta, LayerShape, Tokens};
use common::counted;
use common::disk::{free_bytes, size};

use super::{Event, Extraction, SliceCount, Tables};
use crate::{Error, pipeline};

impl Extraction<'_> {
    /// Shapes of the tokens by the model's card; `None` for models whose layers differ: only the graph has
    /// them.
    pub(super) fn shapes_of_card(&self) -> Result<Option<Vec<LayerShape>>, Error> {
        let card = self.card;
        if card.vit.is_none() || self.backbone.onnx.is_some() {
            return Ok(None);
        }
        let shape = self.last_shape()?;
        Ok(Some(vec![shape; self.backbone.layers(card) as usize]))
    }

    /// What determines the size of the cache that this extraction writes.
    pub fn tables(&self, shapes: Vec<LayerShape>) -> Tables {
        let has_masks = pipeline::has_masks(self.dataset);
        let tokens = self.tokens(None);
        let pictures = self
            .settings
            .pictures
            .unwrap_or(has_masks && tokens == Tokens::All);
        Tables {
            shapes,
            tokens,
            first_tokens: self.card.first_tokens(),
            patch_dtype: self.settings.patch_dtype.unwrap_or_default(),
            has_masks,
            pictures: pictures.then_some(self.recipe.image_size),
        }
    }

    /// Reports the size of the cache, and refuses one that the disk cannot hold. What `begun` holds is
    /// there already.
    pub(super) fn check_space(
        &self,
        dir: &Path,
        begun: Option<&CacheMeta>,
        shapes: Vec<LayerShape>,
        report: &mut dyn FnMut(Event),
    ) -> Result<(), Error> {
        let tables = self.tables(shapes);
        let slices = SliceCount::of(self.dataset, self.samples()?, self.recipe);
        let (total, there) = (tables.total(&slices), begun.map_or(0, CacheMeta::bytes));
        let needed = total.saturating_sub(there);
        let free = free_bytes(dir);
        let sizes = tables.bytes(&slices).into_iter();
        let sizes = sizes.map(|(table, bytes)| format!("{table} {}", size(bytes)));
        let part = self.settings.part.map(|part| format!("part {part}: "));
        let mut text = format!(
            "{}about {} for {} ({}): {}",
            part.unwrap_or_default(),
            size(total),
            counted(slices.rows, "slice"),
            slices.how,
            sizes.collect::<Vec<_>>().join(", ")
        );
        if let Some(free) = free {
            text += &format!("; {} free", size(free));
        }
        report(Event::Message(text));
        let Some(free) = free.filter(|free| *free < needed) else {
            return Ok(());
        };
        let smaller = tables.smaller(&slices).into_iter();
        let smaller = smaller.map(|(option, bytes)| format!("`{option}` ({})", size(bytes)));
        let smaller: Vec<_> = smaller.collect();
        let hint = if smaller.is_empty() {
            "free space, or give a `--cache` on a larger disk".to_owned()
        } else {
            format!(
                "free space, give a `--cache` on a larger disk, or an option that needs less: {}",
                smaller.join(", ")
            )
        };
        Err(Error::Space {
            path: dir.into(),
            needed,
            free,
            slices: slices.rows,
            hint,
        })
    }
}
