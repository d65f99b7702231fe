//! A cache, opened for decoders.

use cache::{CacheReader, Split};
use nn::Shape;

use super::cases::Cases;
use super::kinds::layers;
use super::options::Options;
use crate::Error;
use crate::error::SegmentError;
use crate::evaluate::{IDLE_SHARE, Settings, VAL_SHARE};
use crate::stream::Stream;

/// A cache, opened for decoders.
pub(super) struct Task<'a> {
    pub(super) reader: &'a CacheReader,
    pub(super) settings: &'a Settings,
    pub(super) options: &'a Options,
    pub(super) cases: Cases,
    pub(super) stream: Stream,
    pub(super) shape: Shape,
    /// Whether tokens first go through a LayerNorm without weights.
    pub(super) layer_norm: bool,
}

impl<'a> Task<'a> {
    pub(super) fn open(
        reader: &'a CacheReader,
        options: &'a Options,
        settings: &'a Settings,
    ) -> Result<Task<'a>, Error> {
        let layers = layers(options.decoder);
        let patches = reader.patches(&layers)?;
        check_layers(reader, &layers)?;
        let split = settings.split_name.as_deref();
        let mut cases = Cases::read(reader, split, options.ignore_unnamed)?;
        let layer_norm = layer_norm(reader, options, settings, &mut cases);
        hold_out(options, settings, &mut cases);
        let meta = reader.meta();
        let last = meta.shape(1);
        let shape = Shape {
            width: last.patch as usize,
            grid: (last.grid[0] as usize, last.grid[1] as usize),
            size: meta.image_size as usize,
            classes: cases.names.len(),
        };
        let values = vec![shape.width * last.patches(); layers.len()];
        let norm = layer_norm.then_some(shape.width);
        Ok(Task {
            reader,
            settings,
            options,
            cases,
            stream: Stream::new(patches, values, options.batch_size, norm),
            shape,
            layer_norm,
        })
    }
}

/// Checks that all layers have the width and the grid of the last.
fn check_layers(reader: &CacheReader, layers: &[u32]) -> Result<(), Error> {
    let meta = reader.meta();
    let last = meta.shape(1);
    let uneven = layers.iter().find(|&&layer| {
        let shape = meta.shape(layer);
        (shape.patch, shape.grid) != (last.patch, last.grid)
    });
    uneven.map_or(Ok(()), |&layer| {
        Err(Error::Segment(SegmentError::UnevenLayers {
            path: reader.dir().into(),
            layer,
        }))
    })
}

/// Returns whether tokens go through a LayerNorm: if the protocol says so, those that have been through
/// none.
fn layer_norm(
    reader: &CacheReader,
    options: &Options,
    settings: &Settings,
    cases: &mut Cases,
) -> bool {
    let meta = reader.meta();
    if !settings.protocol.norms_raw_tokens(options.decoder) {
        return false;
    }
    if meta.model.final_norm.is_none() && meta.onnxruntime_version.is_none() {
        cases.warnings.push(
            "the cache is of a version that did not record whether tokens went through the model's last LayerNorm: none is put on them, as is right for DINOv2; of other vision transformers, extract again"
                .into(),
        );
    }
    meta.model.final_norm == Some(false)
}

/// Holds out a part of `train` if something is to be chosen and there is no `val`, where the protocol
/// says so.
fn hold_out(options: &Options, settings: &Settings, cases: &mut Cases) {
    if !options.scans() {
        return;
    }
    let lacks_val = cases.rows(&[Split::Val], false).is_empty();
    if lacks_val && settings.protocol.holds_out() {
        cases.hold_out(settings.val_share.unwrap_or(VAL_SHARE), settings.seed);
    }
    if !lacks_val && settings.val_share.is_some() {
        cases.warnings.push(IDLE_SHARE.into());
    }
}
