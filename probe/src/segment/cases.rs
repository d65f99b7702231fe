//! Slices of a cache, their label maps, and the meaning of the values in those.

use std::collections::{BTreeMap, BTreeSet};

use cache::{CacheReader, SliceMeta, Split};
use common::counted;
use nn::IGNORE;
use rayon::prelude::*;

use super::masks::Runs;
use crate::Error;
use crate::error::SegmentError;
use crate::evaluate::Settings;
use crate::examples::{Who, cluster_word, join};
use crate::hold_out::{HeldOut, hold_out};

/// The slices of a cache with their label maps, which are stored as runs of a few kilobytes each.
#[derive(Debug)]
pub(super) struct Cases {
    /// All rows of the cache.
    pub(super) slices: Vec<SliceMeta>,
    /// The label map of each row, where it has one.
    pub(super) masks: Vec<Option<Runs>>,
    /// Names of the classes, background first.
    pub(super) names: Vec<String>,
    /// The value of each class in label maps.
    pub(super) values: Vec<u16>,
    /// Values of ignored pixels.
    ignored: BTreeSet<u16>,
    /// Warnings about the values in the masks.
    pub(super) warnings: Vec<String>,
    /// The part of `train` that replaces a missing `val`.
    pub(super) held_out: Option<HeldOut>,
}

impl Cases {
    /// Reads slices and masks. Classes are the values that occur and have a name in `mask_classes`, in the
    /// order of values; if none has a name, all that occur. If only some values have names, the others are
    /// refused, or ignored if `ignore_unnamed` is set.
    ///
    /// # Errors
    ///
    /// [`SegmentError::NoMasks`] if the dataset has none, [`SegmentError::UnnamedValues`], and [`Error::Cache`] if they
    /// cannot be read.
    pub(super) fn read(
        reader: &CacheReader,
        split: Option<&str>,
        ignore_unnamed: bool,
    ) -> Result<Cases, Error> {
        let meta = reader.meta();
        if !meta.has_masks {
            return Err(Error::Segment(SegmentError::NoMasks {
                path: reader.dir().into(),
            }));
        }
        let classes = meta.mask_classes.iter();
        let named: BTreeMap<u16, &str> = classes.map(|c| (c.value, c.name.as_str())).collect();
        let mut cases = Cases::of(reader, split)?;
        let unnamed = cases.unnamed(reader, ignore_unnamed)?;
        if named.is_empty() && !unnamed.is_empty() {
            cases.warnings.push(format!(
                "the values in the masks have no names: {} ({})",
                counted(unnamed.len(), "structure"),
                first_few(&unnamed)
            ));
        }
        let mut found = cases.found();
        found.insert(0);
        let name = |value: &u16| match (value, named.get(value)) {
            (0, _) => "background".to_owned(),
            (_, Some(name)) => (*name).to_owned(),
            (value, None) => format!("value {value}"),
        };
        cases.names = found.iter().map(name).collect();
        cases.values = found.into_iter().collect();
        Ok(cases)
    }

    /// Reads slices, and masks if there are any, for a decoder of these classes. No masks are used if they
    /// have other values, or other names for them; values without a name as in [`Cases::read`].
    ///
    /// # Errors
    ///
    /// [`SegmentError::UnnamedValues`], and [`Error::Cache`] if they cannot be read.
    pub(super) fn for_decoder(
        reader: &CacheReader,
        split: Option<&str>,
        (names, values): (&[String], &[u16]),
        ignore_unnamed: bool,
    ) -> Result<Cases, Error> {
        let mut cases = Cases::of(reader, split)?;
        cases.unnamed(reader, ignore_unnamed)?;
        (cases.names, cases.values) = (names.to_vec(), values.to_vec());
        let named = &reader.meta().mask_classes;
        let is_other = |value: &u16| match values.iter().position(|known| known == value) {
            Some(0) => false,
            Some(class) => named
                .iter()
                .any(|other| other.value == *value && other.name != names[class]),
            None => *value != 0,
        };
        if cases.found().iter().any(is_other) {
            cases.masks.fill(None);
        }
        Ok(cases)
    }

