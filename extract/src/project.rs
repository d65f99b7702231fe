//! The folder of model cards, exported models and ONNX Runtime.

use std::env;
use std::path::{Path, PathBuf};

use crate::ModelError;

/// The folder that holds, or will hold, `onnx_models/` and `runtime/`.
///
/// It is `$SLICEBANK_HOME` if that is set, else the nearest folder with an `onnx_models` folder in
/// it, searched upwards from the current folder and then from the program's own, else the current
/// folder.
///
/// # Errors
///
/// [`ModelError::NoHome`] if `$SLICEBANK_HOME` is no folder, and [`ModelError::Io`] if there is no
/// current folder.
pub fn find() -> Result<PathBuf, ModelError> {
    if let Some(home) = env::var_os("SLICEBANK_HOME") {
        let home = PathBuf::from(home);
        return if home.is_dir() {
            Ok(home)
        } else {
            Err(ModelError::NoHome(home))
        };
    }
    let current = env::current_dir().map_err(ModelError::io(Path::new(".")))?;
    let program = env::current_exe().ok();
    let found = above(&current).or_else(|| above(&program?));
    Ok(found.unwrap_or(current))
}

/// The folder of model cards, weights and graphs in the project at `home`.
pub fn models(home: &Path) -> PathBuf {
    home.join("onnx_models")
}

/// The Python environments that may have ONNX Runtime: that in which the program is installed, `bin/extract`
/// with links resolved, as uv and pipx install it without setting a variable, and those that are active.
pub(crate) fn environments() -> Vec<PathBuf> {
    let own = env::current_exe().and_then(std::fs::canonicalize).ok();
    let own = own.and_then(|program| Some(program.parent()?.parent()?.to_path_buf()));
    let names = ["VIRTUAL_ENV", "CONDA_PREFIX"];
    let active = names.iter().filter_map(env::var_os).map(PathBuf::from);
    own.into_iter().chain(active).collect()
}

fn above(start: &Path) -> Option<PathBuf> {
    let mut folders = start.ancestors();
    let found = folders.find(|folder| models(folder).is_dir());
    found.map(Path::to_path_buf)
}
