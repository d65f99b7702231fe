//! Label sets, made after extraction: other labels, patients, classes and masks of the same rows.
//!
//! `labels/NAME/` holds the tables `slices` and, if masks were replaced, `mask`, in shards of the same rows as
//! those of the cache, and `labels.json`, which describes them and is written last.

mod new_set;
mod write;

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub(crate) use self::new_set::{is_new, temporary};
pub use self::write::{LabelWriter, NewLabels, Relabelled};
use crate::error::io_error;
use crate::meta::check_own_hash;
use crate::read::check_place;
use crate::schema::Table;
use crate::splits::is_plain;
use crate::{CacheMeta, Error, MaskClass, Shard, Task, store};

/// Folder of label sets in a cache.
pub(crate) const FOLDER: &str = crate::folder::LABELS;

/// Name of the labels of the extraction.
pub const ORIGINAL: &str = "original";

/// Greatest size of a description in bytes.
const MOST_BYTES: u64 = 1 << 30;

/// Description of a label set: `labels.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelSet {
    /// Source of the labels: `table:FILE` or `dataset:NAME`.
    pub made_by: String,
    /// Version of the program that made it.
    pub tool_version: String,
    /// Kind of the labels.
    pub task: Task,
    /// Names of the classes, in the order of label indices and label columns.
    pub classes: Vec<String>,
    /// Names of the values in masks; empty if masks are those of the extraction.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mask_classes: Vec<MaskClass>,
    /// Value of ignored pixels in masks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignored_mask_value: Option<u16>,
    /// Files of the tables, shard by shard.
    pub shards: Vec<Shard>,
    /// Number of replacements of this set. After the first, the folders of the tables end in `-` and this number.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub replaced: u32,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// The label set that a reader uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedLabels {
    /// Its name.
    pub name: String,
    /// SHA-256 of its `labels.json`, and so of all its files, in hex.
    pub sha256: String,
    /// True if it has masks of its own.
    pub(crate) has_masks: bool,
    /// As in its description.
    pub(crate) replaced: u32,
}

impl NamedLabels {
    /// Folder of a table in the cache, if the set has the table.
    pub(crate) fn folder(&self, table: Table) -> Option<String> {
        let has = table == Table::Slices || table == Table::Mask && self.has_masks;
        has.then(|| {
            format!(
                "{}/{}",
                folder_of(&self.name),
                table_folder(table, self.replaced)
            )
        })
    }
}

impl LabelSet {
    /// Reads the set `name` of the cache `dir`, and the hash of its description.
    ///
    /// # Errors
    ///
    /// [`Error::LabelsName`], [`Error::NoLabels`], [`Error::LabelSet`] and [`Error::Shard`] if the
    /// description is damaged, and [`Error::Io`].
    pub fn read(dir: &Path, name: &str) -> Result<(LabelSet, String), Error> {
        check_name(name)?;
        let path = description_of(dir, name);
        if !store::is_file(&path) {
            return Err(Error::NoLabels {
                path: dir.into(),
                name: name.to_owned(),
                known: names(dir)?,
            });
        }
        check_place(dir, &path, || "a file in the cache's folder".into())?;
        let wrong = |what: String| Error::LabelSet {
            path: path.clone(),
            what,
        };
        let bytes = store::stat(&path).map_err(io_error(&path, "read"))?.bytes;
        if bytes > MOST_BYTES {
            return Err(wrong(format!(
                "{bytes} bytes, at most {MOST_BYTES} are read"
            )));
        }
        let text = store::read(&path).map_err(io_error(&path, "read"))?;
        check_own_hash(&path, &text)?;
        let set: LabelSet = serde_json::from_slice(&text).map_err(|e| wrong(e.to_string()))?;
        Ok((set, common::sha256_bytes(&text)))
    }

    /// True if it has masks of its own.
    pub fn has_masks(&self) -> bool {
        let mut shards = self.shards.iter();
        shards.any(|shard| shard.tables.contains_key(Table::Mask.name()))
    }

    /// True if a folder of the set has one of its tables.
    pub(crate) fn has_folder(&self, folder: &str) -> bool {
        let is_of = |table: Table| folder == table_folder(table, self.replaced);
        is_of(Table::Slices) || self.has_masks() && is_of(Table::Mask)
    }

    /// The description of a cache whose labels are those of this set.
    ///
    /// # Errors
    ///
    /// [`Error::LabelSet`] if the rows of the shards differ.
    pub(crate) fn of_cache(
        &self,
        dir: &Path,
        name: &str,
        meta: &CacheMeta,
    ) -> Result<CacheMeta, Error> {
        let rows = |shards: &[Shard]| shards.iter().map(|shard| shard.rows).collect::<Vec<_>>();
        if rows(&self.shards) != rows(&meta.shards) {
            return Err(Error::LabelSet {
                path: description_of(dir, name),
                what: "its shards have other numbers of rows than those of the cache".to_owned(),
            });
        }
        let mut meta = CacheMeta {
            task: self.task,
            classes: self.classes.clone(),
            ..meta.clone()
        };
        if self.has_masks() {
            meta.has_masks = true;
            meta.mask_classes.clone_from(&self.mask_classes);
            meta.ignored_mask_value = self.ignored_mask_value;
        }
        for (shard, own) in meta.shards.iter_mut().zip(&self.shards) {
            shard.tables.extend(own.tables.clone());
        }
        Ok(meta)
    }
}

/// The names of the label sets in a cache's folder, sorted.
pub(crate) fn names(dir: &Path) -> Result<Vec<String>, Error> {
    let folder = dir.join(FOLDER);
    let sets = match store::folders(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        sets => sets.map_err(io_error(&folder, "list"))?,
    };
    let mut names = Vec::new();
    for set in sets {
        let name = set.file_name().and_then(OsStr::to_str);
        let name = name.filter(|name| check_name(name).is_ok());
        let name = name.filter(|name| store::is_file(&description_of(dir, name)));
        names.extend(name.map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

/// Folder of a table in that of a set whose name was `replaced` so often.
fn table_folder(table: Table, replaced: u32) -> String {
    match replaced {
        0 => table.name().to_owned(),
        replaced => format!("{}-{replaced}", table.name()),
    }
}

/// True if a folder of a set is named like that of a table, of this set or one before.
pub(crate) fn is_table_folder(folder: &str) -> bool {
    let (table, replaced) = folder.split_once('-').unwrap_or((folder, "0"));
    let is_number = replaced.parse::<u32>().is_ok();
    is_number
        && [Table::Slices, Table::Mask]
            .iter()
            .any(|of| of.name() == table)
}

/// Folder of a set, relative to that of the cache.
fn folder_of(name: &str) -> String {
    format!("{FOLDER}/{name}")
}

pub(crate) fn description_of(dir: &Path, name: &str) -> PathBuf {
    dir.join(FOLDER).join(name).join("labels.json")
}

pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    if is_plain(name) && name != ORIGINAL {
        return Ok(());
    }
    Err(Error::LabelsName { name: name.into() })
}
