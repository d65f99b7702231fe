//! Trained linear heads as files, and their scores of other caches.

use std::path::Path;

use cache::CacheReader;
use common::counted;
use ndarray::{Array1, Array2};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::adapt::{Blocks, Folders};
use crate::error::{Cause, Error, FileError};
use crate::examples::{Examples, Pool, Unit};
use crate::features::{Features, Tokens};
use crate::origin::Origin;
use crate::probes::linear::{Link, logits};
use crate::protocol::Protocol;
use crate::scores::{ScoreKind, Scores};
use crate::tensors::{self, Element, Tensor, Tensors};

/// Key of [`About`] in the metadata of the file.
const KEY: &str = "slicebank";

/// Maximum number of layers that features are taken from, CLS tokens and means together.
const MOST_LAYERS: usize = 2048;

/// A trained head with all that is needed to apply it: `logits = weight x + bias`.
#[derive(Clone, Debug, PartialEq)]
pub struct SavedHead {
    /// Features, classes and training data.
    pub about: About,
    /// `[O, F]`; one output for two exclusive classes, the second's.
    pub weight: Array2<f64>,
    /// `[O]`.
    pub bias: Array1<f64>,
}

/// Features, classes and training data of a head.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// Training data.
    pub origin: Origin,
    /// All settings of the evaluation that trained it.
    #[serde(default)]
    pub settings: Map<String, Value>,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Evaluation protocol of the training.
    pub protocol: Protocol,
    /// Whether a case is of exactly one class.
    pub is_single_label: bool,
    /// Whether scores of exclusive classes are sigmoids of each, and not a softmax.
    pub by_sigmoid: bool,
    /// Meaning of the scores.
    #[serde(default, skip_serializing_if = "ScoreKind::is_probability")]
    pub scores: ScoreKind,
    /// The features, in the order of the columns of the weight.
    pub tokens: Tokens,
    /// Kind of examples.
    pub unit: Unit,
    /// Pooling of slices to volumes.
    pub pool: Pool,
    /// Scores from which classes are predicted as present, chosen on `val`: one per class, or that of
    /// the second of two exclusive classes; `None` if there was no `val`.
    pub thresholds: Option<Vec<f64>>,
    /// The trained blocks whose features it takes in place of `tokens`, which are empty then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocks: Option<Blocks>,
}

impl About {
    /// The tokens that are read with the examples of a cache.
    pub(crate) fn stored(&self) -> Tokens {
        match self.blocks {
            Some(_) => Features::Cls.tokens(1),
            None => self.tokens.clone(),
        }
    }

    fn link(&self) -> Link {
        match self.scores {
            ScoreKind::DecisionValue => Link::Identity,
            ScoreKind::Probability if self.by_sigmoid => Link::Sigmoid,
            ScoreKind::Probability => Link::Softmax,
        }
    }
}

