//! ONNX files of models, from cards and weights.
//!
//! Graphs of vision transformers come from the crate `onnx_models` and refer to the checkpoint, which
//! is not copied. A Python script exports all other models.

pub mod hub;
mod named;
mod python;
mod shards;
pub mod weights;

use std::fs;
use std::path::{Path, PathBuf};

use cache::ModelMeta;
use common::files::write_whole;
use common::{sha256_bytes, sha256_file};
use onnx_models::{
    Error, Flavour, ModelCard, OnnxFile, VitCard, WEIGHTS_SHA256, vit_graph, vit_metadata,
};

use crate::{ModelError, project};

/// Key of a graph's metadata, for graphs of scripts: [`made_by`].
const MADE_BY: &str = "slicebank.made_by";

/// The files that determine the graphs of models that PyTorch exports.
const SCRIPTS: [&str; 5] = [
    "export_model.py",
    "originals.py",
    "names.py",
    "convert_weights.py",
    "requirements-models.txt",
];

/// A model's graph for one input size.
#[derive(Clone, Debug)]
pub struct Exported {
    /// The ONNX file.
    pub path: PathBuf,
    /// The model's name, and a hash of graph and weights.
    pub meta: ModelMeta,
}

/// Exports a project's models.
pub struct Exporter<'a> {
    /// The project's folder.
    pub home: &'a Path,
    /// Receives a line for each step.
    pub tell: &'a mut dyn FnMut(&str),
}

impl Exporter<'_> {
    /// The graph of `card` for inputs of `size` pixels. The graph of a vision transformer is built from the
    /// weights in the project. Another graph is used as it is unless the weights, the card, the scripts or the
    /// libraries have changed. Missing graphs are exported.
    ///
    /// # Errors
    ///
    /// As [`Exporter::export`].
    pub fn ensure(
        &mut self,
        card: &ModelCard,
        size: u32,
        flavour: Flavour,
    ) -> Result<Exported, ModelError> {
        let flavour = available(card, flavour)?;
        let path = file(self.home, card, size, flavour);
        let weights = weights::file(self.home, card);
        match &card.vit {
            Some(vit) if weights.is_file() => write_vit(card, vit, &weights, size, flavour, &path),
            _ if path.is_file() && !self.is_stale(card, size, &path, &weights)? => {
                exported(card, &path)
            }
            _ => self.export(card, size, flavour, None),
        }
    }

    /// Exports the graph of `card` for inputs of `size` pixels from the weights `given`, else those in the
    /// project, else those of the card's sources.
    ///
    /// # Errors
    ///
    /// [`Error::ImageSize`], [`Error::Weights`] if the weights are not what the card says,
    /// the errors of [`weights::Getter::get`], [`ModelError::Io`], [`ModelError::Script`] if the script
    /// fails, and [`ModelError::NoFlavour`] if it exports no such graph.
    pub fn export(
        &mut self,
        card: &ModelCard,
        size: u32,
        flavour: Flavour,
        given: Option<&Path>,
    ) -> Result<Exported, ModelError> {
        card.grid(size)?;
        let flavour = available(card, flavour)?;
        let path = file(self.home, card, size, flavour);
        let fits = |weights: &Path| match &card.vit {
            Some(vit) => vit_graph(card, vit, weights, size, Flavour::Fused, &[]).map(|_| ()),
            None => Ok(()),
        };
        let mut getter = weights::Getter {
            home: self.home,
            card,
            fits: &fits,
            tell: self.tell,
        };
        let weights = getter.get(given)?;
        match &card.vit {
            Some(vit) => write_vit(card, vit, &weights, size, flavour, &path),
            None => self.by_script(card, &weights, size, &path),
        }
    }

    /// True if the graph `path` was made from other weights than the file `weights`, from another card, or by
    /// other scripts than those of the project.
    fn is_stale(
        &self,
        card: &ModelCard,
        size: u32,
        path: &Path,
        weights: &Path,
    ) -> Result<bool, ModelError> {
        let graph = OnnxFile::read(path)?;
        let made_by = made_by(self.home, card, size);
        if made_by.is_some_and(|made_by| graph.metadata(MADE_BY) != Some(&made_by)) {
            return Ok(true);
        }
        match graph.metadata(WEIGHTS_SHA256) {
            Some(sha256) if weights.is_file() => {
                Ok(sha256 != sha256_file(weights).map_err(ModelError::io(weights))?)
            }
            _ => Ok(false),
        }
    }

    fn by_script(
        &mut self,
        card: &ModelCard,
        weights: &Path,
        size: u32,
        path: &Path,
    ) -> Result<Exported, ModelError> {
        let toml = self.card_file(card)?;
        let made_by = made_by(self.home, card, size).unwrap_or_default();
        let size = size.to_string();
        let words = [
            toml.as_os_str(),
            "--weights".as_ref(),
            weights.as_os_str(),
            "--image-size".as_ref(),
            size.as_ref(),
            "--made-by".as_ref(),
            made_by.as_ref(),
            "--out".as_ref(),
            path.as_os_str(),
        ];
        python::run(self.home, "export_model", &words, self.tell)?;
        exported(card, path)
    }

    /// The file of a card: that of the project, else a copy of the built-in one.
    fn card_file(&self, card: &ModelCard) -> Result<PathBuf, ModelError> {
        let name = format!("{}.toml", card.name);
        let own = project::models(self.home).join(&name);
        let built_in = ModelCard::built_in_text(&card.name);
        match built_in.filter(|_| !own.is_file()) {
            Some(text) => python::unpacked_card(self.home, &name, text),
            None => Ok(own),
        }
    }
}

