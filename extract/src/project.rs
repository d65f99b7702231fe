//! Where the project's own files lie: model cards, exported models and ONNX Runtime.

use std::path::{Path, PathBuf};

use crate::model::ModelError;

/// The folder that holds `onnx_models/` and `runtime/`.
///
/// It is `$SLICEBANK_HOME` if that is set, else the nearest folder with an `onnx_models` folder in
/// it, looking upwards first from the current folder and then from the program's own.
///
/// # Errors
///
/// [`ModelError::NoProject`] if there is none.
pub fn find() -> Result<PathBuf, ModelError> {
    if let Some(home) = std::env::var_os("SLICEBANK_HOME") {
        let home = PathBuf::from(home);
        return if home.join("onnx_models").is_dir() {
            Ok(home)
        } else {
            Err(ModelError::NoProject)
        };
    }
    let starts = [std::env::current_dir(), std::env::current_exe()];
    let mut starts = starts.into_iter().flatten();
    starts
        .find_map(|start| above(&start))
        .ok_or(ModelError::NoProject)
}

fn above(start: &Path) -> Option<PathBuf> {
    let mut folders = start.ancestors();
    let found = folders.find(|folder| folder.join("onnx_models").is_dir());
    found.map(Path::to_path_buf)
}
