//! The rows of a finished shard as batches of any length.

use std::collections::VecDeque;
use std::vec;

use common::{Mask, Picture};
use ndarray::{Array2, Array3, Axis, Slice, concatenate};

use crate::schema::Table;
use crate::{
    CacheReader, Error, PatchReader, PatchRow, PatchTokens, SliceMeta, TokenBatch, Tokens,
};

type Values<T> = Box<dyn Iterator<Item = Result<T, Error>>>;

/// Rows of a shard, which are taken in order. In memory are its CLS tokens and means, and of patch tokens,
/// masks and pictures what is taken.
pub(super) struct ShardRows<'a> {
    reader: &'a CacheReader,
    slices: vec::IntoIter<SliceMeta>,
    /// Rows that were taken.
    taken: usize,
    cls: Vec<Array2<f32>>,
    mean: Vec<Array2<f32>>,
    patches: Option<Patches>,
    masks: Option<Values<Option<Mask>>>,
    pictures: Option<Values<Picture>>,
}

/// Tokens of single positions of a shard, by row groups.
struct Patches {
    reader: PatchReader,
    next_group: usize,
    read: VecDeque<PatchRow>,
}

impl<'a> ShardRows<'a> {
    pub(super) fn open(reader: &'a CacheReader, shard: usize) -> Result<ShardRows<'a>, Error> {
        let meta = reader.meta();
        let layers = || (1..=meta.layers).rev();
        let tokens = |table| layers().map(move |layer| reader.shard_tokens(table, layer, shard));
        let has = |table| Table::of(meta).contains(&table);
        let patches = meta.tokens.table().map(|table| {
            reader.shard_patches(table, &layers().collect::<Vec<_>>(), shard..shard + 1)
        });
        let patches = patches.transpose()?;
        Ok(ShardRows {
            reader,
            slices: reader.shard_slices(shard)?.into_iter(),
            taken: 0,
            cls: tokens(Table::Cls).collect::<Result<_, _>>()?,
            mean: tokens(Table::Mean).collect::<Result<_, _>>()?,
            patches: patches.map(|reader| Patches {
                reader,
                next_group: 0,
                read: VecDeque::new(),
            }),
            masks: if has(Table::Mask) {
                Some(flat(reader.masks(shard)?))
            } else {
                None
            },
            pictures: if has(Table::Picture) {
                Some(flat(reader.pictures(shard)?))
            } else {
                None
            },
        })
    }

    /// Number of rows that were not taken.
    pub(super) fn left(&self) -> usize {
        self.slices.len()
    }

    /// The next `count` rows, or fewer at the end.
    pub(super) fn take(&mut self, count: usize) -> Result<TokenBatch, Error> {
        let slices: Vec<SliceMeta> = self.slices.by_ref().take(count).collect();
        let (start, count) = (self.taken, slices.len());
        self.taken += count;
        let cut = Slice::from(start..self.taken);
        let rows = |layers: &[Array2<f32>]| -> Vec<Array2<f32>> {
            let layers = layers.iter();
            layers
                .map(|of| of.slice_axis(Axis(0), cut).to_owned())
                .collect()
        };
        Ok(TokenBatch {
            cls: rows(&self.cls),
            mean: rows(&self.mean),
            patch: match &mut self.patches {
                Some(patches) => patches.take(self.reader, count)?,
                None => Vec::new(),
            },
            masks: taken(&mut self.masks, count)?,
            pictures: taken(&mut self.pictures, count)?,
            slices,
        })
    }
}

impl Patches {
    /// The tokens of the next `count` rows, oldest layer first.
    fn take(&mut self, of: &CacheReader, count: usize) -> Result<Vec<PatchTokens>, Error> {
        while self.read.len() < count {
            let Some(group) = self.reader.groups().get(self.next_group) else {
                break;
            };
            self.read.extend(self.reader.read(group, |_| true)?);
            self.next_group += 1;
        }
        let rows: Vec<PatchRow> = self.read.drain(..count.min(self.read.len())).collect();
        let layers = (1..=of.meta().layers).rev().enumerate();
        let layers = layers.map(|(index, layer)| {
            let shape = of.meta().shape(layer);
            let positions = match of.meta().tokens {
                Tokens::Residual => of.meta().positions(layer),
                Tokens::Cls | Tokens::All => shape.patches(),
            };
            let mut tokens = Array3::zeros((rows.len(), positions, shape.patch as usize));
            for (row, mut out) in rows.iter().zip(tokens.outer_iter_mut()) {
                if let Some(out) = out.as_slice_mut() {
                    row.copy_to(index, out)?;
                }
            }
            Ok(tokens.into())
        });
        layers.collect()
    }
}

/// The values of batches one by one.
fn flat<T: 'static>(batches: impl Iterator<Item = Result<Vec<T>, Error>> + 'static) -> Values<T> {
    Box::new(batches.flat_map(|batch| match batch {
        Ok(values) => values.into_iter().map(Ok).collect::<Vec<_>>(),
        Err(error) => vec![Err(error)],
    }))
}

fn taken<T>(values: &mut Option<Values<T>>, count: usize) -> Result<Vec<T>, Error> {
    values.iter_mut().flat_map(|of| of.take(count)).collect()
}

/// One batch of the rows of several, in their order.
pub(super) fn joined(mut pieces: Vec<TokenBatch>) -> Option<TokenBatch> {
    if pieces.len() < 2 {
        return pieces.pop();
    }
    let layers = |of: fn(&TokenBatch) -> &Vec<Array2<f32>>| -> Vec<Array2<f32>> {
        let count = pieces.first().map_or(0, |piece| of(piece).len());
        let layer = |k: usize| {
            let rows: Vec<_> = pieces.iter().map(|piece| of(piece)[k].view()).collect();
            concatenate(Axis(0), &rows).expect("the layers of one cache are alike")
        };
        (0..count).map(layer).collect()
    };
    let (cls, mean) = (layers(|piece| &piece.cls), layers(|piece| &piece.mean));
    let mut pieces = pieces.into_iter();
    let mut all = pieces.next()?;
    (all.cls, all.mean) = (cls, mean);
    for mut piece in pieces {
        all.slices.append(&mut piece.slices);
        all.masks.append(&mut piece.masks);
        all.pictures.append(&mut piece.pictures);
        for (layer, more) in all.patch.iter_mut().zip(piece.patch) {
            layer.append(more);
        }
    }
    Some(all)
}
