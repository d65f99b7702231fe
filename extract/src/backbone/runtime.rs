//! Finding and loading ONNX Runtime's shared library.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::files::entries;
use common::text::printable;
use ort::environment::Environment;
use ort::ep::{self, ExecutionProvider};
use ort::logging::LogLevel;

use super::device::Provider;
use super::elf;
use crate::ModelError;
use crate::project::environments;

/// The loaded ONNX Runtime, one per process.
pub struct Runtime {
    pub(super) environment: Environment,
    pub(super) home: PathBuf,
    library: PathBuf,
    /// A damaged library that a GPU needs, and its fault.
    damaged: Option<String>,
}

impl Runtime {
    /// Loads the library of the project at `home`; for a GPU, also the libraries that its provider needs.
    ///
    /// # Errors
    ///
    /// [`ModelError::NoRuntime`] if there is none, [`ModelError::RuntimeLoad`] if it is truncated or too old, or
    /// if another one is loaded.
    pub fn load(home: &Path, for_gpu: bool) -> Result<Runtime, ModelError> {
        let library = find(home, for_gpu)?;
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| ModelError::RuntimeLoad {
            path: library.clone(),
            source,
        };
        elf::check(&library).map_err(|e| failed(Box::new(e)))?;
        let damaged = if for_gpu {
            preload_gpu_libraries(&library).err()
        } else {
            None
        };
        let builder = ort::init_from(&library).map_err(|e| failed(Box::new(e)))?;
        let builder = builder.with_telemetry(false).with_logger(Arc::new(log));
        let environment = builder.build().map_err(|e| failed(Box::new(e)))?;
        environment.set_log_level(log_level());
        Ok(Runtime {
            environment,
            home: home.to_path_buf(),
            library,
            damaged,
        })
    }

    /// The library's version: with the patch (`1.32.0`) if the file's name has it, else `1.32`.
    pub fn version(&self) -> Option<String> {
        let version = format!("1.{}", ort::util::probe(&self.library)?);
        let file = self.library.canonicalize().ok()?;
        let name = file.file_name()?.to_string_lossy().into_owned();
        let mut numbers = name.split(|letter: char| !letter.is_ascii_digit() && letter != '.');
        let full = numbers.find_map(|number| {
            let number = number.trim_matches('.');
            let patch = number.strip_prefix(&version)?.strip_prefix('.')?;
            patch.parse::<u32>().ok().map(|_| number.to_owned())
        });
        Some(full.unwrap_or(version))
    }

    /// The library's file.
    pub fn library(&self) -> &Path {
        &self.library
    }

    /// Checks that the library was built with a provider, which may still fail to run.
    ///
    /// # Errors
    ///
    /// [`ModelError::Provider`] if it was built without, or a library that it needs is damaged.
    pub fn has(&self, provider: Provider) -> Result<(), ModelError> {
        let built = match provider {
            Provider::Cpu => Ok(true),
            Provider::Cuda => ep::CUDA::is_available(),
            Provider::Tensorrt => ep::TensorRT::is_available(),
        };
        let source = match (built, &self.damaged) {
            (Ok(true), Some(damaged)) if provider.is_gpu() => damaged.clone().into(),
            (Ok(true), _) => return Ok(()),
            (Ok(false), _) => format!("`{}` was built without it", self.library.display()).into(),
            (Err(error), _) => error.into(),
        };
        Err(ModelError::Provider {
            provider: provider.name(),
            source,
        })
    }
}

/// Prefixes of the names of the libraries that the CUDA and TensorRT providers need; each library follows those
/// that it needs. Nothing else is loaded: some libraries in the system's folders terminate a program that
/// loads them.
const GPU_LIBRARIES: [&str; 9] = [
    "libcudart.so",
    "libcublasLt.so",
    "libcublas.so",
    "libcurand.so",
    "libnvrtc-builtins.so",
    "libnvrtc.so",
    "libcudnn",
    "libnvinfer",
    "libnvonnxparser.so",
];

