//! Identity of an evaluation: all that its result depends on.

use std::path::Path;

use cache::{CacheReader, SliceMeta};
use rayon::prelude::*;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::settings::{Settings, fields};
use crate::Error;
use crate::examples::Unit;
use crate::head::SavedHead;
use crate::origin::Part;
use crate::version::EVALUATION_VERSION;

/// Share of `train` that replaces a missing `val` if nothing is chosen.
pub(crate) const NOTHING_CHOSEN: f64 = 0.0;

/// Rows of a cache per hash.
const ROWS: usize = 1 << 14;

/// Identity of an evaluation.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    /// Settings, with the defaults of the protocol, of the task and of the labels filled in. They are
    /// equal for two backbones if nothing but the backbone differs.
    pub settings: Map<String, Value>,
    /// Hash of the samples with their patients, splits and labels: equal for caches of the same data by
    /// different backbones.
    pub examples_sha256: String,
    /// Hash of the named split's file.
    pub split_sha256: Option<String>,
    /// Name and hash of the label set.
    pub labels: Option<(String, String)>,
    /// Equal for evaluations that give the same result.
    pub key: String,
}

impl Settings {
    /// Identity of the application of a head from `file` to a part of the examples. The head is
    /// identified by the settings of its training if it holds them, else by the hash of the file.
    ///
    /// # Errors
    ///
    /// [`Error::NoEffect`] for `--pool` of slices, and [`Error::Cache`] if the file, the slices of the cache or
    /// the named split cannot be read.
    pub fn of_head(
        &self,
        reader: &CacheReader,
        (head, file): (&SavedHead, &Path),
        part: Part,
    ) -> Result<Identity, Error> {
        let sha256 = crate::head::sha256_of(file)?;
        let settings = &head.about.settings;
        let head = if settings.is_empty() {
            json!(sha256)
        } else {
            json!(settings)
        };
        let what = json!({"probe": "predict", "head": head, "part": part});
        self.identity(reader, fields(&what), NOTHING_CHOSEN, &[sha256])
    }

    /// Identity of an evaluation with these settings and `options`. `val_share` is that of the probe,
    /// `files` are hashes of the files that are read in addition to the cache.
    ///
    /// # Errors
    ///
    /// [`Error::NoEffect`] for `--pool` of slices, and [`Error::Cache`] if the slices of the cache or the
    /// named split cannot be read.
    pub(crate) fn identity(
        &self,
        reader: &CacheReader,
        options: Map<String, Value>,
        val_share: f64,
        files: &[String],
    ) -> Result<Identity, Error> {
        let (slices, split_sha256) = match &self.split_name {
            Some(name) => {
                let (slices, split) = reader.slices_with_split(name)?;
                (slices, Some(split.sha256))
            }
            None => (reader.slices()?, None),
        };
        let meta = reader.meta();
        let unit = self.unit.unwrap_or_else(|| Unit::of(&slices));
        if unit == Unit::Slice && self.pool.is_some() {
            let why = "examples are slices, whose features are not pooled";
            return Err(no_effect(reader, "--pool", why));
        }
        let known = Settings {
            unit: Some(unit),
            pool: Some(self.pool()),
            val_share: Some(self.val_share.unwrap_or(val_share)),
            ..self.clone()
        };
        let mut settings = options;
        settings.extend(fields(&known));
        settings.insert("recipe".into(), recipe(&meta.preprocess));
        let set = reader.labels();
        let mut files = files.to_vec();
        if let Some(set) = set {
            settings.insert("labels".into(), set.name.clone().into());
            files.push(set.sha256.clone());
        }
        let masks = (&meta.mask_classes, meta.ignored_mask_value);
        let labels = (meta.task, &meta.classes, masks);
        let examples_sha256 = hash(&(labels, hash_rows(&slices)));
        let key = hash(&(
            (EVALUATION_VERSION, reader.sha256()),
            (&split_sha256, &examples_sha256),
            (&settings, files),
        ));
        Ok(Identity {
            settings,
            examples_sha256,
            split_sha256,
            labels: set.map(|set| (set.name.clone(), set.sha256.clone())),
            key: key[..16].into(),
        })
    }
}

impl Identity {
    /// Settings of a head, with its dataset and the hash of its training examples.
    pub(crate) fn of_training(&self, reader: &CacheReader) -> Map<String, Value> {
        let mut settings = self.settings.clone();
        settings.insert("dataset".into(), reader.meta().dataset.clone().into());
        let examples = self.examples_sha256.clone();
        settings.insert("examples_sha256".into(), examples.into());
        settings
    }
}

/// Error that an option has no effect on a cache.
pub(crate) fn no_effect(reader: &CacheReader, option: &'static str, why: &'static str) -> Error {
    let path = reader.dir().into();
    Error::NoEffect { path, option, why }
}

/// Hash of a canonical serialisation: JSON with sorted keys.
pub(crate) fn hash(what: &impl Serialize) -> String {
    let mut value = json!(what);
    value.sort_all_objects();
    common::sha256_bytes(value.to_string().as_bytes())
}

/// Hash of each block of [`ROWS`] rows.
fn hash_rows(slices: &[SliceMeta]) -> Vec<String> {
    let chunks = slices.par_chunks(ROWS);
    chunks
        .map(|rows| {
            // Equal to `hash(rows)`: objects have one key each and need no sorting.
            let rows: Vec<_> = rows.iter().map(row).collect();
            common::sha256_bytes(&serde_json::to_vec(&rows).unwrap_or_default())
        })
        .collect()
}

/// Fields of a row of `slices` that a result depends on.
fn row(slice: &SliceMeta) -> impl Serialize {
    let place = (&slice.sample, slice.slice, slice.view);
    (place, &slice.patient, slice.split, &slice.labels)
}

/// The recipe from voxels to the input of a model, without the fields that the model determines.
fn recipe(preprocess: &Value) -> Value {
    let mut recipe = fields(preprocess);
    recipe.retain(|name, _| !["image_size", "mean", "std"].contains(&name.as_str()));
    recipe.into()
}

#[cfg(test)]
mod tests {
    use cache::{Labels, Split};

    use super::*;

    #[test]
    fn rows_are_hashed_as_all_other_values() {
        let labels = [
            Labels::Unlabelled,
            Labels::Single(Some(3)),
            Labels::Single(None),
            Labels::Multi(vec![Some(-1), None, Some(1)]),
        ];
        let slices: Vec<SliceMeta> = (0..)
            .zip(labels)
            .map(|(slice, labels)| SliceMeta {
                sample: "a \"b\"\n\u{1b}ä".into(),
                image: "image".into(),
                patient: Some("p".into()).filter(|_| slice > 1),
                slice,
                view: 1,
                split: [None, Some(Split::Val)][slice as usize % 2],
                labels,
                height: 1,
                width: 1,
                spacing_mm: None,
                placement: None,
            })
            .collect();
        let rows: Vec<_> = slices.iter().map(row).collect();
        assert_eq!(hash_rows(&slices), [hash(&rows)]);
    }
}
