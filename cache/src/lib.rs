//! The cache: what stage one writes and stage two reads.
//!
//! A cache is a folder `DATASET/MODEL@SIZE`, on a disk or in a bucket, of immutable Parquet shards and a
//! `meta.json` that names the finished ones; `docs/cache-format.md` is its specification. [`CacheWriter`] appends
//! [`TokenBatch`]es and resumes after a stop; [`CacheReader`] opens a finished cache, validated.

mod batch;
mod batch_check;
mod beside;
mod checked_file;
mod checksums;
mod clean;
mod description;
mod download;
mod encoding;
mod error;
mod extend;
mod folder;
mod footer;
mod foreign;
mod hashing_file;
mod header_reader;
mod history;
mod labels;
mod links;
mod list;
mod lock;
mod meta;
mod mirror;
mod name;
mod page_header;
mod parallel;
mod parquet_structs;
mod parts;
mod patch_tokens;
mod patch_writer;
mod patches;
mod provenance;
mod read;
mod recipe;
mod rows;
mod schema;
mod shard_writer;
mod sources;
mod splits;
mod staged;
mod store;
mod table_reader;
mod table_writer;
mod thrift;
mod verify;
mod write;

pub use batch::{Labels, SliceMeta, Split, Task, TokenBatch};
pub use clean::{Leftovers, Locked};
pub use download::{Downloaded, download, local_copy, local_path, original_path};
pub use encoding::PatchDtype;
pub use error::Error;
pub use extend::Extension;
pub use foreign::ForeignParquet;
pub use history::{History, Session};
pub use labels::{LabelSet, LabelWriter, NamedLabels, NewLabels, ORIGINAL, Relabelled};
pub use list::{COLUMNS, Listed, RANKS, TEXT_COLUMNS, list};
pub use lock::{CacheLock, Holder};
pub use meta::{
    CacheMeta, FORMAT_VERSION, Imported, ImportedTokens, LayerShape, MOST_CLASSES, MaskClass,
    ModelMeta, Shard, Skipped, TableFile, Tokens, check_class_names,
};
pub use mirror::Mirror;
pub use name::CacheName;
pub use parts::{MOST_PARTS, Part, Parts, merge, merge_in_bucket, part_dir};
pub use patch_tokens::{Numbers, PatchTokens};
pub use patches::{Group, PatchReader, PatchRow};
pub use provenance::Added;
pub use read::{CacheReader, is_cache};
pub use recipe::{Difference, TokenRecipe};
pub use rows::NAME_BYTES;
pub use sources::{ShardSources, SourceFile};
pub use splits::{NamedSplit, write_split};
pub use staged::Staged;
pub use store::is_in_bucket;
pub use table_reader::read_table;
pub use verify::{Depth, Fault, NamedSet, Verified, verify};
pub use write::{CacheWriter, Position, Repair};
