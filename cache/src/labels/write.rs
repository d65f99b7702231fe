//! Writer of a label set.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::Mask;
use common::files::{sync_dir, write_whole};

use super::new_set::NewSet;
use super::{LabelSet, check_name, description_of};
use crate::error::io_error;
use crate::folder::{checksums_of, shard_file};
use crate::meta::with_own_hash;
use crate::schema::{self, Table};
use crate::table_writer::TableWriter;
use crate::{
    CacheLock, CacheMeta, CacheReader, Error, Labels, MaskClass, Shard, SliceMeta, Task, rows,
};

/// Description of new labels.
#[derive(Clone, Debug)]
pub struct NewLabels {
    /// Source of the labels: `table:FILE` or `dataset:NAME`.
    pub made_by: String,
    /// Kind of the labels.
    pub task: Task,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Names of the values in new masks, and the value of ignored pixels; `None` if masks stay as they are.
    pub masks: Option<(Vec<MaskClass>, Option<u16>)>,
}

/// New labels of a row.
#[derive(Clone, Debug)]
pub struct Relabelled {
    /// Its patient, if known.
    pub patient: Option<String>,
    /// Its labels.
    pub labels: Labels,
    /// Its mask, if masks are replaced and it has one.
    pub mask: Option<Mask>,
}

/// Writer of a label set, row by row in the order of the cache. The set is there, or takes the place of the
/// old one, when it is [finished](LabelWriter::finish).
pub struct LabelWriter<'a> {
    reader: &'a CacheReader,
    /// Description of the cache with the new labels.
    meta: CacheMeta,
    name: String,
    set: LabelSet,
    tables: Vec<Table>,
    open: Option<OpenShard>,
    /// Rows that were written.
    rows: u64,
    new: NewSet,
    // Unlocked last: dropping `new` deletes what is not finished.
    _lock: CacheLock,
}

struct OpenShard {
    /// Rows that are not written yet.
    left: std::vec::IntoIter<SliceMeta>,
    tables: Vec<TableWriter>,
}