impl SavedHead {
    /// Writes `weight` and `bias` as safetensors, in f32 if that holds all values exactly, else in f64,
    /// and the rest as JSON into the metadata.
    ///
    /// # Errors
    ///
    /// [`FileError::Output`] if the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let mut values = self.weight.iter().chain(&self.bias);
        if values.all(|&value| f64::from(value as f32) == value) {
            self.write_as(path, |value| value as f32)
        } else {
            self.write_as(path, |value| value)
        }
    }

    fn write_as<T: Element>(&self, path: &Path, to: fn(f64) -> T) -> Result<(), Error> {
        let tensor = |name: &str, shape: &[usize], values: Vec<T>| Tensor {
            name: name.into(),
            shape: shape.to_vec(),
            values,
        };
        let (weight, bias) = (&self.weight, &self.bias);
        let weights = weight.iter().map(|&value| to(value)).collect();
        let biases = bias.iter().map(|&value| to(value)).collect();
        let all = [
            tensor("weight", weight.shape(), weights),
            tensor("bias", bias.shape(), biases),
        ];
        tensors::write(path, KEY, &self.about, &all)
    }

    /// Reads a file that [`write`](SavedHead::write) wrote.
    ///
    /// # Errors
    ///
    /// [`FileError::Input`] if there is no such file, or it is damaged or of another kind.
    pub fn read(path: &Path) -> Result<SavedHead, Error> {
        let failed = |source: Cause| {
            Error::File(FileError::Input {
                path: path.into(),
                source,
            })
        };
        let found = tensors::read(path, KEY)?;
        let (about, mut tensors) =
            found.ok_or_else(|| failed("not a head that `probe` saved".into()))?;
        head(about, &mut tensors).map_err(failed)
    }

    /// Scores of some examples of a cache; trained blocks are read from `folders`.
    ///
    /// # Errors
    ///
    /// [`Error::HeadWidth`] if the features of the cache have another width, and those of [`Blocks::logits`].
    pub(crate) fn scores(
        &self,
        reader: &CacheReader,
        examples: &Examples,
        part: &[usize],
        folders: Folders<'_>,
    ) -> Result<Scores, Error> {
        let about = &self.about;
        let logits = match &about.blocks {
            Some(blocks) => blocks.logits(self, (reader, examples), part, folders)?,
            None => self.logits(reader, examples, part)?,
        };
        let is_single = about.is_single_label;
        Ok(about.link().scores(logits, is_single, about.classes.len()))
    }

    /// Logits of some examples by tokens of the cache.
    fn logits(
        &self,
        reader: &CacheReader,
        examples: &Examples,
        part: &[usize],
    ) -> Result<Array2<f64>, Error> {
        let (found, expected) = (examples.columns.width(), self.weight.ncols());
        if found != expected {
            let path = reader.dir().into();
            return Err(Error::HeadWidth {
                path,
                found,
                expected,
            });
        }
        let features = examples.plain(part);
        Ok(logits(
            features.view(),
            self.weight.view(),
            self.bias.view(),
        ))
    }
}

fn head(about: About, tensors: &mut Tensors<f64>) -> Result<SavedHead, Cause> {
    check(&about)?;
    let (weight, bias) = (tensors.take("weight")?, tensors.take("bias")?);
    let [outputs, features] = weight.shape[..] else {
        return Err("`weight` is not a matrix".into());
    };
    let expected = if about.is_single_label && about.classes.len() == 2 {
        1
    } else {
        about.classes.len()
    };
    let found = bias.values.len();
    if outputs != expected || found != expected {
        return Err(format!("{outputs} x {found} outputs, expected {expected}").into());
    }
    // The bias of a class that all or no training examples have is infinite.
    let is_bad = |value: &f64| !value.is_finite();
    if weight.values.iter().any(is_bad) || bias.values.iter().any(|bias| bias.is_nan()) {
        return Err("found weights that are NaN or infinite".into());
    }
    Ok(SavedHead {
        about,
        weight: Array2::from_shape_vec((outputs, features), weight.values)?,
        bias: Array1::from(bias.values),
    })
}

/// Checks classes, thresholds and layers.
fn check(about: &About) -> Result<(), Cause> {
    cache::check_class_names(&about.classes)?;
    let (classes, least) = (
        about.classes.len(),
        if about.is_single_label { 2 } else { 1 },
    );
    if classes < least {
        return Err(format!(
            "found {}, expected at least {least}",
            counted(classes, "class")
        )
        .into());
    }
    let thresholds = about.thresholds.iter().flatten();
    if thresholds.clone().any(|threshold| !threshold.is_finite()) {
        return Err("found thresholds that are NaN or infinite".into());
    }
    let (found, two) = (thresholds.count(), about.is_single_label && classes == 2);
    if about.thresholds.is_some() && found != classes && !(two && found == 1) {
        return Err(format!(
            "found {}, expected one per class",
            counted(found, "threshold")
        )
        .into());
    }
    if let Some(blocks) = &about.blocks {
        blocks.check()?;
    }
    let tokens = about.stored();
    let layers: Vec<u32> = [&tokens.cls[..], &tokens.mean].concat();
    if layers.is_empty() || layers.len() > MOST_LAYERS || layers.contains(&0) {
        Err(format!("found features of {}", counted(layers.len(), "layer")).into())
    } else {
        Ok(())
    }
}

/// SHA-256 of a head's file, in hex.
pub(crate) fn sha256_of(file: &Path) -> Result<String, Error> {
    let hash = common::sha256_file(file).map_err(|source| cache::Error::Io {
        path: file.into(),
        action: "read",
        source,
    })?;
    Ok(hash)
}

#[cfg(test)]
mod tests;