/// The flavour of the model's graph that serves for `flavour`. Models that PyTorch exports have one graph, in
/// f32.
///
/// # Errors
///
/// [`ModelError::NoFlavour`] if the model has no graph of that precision.
pub fn available(card: &ModelCard, flavour: Flavour) -> Result<Flavour, ModelError> {
    match (&card.vit, flavour) {
        (Some(_), flavour) => Ok(flavour),
        (None, flavour) if !flavour.is_converted() => Ok(Flavour::Fused),
        (None, _) => Err(ModelError::NoFlavour {
            name: card.name.clone(),
            flavour: flavour.name(),
        }),
    }
}

/// The file of a model's graph in the project at `home`. Graphs of other outputs have other names, so that processes
/// that need different ones do not replace each other's.
pub fn file(home: &Path, card: &ModelCard, size: u32, flavour: Flavour) -> PathBuf {
    let mut file = format!("{}@{size}", card.name);
    if flavour != Flavour::Fused {
        file += &format!(".{}", flavour.name());
    }
    if card.usual_layers.is_some() {
        file += &format!(".layers{}", card.layers);
    }
    if card.residual {
        file += ".residual";
    }
    project::models(home).join(file + ".onnx")
}

/// An exported graph, `path`, with the hash of it and of the files with weights that it refers to.
///
/// # Errors
///
/// [`Error::NoFile`] and [`ModelError::Io`] if one of them cannot be read, [`Error::NotOnnx`],
/// [`Error::Outside`] if one is not in the graph's folder, and [`ModelError::WeightsHash`] if the graph
/// was built over other weights.
pub fn exported(card: &ModelCard, path: &Path) -> Result<Exported, ModelError> {
    let graph = OnnxFile::read(path)?;
    let mut hashes = sha256_bytes(&graph.bytes);
    let built_over = graph.metadata(WEIGHTS_SHA256);
    for file in graph.external_files()? {
        if !file.is_file() {
            return Err(Error::NoFile { path: file }.into());
        }
        let found = sha256_file(&file).map_err(ModelError::io(&file))?;
        match built_over.filter(|_| file.extension().is_some_and(|ext| ext == "safetensors")) {
            Some(expected) if expected == found => {}
            Some(expected) => {
                return Err(ModelError::WeightsHash {
                    path: file,
                    found,
                    expected: expected.to_string(),
                });
            }
            None => hashes = sha256_bytes(format!("{hashes}{found}").as_bytes()),
        }
    }
    let weights = built_over.map(str::to_owned);
    Ok(of(card, path, hashes, weights))
}

/// A hash of all inputs of a script's graph except the weights: the card, the input size, the scripts, and
/// the versions of the libraries. `None` for models that no script exports, and in a project without the
/// scripts.
fn made_by(home: &Path, card: &ModelCard, size: u32) -> Option<String> {
    let python = card.python.as_ref()?;
    let scripts = SCRIPTS.iter().map(|name| home.join("scripts").join(name));
    let hashes = scripts.map(|path| sha256_file(&path).ok());
    let parts = serde_json::json!({
        "name": card.name,
        "width": card.width,
        "depth": card.depth,
        "heads": card.heads,
        "patch_size": card.patch_size,
        "native_size": card.native_size,
        "layers": card.layers,
        "python": python,
        "image_size": size,
        "scripts": hashes.collect::<Option<Vec<_>>>()?,
    });
    Some(sha256_bytes(parts.to_string().as_bytes()))
}

fn of(card: &ModelCard, path: &Path, sha256: String, weights_sha256: Option<String>) -> Exported {
    Exported {
        path: path.to_path_buf(),
        meta: ModelMeta {
            name: card.name.clone(),
            sha256,
            final_norm: card.final_norm(),
            weights_sha256,
        },
    }
}

/// Writes the graph unless the file has these bytes. The model's hash is that of the graph, which holds the
/// hash of the weights, with the card's own number of layers and without residual tokens: a layer's tokens do not
/// depend on what else the graph gives.
fn write_vit(
    card: &ModelCard,
    vit: &VitCard,
    weights: &Path,
    size: u32,
    flavour: Flavour,
    path: &Path,
) -> Result<Exported, ModelError> {
    let sha256 = sha256_file(weights).map_err(ModelError::io(weights))?;
    let about = vit_metadata(card, size, sha256.clone());
    let bytes = vit_graph(card, vit, weights, size, flavour, &about)?;
    if fs::read(path).ok().as_ref() != Some(&bytes) {
        write_whole(path, &bytes).map_err(ModelError::io(path))?;
    }
    let hashed = match card.usual() {
        Some(card) => vit_graph(&card, vit, weights, size, flavour, &about)?,
        None => bytes,
    };
    Ok(of(card, path, sha256_bytes(&hashed), Some(sha256)))
}
