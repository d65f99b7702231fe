//! Model cards: all that is known of a backbone stands in one TOML file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::Error;

/// A model card, `onnx_models/NAME.toml`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelCard {
    /// The name on the command line and in the cache.
    pub name: String,
    /// What it is, in one line.
    pub title: String,
    /// The family of graphs: `vit`.
    pub architecture: String,
    /// Number of parameters of the encoder.
    pub parameters: u64,
    /// Width of a token, `D`.
    pub width: u32,
    /// Number of blocks.
    pub depth: u32,
    /// Number of attention heads.
    pub heads: u32,
    /// Height and width of a patch in pixels.
    pub patch_size: u32,
    /// Input size that the model was trained at, in pixels.
    pub native_size: u32,
    /// Input size that is used unless another is asked for, in pixels.
    pub image_size: u32,
    /// How many of the last blocks an export gives.
    pub layers: u32,
    /// Mean of each input channel.
    pub mean: [f32; 3],
    /// Standard deviation of each input channel.
    pub std: [f32; 3],
    /// How the position table is interpolated.
    pub pos_embed: String,
    /// The licence of the weights.
    pub licence: String,
    /// Who may have the weights: `open` or what has to be done for them.
    pub access: String,
    /// What else one should know.
    pub notes: Option<String>,
    /// sha256 of the exported ONNX file by input size.
    #[serde(default)]
    pub onnx_sha256: BTreeMap<String, String>,
    /// Where the weights come from; the first that can be had is used.
    #[serde(default)]
    pub source: Vec<toml::Table>,
}

impl ModelCard {
    /// Reads the card `name` of the project at `home`.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownModel`] if there is no such card, [`Error::Card`] if it is not one, and
    /// [`Error::CardName`] if it names another model.
    pub fn read(home: &Path, name: &str) -> Result<ModelCard, Error> {
        let folder = home.join("onnx_models");
        let path = folder.join(format!("{name}.toml"));
        let known = names(&folder);
        if !known.iter().any(|card| card == name) {
            return Err(Error::UnknownModel {
                name: name.to_string(),
                folder,
                known: known.join("`, `"),
            });
        }
        let text = std::fs::read_to_string(&path).map_err(Error::io(&path))?;
        let card: ModelCard = toml::from_str(&text).map_err(|source| Error::Card {
            path: path.clone(),
            source: Box::new(source),
        })?;
        match card.name == name {
            true => Ok(card),
            false => Err(Error::CardName {
                path,
                found: card.name,
            }),
        }
    }

    /// Where the export for inputs of `image_size` pixels lies.
    pub fn onnx_file(&self, home: &Path, image_size: u32) -> PathBuf {
        let file = format!("{}@{image_size}.onnx", self.name);
        home.join("onnx_models").join(file)
    }

    /// Rows and columns of the patch grid for inputs of `image_size` pixels.
    ///
    /// # Errors
    ///
    /// [`Error::ImageSize`] if patches do not tile such an input.
    pub fn grid(&self, image_size: u32) -> Result<[u32; 2], Error> {
        if image_size == 0 || !image_size.is_multiple_of(self.patch_size) {
            return Err(Error::ImageSize {
                model: self.name.clone(),
                found: image_size,
                patch: self.patch_size,
            });
        }
        Ok([image_size / self.patch_size; 2])
    }
}

/// The names of all cards, sorted.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| {
            let path = entry.path();
            let is_card = path.extension().is_some_and(|ext| ext == "toml");
            let stem = path.file_stem()?.to_string_lossy().into_owned();
            is_card.then_some(stem)
        })
        .collect();
    names.sort();
    names
}
