//! The lock of a cache: one process at a time writes to it.
//!
//! Two things hold the lock: an exclusive lock of the system on the file `.lock`, and the content of that
//! file, which names the holder and is renewed every few seconds. The system frees its lock when the
//! holder dies, and does so across machines on file systems that share locks (NFS 4, NFS 3 with lockd,
//! Lustre with `flock`, CephFS, GPFS). Where machines do not see each other's locks, the content decides: a
//! holder on another machine is dead if it has renewed nothing for [`CacheLock::SILENCE`], counted by the clock of
//! the process that waits.
//!
//! In a bucket, the content alone holds the lock; it is replaced only if it is as it was read.

mod holder;
mod object;
mod system;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use common::files::open_regular;
use common::process;

pub use self::holder::Holder;
use self::object::LockObject;
use self::system::{is_at, is_without_locks, is_without_room};
use crate::error::io_error;
use crate::links::refuse_links;
use crate::mirror::remove_without_slices;
use crate::store::Bucket;
use crate::{Error, is_in_bucket, local_path};

/// Time between two renewals of the content.
const BEAT: Duration = Duration::from_secs(5);

/// Bytes of the content: a record of a fixed size is replaced in one write.
const RECORD: usize = 512;

/// Held while this process writes the content of a lock, and for good once it [ends](CacheLock::release).
static WRITING: Mutex<()> = Mutex::new(());

/// The right to write to a cache, until it is dropped.
#[derive(Debug)]
pub struct CacheLock {
    dir: PathBuf,
    place: Place,
    is_lost: Arc<AtomicBool>,
    /// Renews the content until the sender is dropped.
    heart: Option<(Sender<()>, JoinHandle<()>)>,
}

/// The content of a lock.
#[derive(Debug)]
enum Place {
    Folder {
        file: File,
        /// Folders that were created for the lock, the innermost first.
        created: Vec<PathBuf>,
    },
    Bucket(Arc<Mutex<LockObject>>),
}

impl CacheLock {
    /// Time without a renewal after which a holder on another machine counts as dead.
    pub const SILENCE: Duration = Duration::from_secs(20);

    /// Locks the cache in the folder `dir`, which is created if it does not exist, or in a bucket. If the content
    /// of `.lock` names a process of another machine, this takes up to 20 s.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] if another process holds the lock, and [`Error::Io`].
    pub fn of(dir: &Path) -> Result<CacheLock, Error> {
        CacheLock::after(dir, CacheLock::SILENCE)
    }

    /// The same for a process that deletes files. If the disk has no room for the content, the lock of the
    /// system has to do.
    ///
    /// # Errors
    ///
    /// As [`of`](CacheLock::of).
    pub(crate) fn to_delete(dir: &Path) -> Result<CacheLock, Error> {
        let mut lock = CacheLock::taken(dir, CacheLock::SILENCE)?;
        match lock.start(Holder::this()) {
            Err(Error::Io { source, .. }) if is_without_room(&source) => {}
            started => started?,
        }
        Ok(lock)
    }

    /// The process that `.lock` names. It may have ended: one that is killed leaves its name there.
    pub fn holder(dir: &Path) -> Option<Holder> {
        let path = dir.join(".lock");
        match Bucket::of(&path).ok()? {
            Some(bucket) => object::read(&bucket).ok()??.0,
            None => read(&path).ok()?,
        }
    }

    /// The process on another machine that `.lock` names. Until it is known whether that process lives, the
    /// next attempt to lock the cache takes up to [`CacheLock::SILENCE`].
    pub fn holder_elsewhere(dir: &Path) -> Option<Holder> {
        CacheLock::holder(dir).filter(|holder| !holder.is_of_this_machine())
    }

    /// Frees the locks that this process holds on the caches `dirs`, as dropping them would, and deletes their local
    /// folders below `staging` if those have no slices. It is for a process that ends at once: its other threads wait for
    /// ever when they write a lock. What fails is left to the next holder, which finds this one dead.
    pub fn release(dirs: &[PathBuf], staging: &Path) {
        mem::forget(writing());
        dirs.iter()
            .for_each(|dir| CacheLock::release_one(dir, staging));
    }