/// Loads CUDA's and TensorRT's libraries, because the providers search the system's folders only. ONNX Runtime
/// reports libraries that cannot be loaded.
///
/// # Errors
///
/// The name of a truncated library, which would terminate the process; also of the providers, which ONNX Runtime
/// loads.
fn preload_gpu_libraries(library: &Path) -> Result<(), String> {
    let check =
        |file: &PathBuf| elf::check(file).map_err(|what| format!("`{}`: {what}", file.display()));
    for file in entries(library.parent().unwrap_or(Path::new("."))) {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("libonnxruntime_providers") {
            check(&file)?;
        }
    }
    let files: Vec<PathBuf> = gpu_folders(library)
        .iter()
        .flat_map(|folder| entries(folder))
        .collect();
    for prefix in GPU_LIBRARIES {
        let is_wanted = |file: &&PathBuf| {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with(prefix) && name.contains(".so")
        };
        for file in files.iter().filter(is_wanted) {
            check(file)?;
            let _ = ort::util::preload_dylib(file);
        }
    }
    Ok(())
}

/// The level of ONNX Runtime's log, from `ORT_LOG`. By default nothing is logged: errors contain their log.
fn log_level() -> LogLevel {
    match std::env::var("ORT_LOG").as_deref() {
        Ok("verbose") => LogLevel::Verbose,
        Ok("info") => LogLevel::Info,
        Ok("warning") => LogLevel::Warning,
        Ok("error") => LogLevel::Error,
        _ => LogLevel::Fatal,
    }
}

/// Writes a line of ONNX Runtime's log to standard error, without colours.
fn log(level: LogLevel, _category: &str, _id: &str, place: &str, message: &str) {
    // ONNX Runtime logs everything until the level is set.
    if level < log_level() {
        return;
    }
    let (place, message) = (printable(place), printable(message));
    let _ = writeln!(io::stderr(), "onnxruntime: {level:?}: {place}: {message}");
}

/// Folders that may contain CUDA's and TensorRT's libraries: that of ONNX Runtime, and the packages `nvidia-*`
/// and `tensorrt` of its Python environment, of the program's and of the active ones.
fn gpu_folders(library: &Path) -> Vec<PathBuf> {
    let mut folders = Vec::from_iter(library.parent().map(Path::to_path_buf));
    // `site-packages/onnxruntime/capi/libonnxruntime.so`.
    let own = library.ancestors().nth(3).map(PathBuf::from);
    let active = environments();
    let active = active.iter().flat_map(|folder| site_packages(folder));
    for packages in own.into_iter().chain(active) {
        let nvidia = entries(&packages.join("nvidia"));
        folders.extend(nvidia.into_iter().map(|package| package.join("lib")));
        folders.push(packages.join("tensorrt_libs"));
    }
    folders
}

/// The library: `ORT_DYLIB_PATH`, else in the project's folder `runtime/onnxruntime` (for a GPU, first
/// `runtime/onnxruntime-gpu`), else in the Python environment in which the program is installed, else in the active
/// one (`VIRTUAL_ENV`, then `CONDA_PREFIX`).
///
/// # Errors
///
/// [`ModelError::NoRuntime`] if there is none, or `ORT_DYLIB_PATH` names no file.
fn find(home: &Path, for_gpu: bool) -> Result<PathBuf, ModelError> {
    if let Some(path) = std::env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()) {
        let path = PathBuf::from(path);
        return if path.is_file() {
            Ok(path)
        } else {
            Err(ModelError::NoRuntime {
                searched: format!("`ORT_DYLIB_PATH` = `{}`", path.display()),
            })
        };
    }
    let runtime = home.join("runtime");
    let mut folders = vec![runtime.join("onnxruntime")];
    if for_gpu {
        folders.insert(0, runtime.join("onnxruntime-gpu"));
    }
    for environment in environments() {
        folders.extend(python_packages(&environment));
    }
    let found = folders.iter().filter(|_| for_gpu);
    let found = found.filter_map(|folder| gpu_library(folder)).next();
    let found = found.or_else(|| folders.iter().find_map(|folder| library_in(folder)));
    found.ok_or_else(|| ModelError::NoRuntime {
        searched: folders
            .iter()
            .map(|folder| format!("`{}`", folder.display()))
            .collect::<Vec<_>>()
            .join(", "),
    })
}

