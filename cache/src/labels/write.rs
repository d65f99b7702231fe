//! Writer of a label set.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;

use common::Mask;
use common::files::{sync_dir, write_whole};

use super::new_set::NewSet;
use super::{LabelSet, check_name, description_of};
use crate::error::io_error;
use crate::folder::{checksums_of, shard_file};
use crate::hashing_file::ClosingFile;
use crate::meta::with_own_hash;
use crate::schema::{self, Table};
use crate::table_writer::TableWriter;
use crate::{
    CacheLock, CacheMeta, CacheReader, Error, Labels, MaskClass, Shard, SliceMeta, Task, rows,
    store,
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

/// Files that are synced to the disk at the same time: one by one they take much longer.
const SYNCED: usize = 32;

/// Writer of a label set. The set is there, or takes the place of the old one, when all of it is
/// [written](LabelWriter::write).
pub struct LabelWriter<'a> {
    reader: &'a CacheReader,
    /// Description of the cache with the new labels.
    meta: CacheMeta,
    set: LabelSet,
    tables: Vec<Table>,
    /// Files that may not be synced yet, with their shards and tables.
    closing: Vec<(usize, Table, ClosingFile)>,
    new: NewSet,
    // Unlocked last: dropping `new` deletes what is not finished.
    _lock: CacheLock,
}

impl LabelWriter<'_> {
    /// Begins the set `name`. With `replace`, it takes the place of a set of this name once it is finished. If the
    /// cache is in a bucket, the set is written to a folder below `staging` first.
    ///
    /// # Errors
    ///
    /// [`Error::LabelsName`], [`Error::LabelsExist`], [`Error::LabelsOfPart`], [`Error::Locked`] if another
    /// process writes to the cache, [`Error::NewLabels`] if the classes are invalid, and [`Error::Io`].
    pub fn create<'a>(
        reader: &'a CacheReader,
        (name, replace): (&str, bool),
        new: NewLabels,
        staging: &Path,
    ) -> Result<LabelWriter<'a>, Error> {
        check_name(name)?;
        let dir = reader.dir();
        if reader.meta().part.is_some() {
            return Err(Error::LabelsOfPart { path: dir.into() });
        }
        let lock = CacheLock::of(dir)?;
        // Of a damaged set nothing is kept.
        let old = LabelSet::read(dir, name).ok();
        let replaced = old.map_or(0, |(old, _)| old.replaced.wrapping_add(1));
        if !replace && store::is_file(&description_of(dir, name)) {
            let (path, name) = (dir.into(), name.to_owned());
            return Err(Error::LabelsExist { path, name });
        }
        let mut meta = CacheMeta {
            task: new.task,
            classes: new.classes.clone(),
            tool_version: env!("CARGO_PKG_VERSION").to_owned(),
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
            set: LabelSet {
                made_by: new.made_by,
                tool_version: env!("CARGO_PKG_VERSION").to_owned(),
                task: new.task,
                classes: new.classes,
                mask_classes,
                ignored_mask_value,
                shards: Vec::new(),
                replaced,
            },
            new: NewSet::create(dir, staging, (name, replaced), &tables)?,
            tables,
            closing: Vec::new(),
            _lock: lock,
        })
    }

    /// Writes the set, with the labels that `label` gives to each row, in the order of the rows.
    ///
    /// # Errors
    ///
    /// Those of `label`, [`Error::Row`] if labels or a mask do not fit, [`Error::Io`] and [`Error::Parquet`]. There
    /// is no new set then.
    pub fn write<E: From<Error>>(
        mut self,
        mut label: impl FnMut(&SliceMeta) -> Result<Relabelled, E>,
    ) -> Result<(), E> {
        let mut first = 0;
        for (index, slices) in self.reader.slices_by_shard().enumerate() {
            let slices = slices?;
            let rows = slices.len() as u64;
            self.write_shard(index, first, slices, &mut label)?;
            first += rows;
        }
        Ok(self.finish()?)
    }

    /// Writes a shard of the cache's rows `slices`, the first of which has the number `first`.
    fn write_shard<E: From<Error>>(
        &mut self,
        index: usize,
        mut first: u64,
        slices: Vec<SliceMeta>,
        label: &mut impl FnMut(&SliceMeta) -> Result<Relabelled, E>,
    ) -> Result<(), E> {
        let writers = self
            .tables
            .iter()
            .map(|&table| TableWriter::create(&self.file(table, index), table, &self.meta));
        let mut writers = writers.collect::<Result<Vec<_>, Error>>()?;
        // Masks are large.
        let at_once = if self.tables.contains(&Table::Mask) {
            1
        } else {
            slices.len().max(1)
        };
        let mut slices = slices.into_iter();
        while slices.len() > 0 {
            let (mut rows, mut masks) = (Vec::new(), Vec::new());
            for slice in slices.by_ref().take(at_once) {
                let new = label(&slice)?;
                let slice = SliceMeta {
                    patient: new.patient,
                    labels: new.labels,
                    ..slice
                };
                self.check(&slice, new.mask.as_ref(), first + rows.len() as u64)?;
                rows.push(slice);
                masks.push(new.mask);
            }
            for (&table, writer) in self.tables.iter().zip(&mut writers) {
                let encoded = match table {
                    Table::Mask => schema::encode_masks(&self.meta, first, &masks),
                    _ => schema::encode_slices(&self.meta, first, &rows),
                };
                writer.write(&encoded.map_err(|e| writer.error(e.into()))?)?;
            }
            first += rows.len() as u64;
        }
        for (table, writer) in self.tables.clone().into_iter().zip(writers) {
            self.closing.push((index, table, writer.close()?));
        }
        self.set.shards.push(Shard {
            rows: self.meta.shards[index].rows,
            tables: BTreeMap::new(),
            sources_sha256: None,
        });
        if self.closing.len() >= SYNCED {
            self.close()?;
        }
        Ok(())
    }

    /// Waits until all files are on the disk, and describes them.
    fn close(&mut self) -> Result<(), Error> {
        let files = self.closing.drain(..).map(|(index, table, file)| {
            let (folder, name) = (self.new.folder(table), shard_file(index));
            let sums = checksums_of(self.new.dir(), &folder, &name);
            let whole = self.new.dir().join(folder).join(name);
            (index, table, whole, sums, file)
        });
        let files: Vec<_> = files.collect();
        let closed: Vec<_> = thread::scope(|scope| {
            let files = files.into_iter().map(|(index, table, whole, sums, file)| {
                scope.spawn(move || Ok((index, table, file.finish(&whole, &sums)?)))
            });
            let files: Vec<_> = files.collect();
            let closed = files.into_iter().map(thread::ScopedJoinHandle::join);
            closed.collect()
        });
        for closed in closed {
            let ended = || io_error(self.reader.dir(), "sync")(io::Error::other("a thread ended"));
            let (index, table, file) = closed.unwrap_or_else(|_| Err(ended()))?;
            let tables = &mut self.set.shards[index].tables;
            tables.insert(table.name().to_owned(), file);
        }
        Ok(())
    }

    /// Makes the set one that can be read.
    fn finish(mut self) -> Result<(), Error> {
        self.close()?;
        for &table in &self.tables {
            let folder = self.new.dir().join(self.new.folder(table));
            sync_dir(&folder).map_err(io_error(&folder, "sync"))?;
        }
        let path = self.new.description();
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

    /// A table's file.
    fn file(&self, table: Table, shard: usize) -> PathBuf {
        let folder = self.new.dir().join(self.new.folder(table));
        folder.join(shard_file(shard))
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
