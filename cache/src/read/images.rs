//! Masks and pictures.

use arrow::array::{AsArray, RecordBatch};
use common::{Mask, Picture};

use super::CacheReader;
use super::batches::{located, numbered};
use crate::schema::{self, Table, picture_bytes};
use crate::table_reader::batches;
use crate::{Error, rows};

const WITHOUT_PICTURES: &str = "extract into another --cache folder with `--pictures`";

impl CacheReader {
    /// The masks of one shard, each at its slice's height and width, in parts.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] if the cache keeps no masks or has no such shard, [`Error::Shard`] if a mask
    /// has another size than its slice; otherwise as [`slices`](Self::slices).
    pub fn masks(
        &self,
        shard: usize,
    ) -> Result<impl Iterator<Item = Result<Vec<Option<Mask>>, Error>> + use<>, Error> {
        self.shard_rows(shard)?;
        self.check_table(Table::Mask, "extract a dataset that has masks")?;
        let slices = self.shard_slices(shard)?;
        let sizes: Vec<_> = slices.iter().map(|s| (s.height, s.width)).collect();
        let largest = slices.iter().map(rows::mask_bytes).max().unwrap_or(0);
        let path = self.path(Table::Mask, shard);
        let mut first = 0;
        let batches = self.batches(Table::Mask, shard, "mask", largest as usize)?;
        Ok(batches.map(move |batch| {
            let batch = batch?;
            let sizes = &sizes[first..];
            let decoded = schema::decode_masks(batch.column(1).as_binary(), sizes);
            let masks = decoded.map_err(|row| Error::Shard {
                path: path.clone(),
                what: "size of a mask",
                found: format!("wrong in row {}", first + row),
                expected: format!("{} x {}", sizes[row].0, sizes[row].1),
            })?;
            first += masks.len();
            Ok(masks)
        }))
    }

    /// Pictures `[S, S]` of the slices of one shard as the backbone saw them, in parts.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] if the cache keeps no pictures or has no such shard; otherwise as
    /// [`slices`](Self::slices).
    pub fn pictures(
        &self,
        shard: usize,
    ) -> Result<impl Iterator<Item = Result<Vec<Picture>, Error>> + use<>, Error> {
        self.shard_rows(shard)?;
        self.check_table(Table::Picture, WITHOUT_PICTURES)?;
        let side = self.meta.image_size;
        let bytes = picture_bytes(&self.meta);
        let batches = self.batches(Table::Picture, shard, "picture", bytes)?;
        Ok(batches.map(move |batch| Ok(decode_pictures(&batch?, side))))
    }

    /// Picture `[S, S]` of the slice in row `row` as the backbone saw it.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] if the cache keeps no pictures or has no such row; otherwise as
    /// [`slices`](Self::slices).
    pub fn picture(&self, row: usize) -> Result<Picture, Error> {
        self.check_table(Table::Picture, WITHOUT_PICTURES)?;
        let missing = || Error::Missing {
            path: self.dir.clone(),
            what: format!("no row {row}, there are {}", self.meta.rows),
            hint: "ask for a row below that number",
        };
        let shards = self.meta.shards.iter().map(|shard| shard.rows as usize);
        let (shard, row_in_shard) = located(row, shards).ok_or_else(missing)?;
        let path = self.path(Table::Picture, shard);
        let file = self.file(Table::Picture, shard)?;
        let builder = file.rows(picture_bytes(&self.meta))?;
        let groups = builder.metadata().row_groups().iter();
        let groups = groups.map(|group| group.num_rows() as usize);
        let (group, row_in_group) = located(row_in_shard, groups).ok_or_else(missing)?;
        let builder = builder
            .with_row_groups(vec![group])
            .with_offset(row_in_group)
            .with_limit(1);
        let mut found = numbered(batches(&path, builder)?, path, row as u64..row as u64 + 1);
        let pictures = decode_pictures(&found.next().ok_or_else(missing)??, self.meta.image_size);
        pictures.into_iter().next().ok_or_else(missing)
    }
}

fn decode_pictures(batch: &RecordBatch, side: u32) -> Vec<Picture> {
    schema::decode_pictures(batch.column(1).as_fixed_size_binary(), side)
}
