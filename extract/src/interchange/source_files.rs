//! Hashes of the files that are imported.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use cache::SourceFile;
use common::hex;
use common::text::slashed;
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::Error;
use crate::sources;

/// The files of an import with their hashes.
pub(super) struct SourceFiles {
    files: BTreeMap<PathBuf, SourceFile>,
    /// SHA-256 of, for each file in the order of their paths, the path, a zero byte, its SHA-256 in hexadecimal, and
    /// a zero byte.
    pub(super) sha256: String,
}

impl SourceFiles {
    /// Hashes files. They are named relative to the folder that has all of them.
    ///
    /// # Errors
    ///
    /// [`Error::File`] if one cannot be read.
    pub(super) fn hash(paths: &[PathBuf]) -> Result<SourceFiles, Error> {
        let real = paths
            .iter()
            .map(|path| path.canonicalize().map_err(Error::io(path)));
        let real = real.collect::<Result<Vec<_>, Error>>()?;
        let folder = common_folder(&real);
        let records = paths.par_iter().zip(&real).map(|(path, real)| {
            let below = real.strip_prefix(&folder).unwrap_or(real);
            let record = sources::record(path).map_err(Error::io(path))?;
            let record = SourceFile {
                path: slashed(below),
                ..record
            };
            Ok((path.clone(), record))
        });
        let files: BTreeMap<PathBuf, SourceFile> = records.collect::<Result<_, Error>>()?;
        let mut named: Vec<_> = files.values().collect();
        named.sort_by(|a, b| a.path.cmp(&b.path));
        let mut hash = Sha256::new();
        for file in named {
            for text in [&file.path, &file.sha256] {
                hash.update(text.as_bytes());
                hash.update([0]);
            }
        }
        Ok(SourceFiles {
            files,
            sha256: hex(&hash.finalize()),
        })
    }

    /// Number of files.
    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    /// Takes the records of all files, of which `sample` is the first that is read.
    pub(super) fn take_all(&mut self, sample: &str) -> Vec<SourceFile> {
        let files = std::mem::take(&mut self.files).into_values();
        let named = files.map(|file| SourceFile {
            sample: sample.to_owned(),
            ..file
        });
        named.collect()
    }
}

/// The deepest folder that has all files.
fn common_folder(files: &[PathBuf]) -> PathBuf {
    let mut folders = files.iter().map(|file| file.parent().unwrap_or(file));
    let first = folders.next().unwrap_or(Path::new(""));
    let mut folder: Vec<Component<'_>> = first.components().collect();
    for other in folders {
        let same = folder.iter().zip(other.components());
        let same = same.take_while(|(a, b)| **a == *b).count();
        folder.truncate(same);
    }
    folder.into_iter().collect()
}
