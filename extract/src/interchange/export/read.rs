//! Rows of a cache from front to back, in bounded memory but for what is known of each row.

use std::collections::VecDeque;

use cache::{CacheReader, PatchReader, PatchRow, SliceMeta};
use common::{Picture, counted};
use ndarray::Array2;

use super::{Export, Row};
use crate::Error;

type Pictures = Box<dyn Iterator<Item = Result<Vec<Picture>, cache::Error>>>;

/// Reader of the rows of an export. Augmented views are left out.
pub(super) struct Reading<'a> {
    reader: &'a CacheReader,
    slices: Vec<SliceMeta>,
    layer: u32,
    patches: Option<PatchReader>,
    /// The next group of rows of patch tokens, and rows that were read.
    group: usize,
    patch_rows: VecDeque<PatchRow>,
    pictures: Option<Pictures>,
    picture_rows: VecDeque<Picture>,
    /// CLS tokens of the shard, and the number of its first row.
    cls: Array2<f32>,
    first: usize,
    shard: usize,
    next: usize,
    number: u64,
}

/// A row that was read.
pub(super) struct ReadRow {
    pub(super) slice: SliceMeta,
    number: u64,
    cls: Vec<f32>,
    patch: Option<Vec<f32>>,
    picture: Option<Picture>,
}

impl ReadRow {
    pub(super) fn as_row(&self) -> Row<'_> {
        Row {
            number: self.number,
            slice: &self.slice,
            cls: &self.cls,
            patch: self.patch.as_deref(),
            picture: self.picture.as_ref(),
        }
    }
}

impl<'a> Reading<'a> {
    pub(super) fn begin(export: &Export<'a>) -> Result<Reading<'a>, Error> {
        let reader = export.reader;
        let slices = match export.split {
            Some(name) => reader.slices_with_split(name)?.0,
            None => reader.slices()?,
        };
        let patches = export.patches.then(|| reader.patches(&[export.layer]));
        Ok(Reading {
            reader,
            slices,
            layer: export.layer,
            patches: patches.transpose()?,
            group: 0,
            patch_rows: VecDeque::new(),
            pictures: None,
            picture_rows: VecDeque::new(),
            cls: reader.shard_cls(export.layer, 0)?,
            first: 0,
            shard: 0,
            next: 0,
            number: 0,
        })
    }

    /// Number of rows.
    pub(super) fn rows(&self) -> u64 {
        self.slices.iter().filter(|slice| slice.view == 0).count() as u64
    }

    /// Warnings for the user.
    pub(super) fn warnings(&self) -> Vec<String> {
        let views = self.slices.len() as u64 - self.rows();
        let views = (views > 0).then(|| format!("{} left out", counted(views, "augmented view")));
        views.into_iter().collect()
    }

    /// The next row.
    ///
    /// # Errors
    ///
    /// [`Error::Cache`] if the cache cannot be read.
    pub(super) fn next(&mut self) -> Result<Option<ReadRow>, Error> {
        while let Some(slice) = self.slices.get(self.next) {
            let (slice, view) = (slice.clone(), slice.view);
            let cls = self.next_cls()?;
            let patch = self.next_patch()?;
            let picture = self.next_picture()?;
            self.next += 1;
            if view > 0 {
                continue;
            }
            self.number += 1;
            return Ok(Some(ReadRow {
                slice,
                number: self.number - 1,
                cls,
                patch,
                picture,
            }));
        }
        Ok(None)
    }

    fn next_cls(&mut self) -> Result<Vec<f32>, Error> {
        if self.next - self.first == self.cls.nrows() {
            self.first = self.next;
            self.shard += 1;
            self.pictures = None;
            self.cls = self.reader.shard_cls(self.layer, self.shard)?;
        }
        Ok(self.cls.row(self.next - self.first).to_vec())
    }

    fn next_patch(&mut self) -> Result<Option<Vec<f32>>, Error> {
        let Some(patches) = &self.patches else {
            return Ok(None);
        };
        if self.patch_rows.is_empty() {
            let group = patches.groups().get(self.group).ok_or(Error::Broken)?;
            self.patch_rows = patches.read(group, |_| true)?.into();
            self.group += 1;
        }
        let row = self.patch_rows.pop_front().ok_or(Error::Broken)?;
        let shape = self.reader.meta().shape(self.layer);
        let mut tokens = vec![0.0; shape.patches() * shape.patch as usize];
        row.copy_to(0, &mut tokens)?;
        Ok(Some(tokens))
    }

    fn next_picture(&mut self) -> Result<Option<Picture>, Error> {
        if !self.reader.meta().has_pictures {
            return Ok(None);
        }
        if self.picture_rows.is_empty() {
            let pictures = match &mut self.pictures {
                Some(pictures) => pictures,
                None => self
                    .pictures
                    .insert(Box::new(self.reader.pictures(self.shard)?)),
            };
            self.picture_rows = pictures.next().ok_or(Error::Broken)??.into();
        }
        Ok(self.picture_rows.pop_front())
    }
}
