//! Files of splits and sources whose checksums are missing, and checksums of splits that are missing.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::{Fault, NamedSet};
use crate::folder::{CHECKSUMS, checksums_of, shard_file};
use crate::store::Files;
use crate::{CacheReader, Error, sources, splits};

/// The faults of a cache that has checksums and the splits `names`; there are none in caches of earlier versions.
pub(super) fn lone_files(reader: &CacheReader, files: &Files, names: &[String]) -> Vec<Fault> {
    let shards = &reader.meta().shards;
    let mut tables = shards.iter().flat_map(|shard| shard.tables.values());
    if !tables.any(|file| file.has_checksums) {
        return Vec::new();
    }
    let listed = shards.iter().enumerate();
    let listed = listed.filter(|(_, shard)| shard.sources_sha256.is_some());
    let mut faults: Vec<Fault> = listed
        .filter_map(|(shard, _)| {
            let file = (sources::FOLDER, &*shard_file(shard));
            let error = without_checksums(reader, files, file)?;
            Some(Fault::of_shard(shard, error))
        })
        .collect();
    for name in names {
        let file = format!("{name}.parquet");
        let error = without_checksums(reader, files, (splits::FOLDER, &file));
        let set = NamedSet::Split(name.clone());
        faults.extend(error.map(|error| Fault::of_set(set, error)));
    }
    faults.extend(without_split(reader, files, names));
    faults
}

/// The fault of a file that is there, and its checksums are not.
fn without_checksums(
    reader: &CacheReader,
    files: &Files,
    (folder, file): (&str, &str),
) -> Option<Error> {
    let path = reader.dir().join(folder).join(file);
    let sums = checksums_of(reader.dir(), folder, file);
    let is_lone = files.bytes(&path).is_some() && files.bytes(&sums).is_none();
    is_lone.then(|| missing(reader, path, "file of its checksums", &sums))
}

/// Faults of checksums without a split of the names.
fn without_split<'a>(
    reader: &'a CacheReader,
    files: &'a Files,
    names: &'a [String],
) -> impl Iterator<Item = Fault> + 'a {
    let sums = reader.dir().join(CHECKSUMS).join(splits::FOLDER);
    files.iter().filter_map(move |(file, _)| {
        if file.parent() != Some(&sums) {
            return None;
        }
        let ending = file.extension().and_then(OsStr::to_str)?;
        let name = file.file_stem().and_then(OsStr::to_str)?;
        // Others are none that a writer finished.
        let is_lone =
            ending == "crc32" && splits::is_plain(name) && names.iter().all(|known| known != name);
        let split = reader.dir().join(splits::FOLDER);
        let split = split.join(format!("{name}.parquet"));
        let set = NamedSet::Split(name.to_owned());
        let error = || missing(reader, file.clone(), "file of these checksums", &split);
        is_lone.then(|| Fault::of_set(set, error()))
    })
}

fn missing(reader: &CacheReader, path: PathBuf, what: &'static str, other: &Path) -> Error {
    let other = other.strip_prefix(reader.dir()).unwrap_or(other);
    Error::Shard {
        path,
        what,
        found: "missing".to_owned(),
        expected: format!("`{}`", common::text::slashed(other)),
    }
}