    fn release_one(dir: &Path, staging: &Path) {
        let path = dir.join(".lock");
        let is_own =
            |found: &Holder| found.is_of_this_machine() && found.process == std::process::id();
        match Bucket::of(&path) {
            Ok(Some(bucket)) => {
                if let Ok(Some((Some(found), _))) = object::read(&bucket)
                    && is_own(&found)
                {
                    let from = local_path(dir, staging);
                    repeat(|| remove_without_slices(dir, &from));
                    let _ = bucket.delete(&[path]);
                }
            }
            Ok(None) => {
                if read(&path).is_ok_and(|found| found.as_ref().is_some_and(is_own)) {
                    let file = open_regular(&path, OpenOptions::new().write(true));
                    let _ = file.and_then(|file| file.set_len(0));
                    repeat(|| remove_without_cache(dir));
                }
            }
            Err(_) => {}
        }
    }

    /// The same as [`of`](CacheLock::of); a holder on another machine counts as dead after `silence`.
    fn after(dir: &Path, silence: Duration) -> Result<CacheLock, Error> {
        let mut lock = CacheLock::taken(dir, silence)?;
        lock.start(Holder::this())?;
        Ok(lock)
    }

    /// The lock without content.
    fn taken(dir: &Path, silence: Duration) -> Result<CacheLock, Error> {
        let path = dir.join(".lock");
        if let Some(bucket) = Bucket::of(&path).map_err(io_error(&path, "lock"))? {
            let object = LockObject::take(dir, bucket, silence)?;
            return Ok(CacheLock::at(
                dir,
                Place::Bucket(Arc::new(Mutex::new(object))),
            ));
        }
        refuse_links(dir)?;
        let created = missing(dir);
        fs::create_dir_all(dir).map_err(io_error(dir, "create the folder"))?;
        let (file, is_shared) = locked(dir)?;
        if let Ok(Some(holder)) = read(&path)
            && is_alive(&path, &holder, is_shared, silence)
        {
            return Err(Error::Locked {
                path: dir.into(),
                holder: Some(holder),
            });
        }
        Ok(CacheLock::at(dir, Place::Folder { file, created }))
    }

    fn at(dir: &Path, place: Place) -> CacheLock {
        CacheLock {
            dir: dir.into(),
            place,
            is_lost: Arc::default(),
            heart: None,
        }
    }

    /// The cache's folder.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Refuses a cache in a bucket, for work that is done on files in their places.
    ///
    /// # Errors
    ///
    /// [`Error::InBucket`].
    pub(crate) fn refuse_bucket(&self) -> Result<(), Error> {
        if is_in_bucket(&self.dir) {
            let path = self.dir.clone();
            return Err(Error::InBucket { path });
        }
        Ok(())
    }

    /// Refuses to go on if another process has taken over the lock.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.is_lost.load(Ordering::Relaxed) {
            return Err(Error::LockLost {
                path: self.dir.clone(),
            });
        }
        Ok(())
    }

    /// Writes the content, and renews it on a thread.
    fn start(&mut self, mut holder: Holder) -> Result<(), Error> {
        let path = self.dir.join(".lock");
        let error = |action| io_error(&path, action);
        let of = path.clone();
        let mut renew: Box<dyn FnMut() -> bool + Send> = match &self.place {
            Place::Folder { file, .. } => {
                write(file, &holder).map_err(error("write"))?;
                let file = file.try_clone().map_err(error("open"))?;
                Box::new(move || {
                    if is_taken_over(read(&of), &holder) {
                        return false;
                    }
                    holder.beat += 1;
                    // Without renewals, only processes on other machines could be misled.
                    let _ = write(&file, &holder);
                    true
                })
            }
            Place::Bucket(object) => {
                let object = Arc::clone(object);
                Box::new(move || locked_object(&object).renew())
            }
        };
        let (stop, stopped) = channel();
        let is_lost = Arc::clone(&self.is_lost);
        let renew = move || {
            while stopped.recv_timeout(BEAT) == Err(RecvTimeoutError::Timeout) {
                if !renew() {
                    is_lost.store(true, Ordering::Relaxed);
                    return;
                }
            }
        };
        let thread = thread::Builder::new().spawn(renew);
        self.heart = Some((stop, thread.map_err(io_error(&path, "renew"))?));
        Ok(())
    }
}

