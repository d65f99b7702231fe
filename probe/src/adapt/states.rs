//! Files of the states of trainings, in the folder `training` of run records.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::counted;

use super::checkpoint::State;
use crate::Error;
use crate::error::AdaptError;
use crate::error::FileError;

/// The training by which the epoch is chosen.
pub(super) const CHOICE: &str = "choice";
/// The training of the network that is measured.
pub(super) const TRAINING: &str = "training";

/// Time without a change after which a training counts as abandoned.
const ABANDONED: Duration = Duration::from_hours(30 * 24);

/// The beginning of the names of all these files.
const PREFIX: &str = "adapt-";
const LOCK: &str = ".lock";

/// The right to train for an evaluation, until it is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    _file: File,
}

fn folder(runs: &Path) -> PathBuf {
    runs.join("training")
}

/// The files of the states of both trainings of the evaluation `key`, in the folder of run records `runs`.
pub(super) fn files(runs: &Path, key: &str) -> [PathBuf; 2] {
    [CHOICE, TRAINING].map(|phase| folder(runs).join(format!("{PREFIX}{key}-{phase}.safetensors")))
}

/// Seconds that earlier processes spent on the trainings of the evaluation `key`, up to their last complete epochs.
pub(super) fn seconds(runs: &Path, key: &str) -> f64 {
    let states = files(runs, key).into_iter();
    let states = states.filter_map(|file| State::read(&file));
    states.map(|state| state.seconds).sum()
}

impl Lock {
    /// # Errors
    ///
    /// [`AdaptError::Training`] if another process holds it, and [`FileError::Output`] if its file cannot be made.
    pub(super) fn of(runs: &Path, key: &str) -> Result<Lock, Error> {
        let path = folder(runs).join(format!("{PREFIX}{key}{LOCK}"));
        let failed = |source: std::io::Error| {
            Error::File(FileError::Output {
                path: path.clone(),
                source: source.into(),
            })
        };
        loop {
            fs::create_dir_all(folder(runs)).map_err(failed)?;
            let file = File::create(&path).map_err(failed)?;
            match file.try_lock() {
                // Its last holder may have removed the file meanwhile.
                Ok(()) if !path.exists() => {}
                Ok(()) => return Ok(Lock { path, _file: file }),
                Err(TryLockError::WouldBlock) => {
                    return Err(Error::Adapt(AdaptError::Training { path }));
                }
                Err(TryLockError::Error(source)) => return Err(failed(source)),
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A file that stays is locked again by the next run.
        let _ = fs::remove_file(&self.path);
    }
}

/// Removes the states of the evaluation `key`.
pub(super) fn forget(runs: &Path, key: &str) {
    for file in files(runs, key) {
        // A file that cannot be removed is overwritten by the next training.
        let _ = fs::remove_file(file);
    }
}

/// Removes the states of evaluations that are recorded, and of those that no process has gone on with for long; says
/// so of the latter by `tell`.
pub(super) fn sweep(runs: &Path, is_recorded: impl Fn(&str) -> bool, tell: &mut dyn FnMut(&str)) {
    let Ok(entries) = fs::read_dir(folder(runs)) else {
        return;
    };
    let mut abandoned = 0;
    for entry in entries.flatten() {
        let name = entry.file_name();
        let lock = name.to_str().and_then(|name| name.strip_suffix(LOCK));
        if let Some(key) = lock.and_then(|name| name.strip_prefix(PREFIX)) {
            // Of a process that was killed; it is removed when it is dropped.
            drop(Lock::of(runs, key));
            continue;
        }
        let Some(key) = name.to_str().and_then(key_of) else {
            continue;
        };
        let age = entry.metadata().and_then(|meta| meta.modified());
        let age = age.ok().and_then(|time| time.elapsed().ok());
        let is_old = age.is_some_and(|age| age > ABANDONED);
        // Another process may be training.
        if (is_old || is_recorded(key)) && Lock::of(runs, key).is_ok() {
            let is_removed = fs::remove_file(entry.path()).is_ok();
            abandoned += usize::from(is_removed && is_old && !is_recorded(key));
        }
    }
    if abandoned > 0 {
        let files = counted(abandoned, "file");
        tell(&format!(
            "removed {files} of trainings that nobody has gone on with for 30 days"
        ));
    }
}

/// The key in the name of a state.
fn key_of(name: &str) -> Option<&str> {
    let (key, phase) = name.strip_prefix(PREFIX)?.split_once('-')?;
    let phase = phase.strip_suffix(".safetensors")?;
    [CHOICE, TRAINING].contains(&phase).then_some(key)
}
