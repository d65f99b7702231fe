//! `meta.json`: what a cache is, and which shards of it are finished.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::ops::{Not, RangeInclusive};
use std::path::Path;

use common::counted;
use common::files::write_whole;
use common::text::printable;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::description;
use crate::recipe::{Difference, differences};
use crate::rows::Invalid;
use crate::schema::Table;
use crate::{Error, Task};

/// The version of the format that this library writes and reads.
pub const FORMAT_VERSION: u32 = 1;

/// Most pixels in a row of a backbone's input.
const LARGEST_INPUT: u64 = 1 << 12;

/// Most classes: a table of pairs of classes takes 128 MiB.
pub const MOST_CLASSES: usize = 4096;

/// Most bytes of a class's name: 1,000 characters of any alphabet.
const MOST_CLASS_BYTES: usize = 4000;

/// The fields of `meta.json` that change while a cache grows or between releases; all others must
/// agree between a cache and the run that continues it.
const PROGRESS: [&str; 7] = [
    "tool_version",
    "onnxruntime_version",
    "parity",
    "rows",
    "shards",
    "skipped",
    "complete",
];

/// The content of `meta.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CacheMeta {
    /// See [`FORMAT_VERSION`].
    pub format_version: u32,
    /// The version of the program that created the cache.
    pub tool_version: String,
    /// The dataset's name.
    pub dataset: String,
    /// What its labels are.
    pub task: Task,
    /// Names of the classes, in the order of label indices and label columns.
    pub classes: Vec<String>,
    /// Whether the dataset has masks.
    pub has_masks: bool,
    /// Names of the values in masks, where known.
    pub mask_classes: Vec<MaskClass>,
    /// The value of pixels in masks of which it is not said what they show: they are neither learnt
    /// from nor measured. `None` if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignored_mask_value: Option<u16>,
    /// Whether slices are said to lie somewhere; not in caches of earlier versions.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub has_placement: bool,
    /// Whether pictures of the slices are kept.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub has_pictures: bool,
    /// The words of the rule that split the samples; `None` in caches of versions that kept none,
    /// and split as the dataset's own files say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
    /// Number of samples that the run covers.
    pub samples: u64,
    /// Hash over the list of samples with their labels and splits, and the source files' sizes.
    pub samples_sha256: String,
    /// The ONNX Runtime execution provider.
    pub provider: String,
    /// The precision of the computation.
    pub precision: String,
    /// The version of ONNX Runtime with which the cache was begun; `None` in caches of earlier
    /// versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub onnxruntime_version: Option<String>,
    /// The backbone.
    pub model: ModelMeta,
    /// Input height and width of the backbone in pixels.
    pub image_size: u32,
    /// Which tokens are kept.
    pub tokens: Tokens,
    /// Number of blocks kept, `L`; layer 1 is the last block.
    pub layers: u32,
    /// Width of the last layer's CLS token, `D`.
    pub width: u32,
    /// Rows and columns of the last layer's patch grid; `P` is their product.
    pub grid: [u32; 2],
    /// Each layer's shape, oldest first; empty where all tokens are of `width` and `grid`.
    /// [`shape`](CacheMeta::shape) knows both cases.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shapes: Vec<LayerShape>,
    /// Element type of all tensors: `f16`, little-endian.
    pub dtype: String,
    /// The whole recipe from voxels to the backbone's input.
    pub preprocess: Value,
    /// How far tokens were from those of the processor in f32 when the run began, if that was
    /// measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parity: Option<Value>,
    /// Slices in a batch, some or all of which are a run of the backbone.
    pub batch_size: u32,
    /// Rows in every shard but the last.
    pub shard_rows: u32,
    /// Rows in finished shards.
    pub rows: u64,
    /// Finished shards, in order.
    pub shards: Vec<Shard>,
    /// Samples that could not be read.
    pub skipped: Vec<Skipped>,
    /// Whether all samples are done.
    pub complete: bool,
}

/// The backbone of a cache.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelMeta {
    /// Name of the model card.
    pub name: String,
    /// sha256 of the ONNX file, in hex.
    pub sha256: String,
    /// `true` if tokens have been through the model's last LayerNorm; `None` if the model's card does
    /// not say it, and in caches of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub final_norm: Option<bool>,
}

/// The shape of one layer's tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerShape {
    /// Width of the CLS token.
    pub cls: u32,
    /// Width of patch tokens and of their mean.
    pub patch: u32,
    /// Rows and columns of the patch grid.
    pub grid: [u32; 2],
}

impl LayerShape {
    /// Number of patch tokens of a slice, `P`.
    pub fn patches(&self) -> usize {
        self.grid[0] as usize * self.grid[1] as usize
    }

