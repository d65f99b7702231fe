//! Objects of a bucket.

use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use object_store::path::Path as Key;
use object_store::{
    Error, GetOptions, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, UpdateVersion,
    WriteMultipart,
};

use super::client::{self, wait};
use super::location::{Location, Scheme};
use super::refusal::io_error;
use super::{Found, Listing, Over, Stat, Version};

/// Bytes of a part of an upload, and greatest size of a file that is uploaded in one request.
const PART_BYTES: usize = 16 << 20;

/// Parts that are uploaded at the same time.
const PARTS: usize = 4;

/// A place in a bucket: an object or a folder.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    path: PathBuf,
    store: Arc<dyn ObjectStore>,
    key: Key,
}

impl Bucket {
    /// The place of a path; `None` if it is one of the local file system.
    ///
    /// # Errors
    ///
    /// If the path has no valid bucket or key, or the environment no valid configuration.
    pub(crate) fn of(path: &Path) -> io::Result<Option<Bucket>> {
        let Some(location) = Location::of(path) else {
            return Ok(None);
        };
        if location.bucket.is_empty() {
            let text = "the path names no bucket, expected for instance `s3://BUCKET/FOLDER`";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let key = Key::parse(location.key).map_err(|error| io_error(error.into()))?;
        Ok(Some(Bucket {
            path: path.into(),
            store: client::of(location)?,
            key,
        }))
    }

    /// A place in a bucket of this process alone.
    #[cfg(test)]
    pub(crate) fn in_memory(path: &Path) -> Bucket {
        Bucket {
            path: path.into(),
            store: Arc::new(object_store::memory::InMemory::new()),
            key: Key::from(Location::of(path).map_or("", |of| of.key)),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn stat(&self) -> io::Result<Stat> {
        let found = wait(self.store.head(&self.key))?;
        Ok(Stat {
            bytes: found.size,
            modified: Some(found.last_modified.into()),
        })
    }

    /// All bytes of an object, and its version.
    pub(crate) fn read(&self) -> io::Result<(Vec<u8>, Version)> {
        wait(async {
            let found = self.store.get(&self.key).await?;
            let version = Version {
                e_tag: found.meta.e_tag.clone(),
                version: found.meta.version.clone(),
            };
            Ok((found.bytes().await?.into(), version))
        })
    }

    /// What lies directly in the folder.
    pub(crate) fn list(&self) -> io::Result<Listing> {
        let found = wait(self.store.list_with_delimiter(Some(&self.key)))?;
        let folders = found.common_prefixes.iter();
        let files = found.objects.iter();
        let mut listing = Listing {
            folders: folders.map(|key| self.path_of(key)).collect(),
            files: files.map(|file| self.path_of(&file.location)).collect(),
        };
        listing.folders.sort();
        listing.files.sort();
        Ok(listing)
    }

    /// All objects below the folder, in the order of their keys.
    pub(crate) fn all(&self) -> io::Result<Vec<Found>> {
        let found = self.store.list(Some(&self.key));
        let mut found: Vec<ObjectMeta> = wait(found.try_collect())?;
        found.sort_by(|a, b| a.location.cmp(&b.location));
        let objects = found.into_iter().map(|object| Found {
            path: self.path_of(&object.location),
            bytes: object.size,
            tag: object.e_tag.unwrap_or_default(),
            modified: object.last_modified.into(),
        });
        Ok(objects.collect())
    }

    /// Size of the object, and a range of its bytes.
    pub(crate) fn range(&self, range: Range<u64>) -> io::Result<(u64, Vec<u8>)> {
        let options = GetOptions::new().with_range(Some(range));
        wait(async {
            let found = self.store.get_opts(&self.key, options).await?;
            Ok((found.meta.size, found.bytes().await?.into()))
        })
    }

    /// Ranges of the object's bytes. Those that are close to each other are one request, and several requests are
    /// made at the same time.
    pub(crate) fn ranges(&self, ranges: &[Range<u64>]) -> io::Result<Vec<Vec<u8>>> {
        let found = wait(self.store.get_ranges(&self.key, ranges))?;
        Ok(found.into_iter().map(Vec::from).collect())
    }

    /// Writes an object in one step if the condition holds.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::AlreadyExists`] if the condition does not hold.
    pub(crate) fn put(&self, bytes: impl Into<Bytes>, over: Over<'_>) -> io::Result<Version> {
        let mode = match over {
            Over::Anything => PutMode::Overwrite,
            Over::Nothing => PutMode::Create,
            Over::Version(version) => PutMode::Update(UpdateVersion {
                e_tag: version.e_tag.clone(),
                version: version.version.clone(),
            }),
        };
        let options = PutOptions::from(mode);
        let put = self.store.put_opts(&self.key, bytes.into().into(), options);
        wait(put).map(|put| Version {
            e_tag: put.e_tag,
            version: put.version,
        })
    }

    /// Uploads a file as a new object. A large file is uploaded in parts under the name
    /// `KEY.MARK.part`, and gets its own name when it is complete.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::AlreadyExists`] if there is such an object, and if the file cannot be read.
    pub(crate) fn upload(&self, file: &Path, mark: &str) -> io::Result<()> {
        let bytes = fs::metadata(file)?.len();
        let is_azure = Location::of(&self.path).is_some_and(|of| of.scheme == Scheme::Az);
        // A copy within Azure may end after its request, so files go there in one piece.
        if is_azure || bytes <= PART_BYTES as u64 {
            return self.put(fs::read(file)?, Over::Nothing).map(drop);
        }
        let part = Key::parse(format!("{}.{mark}.part", self.key));
        let part = part.map_err(|error| io_error(error.into()))?;
        let mut file = fs::File::open(file)?;
        wait(async {
            let upload = self.store.put_multipart(&part).await?;
            let mut upload = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
            loop {
                let bytes = next_part(&mut file).map_err(|source| Error::Generic {
                    store: "file",
                    source: source.into(),
                })?;
                if bytes.is_empty() {
                    break;
                }
                upload.wait_for_capacity(PARTS).await?;
                upload.put(bytes.into());
            }
            upload.finish().await?;
            self.store.rename_if_not_exists(&part, &self.key).await
        })
    }

    /// Deletes objects. Those that are not there are no error.
    pub(crate) fn delete(&self, paths: &[PathBuf]) -> io::Result<()> {
        let keys = paths.iter().filter_map(|path| Location::of(path));
        let keys: Result<Vec<Key>, _> = keys.map(|of| Key::parse(of.key)).collect();
        let keys = keys.map_err(|error| io_error(error.into()))?;
        let keys = futures_util::stream::iter(keys.into_iter().map(Ok));
        let deleted = self.store.delete_stream(Box::pin(keys));
        let deleted = deleted.map(|deleted| match deleted {
            Err(Error::NotFound { .. }) => Ok(()),
            deleted => deleted.map(drop),
        });
        wait(deleted.try_for_each(|()| async { Ok(()) }))
    }

    /// The path of another key in the same bucket.
    fn path_of(&self, key: &Key) -> PathBuf {
        let location = Location::of(&self.path);
        let path = location.map(|of| format!("{}://{}/{key}", of.scheme.name(), of.bucket));
        path.unwrap_or_default().into()
    }
}

/// The next bytes of a file, as many as a part has.
fn next_part(file: &mut fs::File) -> io::Result<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::with_capacity(PART_BYTES);
    file.take(PART_BYTES as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}
