//! A file that is hashed while it is written, and renamed when it is complete.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};

use common::files::open_regular;
use common::hex;
use sha2::{Digest, Sha256};

use crate::checksums::{Checksums, Summing};
use crate::error::io_error;
use crate::{Error, TableFile};

/// Bytes that are written and hashed at a time.
const BLOCK: usize = 1 << 20;

/// Greatest number of blocks that wait to be hashed.
const WAITING: usize = 4;

/// The temporary name of a file.
pub(crate) struct Name {
    pub(crate) part: PathBuf,
}

impl Name {
    /// The temporary name of the file `path`.
    pub(crate) fn of(path: &Path) -> Name {
        Name {
            part: path.with_extension("parquet.part"),
        }
    }

    pub(crate) fn create(&self) -> Result<HashingFile, Error> {
        HashingFile::create(&self.part).map_err(io_error(&self.part, "create"))
    }

    /// Ends a file and starts to sync it to the disk.
    pub(crate) fn close(self, file: HashingFile) -> Result<ClosingFile, Error> {
        let file = file.close().map_err(io_error(&self.part, "write"))?;
        let part = self.part;
        Ok(ClosingFile { part, file })
    }
}

/// A complete file that may not be synced to the disk yet.
pub(crate) struct ClosingFile {
    part: PathBuf,
    file: JoinHandle<io::Result<Hashed>>,
}

impl ClosingFile {
    pub(crate) fn is_on_disk(&self) -> bool {
        self.file.is_finished()
    }

    /// Waits until the file is synced, renames it to `whole`, and writes its checksums to the file
    /// `checksums`.
    pub(crate) fn finish(self, whole: &Path, checksums: &Path) -> Result<TableFile, Error> {
        let part = self.part;
        let panicked = |_| Err(io::Error::other("the thread that hashes ended"));
        let hashed = self.file.join().unwrap_or_else(panicked);
        let hashed = hashed.map_err(io_error(&part, "write"))?;
        let written = hashed.checksums.write(checksums);
        written.map_err(io_error(checksums, "write"))?;
        fs::rename(&part, whole).map_err(io_error(whole, "rename"))?;
        Ok(hashed.file)
    }
}

/// Hash, length and checksums of a file.
struct Hashed {
    file: TableFile,
    checksums: Checksums,
}

/// A file that computes hash, checksums and length of its content while it is written. A thread of its own hashes, which
/// takes longer than writing, and syncs the file at the end.
pub(crate) struct HashingFile {
    file: Arc<File>,
    block: Vec<u8>,
    blocks: SyncSender<Vec<u8>>,
    hashed: Receiver<Vec<u8>>,
    thread: JoinHandle<io::Result<Hashed>>,
}

impl HashingFile {
    fn create(path: &Path) -> io::Result<HashingFile> {
        let options = &mut OpenOptions::new();
        let options = options.write(true).create(true).truncate(true);
        let file = Arc::new(open_regular(path, options)?);
        let (blocks, to_hash) = sync_channel(WAITING);
        let (spare, hashed) = channel();
        let written = Arc::clone(&file);
        Ok(HashingFile {
            file,
            block: Vec::with_capacity(BLOCK),
            blocks,
            hashed,
            thread: thread::Builder::new().spawn(move || hash(&to_hash, &spare, &written))?,
        })
    }

    fn close(mut self) -> io::Result<JoinHandle<io::Result<Hashed>>> {
        self.flush()?;
        Ok(self.thread)
    }
}

fn hash(blocks: &Receiver<Vec<u8>>, spare: &Sender<Vec<u8>>, file: &File) -> io::Result<Hashed> {
    let (mut hash, mut checksums, mut bytes) = (Sha256::new(), Summing::default(), 0);
    for mut block in blocks {
        hash.update(&block);
        checksums.update(&block);
        bytes += block.len() as u64;
        block.clear();
        // The writer may have ended.
        let _ = spare.send(block);
    }
    file.sync_all()?;
    Ok(Hashed {
        file: TableFile {
            bytes,
            sha256: hex(&hash.finalize()),
            has_checksums: true,
        },
        checksums: checksums.finish(),
    })
}

impl Write for HashingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(BLOCK - self.block.len());
        self.block.extend_from_slice(&bytes[..count]);
        if self.block.len() == BLOCK {
            self.flush()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        (&*self.file).write_all(&self.block)?;
        let spare = self.hashed.try_recv();
        let next = spare.unwrap_or_else(|_| Vec::with_capacity(BLOCK));
        let block = std::mem::replace(&mut self.block, next);
        // It fails if the thread has ended, which `ClosingFile` reports.
        let _ = self.blocks.send(block);
        Ok(())
    }
}