impl LabelWriter<'_> {
    /// Begins the set `name`. With `replace`, it takes the place of a set of this name once it is finished.
    ///
    /// # Errors
    ///
    /// [`Error::LabelsName`], [`Error::LabelsExist`], [`Error::LabelsOfPart`], [`Error::Locked`] if another
    /// process writes to the cache, [`Error::NewLabels`] if the classes are invalid, and [`Error::Io`].
    pub fn create<'a>(
        reader: &'a CacheReader,
        name: &str,
        new: NewLabels,
        replace: bool,
    ) -> Result<LabelWriter<'a>, Error> {
        check_name(name)?;
        let dir = reader.dir();
        if reader.meta().part.is_some() {
            return Err(Error::LabelsOfPart { path: dir.into() });
        }
        let lock = CacheLock::of(dir)?;
        if !replace && description_of(dir, name).exists() {
            let (path, name) = (dir.into(), name.to_owned());
            return Err(Error::LabelsExist { path, name });
        }
        let mut meta = CacheMeta {
            task: new.task,
            classes: new.classes.clone(),
            ..reader.meta().clone()
        };
        let mut tables = vec![Table::Slices];
        let (mask_classes, ignored_mask_value) = new.masks.clone().unwrap_or_default();
        if new.masks.is_some() {
            tables.push(Table::Mask);
            meta.has_masks = true;
            meta.mask_classes.clone_from(&mask_classes);
            meta.ignored_mask_value = ignored_mask_value;
        }
        meta.check(dir).map_err(|error| of_labels(dir, error))?;
        Ok(LabelWriter {
            reader,
            meta,
            name: name.to_owned(),
            set: LabelSet {
                made_by: new.made_by,
                tool_version: env!("CARGO_PKG_VERSION").to_owned(),
                task: new.task,
                classes: new.classes,
                mask_classes,
                ignored_mask_value,
                shards: Vec::new(),
            },
            new: NewSet::create(dir, name, &tables)?,
            tables,
            open: None,
            rows: 0,
            _lock: lock,
        })
    }

    /// Writes the labels of the next rows.
    ///
    /// # Errors
    ///
    /// [`Error::Row`] if labels or a mask do not fit, [`Error::LabelSet`] if there are more rows than in the
    /// cache, [`Error::Io`] and [`Error::Parquet`].
    pub fn append(&mut self, rows: Vec<Relabelled>) -> Result<(), Error> {
        let mut rows = rows.into_iter().peekable();
        while rows.peek().is_some() {
            let mut shard = match self.open.take() {
                Some(shard) => shard,
                None => self.open_shard()?,
            };
            let (mut slices, mut masks) = (Vec::new(), Vec::new());
            for (new, slice) in rows.by_ref().take(shard.left.len()).zip(&mut shard.left) {
                let slice = SliceMeta {
                    patient: new.patient,
                    labels: new.labels,
                    ..slice
                };
                self.check(&slice, new.mask.as_ref(), self.rows + slices.len() as u64)?;
                slices.push(slice);
                masks.push(new.mask);
            }
            for (&table, writer) in self.tables.iter().zip(&mut shard.tables) {
                let encoded = match table {
                    Table::Mask => schema::encode_masks(&self.meta, self.rows, &masks),
                    _ => schema::encode_slices(&self.meta, self.rows, &slices),
                };
                let encoded = encoded.map_err(|e| writer.error(e.into()))?;
                writer.write(&encoded)?;
            }
            self.rows += slices.len() as u64;
            if shard.left.len() == 0 {
                self.close(shard)?;
            } else {
                self.open = Some(shard);
            }
        }
        Ok(())
    }

    /// Makes the set one that can be read.
    ///
    /// # Errors
    ///
    /// [`Error::LabelSet`] if there are fewer rows than in the cache, and [`Error::Io`].
    pub fn finish(self) -> Result<(), Error> {
        let path = self.new.description();
        let expected = self.reader.meta().rows;
        if self.rows != expected {
            let what = format!("{} of {expected} rows were labelled", self.rows);
            return Err(Error::LabelSet { path, what });
        }
        let text = with_own_hash(&self.set).map_err(|source| Error::Meta {
            path: path.clone(),
            source,
        })?;
        write_whole(&path, text.as_bytes()).map_err(io_error(&path, "write"))?;
        self.new.take_place()
    }

    fn check(&self, slice: &SliceMeta, mask: Option<&Mask>, row: u64) -> Result<(), Error> {
        let size = (slice.height as usize, slice.width as usize);
        let invalid = match mask.map(Mask::dim).filter(|found| *found != size) {
            Some((height, width)) => {
                let expected = format!("{} x {}", size.0, size.1);
                Some(rows::Invalid::new(
                    "size of a mask",
                    format!("{height} x {width}"),
                    expected,
                ))
            }
            None => rows::check(&self.meta, slice).err(),
        };
        invalid.map_or(Ok(()), |invalid| {
            Err(Error::Row {
                path: self.reader.dir().into(),
                row,
                what: invalid.what,
                found: invalid.found,
                expected: invalid.expected,
            })
        })
    }

    fn open_shard(&self) -> Result<OpenShard, Error> {
        let (dir, index) = (self.reader.dir(), self.set.shards.len());
        if index == self.meta.shards.len() {
            return Err(Error::LabelSet {
                path: description_of(dir, &self.name),
                what: format!(
                    "more than the cache's {} rows were labelled",
                    self.meta.rows
                ),
            });
        }
        let tables = self
            .tables
            .iter()
            .map(|&table| TableWriter::create(&self.file(table, index), table, &self.meta));
        Ok(OpenShard {
            left: self.reader.shard_slices(index)?.into_iter(),
            tables: tables.collect::<Result<_, _>>()?,
        })
    }

    /// A table's file.
    fn file(&self, table: Table, shard: usize) -> PathBuf {
        let folder = self.reader.dir().join(self.new.folder(table));
        folder.join(shard_file(shard))
    }

    fn close(&mut self, shard: OpenShard) -> Result<(), Error> {
        let index = self.set.shards.len();
        let mut tables = BTreeMap::new();
        for (&table, writer) in self.tables.iter().zip(shard.tables) {
            let folder = self.new.folder(table);
            let sums = checksums_of(self.reader.dir(), &folder, &shard_file(index));
            let file = writer.close()?.finish(&self.file(table, index), &sums)?;
            tables.insert(table.name().to_owned(), file);
            let folder = self.reader.dir().join(folder);
            sync_dir(&folder).map_err(io_error(&folder, "sync"))?;
        }
        self.set.shards.push(Shard {
            rows: self.meta.shards[index].rows,
            tables,
            sources_sha256: None,
        });
        Ok(())
    }
}

/// The error of a description that is no more than the labels that would be in it.
fn of_labels(dir: &Path, error: Error) -> Error {
    match error {
        Error::Shard {
            what,
            found,
            expected,
            ..
        } => Error::NewLabels {
            path: dir.into(),
            what: format!("{what} is {found}, expected {expected}"),
        },
        error => error,
    }
}