/// `lib/python*/site-packages/onnxruntime/capi` of an environment.
fn python_packages(environment: &Path) -> Vec<PathBuf> {
    let mut folders = site_packages(environment);
    folders
        .iter_mut()
        .for_each(|folder| folder.push("onnxruntime/capi"));
    folders.retain(|folder| folder.is_dir());
    folders
}

/// `lib/python*/site-packages` of an environment.
fn site_packages(environment: &Path) -> Vec<PathBuf> {
    let versions = entries(&environment.join("lib")).into_iter();
    versions
        .map(|version| version.join("site-packages"))
        .collect()
}

/// The library of the Python package `onnxruntime-gpu` in a folder `site-packages/onnxruntime/capi`, which the package
/// `onnxruntime` shares: libraries of two versions lie side by side.
fn gpu_library(folder: &Path) -> Option<PathBuf> {
    let packages = entries(folder.ancestors().nth(2)?).into_iter();
    let mut names = packages.filter_map(|path| path.file_name()?.to_str().map(str::to_owned));
    let version = names.find_map(|name| {
        let version = name.strip_prefix("onnxruntime_gpu-")?;
        version.strip_suffix(".dist-info").map(str::to_owned)
    })?;
    let library = folder.join(format!("libonnxruntime.so.{version}"));
    library.is_file().then_some(library)
}

/// The shared library in a folder; in wheels, its name has the full version.
fn library_in(folder: &Path) -> Option<PathBuf> {
    entries(folder).into_iter().rev().find(|file| {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("libonnxruntime.so")
            || (name.starts_with("libonnxruntime.") && name.ends_with(".dylib"))
            || name == "onnxruntime.dll"
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

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
    fn gpu_libraries_are_looked_for_beside_the_runtime_and_in_its_python_environment() {
        let dir = tempfile::tempdir().unwrap();
        let packages = dir.path().join("lib/python3.12/site-packages");
        let cudnn = packages.join("nvidia/cudnn/lib");
        fs::create_dir_all(&cudnn).unwrap();
        let library = packages.join("onnxruntime/capi/libonnxruntime.so.1.31.1");
        let folders = gpu_folders(&library);
        assert!(folders.contains(&packages.join("onnxruntime/capi")));
        assert!(folders.contains(&cudnn));
        assert!(folders.contains(&packages.join("tensorrt_libs")));
    }

    #[test]
    fn of_both_packages_of_onnx_runtime_a_gpu_needs_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let capi = dir.path().join("site-packages/onnxruntime/capi");
        fs::create_dir_all(&capi).unwrap();
        assert_eq!(gpu_library(&capi), None);
        for version in ["1.31.1", "1.32.0"] {
            fs::write(capi.join(format!("libonnxruntime.so.{version}")), "").unwrap();
        }
        for package in [
            "onnxruntime-1.32.0.dist-info",
            "onnxruntime_gpu-1.31.1.dist-info",
        ] {
            let info = dir.path().join("site-packages").join(package);
            fs::create_dir(info).unwrap();
        }
        let name = |library: Option<PathBuf>| library.unwrap().file_name().unwrap().to_owned();
        assert_eq!(name(gpu_library(&capi)), "libonnxruntime.so.1.31.1");
        assert_eq!(name(library_in(&capi)), "libonnxruntime.so.1.32.0");
    }

    #[test]
    fn a_folder_without_a_library_gives_none() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("libonnxruntime_providers_shared.so"), "").unwrap();
        assert_eq!(library_in(dir.path()), None);
    }
}
