//! `meta.json`: the description of a cache and the list of its finished shards.

mod check;
mod imported;
mod same;

use std::collections::BTreeMap;
use std::io;
use std::ops::Not;
use std::path::Path;

use common::files::write_whole;
use common::sha256_bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::check::{MOST_CLASSES, check_class_names};
pub use self::imported::{Imported, ImportedTokens};
use crate::error::io_error;
use crate::schema::Table;
use crate::{Added, Error, Part, PatchDtype, Task, parts, store};

/// The version of the format that this library writes and reads.
pub const FORMAT_VERSION: u32 = 1;

/// The content of `meta.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CacheMeta {
    /// See [`FORMAT_VERSION`].
    pub format_version: u32,
    /// The version of the program that created the cache.
    pub tool_version: String,
    /// The dataset's name.
    pub dataset: String,
    /// Kind of its labels.
    pub task: Task,
    /// Names of the classes, in the order of label indices and label columns.
    pub classes: Vec<String>,
    /// Whether the dataset has masks.
    pub has_masks: bool,
    /// Names of the values in masks, where known.
    pub mask_classes: Vec<MaskClass>,
    /// Value of unlabelled pixels in masks, which are neither trained on nor evaluated; `None` if there are
    /// none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignored_mask_value: Option<u16>,
    /// Whether slices have positions; `false` in caches of earlier versions.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub has_placement: bool,
    /// Whether pictures of the slices are kept.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub has_pictures: bool,
    /// Whether Parquet files say how they were made; `false` in caches of earlier versions.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub has_provenance: bool,
    /// Rule that split the samples; `None` in caches of earlier versions, which have the official split.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub split: Option<String>,
    /// The part of the dataset that the cache holds; `None` if it is the whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<Part>,
    /// Number of samples that the run covers.
    pub samples: u64,
    /// Hash over the list of samples with their labels and splits, and the source files' sizes.
    pub samples_sha256: String,
    /// The ONNX Runtime execution provider.
    pub provider: String,
    /// The precision of the computation.
    pub precision: String,
    /// Source of the tokens, if another program computed them; `None` if `extract` did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imported: Option<Imported>,
    /// The version of ONNX Runtime with which the cache was begun; `None` in caches of earlier
    /// versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub onnxruntime_version: Option<String>,
    /// The backbone.
    pub model: ModelMeta,
    /// Input height and width of the backbone in pixels.
    pub image_size: u32,
    /// Tokens in the cache.
    pub tokens: Tokens,
    /// Number of blocks kept, `L`; layer 1 is the last block.
    pub layers: u32,
    /// Width of the last layer's CLS token, `D`.
    pub width: u32,
    /// Rows and columns of the last layer's patch grid; `P` is their product.
    pub grid: [u32; 2],
    /// Shape of each layer, oldest first; empty if all tokens have `width` and `grid`. Use
    /// [`shape`](CacheMeta::shape), which handles both cases.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shapes: Vec<LayerShape>,
    /// Tokens before the patches in `residual`: CLS and registers; 0 without this table.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub first_tokens: u32,
    /// Element type of all tensors: `f16`, little-endian.
    pub dtype: String,
    /// Element type of patch tokens; `f16` in caches of earlier versions.
    #[serde(default, skip_serializing_if = "PatchDtype::is_f16")]
    pub patch_dtype: PatchDtype,
    /// The whole recipe from voxels to the backbone's input.
    pub preprocess: Value,
    /// Difference of tokens from those of the CPU in f32, if it was measured before the first row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parity: Option<Value>,
    /// What made tables that were added to the finished cache; `None` if that was the same, or none were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub added: Option<Added>,
    /// Slices in a batch, some or all of which are a run of the backbone.
    pub batch_size: u32,
    /// Rows in every shard but the last.
    pub shard_rows: u32,
    /// Rows in finished shards.
    pub rows: u64,
    /// Finished shards, in order.
    pub shards: Vec<Shard>,
    /// Rows that were saved since the last finished shard, in files below `pending/`. The next shard will
    /// hold them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pending: Vec<Shard>,
    /// Samples that could not be read.
    pub skipped: Vec<Skipped>,
    /// Whether all samples are done.
    pub complete: bool,
    /// Mark of the process that may write to an unfinished cache in a bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writer: Option<String>,
}

