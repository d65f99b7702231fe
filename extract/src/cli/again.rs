//! The dataset and the recipe of a finished cache, for commands that read its images again.

use std::path::Path;

use anyhow::Context;
use cache::CacheMeta;
use common::text::{printable, shown};
use imaging::preprocess::Preprocess;

use super::args::{LayoutArgs, hide_ids, open_dataset};
use crate::Error;
use crate::dataset::Dataset;
use crate::split::{self, SplitRule};

/// Options that a cache does not record of its dataset.
pub(super) struct Again<'a> {
    /// Name or file of the dataset's card; that of the cache if `None`.
    pub(super) dataset: Option<&'a str>,
    /// The split rule, if it was a table.
    pub(super) split: Option<&'a SplitRule>,
    pub(super) limit: Option<usize>,
    pub(super) seed: u64,
    pub(super) layout: &'a LayoutArgs,
}

impl Again<'_> {
    /// The dataset as it was extracted, as far as the cache `dir` says how.
    pub(super) fn dataset(
        &self,
        dir: &Path,
        meta: &CacheMeta,
        root: &Path,
    ) -> anyhow::Result<(Dataset, SplitRule)> {
        let name = self.dataset.unwrap_or(&meta.dataset);
        let opened = open_dataset(name, Some(root), self.layout);
        let (_, mut dataset) = match opened {
            Err(error) if self.dataset.is_none() && is_unknown_dataset(&error) => anyhow::bail!(
                "`{}`: of the dataset `{}`, which is not built in\nhint: give `--dataset` as for the extraction",
                shown(dir),
                printable(name)
            ),
            opened => opened?,
        };
        dataset.name.clone_from(&meta.dataset);
        let recorded = meta.split.as_deref().unwrap_or("official");
        let rule = match self.split {
            Some(rule) => rule.clone(),
            None if recorded.starts_with("file:") => anyhow::bail!(
                "`{}`: split by the table `{}`\nhint: give its path: `--split file:PATH`",
                shown(dir),
                printable(recorded.trim_start_matches("file:"))
            ),
            None => recorded.parse()?,
        };
        split::divide(&mut dataset.samples, &rule)?;
        hide_ids(self.layout, &mut dataset)?;
        if let Some(limit) = self.limit {
            split::limit(&mut dataset.samples, limit, self.seed);
        }
        Ok((dataset, rule))
    }
}

/// Whether a dataset was not opened because its name is not built in, such as that of `--name`.
fn is_unknown_dataset(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(Error::UnknownDataset { .. }))
}

/// The recipe of the cache `dir`.
pub(super) fn recipe(dir: &Path, meta: &CacheMeta) -> anyhow::Result<Preprocess> {
    serde_json::from_value(meta.preprocess.clone())
        .with_context(|| format!("`{}`: `preprocess` in `meta.json`", shown(dir)))
}
