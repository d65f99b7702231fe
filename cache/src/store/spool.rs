//! Parts of objects that are read several times.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Parts of objects that were fetched, in a temporary file without a name, so that they are fetched once. If the
/// file cannot be written, for instance because the disk is full, parts are fetched again.
#[derive(Debug, Default)]
pub(crate) struct Spool(Mutex<State>);

#[derive(Debug, Default)]
enum State {
    #[default]
    Unused,
    Used(Parts),
    Failed,
}

#[derive(Debug)]
struct Parts {
    file: File,
    /// Bytes of the file.
    bytes: u64,
    /// Place of each part in the file, by its object and its range there.
    places: HashMap<(PathBuf, Range<u64>), u64>,
}

impl Spool {
    /// A part of an object, if it was [kept](Spool::keep).
    pub(super) fn get(&self, path: &Path, part: &Range<u64>) -> Option<Vec<u8>> {
        let mut state = self.state();
        let State::Used(parts) = &mut *state else {
            return None;
        };
        let place = *parts.places.get(&(path.to_path_buf(), part.clone()))?;
        let mut bytes = vec![0; (part.end - part.start) as usize];
        let read = parts.file.seek(SeekFrom::Start(place));
        read.and_then(|_| parts.file.read_exact(&mut bytes)).ok()?;
        Some(bytes)
    }

    /// Keeps a part of an object.
    pub(super) fn keep(&self, path: &Path, part: &Range<u64>, bytes: &[u8]) {
        let mut state = self.state();
        if let State::Unused = &*state {
            *state = tempfile::tempfile().map_or(State::Failed, |file| {
                State::Used(Parts {
                    file,
                    bytes: 0,
                    places: HashMap::new(),
                })
            });
        }
        if let State::Used(parts) = &mut *state
            && parts.keep(path, part, bytes).is_err()
        {
            // The file, which is closed by this, may have filled the disk.
            *state = State::Failed;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Parts {
    fn keep(&mut self, path: &Path, part: &Range<u64>, bytes: &[u8]) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(self.bytes))?;
        self.file.write_all(bytes)?;
        let key = (path.to_path_buf(), part.clone());
        self.places.insert(key, self.bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_those_that_were_kept() {
        let spool = Spool::default();
        let [a, b] = ["s3://b/a", "s3://b/b"].map(Path::new);
        assert_eq!(spool.get(a, &(0..3)), None);
        spool.keep(a, &(0..3), b"abc");
        spool.keep(b, &(0..3), b"def");
        spool.keep(a, &(5..9), b"ghij");
        assert_eq!(spool.get(a, &(5..9)).unwrap(), b"ghij");
        assert_eq!(spool.get(b, &(0..3)).unwrap(), b"def");
        assert_eq!(spool.get(a, &(0..3)).unwrap(), b"abc");
        assert_eq!(spool.get(b, &(5..9)), None);
    }
}
