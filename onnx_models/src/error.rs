//! Errors of cards, weights and graphs.

use std::io;
use std::path::{Path, PathBuf};

use common::did_you_mean;
use common::text::{printable_part, shown};

/// A card, a file of weights or a graph that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system could not read a file.
    #[error("`{}`: {source}", shown(path))]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// No model has this name.
    #[error("`{name}`: no such model, neither built in nor in `{}`{}\nhint: give one of `{}`; a model is a card `NAME.toml` in that folder", shown(folder), did_you_mean(name, known), shown(&known.join("`, `")), name = shown(name))]
    UnknownModel {
        /// The name that was given.
        name: String,
        /// The folder of cards.
        folder: PathBuf,
        /// All names.
        known: Vec<String>,
    },
    /// A model card cannot be parsed.
    #[error("`{}`: {source}hint: compare it with the cards that `extract models` lists; `docs/model-cards.md` describes their keys", shown(path), source = printable_part(&source.to_string(), source.message()))]
    Card {
        /// The card.
        path: PathBuf,
        /// The parser's error.
        source: Box<toml::de::Error>,
    },
    /// A value of a card is out of range.
    #[error("`{}`: {what}\nhint: correct the card; `docs/model-cards.md` describes its keys", shown(path), what = shown(what))]
    CardValue {
        /// The card.
        path: PathBuf,
        /// The key, its value, and the expected values.
        what: String,
    },
    /// The `name` of a card is not that of its file.
    #[error("`{}`: the card's name is `{found}`\nhint: name the file `{found}.toml`, or correct `name`", shown(path), found = shown(found))]
    CardName {
        /// The card.
        path: PathBuf,
        /// The name in it.
        found: String,
    },
    /// The image size is no multiple of the patch size.
    #[error("`{model}`: the image size {found} is no multiple of the patch size {patch}\nhint: give `--image-size` a multiple of {patch}, for instance {}", patch * 16, model = shown(model))]
    ImageSize {
        /// The model.
        model: String,
        /// The size that was given.
        found: u32,
        /// The patch size.
        patch: u32,
    },
    /// The image size is too large.
    #[error(
        "`{model}`: the image size {found} is too large, expected at most {most}\nhint: give a smaller `--image-size`", model = shown(model)
    )]
    TooLarge {
        /// The model.
        model: String,
        /// The size that was given.
        found: u32,
        /// The largest size.
        most: u32,
    },
    /// The model has fewer layers than were asked for.
    #[error(
        "`{model}`: {found} layers are asked for, the export has 1 to {most}\nhint: give `--layers` a number up to {most}", model = shown(model)
    )]
    Layers {
        /// The model.
        model: String,
        /// The number that was given.
        found: u32,
        /// The largest number.
        most: u32,
    },
    /// A model has no tokens before its last LayerNorm.
    #[error("`{model}`: its graph is not built by this program, and gives no tokens before the last LayerNorm\nhint: give a vision transformer of `extract models`, or other `--tokens`", model = shown(model))]
    NoResidual {
        /// The model.
        model: String,
    },
    /// A file of weights is not what the card says.
    #[error("`{}`: {what}\nhint: give the weights that the card describes as `--weights FILE`, or correct the card", shown(path), what = shown(what))]
    Weights {
        /// The file.
        path: PathBuf,
        /// The difference.
        what: String,
    },
    /// A file does not exist or is no regular file.
    #[error(
        "`{}`: no such file, or a folder or device\nhint: look at the path, or give another one",
        shown(path)
    )]
    NoFile {
        /// The file.
        path: PathBuf,
    },
    /// A file is no ONNX model.
    #[error(
        "`{}`: the file is damaged or no ONNX model\nhint: export it again",
        shown(path)
    )]
    NotOnnx {
        /// The file.
        path: PathBuf,
    },
    /// The weights of a graph are in another folder.
    #[error("`{}`: its weights lie in `{location}`, expected a file beside it\nhint: put both into one folder, and export the model so that it names the file alone", shown(path), location = shown(location))]
    Outside {
        /// The graph.
        path: PathBuf,
        /// The file with weights, as the graph names it.
        location: String,
    },
}

impl Error {
    /// [`Error::Weights`] about the file `path` instead, for weights that were converted from it; other
    /// errors unchanged.
    #[must_use]
    pub fn about(self, path: &Path) -> Error {
        match self {
            Error::Weights { what, .. } => Error::weights(path, what),
            other => other,
        }
    }

    /// [`Error::Weights`].
    pub fn weights(path: &Path, what: impl Into<String>) -> Error {
        Error::Weights {
            path: path.to_path_buf(),
            what: what.into(),
        }
    }

    /// A closure for `map_err` that adds the file.
    pub fn io(path: &Path) -> impl FnOnce(io::Error) -> Error {
        let path = path.to_path_buf();
        move |source| Error::Io { path, source }
    }
}
