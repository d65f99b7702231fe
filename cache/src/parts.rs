//! Parts of a cache, which several machines extract, and their folders `parts/I-of-N`.

mod merge;
mod rows;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use self::merge::{merge, merge_in_bucket};
use crate::error::io_error;
use crate::folder::{PARTS, part_numbers};
use crate::rows::Invalid;
use crate::{CacheLock, CacheMeta, Error, is_in_bucket, store};

/// Greatest number of parts.
pub const MOST_PARTS: u32 = 100_000;

/// The part of a dataset whose tokens a cache holds: consecutive samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Number of the part, from 1.
    pub index: u32,
    /// Number of parts.
    pub of: u32,
    /// Index of its first sample in the dataset, from 0.
    pub first_sample: u64,
    /// Number of samples of the dataset.
    pub samples: u64,
}

impl Part {
    /// Refuses numbers that no part has; `count` is the number of its samples.
    pub(crate) fn check(&self, count: u64) -> Result<(), Invalid> {
        let is_one = (1..=self.of).contains(&self.index) && self.of <= MOST_PARTS;
        let end = self.first_sample.checked_add(count);
        if is_one && end.is_some_and(|end| end <= self.samples) {
            return Ok(());
        }
        let found = format!(
            "{} of {}, from sample {} of {}",
            self.index, self.of, self.first_sample, self.samples
        );
        let expected = format!("one of at most {MOST_PARTS}, within the samples");
        Err(Invalid::new("`part`", found, expected))
    }
}

/// The folder of a part of the cache `dir`.
pub fn part_dir(dir: &Path, index: u32, of: u32) -> PathBuf {
    dir.join(PARTS).join(format!("{index}-of-{of}"))
}

/// Whether the cache's folder has parts, begun or done.
pub(crate) fn has_parts(dir: &Path) -> bool {
    named(dir).is_ok_and(|parts| !parts.is_empty())
}

/// The parts of a cache that were begun.
#[derive(Debug)]
pub struct Parts {
    dir: PathBuf,
    /// Number of parts, begun or not.
    of: u32,
    /// Their descriptions, by their numbers.
    begun: Vec<(u32, CacheMeta)>,
}

impl Parts {
    /// The parts in the folder of the cache `dir`; `None` if there are no folders of parts. One without
    /// `meta.json` is that of a process that has just started, or was killed then.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] if parts of different numbers of parts lie there, errors of
    /// [`CacheMeta::read`], and [`Error::Io`] if the folder cannot be listed.
    pub fn of(dir: &Path) -> Result<Option<Parts>, Error> {
        let mut begun = Vec::new();
        let mut number = None;
        let named = named(dir)?;
        let Some(&(_, first)) = named.first() else {
            return Ok(None);
        };
        for (index, of) in named {
            let path = part_dir(dir, index, of);
            let meta = match CacheMeta::read(&path) {
                Err(Error::NoCache { .. }) => continue,
                read => read?,
            };
            let found = meta.part.map(|part| (part.index, part.of));
            let expected = (index, *number.get_or_insert(of));
            if found != Some(expected) {
                let found =
                    found.map_or_else(|| "none".to_owned(), |(i, of)| format!("{i} of {of}"));
                return Err(Error::Mismatch {
                    path,
                    field: "part".into(),
                    found,
                    expected: format!("{} of {}", expected.0, expected.1),
                });
            }
            begun.push((index, meta));
        }
        Ok(Some(Parts {
            dir: dir.into(),
            of: number.unwrap_or(first),
            begun,
        }))
    }

    /// Number of parts, begun or not.
    pub fn count(&self) -> u32 {
        self.of
    }

    /// Folders and descriptions of the parts that were begun, by their numbers.
    pub fn begun(&self) -> impl Iterator<Item = (PathBuf, &CacheMeta)> {
        let begun = self.begun.iter();
        begun.map(|(index, meta)| (part_dir(&self.dir, *index, self.of), meta))
    }

