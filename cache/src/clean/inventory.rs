//! The files of a cache, and what its descriptions name of them. `extract gc` deletes what none names, and
//! `extract verify` tells of it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use common::files::target_of;

use super::is_unnamed;
use crate::error::io_error;
use crate::folder::{CHECKSUMS, EXTENSION, LABELS, PARTS, REPAIR, shard_file};
use crate::schema::Table;
use crate::store::Files;
use crate::{CacheMeta, Error, LabelSet, Tokens, labels, sources};

/// The files of a cache, and its label sets.
#[derive(Debug)]
pub(crate) struct Inventory {
    dir: PathBuf,
    files: Files,
    /// The finished label sets; `None` for one whose description is damaged.
    sets: BTreeMap<String, Option<LabelSet>>,
    /// Whether patch tokens are being added.
    has_extension: bool,
}

impl Inventory {
    /// Lists the cache `dir`.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if it cannot be listed.
    pub(crate) fn of(dir: &Path) -> Result<Inventory, Error> {
        let files = Files::below(dir).map_err(io_error(dir, "list"))?;
        let described = files.iter().filter_map(|(path, _)| {
            let names = names(dir, path)?;
            let [LABELS, set, "labels.json"] = names[..] else {
                return None;
            };
            (!labels::is_new(set)).then(|| set.to_owned())
        });
        let described: Vec<String> = described.collect();
        let sets = described.into_iter().map(|set| {
            let description = LabelSet::read(dir, &set).ok();
            (set, description.map(|(set, _)| set))
        });
        Ok(Inventory {
            dir: dir.into(),
            sets: sets.collect(),
            has_extension: files
                .bytes(&dir.join(EXTENSION).join("meta.json"))
                .is_some(),
            files,
        })
    }

    /// The files.
    pub(crate) fn files(&self) -> &Files {
        &self.files
    }

    /// Files that stopped writers left and neither `meta.json` nor the description of a label set names, with their
    /// sizes in bytes, sorted. Those of parts are not among them.
    pub(crate) fn unnamed(&self, meta: &CacheMeta) -> Vec<(PathBuf, u64)> {
        let lost = self.without_description(meta);
        let left = self.files.iter();
        let left = left.filter(|(path, _)| self.is_left(path, meta, &lost));
        left.map(|(path, bytes)| (path.clone(), bytes)).collect()
    }

    /// True if a file belongs to no finished shard, to no label set, and to no extension that goes on. Files of other
    /// names belong to somebody.
    fn is_left(&self, path: &Path, meta: &CacheMeta, lost: &BTreeSet<&str>) -> bool {
        let Some(names) = names(&self.dir, path) else {
            return false;
        };
        match &names[..] {
            [PARTS, ..] => false,
            [EXTENSION, ..] => meta.tokens != Tokens::Cls,
            [REPAIR, ..] => true,
            ["pending", rest @ ..] => is_left_of_tables(rest, meta.pending.len()),
            [LABELS, set, "labels.json"] => labels::is_new(set),
            [LABELS, set, folder, file] | [CHECKSUMS, LABELS, set, folder, file] => {
                !lost.contains(set) && self.is_left_of_set(set, folder, file)
            }
            [.., file] if target_of(file).is_some() => true,
            rest => self.is_orphan(rest, meta),
        }
    }

    /// The label sets whose description is lost: their tables are there. Those that a stopped writer left are not
    /// among them: until a set has its description, that of its writer is in the folder of the new set.
    pub(crate) fn without_description(&self, meta: &CacheMeta) -> BTreeSet<&str> {
        let with_tables = self.files.iter().filter_map(|(path, _)| {
            let names = names(&self.dir, path)?;
            let [LABELS, set, folder, file] = names[..] else {
                return None;
            };
            let mut shards = 0..meta.shards.len();
            let is_table =
                labels::is_table_folder(folder) && shards.any(|shard| file == shard_file(shard));
            is_table.then_some(set)
        });
        let new = |set: &str| labels::description_of(&self.dir, &labels::temporary(set));
        let is_lost = |set: &&str| {
            labels::check_name(set).is_ok()
                && !self.sets.contains_key(*set)
                && self.files.bytes(&new(set)).is_none()
        };
        with_tables.filter(is_lost).collect()
    }

    /// The same of a file in the folder of a label set, or in that of its checksums.
    fn is_left_of_set(&self, set: &str, folder: &str, file: &str) -> bool {
        if labels::is_new(set) || target_of(file).is_some() {
            return true;
        }
        match self.sets.get(set) {
            None => is_unnamed(Path::new(file), 0),
            Some(None) => false,
            Some(Some(of)) if of.has_folder(folder) => is_unnamed(Path::new(file), of.shards.len()),
            Some(Some(_)) => labels::is_table_folder(folder) && is_unnamed(Path::new(file), 0),
        }
    }

    /// True if a file in a folder of a cache is named like those of shards, but no shard has it. While patch tokens
    /// are added, their tables may be there already.
    fn is_orphan(&self, names: &[&str], meta: &CacheMeta) -> bool {
        if is_left_of_tables(names, meta.shards.len()) {
            return true;
        }
        let (table, file, is_sum) = match names {
            [table, file] => (*table, *file, false),
            [CHECKSUMS, table, file] => (*table, *file, true),
            _ => return false,
        };
        let index = file
            .split('.')
            .next()
            .and_then(|stem| stem.parse::<usize>().ok());
        let Some((index, shard)) = index.and_then(|index| Some((index, meta.shards.get(index)?)))
        else {
            return false;
        };
        let name = shard_file(index);
        let expected = if is_sum {
            name.replace(".parquet", ".crc32")
        } else {
            name
        };
        if file != expected {
            return false;
        }
        if table == sources::FOLDER {
            return shard.sources_sha256.is_none();
        }
        if Table::ALL.iter().all(|of| of.name() != table) {
            return false;
        }
        match shard.tables.get(table) {
            Some(of) => is_sum && !of.has_checksums,
            None => !(self.has_extension && meta.tokens == Tokens::Cls),
        }
    }
}

/// The names of folders and file of a path in the cache `dir`; `None` if one is no text.
pub(super) fn names<'a>(dir: &Path, path: &'a Path) -> Option<Vec<&'a str>> {
    let name = path.strip_prefix(dir).ok()?;
    name.iter().map(OsStr::to_str).collect()
}

/// True if a file in the folders of tables with `shards` shards is of no shard.
pub(super) fn is_left_of_tables(names: &[&str], shards: usize) -> bool {
    let ([table, file] | [CHECKSUMS, table, file]) = names else {
        return false;
    };
    let is_table = Table::ALL.iter().any(|of| of.name() == *table) || *table == sources::FOLDER;
    is_table && is_unnamed(Path::new(file), shards)
}
