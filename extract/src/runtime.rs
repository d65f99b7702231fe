//! Finding and loading ONNX Runtime's shared library.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Error;

/// The file that `ORT_DYLIB_PATH` names, else a library in the project's `runtime/onnxruntime`,
/// else one in the active Python environment (`VIRTUAL_ENV`, then `CONDA_PREFIX`).
///
/// # Errors
///
/// [`Error::NoRuntime`] if there is none in any of these places, or none where `ORT_DYLIB_PATH`
/// points.
pub fn find(home: &Path) -> Result<PathBuf, Error> {
    if let Some(path) = std::env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()) {
        let path = PathBuf::from(path);
        return match path.is_file() {
            true => Ok(path),
            false => Err(Error::NoRuntime {
                searched: format!("`ORT_DYLIB_PATH` = `{}`", path.display()),
            }),
        };
    }
    let mut folders = vec![home.join("runtime").join("onnxruntime")];
    let environments = ["VIRTUAL_ENV", "CONDA_PREFIX"].map(std::env::var_os);
    for environment in environments.into_iter().flatten() {
        folders.extend(python_packages(Path::new(&environment)));
    }
    let found = folders.iter().find_map(|folder| library_in(folder));
    found.ok_or_else(|| Error::NoRuntime {
        searched: folders
            .iter()
            .map(|folder| format!("`{}`", folder.display()))
            .collect::<Vec<_>>()
            .join(", "),
    })
}

/// `lib/python*/site-packages/onnxruntime/capi` of an environment.
fn python_packages(environment: &Path) -> Vec<PathBuf> {
    let versions = entries(&environment.join("lib"));
    let capi = |version: PathBuf| version.join("site-packages/onnxruntime/capi");
    let mut folders: Vec<_> = versions.into_iter().map(capi).collect();
    folders.retain(|folder| folder.is_dir());
    folders
}

/// The shared library in a folder; wheels carry it under its full version only.
fn library_in(folder: &Path) -> Option<PathBuf> {
    entries(folder).into_iter().rev().find(|file| {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("libonnxruntime.so")
            || (name.starts_with("libonnxruntime.") && name.ends_with(".dylib"))
            || name == "onnxruntime.dll"
    })
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wheel_s_versioned_library_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let capi = dir
            .path()
            .join("lib/python3.12/site-packages/onnxruntime/capi");
        fs::create_dir_all(&capi).unwrap();
        let library = capi.join("libonnxruntime.so.1.32.0");
        fs::write(&library, "").unwrap();
        fs::write(capi.join("libonnxruntime_providers_shared.so"), "").unwrap();
        let folders = python_packages(dir.path());
        assert_eq!(folders, std::slice::from_ref(&capi));
        assert_eq!(library_in(&capi), Some(library));
    }

    #[test]
    fn a_folder_without_a_library_gives_none() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("libonnxruntime_providers_shared.so"), "").unwrap();
        assert_eq!(library_in(dir.path()), None);
    }
}
