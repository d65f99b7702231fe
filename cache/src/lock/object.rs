//! The lock of a cache in a bucket: the object `.lock`, which its holder creates, renews and deletes.
//!
//! It is created if there is none, and replaced if it is as it was read, so that of several processes one holds
//! it. It keeps others from beginning; what protects the cache from a holder that was silent for too long is that
//! `meta.json` is replaced in the same way.

use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use common::process;

use super::{Holder, writing};
use crate::Error;
use crate::error::io_error;
use crate::store::{Bucket, Over, Version};

/// Time between two looks at the object of another process.
const LOOK: Duration = Duration::from_secs(1);

/// The object while this process holds the lock.
#[derive(Debug)]
pub(super) struct LockObject {
    dir: PathBuf,
    bucket: Bucket,
    version: Version,
    holder: Holder,
}

impl LockObject {
    /// Creates the object for the cache `dir`, or replaces that of a process that has renewed nothing for `silence`.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] if another process holds the lock, and [`Error::Io`].
    pub(super) fn take(dir: &Path, bucket: Bucket, silence: Duration) -> Result<LockObject, Error> {
        let holder = Holder::this();
        let lock = |version| LockObject {
            dir: dir.into(),
            bucket: bucket.clone(),
            version,
            holder: holder.clone(),
        };
        let failed = |error| io_error(&dir.join(".lock"), "lock")(error);
        loop {
            match put(&bucket, text(&holder).map_err(failed)?, Over::Nothing) {
                Ok(version) => return Ok(lock(version)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed(error)),
            }
            let Some((found, version)) = read(&bucket).map_err(failed)? else {
                continue;
            };
            // The answer to the request was lost, and it was made again.
            if found.as_ref().is_some_and(|found| found.is_same(&holder)) {
                return Ok(lock(version));
            }
            if is_alive(&bucket, found.as_ref(), silence) {
                return Err(Error::Locked {
                    path: dir.into(),
                    holder: found,
                });
            }
            match put(
                &bucket,
                text(&holder).map_err(failed)?,
                Over::Version(&version),
            ) {
                Ok(version) => return Ok(lock(version)),
                // Its holder has ended, or another process has taken its place.
                Err(error)
                    if [io::ErrorKind::AlreadyExists, io::ErrorKind::NotFound]
                        .contains(&error.kind()) => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }

    /// Renews the object; returns false if another process has taken its place.
    pub(super) fn renew(&mut self) -> bool {
        self.holder.beat += 1;
        let Ok(text) = text(&self.holder) else {
            return true;
        };
        match put(&self.bucket, text, Over::Version(&self.version)) {
            Ok(version) => {
                self.version = version;
                true
            }
            // The answer to an earlier request may have been lost.
            Err(_) => match read(&self.bucket) {
                Ok(Some((Some(found), version))) if found.is_same(&self.holder) => {
                    self.version = version;
                    true
                }
                Ok(_) => false,
                // A store that does not answer for a while is no proof.
                Err(_) => true,
            },
        }
    }

    /// Deletes the object if it is still that of this process.
    pub(super) fn delete(&self) {
        if let Ok(Some((Some(found), _))) = read(&self.bucket)
            && found.is_same(&self.holder)
        {
            // Another process finds it silent.
            let _ = self.bucket.delete(&[self.dir.join(".lock")]);
        }
    }
}

/// The holder that the object names; `None` in place of a text that is none.
pub(super) fn read(bucket: &Bucket) -> io::Result<Option<(Option<Holder>, Version)>> {
    match bucket.read() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
        Ok((text, version)) => Ok(Some((serde_json::from_slice(&text).ok(), version))),
    }
}

/// Writes the object, unless this process ends.
fn put(bucket: &Bucket, text: Vec<u8>, over: Over<'_>) -> io::Result<Version> {
    let _turn = writing();
    bucket.put(text, over)
}

fn text(holder: &Holder) -> io::Result<Vec<u8>> {
    Ok(serde_json::to_vec(holder)?)
}

/// Whether the process that the object names lives. A process of that number on this machine may be another one, so
/// it has to renew the object too.
fn is_alive(bucket: &Bucket, holder: Option<&Holder>, silence: Duration) -> bool {
    let is_gone = |holder: &Holder| !process::is_alive(holder.process);
    if holder.is_some_and(|holder| holder.is_of_this_machine() && is_gone(holder)) {
        return false;
    }
    let started = Instant::now();
    while started.elapsed() < silence {
        thread::sleep(LOOK.min(silence));
        match read(bucket) {
            Ok(None) => return false,
            Ok(Some((found, _))) if found.as_ref() != holder => return true,
            Ok(Some(_)) | Err(_) => {}
        }
    }
    false
}

#[cfg(all(test, feature = "object-store"))]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(30);

    fn dir() -> &'static Path {
        Path::new("s3://bucket/a/b@224")
    }

    fn bucket() -> Bucket {
        Bucket::in_memory(&dir().join(".lock"))
    }

    fn take(bucket: &Bucket, silence: Duration) -> Result<LockObject, Error> {
        LockObject::take(dir(), bucket.clone(), silence)
    }

    fn other(beat: u64) -> Vec<u8> {
        let host = "elsewhere".to_owned();
        let other = Holder {
            host,
            beat,
            ..Holder::this()
        };
        text(&other).expect("a holder is text")
    }

    #[test]
    fn the_object_is_there_as_long_as_the_lock_is_held() {
        let bucket = bucket();
        let mut lock = take(&bucket, SHORT).unwrap();
        assert!(lock.renew() && lock.renew());
        let (found, _) = read(&bucket).unwrap().unwrap();
        assert_eq!(found.unwrap().beat, 2);
        lock.delete();
        assert!(read(&bucket).unwrap().is_none());
    }

    #[test]
    fn a_silent_holder_elsewhere_is_replaced_and_notices_it() {
        let bucket = bucket();
        let mut silent = take(&bucket, SHORT).unwrap();
        bucket.put(other(0), Over::Anything).unwrap();
        assert!(!silent.renew());
        silent.delete();
        assert!(read(&bucket).unwrap().is_some());
        let mut next = take(&bucket, SHORT).unwrap();
        assert!(next.renew());
    }

    #[test]
    fn a_holder_elsewhere_that_renews_its_lock_is_alive() {
        let bucket = bucket();
        bucket.put(other(0), Over::Nothing).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(SHORT);
                bucket.put(other(1), Over::Anything).unwrap();
            });
            let error = take(&bucket, 10 * SHORT).unwrap_err().to_string();
            assert!(error.contains("`elsewhere`"), "{error}");
        });
    }

    #[test]
    fn a_dead_holder_of_this_machine_is_replaced_at_once_and_its_number_does_not_count() {
        let bucket = bucket();
        let dead = Holder {
            process: u32::MAX,
            ..Holder::this()
        };
        bucket.put(text(&dead).unwrap(), Over::Nothing).unwrap();
        take(&bucket, Duration::from_secs(600)).unwrap();
        let reused = Holder {
            since_unix: 1,
            ..Holder::this()
        };
        let put = bucket.put(text(&reused).unwrap(), Over::Anything);
        put.unwrap();
        take(&bucket, SHORT).unwrap();
        bucket.put(b"no record".to_vec(), Over::Anything).unwrap();
        take(&bucket, SHORT).unwrap();
    }
}
