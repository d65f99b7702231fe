//! Rows of features from a cache.

use std::collections::BTreeMap;

use cache::{CacheReader, SliceMeta};
use half::f16;
use ndarray::{Array2, s};

use super::{Selection, Unit};
use crate::Error;
use crate::features::Columns;
use crate::made_class::MadeClass;
use crate::targets::{Targets, is_blank};

/// Slices of each row: one, or those of a sample with the same view.
pub(super) fn members(slices: &[SliceMeta], unit: Unit) -> Vec<Vec<usize>> {
    if unit == Unit::Slice {
        return (0..slices.len()).map(|row| vec![row]).collect();
    }
    let mut members: Vec<Vec<usize>> = Vec::new();
    let mut place: BTreeMap<(&str, u16), usize> = BTreeMap::new();
    for (row, slice) in slices.iter().enumerate() {
        let next = members.len();
        let key = (slice.sample.as_str(), slice.view);
        match *place.entry(key).or_insert(next) {
            at if at == next => members.push(vec![row]),
            at => members[at].push(row),
        }
    }
    members
}

/// Rows of each example, the plain view first; `firsts` are the first slices of the rows.
pub(super) fn views(slices: &[SliceMeta], firsts: &[usize], unit: Unit) -> Vec<Vec<usize>> {
    let mut examples: Vec<Vec<usize>> = Vec::new();
    let mut number: BTreeMap<(&str, Option<u32>), usize> = BTreeMap::new();
    for (row, &first) in firsts.iter().enumerate() {
        let slice = (unit == Unit::Slice).then_some(slices[first].slice);
        let next = examples.len();
        match *number.entry((&slices[first].sample, slice)).or_insert(next) {
            at if at == next => examples.push(vec![row]),
            at => examples[at].push(row),
        }
    }
    for rows in &mut examples {
        rows.sort_by_key(|&row| slices[firsts[row]].view);
    }
    examples
}

/// Targets of the rows, from those of their slices. Slices without labels do not count if others of the row
/// are labelled.
pub(super) fn targets(
    reader: &CacheReader,
    selection: &Selection,
    made: Option<MadeClass>,
    slices: &[SliceMeta],
    members: &[Vec<usize>],
) -> Result<Targets, Error> {
    let (path, meta) = (reader.dir(), reader.meta());
    let mut rows: Vec<usize> = Vec::new();
    let mut groups: Vec<Vec<usize>> = Vec::with_capacity(members.len());
    for members in members {
        let first = rows.len();
        let labelled = |row: &&usize| !is_blank(&slices[**row].labels);
        rows.extend(members.iter().filter(labelled));
        if rows.len() == first {
            rows.extend(members);
        }
        groups.push((first..rows.len()).collect());
    }
    let kind = (meta.task, meta.classes.len());
    let uncertain = selection.protocol.uncertain();
    let mut targets = if selection.labelled {
        Targets::of(path, kind, slices, &rows, uncertain)?
    } else {
        Targets::states(kind.1, slices, &rows, uncertain)
    };
    if let Some(made) = made {
        targets.push_class(rows.iter().map(|&row| made.state(&slices[row].labels)));
    }
    targets.merged(&groups).map_err(|row| Error::VolumeLabels {
        path: path.into(),
        sample: slices[members[row][0]].sample.clone(),
    })
}

/// Features of the rows, `[R, F]`.
pub(super) fn features(
    reader: &CacheReader,
    selection: &Selection,
    slices: &[SliceMeta],
    members: &[Vec<usize>],
) -> Result<(Array2<f16>, Columns), Error> {
    let meta = reader.meta();
    let tokens = &selection.tokens;
    let most = tokens.cls.iter().chain(&tokens.mean).max();
    if let Some(&layer) = most.filter(|&&layer| layer > meta.layers) {
        reader.cls(layer)?;
    }
    let width = |layer: &u32| meta.shape(*layer);
    let columns = Columns {
        cls: tokens.cls.iter().map(|l| width(l).cls as usize).collect(),
        mean: tokens.mean.iter().map(|l| width(l).patch as usize).sum(),
    };
    let mut features = Array2::from_elem((members.len(), columns.width()), f16::ZERO);
    let mut first = 0;
    let cls = tokens.cls.iter().map(|&layer| (layer, false));
    let mean = tokens.mean.iter().map(|&layer| (layer, true));
    for (layer, is_mean) in cls.chain(mean) {
        let tokens = if is_mean {
            reader.mean(layer)?
        } else {
            reader.cls(layer)?
        };
        let width = tokens.ncols();
        let mut target = features.slice_mut(s![.., first..first + width]);
        for (mut target, members) in target.outer_iter_mut().zip(members) {
            let pooled = selection.pool.rows(tokens.view(), members);
            let is_bad = |value: &&f32| !f16::from_f32(**value).is_finite();
            if let Some(&value) = pooled.iter().find(is_bad) {
                return Err(Error::NotFinite {
                    path: reader.dir().into(),
                    row: members[0],
                    sample: slices[members[0]].sample.clone(),
                    value,
                });
            }
            target.zip_mut_with(&pooled, |target, &value| *target = f16::from_f32(value));
        }
        first += width;
    }
    Ok((features, columns))
}
