//! Tokens before the adapted blocks.

use std::collections::HashMap;

use cache::{CacheReader, PatchReader, Tokens};
use half::f16;
use ndarray::Array2;
use nn::transformer::{Network, Session};

use super::backbone::{Backbone, FirstTokens};
use crate::Error;
use crate::error::AdaptError;
use crate::examples::Examples;
use crate::stream::{Batch, Order, Stream};

/// The tokens of the examples of a cache, in batches.
pub(super) struct Residuals {
    stream: Stream,
    /// CLS tokens `[N, D]`, if the stream is of patch tokens alone and slices have one.
    cls: Option<Array2<f16>>,
    /// Numbers of a slice, `T` times `D`.
    image: usize,
    /// The row of the examples' features for each row of the cache.
    rows: HashMap<usize, usize>,
    /// The row of the cache for each row of features.
    stored: Vec<usize>,
}

impl Residuals {
    /// Tokens before the last `blocks` blocks in batches of `batch` slices: those of the table `residual`, or of `cls`
    /// and `patch` if tokens of the model do not go through its last LayerNorm.
    ///
    /// # Errors
    ///
    /// [`AdaptError::NoResidual`] and [`Error::Cache`] if the cache lacks some of these tokens, or has too few layers.
    pub(super) fn open(
        reader: &CacheReader,
        examples: &Examples,
        backbone: &Backbone,
        (blocks, batch): (u32, usize),
    ) -> Result<Residuals, Error> {
        let layer = blocks + 1;
        let (tokens, cls) = source(reader, backbone.first, layer)?;
        let (positions, width) = (backbone.encoder.tokens, backbone.encoder.width);
        let image = positions * width;
        let streamed = image - cls.as_ref().map_or(0, |_| width);
        let stored = examples.stored.clone();
        let rows = stored
            .iter()
            .enumerate()
            .map(|(row, &stored)| (stored, row));
        Ok(Residuals {
            stream: Stream::new(tokens, vec![streamed], batch, None),
            cls,
            image,
            rows: rows.collect(),
            stored,
        })
    }

    /// Calls `consume` with the rows of features and the tokens of each batch.
    pub(super) fn pass(
        &self,
        rows: &[usize],
        order: Order,
        mut consume: impl FnMut(&[usize], &[f32]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let stored: Vec<usize> = rows.iter().map(|&row| self.stored[row]).collect();
        let mut whole = Vec::new();
        self.stream.pass(&stored, order, |batch: &Batch| {
            let rows: Vec<usize> = batch.rows.iter().map(|row| self.rows[row]).collect();
            match &self.cls {
                None => consume(&rows, &batch.tokens[0]),
                Some(cls) => {
                    self.join(cls, batch, &mut whole);
                    consume(&rows, &whole)
                }
            }
        })
    }

    /// Fills `whole` with the CLS token of each slice of the batch and its patch tokens.
    fn join(&self, cls: &Array2<f16>, batch: &Batch, whole: &mut Vec<f32>) {
        let patches = batch.tokens[0].chunks_exact(self.image - cls.ncols());
        whole.clear();
        for (&row, patches) in batch.rows.iter().zip(patches) {
            whole.extend(cls.row(row).iter().map(|x| x.to_f32()));
            whole.extend_from_slice(patches);
        }
    }

    /// Logits `[rows, O]` of the network.
    pub(super) fn logits(
        &self,
        network: &Network,
        session: &Session,
        rows: &[usize],
        outputs: usize,
    ) -> Result<Array2<f64>, Error> {
        let places: HashMap<usize, usize> = rows
            .iter()
            .enumerate()
            .map(|(place, &row)| (row, place))
            .collect();
        let mut all = Array2::zeros((rows.len(), outputs));
        self.pass(rows, Order::Stored, |rows, tokens| {
            let [_, logits] = network.apply(session, tokens)?;
            for (row, logits) in rows.iter().zip(logits.chunks_exact(outputs)) {
                let found = logits.iter().map(|&logit| f64::from(logit));
                all.row_mut(places[row])
                    .iter_mut()
                    .zip(found)
                    .for_each(|(to, x)| *to = x);
            }
            Ok(())
        })?;
        Ok(all)
    }
}

/// A reader of the tokens of `layer`, and CLS tokens `[N, D]` that belong before them.
fn source(
    reader: &CacheReader,
    first: FirstTokens,
    layer: u32,
) -> Result<(PatchReader, Option<Array2<f16>>), Error> {
    let meta = reader.meta();
    if first.final_norm || meta.tokens == Tokens::Residual {
        return Ok((reader.residuals(&[layer])?, None));
    }
    let missing = |what: String, hint| {
        Error::Adapt(AdaptError::NoResidual {
            path: reader.dir().into(),
            what,
            hint,
        })
    };
    if meta.tokens == Tokens::Cls {
        return Err(missing(
            "it has no tokens of single patches, from which the blocks are computed".into(),
            "extract again with `--tokens residual`, or with `--tokens all`, which keeps the same of this model",
        ));
    }
    let cls = (first.has_cls && !first.is_kept).then(|| "no CLS token".to_owned());
    let registers = match first.registers {
        0 => None,
        count => Some(format!("none of the {count} registers")),
    };
    let lacks: Vec<String> = cls.into_iter().chain(registers).collect();
    if !lacks.is_empty() {
        return Err(missing(
            format!("beside its patch tokens it holds {}", lacks.join(" and ")),
            "extract with `--tokens residual` into another `--cache`",
        ));
    }
    let patches = reader.patches(&[layer])?;
    let cls = first.has_cls.then(|| reader.cls(layer)).transpose()?;
    Ok((patches, cls.map(|cls| cls.mapv(f16::from_f32))))
}
