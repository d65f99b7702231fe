//! Trained decoders as files: safetensors, and ONNX for other programs.

use std::path::Path;

use common::files::write_whole;
use nn::{Decoder, Kind, Shape};

use super::about::About;
use super::cases::Cases;
use super::graph::to_onnx;
use super::kinds::{layers, name, of_name};
use super::state_dict::{borrowed, parameters};
use super::train::Trained;
use crate::error::FileError;
use crate::error::{Cause, Error};
use crate::origin::Origin;
use crate::tensors::{self, Tensor};

/// Most classes of a decoder, which bounds the memory of logits.
const MOST_CLASSES: usize = 1024;

/// A trained decoder with all that its application needs.
#[derive(Clone, Debug, PartialEq)]
pub struct SavedDecoder {
    /// The data and the training of the decoder.
    pub about: About,
    /// Tensors with the names and shapes of PyTorch's `state_dict`.
    pub tensors: Vec<Tensor>,
}

impl SavedDecoder {
    pub(super) fn of(
        origin: Origin,
        cases: &Cases,
        trained: &Trained,
        shots: Option<usize>,
        layer_norm: bool,
    ) -> SavedDecoder {
        let decoder = &trained.decoder;
        let shape = decoder.shape();
        SavedDecoder {
            about: About {
                decoder: name(decoder.kind()).into(),
                origin,
                image_size: shape.size,
                classes: cases.names.clone(),
                values: cases.values.clone(),
                layers: layers(decoder.kind()),
                layer_norm,
                width: shape.width,
                grid: [shape.grid.0, shape.grid.1],
                parameters: decoder.parameter_count(),
                learning_rate: trained.learning_rate,
                epochs: trained.epochs,
                val_dice: trained.dice,
                shots,
            },
            tensors: parameters(decoder),
        }
    }

    /// Writes `path` (safetensors, f32) and an ONNX file of the same name.
    ///
    /// The inputs of the ONNX graph are `patch_K`, f32 `[B, P, D]`, for each layer `K`, as in a cache; its
    /// output is `logits`, f32 `[B, C, S, S]`.
    ///
    /// # Errors
    ///
    /// [`FileError::Output`] if a file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let onnx = path.with_extension("onnx");
        write_whole(&onnx, &to_onnx(&self.about, &self.tensors)).map_err(|error| {
            Error::File(FileError::Output {
                path: onnx,
                source: error.into(),
            })
        })?;
        tensors::write(path, About::KEY, &self.about, &self.tensors)
    }

    /// Reads what [`write`](SavedDecoder::write) wrote; `None` if the file holds no decoder.
    ///
    /// # Errors
    ///
    /// [`FileError::Input`] if there is no such file, or it is damaged.
    pub fn read(path: &Path) -> Result<Option<SavedDecoder>, Error> {
        let Some((about, mut tensors)) = tensors::read::<About, f32>(path, About::KEY)? else {
            return Ok(None);
        };
        let saved = SavedDecoder {
            about,
            tensors: tensors.take_all(""),
        };
        saved.decoder_of(path)?;
        Ok(Some(saved))
    }

    /// The decoder itself; `path` is its file.
    ///
    /// # Errors
    ///
    /// [`FileError::Input`] if metadata and tensors are not those of a decoder.
    pub(super) fn decoder_of(&self, path: &Path) -> Result<Decoder, Error> {
        self.decoder().map_err(|source| {
            Error::File(FileError::Input {
                path: path.into(),
                source,
            })
        })
    }

    fn decoder(&self) -> Result<Decoder, Cause> {
        let about = &self.about;
        let kind = of_name(&about.decoder).ok_or_else(|| {
            format!(
                "found the decoder `{}`, expected `linear` or `unet`",
                about.decoder
            )
        })?;
        if about.values.len() != about.classes.len() || !about.values.is_sorted_by(|a, b| a < b) {
            return Err("found values that are not one per class in increasing order".into());
        }
        if about.layers != layers(kind) {
            return Err(format!("found the layers {:?}", about.layers).into());
        }
        cache::check_class_names(&about.classes)?;
        if about.classes.len() > MOST_CLASSES {
            return Err(format!(
                "found {} classes, expected at most {MOST_CLASSES}",
                about.classes.len()
            )
            .into());
        }
        // A lower bound for decoders of these sizes, so that no memory is allocated by sizes that the
        // file claims without tensors to match.
        let least = about.width.saturating_mul(match kind {
            Kind::Linear => about.classes.len(),
            Kind::UNet => about.width,
        });
        let values = self.tensors.iter().map(|tensor| tensor.values.len());
        let found: usize = values.sum();
        if found < least {
            let width = about.width;
            return Err(format!(
                "found {found} parameters, expected at least {least} for tokens of width {width}"
            )
            .into());
        }
        let mut values = self.tensors.iter().flat_map(|tensor| &tensor.values);
        if !values.all(|value| value.is_finite()) {
            return Err("found parameters that are NaN or infinite".into());
        }
        let shape = Shape {
            width: about.width,
            classes: about.classes.len(),
            grid: (about.grid[0], about.grid[1]),
            size: about.image_size,
        };
        let mut decoder = Decoder::new(kind, shape, 0)?;
        decoder.load(self.tensors.iter().map(borrowed))?;
        Ok(decoder)
    }
}