    fn of(reader: &CacheReader, split: Option<&str>) -> Result<Cases, Error> {
        let slices = match split {
            Some(name) => reader.slices_with_split(name)?.0,
            None => reader.slices()?,
        };
        let meta = reader.meta();
        let shards = (0..meta.shards.len()).into_par_iter();
        let read = |shard| -> Result<Vec<Option<Runs>>, Error> {
            let mut masks = Vec::new();
            for part in reader.masks(shard)? {
                masks.extend(part?.iter().map(|mask| mask.as_ref().map(Runs::of)));
            }
            Ok(masks)
        };
        let masks: Vec<Vec<_>> = if meta.has_masks {
            shards.map(read).collect::<Result<_, _>>()?
        } else {
            vec![vec![None; slices.len()]]
        };
        Ok(Cases {
            slices,
            masks: masks.into_iter().flatten().collect(),
            names: Vec::new(),
            values: Vec::new(),
            ignored: meta.ignored_mask_value.into_iter().collect(),
            warnings: Vec::new(),
            held_out: None,
        })
    }

    /// Moves the slices of about `share` of the patients from `train` to `val`, if `train` has several
    /// patients.
    pub(super) fn hold_out(&mut self, share: f64, seed: u64) {
        let train = self.rows(&[Split::Train], true);
        let patient = |row: usize| {
            let slice = &self.slices[row];
            slice.patient.as_deref().unwrap_or(&slice.sample)
        };
        let patients: BTreeMap<&str, ()> = train.iter().map(|&row| (patient(row), ())).collect();
        let known = train.iter().map(|&row| self.slices[row].patient.as_deref());
        let word = cluster_word(known);
        let Some((drawn, held_out)) = hold_out(&patients, share, seed, word) else {
            return;
        };
        let is_drawn = |&row: &usize| drawn.contains(patient(row));
        let drawn: Vec<usize> = train.into_iter().filter(is_drawn).collect();
        for row in drawn {
            self.slices[row].split = Some(Split::Val);
        }
        self.held_out = Some(held_out);
    }

    /// Returns whether a row has a mask.
    pub(super) fn has_mask(&self, row: usize) -> bool {
        self.masks[row].is_some()
    }

