//! Running the project's Python scripts, each of which makes the environment that it needs.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::ModelError;

/// Runs a script of the project at `home`.
///
/// # Errors
///
/// [`ModelError::NoScript`], and [`ModelError::Script`] if it cannot be started or fails; its own messages go to
/// standard error.
pub(super) fn run(
    home: &Path,
    script: &str,
    words: &[&OsStr],
    tell: &mut dyn FnMut(&str),
) -> Result<(), ModelError> {
    let path = home.join("scripts").join(script);
    tell(&format!("running {}", path.display()));
    if !path.is_file() {
        return Err(ModelError::NoScript(path));
    }
    let mut command = Command::new(&path);
    command
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let reason = match command.status() {
        Ok(status) if status.success() => return Ok(()),
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    };
    Err(ModelError::Script { path, reason })
}
