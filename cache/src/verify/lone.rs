//! Files of splits and sources whose checksums are missing, checksums of splits that are missing, and files
//! that belong to nothing.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::{Fault, NamedSet};
use crate::error::io_error;
use crate::folder::{checksums_of, shard_file};
use crate::{CacheReader, Error, clean, is_in_bucket, sources, splits, store};

/// The faults of a cache that has checksums; there are none in caches of earlier versions.
pub(super) fn lone_files(reader: &CacheReader) -> Result<Vec<Fault>, Error> {
    let shards = &reader.meta().shards;
    let mut tables = shards.iter().flat_map(|shard| shard.tables.values());
    if !tables.any(|file| file.has_checksums) {
        return Ok(Vec::new());
    }
    let listed = shards.iter().enumerate();
    let listed = listed.filter(|(_, shard)| shard.sources_sha256.is_some());
    let mut faults: Vec<Fault> = listed
        .filter_map(|(shard, _)| {
            let error = without_checksums(reader, sources::FOLDER, &shard_file(shard))?;
            Some(Fault::of_shard(shard, error))
        })
        .collect();
    let names = splits::names(reader.dir())?;
    for name in &names {
        let error = without_checksums(reader, splits::FOLDER, &format!("{name}.parquet"));
        let set = NamedSet::Split(name.clone());
        faults.extend(error.map(|error| Fault::of_set(set, error)));
    }
    faults.extend(without_split(reader, &names)?);
    Ok(faults)
}

/// The faults of files that no shard of the finished cache has. In a bucket, they are not looked for.
pub(super) fn unnamed_files(reader: &CacheReader) -> Result<Vec<Fault>, Error> {
    if !reader.meta().complete || is_in_bucket(reader.dir()) {
        return Ok(Vec::new());
    }
    let files = clean::orphans(reader.dir(), reader.meta())?.into_iter();
    let errors = files.map(|path| Error::Unnamed { path });
    Ok(errors.map(Fault::of_cache).collect())
}

/// The fault of a file that is there, and its checksums are not.
fn without_checksums(reader: &CacheReader, folder: &str, file: &str) -> Option<Error> {
    let path = reader.dir().join(folder).join(file);
    let sums = checksums_of(reader.dir(), folder, file);
    let is_lone = store::is_file(&path) && !store::is_file(&sums);
    is_lone.then(|| missing(reader, path, "file of its checksums", &sums))
}

/// Faults of checksums without a split of the names.
fn without_split(reader: &CacheReader, names: &[String]) -> Result<Vec<Fault>, Error> {
    let sums = reader.dir().join("checksums").join(splits::FOLDER);
    let files = store::files(&sums).map_err(io_error(&sums, "list"))?;
    let lone = files.into_iter().filter_map(|file| {
        let ending = file.extension().and_then(OsStr::to_str)?;
        let name = file.file_stem().and_then(OsStr::to_str)?;
        let is_lone = ending == "crc32" && names.iter().all(|known| known != name);
        let split = splits::FOLDER;
        let split = reader.dir().join(split).join(format!("{name}.parquet"));
        let set = NamedSet::Split(name.to_owned());
        let error = || missing(reader, file.clone(), "file of these checksums", &split);
        is_lone.then(|| Fault::of_set(set, error()))
    });
    Ok(lone.collect())
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
