//! Parts of a file, in a folder or in a bucket.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::Path;

use super::{Bucket, Object, Spool};

/// Bytes of an object that are fetched at a time, since a request takes longer than as many bytes.
const WINDOW: usize = 1 << 20;

/// Bytes at the end of an object that are fetched together: the end of a table is read in several steps.
const END: u64 = 128 << 10;

/// An open file.
#[derive(Debug)]
pub(crate) enum Reading {
    File(File),
    Object(Window),
}

/// An object, and the parts of it that were fetched last, with their places.
#[derive(Debug)]
pub(crate) struct Window {
    object: Object,
    parts: Vec<(u64, Vec<u8>)>,
}

impl Reading {
    /// Opens a file. An object that must have `known` bytes is not asked for its size; it is an error if it
    /// has another one when it is read.
    pub(crate) fn open(path: &Path, known: Option<u64>) -> io::Result<Reading> {
        let Some(bucket) = Bucket::of(path)? else {
            return File::open(path).map(Reading::File);
        };
        Ok(Reading::Object(Window {
            object: Object::open(bucket, known)?,
            parts: Vec::new(),
        }))
    }

    /// Length in bytes.
    pub(crate) fn len(&self) -> io::Result<u64> {
        match self {
            Reading::File(file) => Ok(file.metadata()?.len()),
            Reading::Object(window) => Ok(window.object.bytes()),
        }
    }

    /// Fetches parts of an object that are about to be read, at once, and keeps them in `spool`. Nothing is fetched
    /// of a file.
    ///
    /// # Errors
    ///
    /// If the object cannot be read.
    pub(crate) fn fetch(&mut self, parts: &[Range<u64>], spool: &Spool) -> io::Result<()> {
        let Reading::Object(window) = self else {
            return Ok(());
        };
        let path = window.object.path();
        let (mut found, mut missing) = (Vec::with_capacity(parts.len()), Vec::new());
        for part in parts {
            match spool.get(path, part) {
                Some(bytes) => found.push((part.start, bytes)),
                None => missing.push(part.clone()),
            }
        }
        if !missing.is_empty() {
            for (part, bytes) in missing.iter().zip(window.object.ranges(&missing)?) {
                spool.keep(path, part, &bytes);
                found.push((part.start, bytes));
            }
        }
        window.parts = found;
        Ok(())
    }

    /// Fills `out` with the bytes from `place` on.
    ///
    /// # Errors
    ///
    /// If the file ends before, or cannot be read.
    pub(crate) fn read(&mut self, place: u64, out: &mut [u8]) -> io::Result<()> {
        match self {
            Reading::File(file) => {
                file.seek(SeekFrom::Start(place))?;
                file.read_exact(out)
            }
            Reading::Object(window) => window.read(place, out),
        }
    }
}

impl Window {
    fn read(&mut self, mut place: u64, mut out: &mut [u8]) -> io::Result<()> {
        while !out.is_empty() {
            let known = self.parts.iter().find_map(|(start, bytes)| {
                let before = usize::try_from(place.checked_sub(*start)?).ok()?;
                bytes.get(before..).filter(|known| !known.is_empty())
            });
            if let Some(known) = known {
                let count = known.len().min(out.len());
                out[..count].copy_from_slice(&known[..count]);
                (place, out) = (place + count as u64, &mut out[count..]);
                continue;
            }
            let all = self.object.bytes();
            let left = all.saturating_sub(place);
            if left < out.len() as u64 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let (start, count) = if all <= WINDOW as u64 {
                (0, all)
            } else if left <= END {
                (all - END, END)
            } else {
                (place, left.min(out.len().max(WINDOW) as u64))
            };
            self.parts = vec![(start, self.object.read(start, count)?)];
        }
        Ok(())
    }
}