    fn check(&self, dir: &Path) -> Result<(), Error> {
        let [rows, columns] = self.grid.map(u64::from);
        let patch = u64::from(self.patch);
        let bytes = (2 * patch).saturating_mul(rows * columns);
        check_size(dir, "width of a CLS token", self.cls.into(), 1..=1 << 20)?;
        check_size(dir, "width of a patch token", patch, 1..=1 << 20)?;
        check_size(dir, "bytes of patch tokens", bytes, 1..=i32::MAX as u64)
    }
}

/// Which tokens a cache keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tokens {
    /// CLS tokens and means of the patch tokens.
    Cls,
    /// Patch tokens too.
    All,
}

/// The meaning of a value in masks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaskClass {
    /// The value.
    pub value: u16,
    /// Its name.
    pub name: String,
}

/// One shard: the same rows in every table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// Number of rows.
    pub rows: u32,
    /// The shard's file in each table, by the table's name.
    pub tables: BTreeMap<String, TableFile>,
}

/// One file of a shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableFile {
    /// Size in bytes.
    pub bytes: u64,
    /// Hash of the content, in hex.
    pub sha256: String,
}

/// A sample that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// The sample's id.
    pub sample: String,
    /// What was wrong with it.
    pub reason: String,
}

impl CacheMeta {
    /// True if a run began the cache and stopped before anything was kept.
    pub fn is_blank(&self) -> bool {
        !self.complete && self.shards.is_empty() && self.skipped.is_empty()
    }

    /// The shape of a layer's tokens; layer 1 is the last block, `layers` the oldest.
    pub fn shape(&self, layer: u32) -> LayerShape {
        let own = self.shapes.iter().rev().zip(1..).find(|(_, k)| *k == layer);
        own.map_or(self.plain_shape(), |(shape, _)| *shape)
    }

    /// That of every layer where `shapes` is empty.
    fn plain_shape(&self) -> LayerShape {
        LayerShape {
            cls: self.width,
            patch: self.width,
            grid: self.grid,
        }
    }

    /// Bytes of all tokens of a slice.
    pub fn token_bytes(&self) -> usize {
        let columns = Table::of(self).into_iter().flat_map(|table| {
            let layers = 1..=self.layers;
            layers.filter_map(move |layer| table.tensor_bytes(self.shape(layer)))
        });
        columns.sum()
    }

    /// The same description, without `shapes` that `width` and `grid` tell already.
    pub(crate) fn without_plain_shapes(mut self) -> CacheMeta {
        if self.shapes.iter().all(|shape| *shape == self.plain_shape()) {
            self.shapes.clear();
        }
        self
    }

    /// Bytes in all finished shards.
    pub fn bytes(&self) -> u64 {
        let files = self.shards.iter().flat_map(|s| s.tables.values());
        files.map(|file| file.bytes).sum()
    }

    /// Reads `dir/meta.json`.
    ///
    /// # Errors
    ///
    /// [`Error::NoCache`], [`Error::Version`], [`Error::Meta`] for a file that is not a cache's,
    /// and [`Error::Io`].
    pub fn read(dir: &Path) -> Result<CacheMeta, Error> {
        let path = dir.join("meta.json");
        let text = match std::fs::read(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(Error::NoCache { path: dir.into() });
            }
            result => result.map_err(io_error(&path, "read"))?,
        };
        check_version(dir, &text)?;
        let meta: CacheMeta =
            serde_json::from_slice(&text).map_err(|source| Error::Meta { path, source })?;
        meta.check(dir)?;
        Ok(meta)
    }

    /// Refuses what no cache can be.
    pub(crate) fn check(&self, dir: &Path) -> Result<(), Error> {
        self.check_sizes(dir)?;
        let structures = self.mask_classes.iter().map(|class| class.name.as_str());
        let values = self
            .mask_classes
            .iter()
            .map(|class| class.value.to_string());
        let values: Vec<String> = values.collect();
        check_classes("class", self.classes.iter().map(String::as_str))
            .and_then(|()| check_classes("class in masks", structures))
            .and_then(|()| check_classes("value in masks", values.iter().map(String::as_str)))
            .and_then(|()| description::check(self))
            .map_err(|invalid| Error::Shard {
                path: dir.join("meta.json"),
                what: invalid.what,
                found: invalid.found,
                expected: invalid.expected,
            })
    }

    /// No size is believed that would make a reader allocate without bounds.
    fn check_sizes(&self, dir: &Path) -> Result<(), Error> {
        let layers = u64::from(self.layers);
        check_size(dir, "number of layers", layers, 1..=1024)?;
        if !self.shapes.is_empty() {
            let shapes = self.shapes.len() as u64;
            check_size(dir, "number of shapes", shapes, layers..=layers)?;
        }
        let side = u64::from(self.image_size);
        check_size(dir, "image size", side, 1..=LARGEST_INPUT)?;
        (1..=self.layers).try_for_each(|layer| self.shape(layer).check(dir))?;
        let (width, last) = (u64::from(self.width), self.shape(1));
        check_size(dir, "the last shape's cls", last.cls.into(), width..=width)?;
        for (found, expected) in last.grid.into_iter().zip(self.grid.map(u64::from)) {
            check_size(
                dir,
                "the last shape's grid",
                found.into(),
                expected..=expected,
            )?;
        }
        Ok(())
    }

    /// Replaces `dir/meta.json` in one step: a reader sees the old file or the new one.
    pub(crate) fn write(&self, dir: &Path) -> Result<(), Error> {
        let path = dir.join("meta.json");
        let mut text = serde_json::to_vec_pretty(self).map_err(|source| Error::Meta {
            path: path.clone(),
            source,
        })?;
        text.push(b'\n');
        write_whole(&path, &text).map_err(io_error(&path, "replace"))
    }

    /// Compares the fields that a continued run may not change.
    pub(crate) fn check_same(&self, run: &CacheMeta, dir: &Path) -> Result<(), Error> {
        let (cache, run) = (values(self), values(run));
        // Keys that an earlier version did not write stand for what the run has.
        let is_fixed = |of: &Difference| {
            let key = of.field.split('.').next().unwrap_or_default();
            cache.get(key).is_some() && !PROGRESS.contains(&key)
        };
        match differences("", &cache, &run).into_iter().find(is_fixed) {
            None => Ok(()),
            Some(of) if of.field.starts_with("samples") => {
                Err(Error::OtherSamples { path: dir.into() })
            }
            Some(of) => Err(Error::Mismatch {
                path: dir.into(),
                field: of.field,
                found: of.found.to_string(),
                expected: of.expected.to_string(),
            }),
        }
    }
}

