//! Dataset, model and image size in the path of a cache.

use std::path::Path;

/// Dataset, model and image size of a cache by its folder, `…/DATASET/MODEL@SIZE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheName {
    /// Name of the dataset.
    pub dataset: String,
    /// Name of the model.
    pub model: String,
    /// Image size in pixels; empty if the folder has none.
    pub size: String,
}

impl CacheName {
    /// The name of a folder; `None` for a path without a parent.
    pub fn of(dir: &Path) -> Option<CacheName> {
        let name = |path: &Path| Some(path.file_name()?.to_string_lossy().into_owned());
        let (dataset, folder) = (name(dir.parent()?)?, name(dir)?);
        let (model, size) = folder.rsplit_once('@').unwrap_or((&folder, ""));
        Some(CacheName {
            dataset,
            model: model.into(),
            size: size.into(),
        })
    }

    /// Whether the cache is of this dataset, model and size; `None` for any.
    pub fn matches(&self, dataset: Option<&str>, model: Option<&str>, size: Option<&str>) -> bool {
        let is = |wanted: Option<&str>, found: &str| wanted.is_none_or(|wanted| wanted == found);
        is(dataset, &self.dataset) && is(model, &self.model) && is(size, &self.size)
    }
}
