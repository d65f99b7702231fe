//! Hashes of the files of a dataset: recorded when they are read, and compared with the files of later runs.

mod compare;

use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use cache::SourceFile;
use common::text::slashed;
use common::{FileError, hex};
use imaging::read::{Source, files_behind};
use sha2::{Digest, Sha256};

pub(crate) use self::compare::{Compared, compare, compare_all, compare_images};
use crate::Error;
use crate::dataset::{Dataset, Sample};

/// Bytes that are hashed at a time.
const BLOCK: usize = 64 << 10;

/// Records of the files of samples, made by the threads that read them.
///
/// A file is hashed after it was decoded, when the system still holds its content in memory, so that it is
/// fetched from the disk or the network once.
pub(crate) struct Recorder<'a> {
    dataset: &'a Dataset,
    /// Files that many samples share: archives, and volumes that samples are ranges of.
    shared: Mutex<HashMap<PathBuf, SourceFile>>,
}

/// Files of a sample with their sizes and times before they were read.
pub(crate) struct Unread(Vec<(PathBuf, Option<State>)>);

/// Size of a file in bytes, and time of its last change in nanoseconds since 1970.
type State = (u64, Option<i64>);

impl<'a> Recorder<'a> {
    pub(crate) fn new(dataset: &'a Dataset) -> Recorder<'a> {
        Recorder {
            dataset,
            shared: Mutex::default(),
        }
    }

    /// Sizes and times of a sample's files; files that are missing or unreadable have none.
    pub(crate) fn before(&self, sample: &Sample) -> Unread {
        let files = sample.files().map(|file| self.dataset.root.join(file));
        let files = files.flat_map(|file| files_behind(&file));
        let stated = files.map(|file| {
            let state = fs::metadata(&file).ok().map(|of| state(&of));
            (file, state)
        });
        Unread(stated.collect())
    }

    /// Hashes the files of a sample that has been read.
    ///
    /// # Errors
    ///
    /// If a file cannot be read again, or has changed since `before`.
    pub(crate) fn after(&self, sample: &Sample, before: Unread) -> Result<Vec<SourceFile>, Error> {
        let is_shared = matches!(sample.image, Source::Item(..)) || sample.slices.is_some();
        let mut records = Vec::with_capacity(before.0.len());
        for (file, state) in before.0 {
            let record = if is_shared {
                let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
                match shared.get(&file) {
                    Some(record) => SourceFile {
                        sample: sample.id.clone(),
                        ..record.clone()
                    },
                    None => {
                        let record = self.record(sample, &file)?;
                        shared.insert(file.clone(), record.clone());
                        record
                    }
                }
            } else {
                self.record(sample, &file)?
            };
            if state != Some((record.bytes, record.modified_ns)) {
                return Err(FileError::damaged(&file, "it changed while it was read").into());
            }
            records.push(record);
        }
        Ok(records)
    }

    fn record(&self, sample: &Sample, file: &Path) -> Result<SourceFile, Error> {
        Ok(SourceFile {
            path: recorded_path(self.dataset, file),
            sample: sample.id.clone(),
            ..record(file).map_err(Error::io(file))?
        })
    }
}

/// The path of a file below the dataset's root as a cache records it.
pub(crate) fn recorded_path(dataset: &Dataset, file: &Path) -> String {
    let path = slashed(file.strip_prefix(&dataset.root).unwrap_or(file));
    let pseudonyms = dataset.pseudonyms.as_ref();
    pseudonyms.map_or(path.clone(), |pseudonyms| pseudonyms.path(&path))
}

/// The record of a file, without its path and sample.
pub(crate) fn record(file: &Path) -> io::Result<SourceFile> {
    let (sha256, (bytes, modified_ns)) = hash(file)?;
    Ok(SourceFile {
        path: String::new(),
        bytes,
        modified_ns,
        sha256,
        sample: String::new(),
    })
}

/// SHA-256 of a file, and its size and time of change.
fn hash(file: &Path) -> io::Result<(String, State)> {
    let mut file = File::open(file)?;
    let state = state(&file.metadata()?);
    let (mut hash, mut block) = (Sha256::new(), vec![0; BLOCK]);
    loop {
        match file.read(&mut block) {
            Ok(0) => return Ok((hex(&hash.finalize()), state)),
            Ok(count) => hash.update(&block[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

fn state(of: &Metadata) -> State {
    (of.len(), of.modified().ok().and_then(nanoseconds))
}

/// Nanoseconds since 1970; `None` out of the range of `i64`, which ends in 2262.
fn nanoseconds(time: SystemTime) -> Option<i64> {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_nanos()).ok(),
        Err(before) => i64::try_from(before.duration().as_nanos())
            .ok()
            .map(|ns| -ns),
    }
}
