//! Local copies of what lies in a bucket.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use common::files::{Partial, open_regular};

use crate::error::io_error;
use crate::store::{Bucket, Found, Location, REQUESTS, Reading};
use crate::{Error, is_in_bucket, parallel, store};

/// File in a local copy that lists the objects that are copied, one JSON array a line: name, size, tag.
pub(crate) const LIST: &str = ".slicebank-objects";

/// Bytes of an object that are fetched at a time.
const PIECE: usize = 8 << 20;

/// Result of [`download`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Downloaded {
    /// Number of files that were fetched.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Number of files that were there already.
    pub kept: usize,
}

/// Makes the folder `to` a copy of what lies below `from` in a bucket.
///
/// An object is fetched if size or tag differ from those that it had when it was copied last. Copies
/// of objects that are gone are deleted; other files in the folder stay. `meta.json` is fetched last, so
/// that a copy of a cache that was stopped is an older or unfinished cache.
///
/// # Errors
///
/// [`Error::Io`] if an object cannot be read or a file not be written, and if nothing lies below `from`.
pub fn download(from: &Path, to: &Path) -> Result<Downloaded, Error> {
    download_some(from, to, |_| true)
}

/// As [`download`], of the objects with these names below `from`.
pub(crate) fn download_some(
    from: &Path,
    to: &Path,
    is_wanted: impl Fn(&str) -> bool,
) -> Result<Downloaded, Error> {
    let list = |action| io_error(from, action);
    let bucket = Bucket::of(from).map_err(list("list"))?;
    let bucket = bucket.ok_or_else(|| list("list")(io::ErrorKind::InvalidInput.into()))?;
    let found = objects(from, bucket.all().map_err(list("list"))?);
    if found.is_empty() {
        let error = io::Error::new(io::ErrorKind::NotFound, "nothing lies there");
        return Err(list("copy")(error));
    }
    store::create_folder(to).map_err(io_error(to, "create the folder"))?;
    let path = to.join(LIST);
    let known = known(&path)?;
    delete_gone(to, &known, &found)?;
    let found = found.into_iter().filter(|(name, _)| is_wanted(name));
    let log = open_regular(&path, File::options().create(true).append(true));
    let log = Mutex::new(log.map_err(io_error(&path, "create"))?);
    let (first, last): (Vec<_>, Vec<_>) = found.partition(|(name, _)| !is_meta(name));
    let mut done = Downloaded::default();
    for part in [first, last] {
        let (kept, wanted): (Vec<_>, Vec<_>) = part
            .into_iter()
            .partition(|(name, object)| is_copied(&to.join(name), object, known.get(name)));
        fetch_all(&wanted, to, &log)?;
        done.kept += kept.len();
        done.files += wanted.len();
        done.bytes += wanted.iter().map(|(_, object)| object.bytes).sum::<u64>();
    }
    Ok(done)
}

/// The local copy of a path in a bucket, below the folder `copies`; other paths stay as they are.
pub fn local_path(path: &Path, copies: &Path) -> PathBuf {
    Location::of(path).map_or_else(|| path.into(), |of| copies.join(of.relative()))
}

/// The path in a bucket whose [`local_path`] below `copies` is `local`; other paths stay as they are.
pub fn original_path(local: &Path, copies: &Path) -> PathBuf {
    let copy = local.strip_prefix(copies).ok();
    let original = copy.and_then(Location::of_relative);
    original.unwrap_or_else(|| local.into())
}

/// Copies a path in a bucket to [`local_path`]: a folder with all that it holds, or an object with
/// all of its folder.
///
/// # Errors
///
/// As [`download`].
pub fn local_copy(path: &Path, copies: &Path) -> Result<(PathBuf, Downloaded), Error> {
    let local = local_path(path, copies);
    let is_object = crate::store::is_file(path);
    let (folder, to) = match (path.parent(), local.parent()) {
        (Some(folder), Some(to)) if is_object && is_in_bucket(folder) => (folder, to),
        _ => (path, &*local),
    };
    let done = download(folder, to)?;
    Ok((local, done))
}

