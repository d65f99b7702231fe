//! Trained linear heads as files, and what they say of other caches.

use std::path::Path;

use cache::CacheReader;
use common::counted;
use ndarray::{Array1, Array2};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Cause, Error};
use crate::evaluate::Task;
use crate::examples::{Examples, Pool, Tokens, Unit};
use crate::metrics::measures::Thresholds;
use crate::origin::Origin;
use crate::probes::linear::{logits, probabilities};
use crate::protocol::Protocol;
use crate::targets::Targets;
use crate::tensors::{self, Tensor, Tensors};

/// The key of the file's metadata under which [`About`] stands.
const KEY: &str = "slicebank";

/// Most layers that features are taken from, CLS tokens and means together.
const MOST_LAYERS: usize = 2048;

/// A trained head with all that is needed to apply it: `logits = weight x + bias`.
#[derive(Clone, Debug, PartialEq)]
pub struct SavedHead {
    /// What it is for.
    pub about: About,
    /// `[O, F]`; one output for two exclusive classes, the second's.
    pub weight: Array2<f32>,
    /// `[O]`.
    pub bias: Array1<f32>,
}

/// What a head is for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// What it was trained on.
    pub origin: Origin,
    /// All settings of the evaluation that trained it.
    #[serde(default)]
    pub settings: Map<String, Value>,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// The rules that it was trained by.
    pub protocol: Protocol,
    /// Whether a case is of exactly one class.
    pub is_single_label: bool,
    /// Whether scores of exclusive classes are their own sigmoids, and not a softmax.
    pub by_sigmoid: bool,
    /// The features, in the order of the weight's columns.
    pub tokens: Tokens,
    /// What an example is.
    pub unit: Unit,
    /// How slices become volumes.
    pub pool: Pool,
    /// Scores from which up classes are taken as present, chosen on `val`: one per class, and the
    /// second's of two exclusive ones; `None` where there was nothing to choose on.
    pub thresholds: Option<Vec<f64>>,
}

impl SavedHead {
    pub(crate) fn of(
        task: &Task<'_>,
        tokens: Tokens,
        weight: &Array2<f32>,
        bias: &Array1<f32>,
        by_sigmoid: bool,
        thresholds: Option<&Thresholds>,
    ) -> SavedHead {
        SavedHead {
            about: About {
                origin: task.origin(),
                settings: task.identity.of_training(task.reader),
                classes: task.examples.classes.clone(),
                is_single_label: matches!(task.examples.targets, Targets::Single(_)),
                by_sigmoid,
                tokens,
                unit: task.examples.unit,
                pool: task.settings.pool(),
                protocol: task.settings.protocol,
                thresholds: thresholds.map(|thresholds| thresholds.values.clone()),
            },
            weight: weight.clone(),
            bias: bias.clone(),
        }
    }

    /// Writes `weight` and `bias` in f32 as safetensors, and the rest as JSON into the metadata.
    ///
    /// # Errors
    ///
    /// [`Error::Output`] if the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        let tensor = |name: &str, shape: &[usize], values: Vec<f32>| Tensor {
            name: name.into(),
            shape: shape.to_vec(),
            values,
        };
        let (weight, bias) = (&self.weight, &self.bias);
        let all = [
            tensor("weight", weight.shape(), weight.iter().copied().collect()),
            tensor("bias", bias.shape(), bias.to_vec()),
        ];
        tensors::write(path, KEY, &self.about, &all)
    }

    /// Reads what [`write`](SavedHead::write) wrote.
    ///
    /// # Errors
    ///
    /// [`Error::Input`] if there is no such file, or it is damaged or holds something else.
    pub fn read(path: &Path) -> Result<SavedHead, Error> {
        let failed = |source: Cause| Error::Input {
            path: path.into(),
            source,
        };
        let found = tensors::read(path, KEY)?;
        let (about, mut tensors) =
            found.ok_or_else(|| failed("not a head that `probe` saved".into()))?;
        head(about, &mut tensors).map_err(failed)
    }

    /// Probabilities `[N, C]` of a cache's examples.
    ///
    /// # Errors
    ///
    /// [`Error::HeadWidth`] if the cache's features are of another width.
    pub fn scores(
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
        let logits = logits(features.view(), self.weight.view(), self.bias.view());
        let kind = if self.about.is_single_label {
            Targets::Single(Vec::new())
        } else {
            Targets::Multi(Array2::from_elem((0, 0), None))
        };
        let classes = self.about.classes.len();
        Ok(probabilities(logits, &kind, classes, self.about.by_sigmoid))
    }
}

fn head(about: About, tensors: &mut Tensors) -> Result<SavedHead, Cause> {
    check(&about)?;
    let (weight, bias) = (tensors.take("weight")?, tensors.take("bias")?);
    let [outputs, features] = weight.shape[..] else {
        return Err("`weight` is no matrix".into());
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
    let is_bad = |value: &f32| !value.is_finite();
    if weight.values.iter().any(is_bad) || bias.values.iter().any(|bias| bias.is_nan()) {
        return Err("found weights that are NaN or infinite".into());
    }
    Ok(SavedHead {
        about,
        weight: Array2::from_shape_vec((outputs, features), weight.values)?,
        bias: Array1::from(bias.values),
    })
}

/// Refuses what no head is for.
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
    let layers: Vec<u32> = [&about.tokens.cls[..], &about.tokens.mean].concat();
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
