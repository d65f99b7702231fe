//! Writing to a bucket: a cache grows in a local folder, and its finished shards are copied to the bucket.
//!
//! `meta.json` in the bucket is replaced only if it is as this process left it. While a run is not
//! finished it names the process that may write, as `writer`. A second process puts its own mark there
//! before it does anything else, and the first one's next replacement fails. Shards are only ever created,
//! never replaced, so a process that lost cannot harm the other's files. A run that is stopped by a signal leaves
//! what it has saved of its next shard in the bucket too.

mod folder;

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

pub(crate) use self::folder::{LocalFolder, remove_without_slices};
use crate::clean::{delete_unnamed, is_unnamed};
use crate::error::io_error;
use crate::folder::pending;
use crate::store::{self, Bucket, Over, Version};
use crate::{CacheLock, CacheMeta, Error, Shard, download, history, is_in_bucket};

/// Time between two looks for finished shards.
const LOOK: Duration = Duration::from_millis(500);

/// Time for which requests may fail before a run is stopped: what is computed is safe in the folder.
const PATIENCE: Duration = Duration::from_secs(600);

/// A cache in a local folder, whose finished shards are copied to a bucket.
#[derive(Debug)]
pub struct Mirror {
    /// The cache in the bucket.
    to: PathBuf,
    /// The cache in the folder.
    from: PathBuf,
    /// What tells this process from others.
    mark: String,
    /// Version of `meta.json` in the bucket; `None` if there was none.
    version: Option<Version>,
    /// Shards in the bucket.
    shards: Vec<Shard>,
    /// What the bucket has of the next shard, of a run that was stopped.
    pending: Vec<Shard>,
    /// Whether `meta.json` in the bucket names this process.
    is_claimed: bool,
    /// Time since which requests have failed.
    failing: Option<Instant>,
    /// The folder is locked as long as the mirror lives.
    _folder: LocalFolder,
    /// And so is the cache in the bucket.
    _lock: CacheLock,
}

impl Mirror {
    /// Makes the folder `from` ready to continue the cache of a bucket that is locked. If the bucket has shards
    /// that the folder lacks, for instance of a run on another machine, the folder becomes a copy of it.
    ///
    /// # Errors
    ///
    /// [`Error::Locked`] if another process uses the folder, [`Error::Io`], and those of
    /// [`CacheMeta::read`].
    pub fn begin(lock: CacheLock, from: &Path) -> Result<Mirror, Error> {
        let to = lock.dir();
        let folder = LocalFolder::lock(to, from)?;
        let mut mirror = Mirror {
            to: to.into(),
            from: from.into(),
            mark: mark(),
            version: None,
            shards: Vec::new(),
            pending: Vec::new(),
            is_claimed: false,
            failing: None,
            _folder: folder,
            _lock: lock,
        };
        if let Some((text, version)) = mirror.bucket_text()? {
            let meta = CacheMeta::parse(&mirror.to, &text)?;
            mirror.version = Some(version);
            mirror.shards.clone_from(&meta.shards);
            mirror.pending.clone_from(&meta.pending);
            let has_all = match CacheMeta::read(from) {
                Ok(local) => {
                    local.shards.starts_with(&meta.shards)
                        && local.saved_rows() >= meta.saved_rows()
                }
                Err(Error::NoCache { .. }) => false,
                Err(error) => return Err(error),
            };
            if !has_all {
                mirror.fetch(meta)?;
            }
        }
        Ok(mirror)
    }

