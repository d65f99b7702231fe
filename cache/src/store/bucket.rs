//! Objects of a bucket.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::path::Path as Key;
use object_store::{
    Error, GetOptions, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, UpdateVersion,
    WriteMultipart,
};

use super::Stat;
use super::client::{self, wait};
use super::location::{Location, Scheme};

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

/// Version of an object, which changes whenever it is replaced.
#[derive(Clone, Debug)]
pub(crate) struct Version(UpdateVersion);

/// Condition of a put.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Over<'a> {
    /// The object is created or replaced.
    Anything,
    /// The object must not exist.
    Nothing,
    /// The object must have this version.
    Version(&'a Version),
}

/// What a folder holds, sorted.
#[derive(Debug)]
pub(crate) struct Listing {
    pub(crate) folders: Vec<PathBuf>,
    pub(crate) files: Vec<PathBuf>,
}

/// An object below some folder.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
    /// Tag of its content; empty if the store has none.
    pub(crate) tag: String,
    pub(crate) modified: SystemTime,
}

/// An object of which parts are read.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    bucket: Bucket,
    bytes: u64,
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
        let key = Key::parse(location.key).map_err(|error| client::io_error(error.into()))?;
        Ok(Some(Bucket {
            path: path.into(),
            store: client::of(location)?,
            key,
        }))
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
            let version = Version(UpdateVersion {
                e_tag: found.meta.e_tag.clone(),
                version: found.meta.version.clone(),
            });
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

    /// Opens an object; `known` is the size that it must have.
    pub(crate) fn open(self, known: Option<u64>) -> io::Result<Object> {
        let bytes = match known {
            Some(bytes) => bytes,
            None => self.stat()?.bytes,
        };
        Ok(Object {
            bucket: self,
            bytes,
        })
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
            Over::Version(version) => PutMode::Update(version.0.clone()),
        };
        let options = PutOptions::from(mode);
        let put = self.store.put_opts(&self.key, bytes.into().into(), options);
        wait(put).map(|put| Version(put.into()))
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
        let part = part.map_err(|error| client::io_error(error.into()))?;
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

    /// Deletes objects.
    pub(crate) fn delete(&self, paths: &[PathBuf]) -> io::Result<()> {
        let keys = paths.iter().filter_map(|path| Location::of(path));
        let keys: Result<Vec<Key>, _> = keys.map(|of| Key::parse(of.key)).collect();
        let keys = keys.map_err(|error| client::io_error(error.into()))?;
        let keys = futures_util::stream::iter(keys.into_iter().map(Ok));
        let deleted = self.store.delete_stream(Box::pin(keys));
        wait(deleted.try_for_each(|_| async { Ok(()) }))
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

impl Object {
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// `count` bytes from `place` on.
    ///
    /// # Errors
    ///
    /// Also if the object has another size than is known.
    pub(crate) fn read(&self, place: u64, count: u64) -> io::Result<Vec<u8>> {
        let (store, key) = (&self.bucket.store, &self.bucket.key);
        let options = GetOptions::new().with_range(Some(place..place + count));
        let (found, bytes) = wait(async {
            let found = store.get_opts(key, options).await?;
            Ok((found.meta.size, found.bytes().await?))
        })?;
        if found != self.bytes || bytes.len() as u64 != count {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("the object has {found} bytes, expected {}", self.bytes),
            ));
        }
        Ok(bytes.into())
    }
}