/// Refuses too many classes, of which two have one name, or one a name that is too long to be shown.
fn check_classes<'a>(
    what: &'static str,
    names: impl ExactSizeIterator<Item = &'a str>,
) -> Result<(), Invalid> {
    if names.len() > MOST_CLASSES {
        let found = format!("one of {}", names.len());
        return Err(Invalid::new(what, found, format!("at most {MOST_CLASSES}")));
    }
    let mut known = HashSet::new();
    for name in names {
        if name.len() > MOST_CLASS_BYTES {
            let expected = format!("at most {MOST_CLASS_BYTES}");
            return Err(Invalid::new(what, counted(name.len(), "byte"), expected));
        }
        if !known.insert(name) {
            let found = format!("`{}` twice", printable(name));
            return Err(Invalid::new(what, found, "each once"));
        }
    }
    Ok(())
}

/// Checks that class names are not too many, too long or doubled.
///
/// # Errors
///
/// The fault in words.
pub fn check_class_names(names: &[String]) -> Result<(), String> {
    check_classes("class", names.iter().map(String::as_str)).map_err(|invalid| invalid.to_string())
}

fn check_size(
    dir: &Path,
    what: &'static str,
    found: u64,
    allowed: RangeInclusive<u64>,
) -> Result<(), Error> {
    if allowed.contains(&found) {
        return Ok(());
    }
    let (least, most) = allowed.into_inner();
    Err(Error::Shard {
        path: dir.join("meta.json"),
        what,
        found: found.to_string(),
        expected: if least == most {
            most.to_string()
        } else {
            format!("{least} to {most}")
        },
    })
}

/// The keys of `meta.json`, with the shapes of all layers and with those that may be absent;
/// `model.final_norm` is left out, as the hash of the graph tells it.
fn values(meta: &CacheMeta) -> Value {
    let layers = (1..=meta.layers).rev();
    let shapes = layers.map(|layer| meta.shape(layer)).collect();
    let meta = CacheMeta {
        shapes,
        model: ModelMeta {
            final_norm: None,
            ..meta.model.clone()
        },
        ..meta.clone()
    };
    let mut values = serde_json::to_value(&meta).unwrap_or_default();
    if let Value::Object(values) = &mut values {
        values.insert("has_placement".to_string(), meta.has_placement.into());
        values.insert("has_pictures".to_string(), meta.has_pictures.into());
        let ignored = meta.ignored_mask_value.into();
        values.insert("ignored_mask_value".to_string(), ignored);
    }
    values
}

fn check_version(dir: &Path, text: &[u8]) -> Result<(), Error> {
    #[derive(Deserialize)]
    struct Version {
        format_version: u32,
    }
    let version: Version = serde_json::from_slice(text).map_err(|source| Error::Meta {
        path: dir.join("meta.json"),
        source,
    })?;
    if version.format_version == FORMAT_VERSION {
        return Ok(());
    }
    Err(Error::Version {
        path: dir.into(),
        found: version.format_version,
        expected: FORMAT_VERSION,
    })
}

pub(crate) fn io_error(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_path_buf();
    move |source| Error::Io {
        path,
        action,
        source,
    }
}
