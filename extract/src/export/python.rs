//! Running the project's Python scripts, each of which makes the environment that it needs.
//!
//! A program that is installed without the project's folder writes its own copies of them into `.slicebank/scripts/`
//! of the folder it works in, where they also make their environments.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::files::Partial;

use crate::ModelError;

/// Folder of what the program unpacks.
const OWN: &str = ".slicebank";

/// Names and texts of scripts.
macro_rules! built_in {
    ($($name:literal),+ $(,)?) => {
        [$(($name, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/", $name)))),+]
    };
}

/// All that the scripts which are run here need.
const BUILT_IN: [(&str, &str); 9] = built_in![
    "convert_weights",
    "convert_weights.py",
    "export_model",
    "export_model.py",
    "make_venv",
    "names.py",
    "originals.py",
    "requirements-models.txt",
    "wheels.py",
];

/// Runs a script of the project at `home`, or the program's own copy.
///
/// # Errors
///
/// [`ModelError::Io`] if a copy cannot be written, and [`ModelError::Script`] if the script cannot be started or
/// fails; its own messages go to standard error.
pub(super) fn run(
    home: &Path,
    script: &str,
    words: &[&OsStr],
    tell: &mut dyn FnMut(&str),
) -> Result<(), ModelError> {
    let folder = if is_in_project(home, script) {
        home.join("scripts")
    } else {
        unpacked(home)?
    };
    let path = folder.join(script);
    tell(&format!("running {}", path.display()));
    let mut command = Command::new(&path);
    command
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    if let (Some(python), None) = (own_python(), env::var_os(PYTHON)) {
        command.env(PYTHON, python);
    }
    let reason = match command.status() {
        Ok(status) if status.success() => return Ok(()),
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    };
    Err(ModelError::Script { path, reason })
}

/// Names the Python interpreter that makes environments.
const PYTHON: &str = "SLICEBANK_PYTHON";

/// The interpreter of the Python environment in which the program is installed.
fn own_python() -> Option<PathBuf> {
    let program = env::current_exe().and_then(fs::canonicalize).ok()?;
    let python = program.with_file_name("python3");
    python.is_file().then_some(python)
}

fn is_in_project(home: &Path, script: &str) -> bool {
    home.join("scripts").join(script).is_file()
}

/// The folder with the program's own scripts.
fn unpacked(home: &Path) -> Result<PathBuf, ModelError> {
    let own = home.join(OWN);
    // Environments and scripts are not for version control.
    ensure(&own.join(".gitignore"), "*\n")?;
    let folder = own.join("scripts");
    for (name, text) in BUILT_IN {
        ensure(&folder.join(name), text)?;
    }
    Ok(folder)
}

/// The file of a built-in card, for a script.
///
/// # Errors
///
/// [`ModelError::Io`] if it cannot be written.
pub(super) fn unpacked_card(home: &Path, name: &str, text: &str) -> Result<PathBuf, ModelError> {
    let file = home.join(OWN).join("cards").join(name);
    ensure(&file, text)?;
    Ok(file)
}

/// Writes a file that is missing or has another text.
fn ensure(path: &Path, text: &str) -> Result<(), ModelError> {
    if fs::read(path).ok().as_deref() == Some(text.as_bytes()) {
        return Ok(());
    }
    write(path, text).map_err(ModelError::io(path))
}

/// Writes a file as a whole; what begins with `#!` can be run.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let partial = Partial::create(path)?;
    fs::write(partial.path(), text)?;
    #[cfg(unix)]
    if text.starts_with("#!") {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(partial.path(), fs::Permissions::from_mode(0o755))?;
    }
    partial.persist()
}