/// Names below `from` and the objects. Empty objects that stand for folders are left out.
fn objects(from: &Path, all: Vec<Found>) -> Vec<(String, Found)> {
    let key = Location::of(from).map_or("", |of| of.key).to_owned();
    let name = |object: &Found| {
        let of = Location::of(&object.path)?.key;
        let rest = of.strip_prefix(&key)?.trim_start_matches('/');
        // The lock is that of the cache in the bucket.
        let is_lock = rest.rsplit('/').next() == Some(".lock");
        (!rest.is_empty() && !is_lock).then(|| rest.to_owned())
    };
    let named = all.into_iter();
    let named: Vec<_> = named
        .filter_map(|object| Some((name(&object)?, object)))
        .collect();
    let folders: HashSet<String> = named
        .iter()
        .flat_map(|(name, _)| Path::new(name).ancestors().skip(1))
        .map(|folder| folder.to_string_lossy().into_owned())
        .collect();
    let is_file = |(name, object): &(String, Found)| object.bytes > 0 || !folders.contains(name);
    named.into_iter().filter(is_file).collect()
}

fn is_meta(name: &str) -> bool {
    name == "meta.json" || name.ends_with("/meta.json")
}

/// Size and tag of the objects that were copied.
fn known(path: &Path) -> Result<HashMap<String, (u64, String)>, Error> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        text => text.map_err(io_error(path, "read"))?,
    };
    // The last line may be cut short by a stop.
    let lines = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    let is_below = |name: &str| {
        let mut names = Path::new(name).components();
        names.all(|name| matches!(name, Component::Normal(_)))
    };
    Ok(lines
        .filter(|(name, _, _): &(String, u64, String)| is_below(name))
        .map(|(name, bytes, tag)| (name, (bytes, tag)))
        .collect())
}

fn is_copied(file: &Path, object: &Found, known: Option<&(u64, String)>) -> bool {
    let is_known = known.is_some_and(|(bytes, tag)| {
        *bytes == object.bytes && *tag == object.tag && !tag.is_empty()
    });
    is_known && fs::metadata(file).is_ok_and(|file| file.len() == object.bytes)
}

fn delete_gone(
    to: &Path,
    known: &HashMap<String, (u64, String)>,
    found: &[(String, Found)],
) -> Result<(), Error> {
    let found: HashSet<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    for name in known.keys().filter(|name| !found.contains(name.as_str())) {
        let path = to.join(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_error(&path, "delete")(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Fetches objects on several threads; the first error is returned.
fn fetch_all(objects: &[(String, Found)], to: &Path, log: &Mutex<File>) -> Result<(), Error> {
    parallel::map(REQUESTS, objects.len(), |index| {
        let (name, object) = &objects[index];
        fetch(object, &to.join(name), name, log)
    })
    .map(drop)
}

fn fetch(object: &Found, to: &Path, name: &str, log: &Mutex<File>) -> Result<(), Error> {
    let read = |error| io_error(&object.path, "read")(error);
    let write = |error| io_error(to, "write")(error);
    let mut from = Reading::open(&object.path, Some(object.bytes)).map_err(read)?;
    let partial = Partial::create(to).map_err(write)?;
    let mut file = File::create(partial.path()).map_err(write)?;
    let (mut place, mut piece) = (0, Vec::new());
    while place < object.bytes {
        piece.resize((object.bytes - place).min(PIECE as u64) as usize, 0);
        from.read(place, &mut piece).map_err(read)?;
        file.write_all(&piece).map_err(write)?;
        place += piece.len() as u64;
    }
    file.set_modified(object.modified).map_err(write)?;
    partial.persist().map_err(write)?;
    let line = serde_json::json!([name, object.bytes, object.tag]);
    let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
    writeln!(log, "{line}").map_err(write)
}