/// The backbone of a cache.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelMeta {
    /// Name of the model card.
    pub name: String,
    /// sha256 of the ONNX file, in hex.
    pub sha256: String,
    /// Whether the model's last LayerNorm was applied to the tokens; `None` if the model's card does not
    /// give it, and in caches of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub final_norm: Option<bool>,
    /// sha256 of the file of weights, in hex; `None` if the graph does not name it, and in caches of earlier
    /// versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights_sha256: Option<String>,
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
}

/// Tokens in a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tokens {
    /// CLS tokens and means of the patch tokens.
    Cls,
    /// Patch tokens too.
    All,
    /// CLS tokens, means, and the tokens of all positions before the model's last LayerNorm.
    Residual,
}

impl Tokens {
    /// The table of tokens of single positions.
    pub(crate) fn table(self) -> Option<Table> {
        match self {
            Tokens::Cls => None,
            Tokens::All => Some(Table::Patch),
            Tokens::Residual => Some(Table::Residual),
        }
    }
}

fn is_zero(number: &u32) -> bool {
    *number == 0
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
    /// Hash over paths and hashes of the shard's records in `sources`, in hex; `None` if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sources_sha256: Option<String>,
}

/// One file of a shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableFile {
    /// Size in bytes.
    pub bytes: u64,
    /// Hash of the content, in hex.
    pub sha256: String,
    /// True if `checksums/TABLE/NNNNN.crc32` holds the checksums of its blocks.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub has_checksums: bool,
}

/// A sample that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// The sample's id.
    pub sample: String,
    /// Message of the error.
    pub reason: String,
}

impl CacheMeta {
    /// Whether a run created the cache and stopped before rows were saved.
    pub fn is_blank(&self) -> bool {
        !self.complete && self.saved_rows() == 0 && self.skipped.is_empty()
    }

    /// Rows that a stop does not lose: those of finished shards, and those saved since.
    pub fn saved_rows(&self) -> u64 {
        self.rows + self.pending_rows()
    }

    /// Rows that were saved since the last finished shard.
    pub fn pending_rows(&self) -> u64 {
        self.pending.iter().map(|part| u64::from(part.rows)).sum()
    }

    /// The shape of a layer's tokens; layer 1 is the last block, `layers` the oldest.
    pub fn shape(&self, layer: u32) -> LayerShape {
        let own = self.shapes.iter().rev().zip(1..).find(|(_, k)| *k == layer);
        own.map_or(self.plain_shape(), |(shape, _)| *shape)
    }

    /// Shape of every layer if `shapes` is empty.
    fn plain_shape(&self) -> LayerShape {
        LayerShape {
            cls: self.width,
            patch: self.width,
            grid: self.grid,
        }
    }

    /// Tokens of a slice in `residual`: CLS, registers and patches of a layer.
    pub fn positions(&self, layer: u32) -> usize {
        self.first_tokens as usize + self.shape(layer).patches()
    }

    /// Bytes of all tokens of a slice.
    pub fn token_bytes(&self) -> usize {
        let columns = Table::of(self).into_iter().flat_map(|table| {
            let layers = 1..=self.layers;
            layers.filter_map(move |layer| table.tensor_bytes(self, layer))
        });
        columns.sum()
    }

    /// The same description without `shapes` if they all equal `width` and `grid`.
    pub(crate) fn without_plain_shapes(mut self) -> CacheMeta {
        if self.shapes.iter().all(|shape| *shape == self.plain_shape()) {
            self.shapes.clear();
        }
        self
    }