    /// Runs `extract`, which writes the cache in the local folder, and copies its shards as they are
    /// finished. If that fails, `stop` is set to true. If `extract` succeeds, the cache in the bucket is as the
    /// local one, which is deleted if it is complete.
    ///
    /// # Errors
    ///
    /// Those of `extract`; [`Error::Raced`] if another process has written to the bucket, and
    /// [`Error::Io`].
    pub fn run<T, E: From<Error>>(
        mut self,
        stop: &AtomicBool,
        extract: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let (done, is_done) = channel::<()>();
        let (result, copied) = thread::scope(|scope| {
            let mirror = &mut self;
            let copying = scope.spawn(move || {
                let mut copied = Ok(());
                while copied.is_ok() && is_done.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout)
                {
                    copied = mirror.try_copy().map(drop);
                }
                if copied.is_err() {
                    stop.store(true, Ordering::Relaxed);
                }
                copied
            });
            let result = extract();
            drop(done);
            (result, copying.join().unwrap_or_else(|_| Err(ended())))
        });
        copied?;
        // Also after a failure: what is finished stays. A user who has stopped the run does not wait.
        let mut copied = self.try_copy();
        while matches!(copied, Ok(false)) && result.is_ok() && !stop.load(Ordering::Relaxed) {
            thread::sleep(LOOK);
            copied = self.try_copy();
        }
        let copied = copied.and_then(|is_copied| if is_copied { Ok(()) } else { self.copy() });
        let value = result?;
        copied?;
        self.finish()?;
        Ok(value)
    }

    /// Takes the cache in the bucket over with its first `shards` shards, and deletes what is not named then.
    fn claim(&mut self, meta: &CacheMeta, shards: usize) -> Result<(), Error> {
        self.name(meta, shards)?;
        self.is_claimed = true;
        self.delete_left(meta)
    }

    /// Deletes the objects of shards that are not named.
    fn delete_left(&self, meta: &CacheMeta) -> Result<(), Error> {
        let named = CacheMeta {
            shards: self.shards.clone(),
            pending: self.pending.clone(),
            ..meta.clone()
        };
        delete_unnamed(&self.to, &named)
    }

    /// As [`copy`](Mirror::copy); returns false if the store does not answer, but may again.
    fn try_copy(&mut self) -> Result<bool, Error> {
        match self.copy() {
            Err(Error::Io { path, source, .. })
                if is_in_bucket(&path)
                    && source.kind() == io::ErrorKind::Other
                    && self.failing.get_or_insert_with(Instant::now).elapsed() < PATIENCE =>
            {
                Ok(false)
            }
            result => {
                self.failing = None;
                result.map(|()| true)
            }
        }
    }

    /// Copies the shards that were finished since the last call.
    fn copy(&mut self) -> Result<(), Error> {
        let meta = match CacheMeta::read(&self.from) {
            Err(Error::NoCache { .. }) => return Ok(()),
            meta => meta?,
        };
        let both = self.shards.iter().zip(&meta.shards);
        let same = both.take_while(|(there, here)| there == here).count();
        if !self.is_claimed || same < self.shards.len() {
            self.claim(&meta, same)?;
        }
        if meta.shards.len() == same {
            return Ok(());
        }
        let files = folder::files(&self.from)?;
        for shard in same..meta.shards.len() {
            let stem = format!("{shard:05}");
            let is_of_shard = |file: &&PathBuf| file.file_stem().is_some_and(|of| *of == *stem);
            self.upload(files.iter().filter(is_of_shard))?;
            self.name(&meta, shard + 1)?;
        }
        self.copy_history()
    }

    /// Copies the history over that in the bucket.
    fn copy_history(&self) -> Result<(), Error> {
        if !self.from.join(history::FILE).is_file() {
            return Ok(());
        }
        self.replace(Path::new(history::FILE))
    }

    /// Copies a file over what the bucket has of it.
    fn replace(&self, file: &Path) -> Result<(), Error> {
        let path = self.to.join(file);
        let bytes = fs::read(self.from.join(file)).map_err(io_error(file, "read"))?;
        let put = self.bucket(&path)?.put(bytes, Over::Anything);
        put.map(drop).map_err(io_error(&path, "write"))
    }

    /// Copies what else lies in the folder, and `meta.json` as it is.
    fn finish(mut self) -> Result<(), Error> {
        let text = CacheMeta::read_text(&self.from)?;
        let meta = CacheMeta::parse(&self.from, &text)?;
        if !meta.complete {
            return self.save(&meta);
        }
        let is_of_shard = |file: &PathBuf| {
            let stem = file.file_stem().unwrap_or_default().to_string_lossy();
            stem.parse::<usize>()
                .is_ok_and(|shard| shard < self.shards.len())
        };
        let mut others = folder::files(&self.from)?;
        others.retain(|file| !is_of_shard(file));
        for file in &others {
            self.replace(file)?;
        }
        self.put(&String::from_utf8_lossy(&text))?;
        fs::remove_dir_all(&self.from).map_err(io_error(&self.from, "delete"))
    }

    /// Copies what a run that was stopped has saved of its next shard.
    fn save(&mut self, meta: &CacheMeta) -> Result<(), Error> {
        if meta.pending.is_empty() || meta.pending == self.pending {
            return Ok(());
        }
        let files = folder::files(&pending(&self.from))?;
        let files: Vec<_> = files
            .iter()
            .map(|file| Path::new("pending").join(file))
            .collect();
        // Those of an earlier stop may have other rows; a reader that finds others than are named computes them.
        let there: Vec<_> = files.iter().map(|file| self.to.join(file)).collect();
        store::delete(&there).map_err(io_error(&self.to, "delete objects below"))?;
        self.upload(files.iter())?;
        self.pending.clone_from(&meta.pending);
        self.name(meta, self.shards.len())?;
        self.copy_history()
    }

    /// Names the first `shards` shards in the bucket's `meta.json`, as that of a run that is not finished.
    fn name(&mut self, meta: &CacheMeta, shards: usize) -> Result<(), Error> {
        let shards = &meta.shards[..shards];
        // Rows that were saved of a shard are part of it once it is finished.
        let is_next = *shards == self.shards;
        let meta = CacheMeta {
            rows: shards.iter().map(|shard| u64::from(shard.rows)).sum(),
            shards: shards.to_vec(),
            pending: self.pending.iter().filter(|_| is_next).cloned().collect(),
            writer: Some(self.mark.clone()),
            complete: false,
            ..meta.clone()
        };
        self.put(&meta.text(&self.to)?)?;
        self.shards.clone_from(&meta.shards);
        let has_old = self.pending != meta.pending;
        self.pending.clone_from(&meta.pending);
        if has_old {
            self.delete_left(&meta)
        } else {
            Ok(())
        }
    }

    /// Uploads files on several threads.
    fn upload<'a>(&self, files: impl Iterator<Item = &'a PathBuf>) -> Result<(), Error> {
        thread::scope(|scope| {
            let uploads: Vec<_> = files
                .map(|file| scope.spawn(|| self.upload_one(file)))
                .collect();
            uploads
                .into_iter()
                .try_for_each(|upload| upload.join().unwrap_or_else(|_| Err(ended())))
        })
    }

    fn upload_one(&self, file: &Path) -> Result<(), Error> {
        let (from, to) = (self.from.join(file), self.to.join(file));
        match store::upload(&from, &to, &self.mark) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(Error::Raced {
                path: self.to.clone(),
            }),
            result => result.map_err(io_error(&to, "write")),
        }
    }

    /// Replaces `meta.json` in the bucket if it is as this process knows it.
    fn put(&mut self, text: &str) -> Result<(), Error> {
        let path = self.to.join("meta.json");
        let over = self.version.as_ref().map_or(Over::Nothing, Over::Version);
        let put = self.bucket(&path)?.put(text.as_bytes().to_vec(), over);
        let version = match put {
            Ok(version) => version,
            // The answer to an earlier attempt may have been lost.
            Err(error) => match self.bucket_text()? {
                Some((found, version)) if found == text.as_bytes() => version,
                // Amazon's answer for an object that was deleted is that there is none.
                _ if [io::ErrorKind::AlreadyExists, io::ErrorKind::NotFound]
                    .contains(&error.kind()) =>
                {
                    return Err(Error::Raced {
                        path: self.to.clone(),
                    });
                }
                _ => return Err(io_error(&path, "replace")(error)),
            },
        };
        self.version = Some(version);
        Ok(())
    }

    /// `meta.json` in the bucket.
    fn bucket_text(&self) -> Result<Option<(Vec<u8>, Version)>, Error> {
        let path = self.to.join("meta.json");
        match self.bucket(&path)?.read() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            result => result.map(Some).map_err(io_error(&path, "read")),
        }
    }

    fn bucket(&self, path: &Path) -> Result<Bucket, Error> {
        let bucket = Bucket::of(path).map_err(io_error(path, "open"))?;
        bucket.ok_or_else(|| io_error(path, "open")(io::ErrorKind::InvalidInput.into()))
    }

    /// Makes the folder a copy of the bucket's cache.
    fn fetch(&self, meta: CacheMeta) -> Result<(), Error> {
        download(&self.to, &self.from)?;
        // What the folder had besides belongs to another run.
        for file in folder::files(&self.from)? {
            if is_unnamed(&file, meta.shards.len()) {
                let path = self.from.join(file);
                fs::remove_file(&path).map_err(io_error(&path, "delete"))?;
            }
        }
        CacheMeta {
            writer: None,
            ..meta
        }
        .write(&self.from)
    }
}

fn ended() -> Error {
    io_error(Path::new("."), "copy to the bucket")(io::Error::other("the thread ended"))
}

/// A random word.
pub(crate) fn mark() -> String {
    format!("{:016x}", RandomState::new().build_hasher().finish())
}
