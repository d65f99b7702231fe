//! Identity of an evaluation: everything that its result depends on.

use std::path::Path;

use cache::{CacheReader, SliceMeta, Task};
use rayon::prelude::*;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::knn::SOFTMAX;
use super::{FewShot, Probe, Settings};
use crate::Error;
use crate::examples::Unit;
use crate::head::SavedHead;
use crate::origin::Part;
use crate::protocol::Protocol;

/// Version of what evaluations compute: records of another version are not current. Raise it when
/// equal settings on an equal cache give other results; `tests/versions.rs` fails until that is done.
pub const EVALUATION_VERSION: u32 = 3;

/// The share of `train` to choose on, where nothing is chosen.
pub(crate) const NOTHING_CHOSEN: f64 = 0.0;

/// Rows of a cache that are hashed together.
const ROWS: usize = 1 << 14;

/// Identity of an evaluation.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    /// Settings, with the defaults of the protocol, of the task and of the labels filled in. Those of
    /// two backbones are equal where nothing but the backbone differs.
    pub settings: Map<String, Value>,
    /// Hash of the samples with their patients, splits and labels: equal for caches of the same data by
    /// different backbones.
    pub examples_sha256: String,
    /// Hash of the named split's file.
    pub split_sha256: Option<String>,
    /// Equal for evaluations that give the same result.
    pub key: String,
}

impl Settings {
    /// Identity of an evaluation of a probe that is fitted on whole splits.
    ///
    /// # Errors
    ///
    /// [`Error::Cache`] if the cache's slices or the named split cannot be read.
    pub fn of_probe(&self, reader: &CacheReader, probe: &Probe) -> Result<Identity, Error> {
        let options = probe.resolved(self.protocol, reader)?;
        self.identity(reader, options, probe.val_share(), &[])
    }

    /// Identity of an evaluation of a probe that is fitted on few examples.
    ///
    /// # Errors
    ///
    /// As [`of_probe`](Self::of_probe).
    pub fn of_few_shot(
        &self,
        reader: &CacheReader,
        probe: &Probe,
        few: &FewShot,
    ) -> Result<Identity, Error> {
        let mut options = probe.resolved(self.protocol, reader)?;
        options.insert("few_shot".into(), json!(few));
        self.identity(reader, options, probe.val_share(), &[])
    }

    /// Identity of the application of a head out of `file` to a part of the examples. The head
    /// is known by the settings of its training where these are recorded in it.
    ///
    /// # Errors
    ///
    /// As [`of_probe`](Self::of_probe), and [`Error::Cache`] if the file cannot be read.
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
        self.identity(reader, object(what), NOTHING_CHOSEN, &[sha256])
    }

    /// Identity of an evaluation by these settings and `options`; `val_share` is that of the probe,
    /// `files` are the hashes of files that it reads besides the cache.
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
        settings.extend(object(json!(known)));
        settings.insert("recipe".into(), recipe(&meta.preprocess));
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
            key: key[..16].into(),
        })
    }
}

impl Identity {
    /// The settings of a head that is trained so, with what it is trained on.
    pub(crate) fn of_training(&self, reader: &CacheReader) -> Map<String, Value> {
        let mut settings = self.settings.clone();
        settings.insert("dataset".into(), reader.meta().dataset.clone().into());
        let examples = self.examples_sha256.clone();
        settings.insert("examples_sha256".into(), examples.into());
        settings
    }
}

impl Probe {
    /// The options with the defaults of the protocol and the task filled in.
    ///
    /// # Errors
    ///
    /// [`Error::NoEffect`] for an option that has no meaning for the cache's labels.
    fn resolved(
        &self,
        protocol: Protocol,
        reader: &CacheReader,
    ) -> Result<Map<String, Value>, Error> {
        let mut options = object(json!(self));
        let task = reader.meta().task;
        let is_single = task == Task::SingleLabel;
        match self {
            Probe::Knn(knn) if knn.exclude_self.is_some() && is_single => {
                let why = "ML-kNN is for cases of several classes, and here a case is of one";
                return Err(no_effect(reader, "--exclude-self", why));
            }
            Probe::Linear(linear) if linear.reduction.is_some() && is_single => {
                let why = "it is of cases of several classes, and here a case is of one";
                return Err(no_effect(reader, "--loss", why));
            }
            Probe::Knn(knn) => {
                // Of the default, numbers above those of the training examples are left out.
                let (name, ks) = match &knn.ks {
                    Some(ks) => ("ks", ks.as_slice()),
                    None => ("ks_up_to_examples", protocol.neighbours()),
                };
                options.remove("ks");
                options.insert(name.into(), json!(ks));
                let default = match task {
                    Task::MultiLabel => json!("ml-knn"),
                    Task::SingleLabel | Task::Unlabelled => json!(SOFTMAX),
                };
                let vote = knn.vote.map_or(default, |vote| json!(vote));
                options.insert("vote".into(), vote);
                let exclude_self = knn.exclude_self.unwrap_or(!protocol.counts_self());
                options.insert("exclude_self".into(), json!(exclude_self));
            }
            Probe::Linear(linear) => {
                let reduction = linear.reduction.unwrap_or(protocol.reduction());
                options.insert("reduction".into(), json!(reduction));
            }
            Probe::Logreg(_) | Probe::Centroid(_) => {}
        }
        Ok(options)
    }
}

fn no_effect(reader: &CacheReader, option: &'static str, why: &'static str) -> Error {
    let path = reader.dir().into();
    Error::NoEffect { path, option, why }
}

/// Hash of a canonical serialisation: JSON with sorted keys.
pub(crate) fn hash(what: &impl Serialize) -> String {
    let mut value = json!(what);
    value.sort_all_objects();
    common::sha256_bytes(value.to_string().as_bytes())
}

/// Hashes of the rows, [`ROWS`] at a time.
fn hash_rows(slices: &[SliceMeta]) -> Vec<String> {
    let chunks = slices.par_chunks(ROWS);
    chunks
        .map(|rows| {
            // What `hash` makes of them, whose objects have one key each and need no sorting.
            let rows: Vec<_> = rows.iter().map(row).collect();
            common::sha256_bytes(&serde_json::to_vec(&rows).unwrap_or_default())
        })
        .collect()
}

/// What a result depends on of a row of `slices`.
fn row(slice: &SliceMeta) -> impl Serialize {
    let place = (&slice.sample, slice.slice, slice.view);
    (place, &slice.patient, slice.split, &slice.labels)
}

/// The recipe from voxels to a model's input, without what is the model's own.
fn recipe(preprocess: &Value) -> Value {
    let mut recipe = object(preprocess.clone());
    recipe.retain(|name, _| !["image_size", "mean", "std"].contains(&name.as_str()));
    recipe.into()
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use cache::{Labels, Split};

    use super::*;

    #[test]
    fn rows_are_hashed_as_everything_else() {
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
