//! The cache: what stage one writes and stage two reads.
//!
//! A cache is a folder `DATASET/MODEL@SIZE` of immutable Parquet shards and a `meta.json` that
//! names the finished ones; `cache/README.md` is its specification. [`CacheWriter`] appends
//! [`TokenBatch`]es and resumes after a stop; [`CacheReader`] opens a finished cache, validated.

mod batch;
mod batch_check;
mod count;
mod description;
mod error;
mod hashing_file;
mod meta;
mod page_header;
mod patch_tokens;
mod patch_writer;
mod patches;
mod placement;
mod process;
mod read;
mod recipe;
mod rows;
mod schema;
mod similar;
mod splits;
mod table_reader;
mod table_writer;
pub mod text;
mod write;

pub use batch::{Labels, Mask, Picture, SliceMeta, Split, Task, TokenBatch};
pub use count::counted;
pub use error::Error;
pub use meta::{
    CacheMeta, FORMAT_VERSION, LayerShape, MOST_CLASSES, MaskClass, ModelMeta, Shard, Skipped,
    TableFile, Tokens, check_class_names, sha256_bytes, sha256_file,
};
pub use patch_tokens::{Numbers, PatchTokens};
pub use patches::{Group, PatchReader, PatchRow};
pub use placement::{Axis, Placement};
pub use process::peak_rss_bytes;
pub use read::CacheReader;
pub use recipe::{Difference, TokenRecipe};
pub use rows::NAME_BYTES;
pub use similar::similar;
pub use splits::{NamedSplit, write_split};
pub use table_reader::read_table;
pub use write::{CacheWriter, Position};