    /// Bytes of all saved rows.
    pub fn bytes(&self) -> u64 {
        let shards = self.shards.iter().chain(&self.pending);
        let files = shards.flat_map(|s| s.tables.values());
        files.map(|file| file.bytes).sum()
    }

    /// Reads `dir/meta.json`.
    ///
    /// # Errors
    ///
    /// [`Error::NoCache`], [`Error::Parts`] if there are only parts, [`Error::Version`], [`Error::Meta`] for a file that is not a cache's,
    /// and [`Error::Io`].
    pub fn read(dir: &Path) -> Result<CacheMeta, Error> {
        CacheMeta::parse(dir, &CacheMeta::read_text(dir)?)
    }

    /// The text of `dir/meta.json`.
    pub(crate) fn read_text(dir: &Path) -> Result<Vec<u8>, Error> {
        let path = dir.join("meta.json");
        match store::read(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Err(parts::no_cache(dir)),
            result => result.map_err(io_error(&path, "read")),
        }
    }

    /// The description of the cache `dir` in the text of its `meta.json`.
    pub(crate) fn parse(dir: &Path, text: &[u8]) -> Result<CacheMeta, Error> {
        let path = dir.join("meta.json");
        check_version(dir, text)?;
        check_own_hash(&path, text)?;
        let meta: CacheMeta =
            serde_json::from_slice(text).map_err(|source| Error::Meta { path, source })?;
        meta.check(dir)?;
        Ok(meta)
    }

    /// Replaces `dir/meta.json` in one step: a reader sees the old file or the new one.
    pub(crate) fn write(&self, dir: &Path) -> Result<(), Error> {
        let path = dir.join("meta.json");
        let text = self.text(dir)?;
        write_whole(&path, text.as_bytes()).map_err(io_error(&path, "replace"))
    }

    /// The text of `dir/meta.json`.
    pub(crate) fn text(&self, dir: &Path) -> Result<String, Error> {
        with_own_hash(self).map_err(|source| Error::Meta {
            path: dir.join("meta.json"),
            source,
        })
    }
}

/// A description as JSON whose last key is the hash of all text before it.
pub(crate) fn with_own_hash(of: &impl Serialize) -> Result<String, serde_json::Error> {
    let mut text = serde_json::to_string_pretty(of)?;
    // The hash is the last key, so that it covers all others.
    text.truncate(text.len() - "\n}".len());
    let hash = sha256_bytes(text.as_bytes());
    text += &format!("{OWN_HASH}{hash}{OWN_HASH_END}");
    Ok(text)
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

/// Text between the last key of `meta.json` and the hash of all bytes before this text.
const OWN_HASH: &str = ",\n  \"sha256\": \"";

/// Text after that hash.
const OWN_HASH_END: &str = "\"\n}\n";

/// Refuses a text whose hash is wrong; earlier versions wrote none.
pub(crate) fn check_own_hash(path: &Path, text: &[u8]) -> Result<(), Error> {
    if !has_own_hash(text) {
        return Ok(());
    }
    let hash_at = text.len() - OWN_HASH_END.len() - 64;
    let found = sha256_bytes(&text[..hash_at - OWN_HASH.len()]);
    let expected = String::from_utf8_lossy(&text[hash_at..hash_at + 64]);
    if found == expected {
        return Ok(());
    }
    Err(Error::Shard {
        path: path.into(),
        what: "sha256 of the text before it",
        found,
        expected: expected.into_owned(),
    })
}

/// Whether the text of a `meta.json` ends with its own hash.
pub(crate) fn has_own_hash(text: &[u8]) -> bool {
    let hash = text.strip_suffix(OWN_HASH_END.as_bytes());
    let before = hash.and_then(|text| text.get(..text.len().checked_sub(64)?));
    before.is_some_and(|text| text.ends_with(OWN_HASH.as_bytes()))
}