    /// The patient or sample of a row.
    pub(super) fn who(&self, row: usize) -> Who<'_> {
        let slice = &self.slices[row];
        Who::of(slice.patient.as_deref(), &slice.sample)
    }

    /// Number of patients (samples, where none are known) of some rows.
    pub(super) fn patients(&self, rows: &[usize]) -> usize {
        let slices = rows.iter().map(|&row| &self.slices[row]);
        let patients = slices.map(|slice| slice.patient.as_ref().unwrap_or(&slice.sample));
        patients.collect::<BTreeSet<&String>>().len()
    }

    /// Word for what [`Cases::patients`] counts: `patient` or `sample`.
    pub(super) fn cluster_word(&self) -> &'static str {
        cluster_word(self.slices.iter().map(|slice| slice.patient.as_deref()))
    }

    /// The values that occur in masks and are not ignored.
    fn found(&self) -> BTreeSet<u16> {
        let values = self.masks.iter().flatten().flat_map(Runs::values);
        values
            .filter(|value| !self.ignored.contains(value))
            .collect()
    }

    /// The values that occur without a name. If the cache has names for others, they are an error, or are
    /// ignored with a warning.
    fn unnamed(&mut self, reader: &CacheReader, ignore: bool) -> Result<Vec<u16>, Error> {
        let named = &reader.meta().mask_classes;
        let is_named = |value: u16| value == 0 || named.iter().any(|class| class.value == value);
        let found = self.found().into_iter();
        let unnamed: Vec<u16> = found.filter(|&value| !is_named(value)).collect();
        if named.is_empty() || unnamed.is_empty() {
            return Ok(unnamed);
        }
        let values = first_few(&unnamed);
        if !ignore {
            let path = reader.dir().into();
            return Err(Error::Segment(SegmentError::UnnamedValues { path, values }));
        }
        let warning = format!("pixels without a name are ignored: {values}");
        self.warnings.push(warning);
        self.ignored.extend(&unnamed);
        Ok(unnamed)
    }

    /// Rows with masks of some splits, and their augmented views if `with_views` is set.
    pub(super) fn rows(&self, splits: &[Split], with_views: bool) -> Vec<usize> {
        let is_wanted = |&row: &usize| {
            let slice = &self.slices[row];
            slice.split.is_some_and(|split| splits.contains(&split))
                && self.masks[row].is_some()
                && (with_views || slice.view == 0)
        };
        (0..self.slices.len()).filter(is_wanted).collect()
    }

    /// Rows with masks of some splits of the cache that they were read from.
    ///
    /// # Errors
    ///
    /// [`SegmentError::NoMaskedSlices`] if there is none.
    pub(super) fn part(
        &self,
        reader: &CacheReader,
        splits: &[Split],
        with_views: bool,
    ) -> Result<Vec<usize>, Error> {
        let rows = self.rows(splits, with_views);
        if !rows.is_empty() {
            return Ok(rows);
        }
        // The counts of the dataset, before a part of `train` was held out.
        let count = |split| match (split, &self.held_out) {
            (Split::Train, Some(_)) => self.rows(&[Split::Train, Split::Val], false).len(),
            (Split::Val, Some(_)) => 0,
            _ => self.rows(&[split], false).len(),
        };
        let known = Split::ALL.map(|split| format!("{} in `{}`", count(split), split.name()));
        Err(Error::Segment(SegmentError::NoMaskedSlices {
            path: reader.dir().into(),
            wanted: join(splits),
            found: known.join(", "),
        }))
    }

    /// Augmented views of an image.
    pub(super) fn views(&self) -> u16 {
        self.slices
            .iter()
            .map(|slice| slice.view)
            .max()
            .unwrap_or(0)
    }

    /// The class of a value in label maps; [`IGNORE`] for other values.
    fn class(&self, value: u16) -> u16 {
        match self.values.binary_search(&value) {
            Ok(class) if !self.ignored.contains(&value) => class as u16,
            _ => IGNORE,
        }
    }

    /// Classes `[B, S, S]` of some rows with masks.
    pub(super) fn squares(&self, rows: &[usize], side: usize) -> Vec<u16> {
        let mut out = vec![0; rows.len() * side * side];
        out.par_chunks_mut(side * side)
            .zip(rows)
            .for_each(|(out, &row)| {
                if let Some(mask) = &self.masks[row] {
                    mask.square(side, |value| self.class(value), out);
                }
            });
        out
    }

    /// Classes `[H, W]` of a row at its own size; empty if it has no mask.
    pub(super) fn classes(&self, row: usize) -> Vec<u16> {
        let mask = self.masks[row].as_ref();
        mask.map_or_else(Vec::new, |mask| mask.pixels(|value| self.class(value)))
    }

    /// Classes that occur in some rows.
    pub(super) fn present(&self, rows: &[usize]) -> BTreeSet<u16> {
        let masks = rows.iter().filter_map(|&row| self.masks[row].as_ref());
        masks
            .flat_map(Runs::values)
            .map(|value| self.class(value))
            .filter(|class| *class != IGNORE)
            .collect()
    }
}

/// Whether a cache has slices, with masks or without, in each split.
pub(super) fn has_all_splits(reader: &CacheReader, settings: &Settings) -> Result<bool, Error> {
    let slices = match &settings.split_name {
        Some(name) => reader.slices_with_split(name)?.0,
        None => reader.slices()?,
    };
    let has = |split| slices.iter().any(|slice| slice.split == Some(split));
    Ok(Split::ALL.into_iter().all(has))
}

/// The first eight values, separated by commas.
fn first_few(all: &[u16]) -> String {
    let first: Vec<String> = all.iter().take(8).map(u16::to_string).collect();
    let mut text = first.join(", ");
    if all.len() > 8 {
        text += ", …";
    }
    text
}