impl Drop for CacheLock {
    /// Empties the file, and removes it and its folders if there is no cache in them; deletes the object.
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.heart.take() {
            drop(stop);
            let _ = thread.join();
        }
        if self.is_lost.load(Ordering::Relaxed) {
            return;
        }
        let (file, created) = match &self.place {
            Place::Folder { file, created } => (file, created),
            Place::Bucket(object) => return locked_object(object).delete(),
        };
        let _ = file.set_len(0);
        if !created.is_empty() && !self.dir.join("meta.json").exists() {
            let _ = fs::remove_file(self.dir.join(".lock"));
            // Those with other files in them stay.
            created.iter().all(|dir| fs::remove_dir(dir).is_ok());
        }
    }
}

/// Deletes files several times, because another thread of this process may create a file at the same moment.
fn repeat(delete: impl Fn()) {
    for _ in 0..5 {
        delete();
        thread::sleep(Duration::from_millis(10));
    }
}

/// Removes `.lock` and the folders of a dataset and a cache, or of a part, if there is no cache in them.
fn remove_without_cache(dir: &Path) {
    if !dir.join("meta.json").exists() {
        let _ = fs::remove_file(dir.join(".lock"));
        // Those with other files in them stay.
        let mut folders = dir.ancestors().take(2);
        folders.all(|dir| fs::remove_dir(dir).is_ok());
    }
}

/// The right to write the content of a lock.
fn writing() -> MutexGuard<'static, ()> {
    WRITING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn locked_object(object: &Mutex<LockObject>) -> MutexGuard<'_, LockObject> {
    object.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `dir` and the folders above it that do not exist.
fn missing(dir: &Path) -> Vec<PathBuf> {
    let folders = dir.ancestors().take_while(|dir| !dir.exists());
    folders.map(Path::to_path_buf).collect()
}

/// The file `.lock`, locked by the system if the file system has locks, and whether it has.
fn locked(dir: &Path) -> Result<(File, bool), Error> {
    let path = dir.join(".lock");
    loop {
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let file = open_regular(&path, options).map_err(io_error(&path, "lock"))?;
        let has_locks = match file.try_lock() {
            Ok(()) => true,
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Locked {
                    path: dir.into(),
                    holder: read(&path).ok().flatten(),
                });
            }
            Err(TryLockError::Error(error)) if is_without_locks(&error) => false,
            Err(TryLockError::Error(error)) => return Err(io_error(&path, "lock")(error)),
        };
        // The holder before may have deleted the file with the cache.
        if is_at(&file, &path) {
            return Ok((file, has_locks));
        }
        fs::create_dir_all(dir).map_err(io_error(dir, "create the folder"))?;
    }
}

/// Whether `holder`, which the content names, lives, although the system's lock is free or there is none.
fn is_alive(path: &Path, holder: &Holder, has_locks: bool, silence: Duration) -> bool {
    // A process of that number may be another one, so it has to renew the content too.
    if holder.is_of_this_machine() && (has_locks || !process::is_alive(holder.process)) {
        return false;
    }
    let started = Instant::now();
    while started.elapsed() < silence {
        thread::sleep(Duration::from_secs(1).min(silence));
        match read(path) {
            // It has renewed the content, or another process has.
            Ok(Some(found)) if found != *holder => return true,
            Ok(None) => return false,
            Ok(Some(_)) | Err(_) => {}
        }
    }
    false
}

/// The holder that the content names; `None` if it is empty.
fn read(path: &Path) -> io::Result<Option<Holder>> {
    // A network file system shows what others have written when a file is opened.
    let mut text = Vec::new();
    open_regular(path, OpenOptions::new().read(true))?
        .take(RECORD as u64)
        .read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text).ok())
}

/// Whether the content that was found is no longer that of `holder`. A file system that does not answer for a
/// while is no proof.
fn is_taken_over(found: io::Result<Option<Holder>>, holder: &Holder) -> bool {
    match found {
        Ok(found) => !found.is_some_and(|found| found.is_same(holder)),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// Replaces the content.
fn write(mut file: &File, holder: &Holder) -> io::Result<()> {
    let mut text = serde_json::to_string(holder)?;
    text = format!("{text:<width$}\n", width = RECORD - 1);
    let _turn = writing();
    file.seek(SeekFrom::Start(0))?;
    file.write_all(text.as_bytes())?;
    file.sync_data()
}

#[cfg(test)]
mod tests;