    /// Numbers of the parts that are not done.
    pub fn missing(&self) -> Vec<u32> {
        let mut done = self.begun.iter().filter(|(_, meta)| meta.complete);
        let mut next = done.next();
        let mut missing = Vec::new();
        for index in 1..=self.of {
            if next.is_some_and(|(found, _)| *found == index) {
                next = done.next();
            } else {
                missing.push(index);
            }
        }
        missing
    }

    /// Saved slices of all parts.
    pub fn rows(&self) -> u64 {
        self.begun.iter().map(|(_, meta)| meta.saved_rows()).sum()
    }

    /// Bytes of the saved slices of all parts.
    pub fn bytes(&self) -> u64 {
        self.begun.iter().map(|(_, meta)| meta.bytes()).sum()
    }

    /// Refuses a run that another command than that of the other parts has started: all of them have the
    /// recipe, the backbone and the list of samples in common. Parts without rows are not compared.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] and [`Error::OtherSamples`].
    pub fn check_same(&self, run: &CacheMeta) -> Result<(), Error> {
        let of = run.part.map_or(self.of, |part| part.of);
        if of != self.of && !self.begun.is_empty() {
            return Err(Error::Mismatch {
                path: self.dir.join(PARTS),
                field: "part.of".into(),
                found: self.of.to_string(),
                expected: of.to_string(),
            });
        }
        let run = of_whole(run);
        for (dir, meta) in self.begun().filter(|(_, meta)| !meta.is_blank()) {
            of_whole(meta).check_same(&run, &dir)?;
        }
        Ok(())
    }

    /// The error of a reader that finds parts in place of a cache.
    pub fn unjoined(&self) -> Error {
        let missing = self.missing();
        Error::Parts {
            path: self.dir.clone(),
            of: self.of,
            missing,
        }
    }
}

/// The description of the whole cache that a part belongs to.
fn of_whole(meta: &CacheMeta) -> CacheMeta {
    CacheMeta {
        samples: meta.part.map_or(meta.samples, |part| part.samples),
        part: None,
        ..meta.clone()
    }
}

/// Numbers and number of parts by the names of folders, sorted.
fn named(dir: &Path) -> Result<Vec<(u32, u32)>, Error> {
    let folder = dir.join(PARTS);
    if !is_in_bucket(dir) && !folder.is_dir() {
        return Ok(Vec::new());
    }
    let folders = store::folders(&folder).map_err(io_error(&folder, "list"))?;
    let mut found: Vec<_> = folders
        .iter()
        .filter_map(|part| part_numbers(part))
        .collect();
    found.sort_unstable();
    Ok(found)
}

/// The folders of all parts of a cache.
fn dirs(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let parts = named(dir)?.into_iter();
    Ok(parts.map(|(index, of)| part_dir(dir, index, of)).collect())
}

/// Locks all parts of a cache that were begun, to delete them or files in them.
pub(crate) fn lock_parts(dir: &Path) -> Result<Vec<CacheLock>, Error> {
    let parts = dirs(dir)?;
    parts
        .iter()
        .map(|part| CacheLock::to_delete(part))
        .collect()
}

/// The error of a folder without `meta.json`.
pub(crate) fn no_cache(dir: &Path) -> Error {
    match Parts::of(dir) {
        Ok(Some(parts)) => parts.unjoined(),
        Ok(None) => Error::NoCache { path: dir.into() },
        Err(error) => error,
    }
}

/// Numbers as text, consecutive ones as a range: `3, 5-7`.
pub(crate) fn ranges(numbers: &[u32]) -> String {
    let mut text = Vec::new();
    for run in numbers.chunk_by(|a, b| a + 1 == *b) {
        text.push(match run {
            [one] => one.to_string(),
            [first, .., last] => format!("{first}-{last}"),
            [] => continue,
        });
    }
    text.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consecutive_numbers_are_a_range() {
        assert_eq!(ranges(&[]), "");
        assert_eq!(ranges(&[3]), "3");
        assert_eq!(ranges(&[1, 2, 4, 6, 7, 8]), "1-2, 4, 6-8");
    }
}
