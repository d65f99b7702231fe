//! A file that is hashed while it is written, and named only when it is whole.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use sha2::{Digest, Sha256};

use crate::meta::{hex, io_error};
use crate::{Error, TableFile};

/// Bytes that are written and hashed at a time.
const BLOCK: usize = 1 << 20;

/// Blocks that may wait to be hashed.
const WAITING: usize = 4;

/// The name of a file, and that which it has until it is whole.
pub(crate) struct Name {
    whole: PathBuf,
    pub(crate) part: PathBuf,
}

impl Name {
    pub(crate) fn new(path: PathBuf) -> Name {
        Name {
            part: path.with_extension("parquet.part"),
            whole: path,
        }
    }

    pub(crate) fn create(&self) -> Result<HashingFile, Error> {
        HashingFile::create(&self.part).map_err(io_error(&self.part, "create"))
    }

    /// Waits until the disk has the file, and gives it its name.
    pub(crate) fn finish(&self, file: HashingFile) -> Result<TableFile, Error> {
        let file = file.sync().map_err(io_error(&self.part, "write"))?;
        fs::rename(&self.part, &self.whole).map_err(io_error(&self.whole, "rename"))?;
        Ok(file)
    }
}

/// A file that knows the hash and the length of what was written to it. A thread of its own hashes, which
/// takes longer than to write.
pub(crate) struct HashingFile {
    file: File,
    block: Vec<u8>,
    bytes: u64,
    blocks: SyncSender<Arc<Vec<u8>>>,
    hash: JoinHandle<String>,
}

impl HashingFile {
    fn create(path: &Path) -> io::Result<HashingFile> {
        let (blocks, to_hash) = sync_channel(WAITING);
        Ok(HashingFile {
            file: File::create(path)?,
            block: Vec::with_capacity(BLOCK),
            bytes: 0,
            blocks,
            hash: thread::Builder::new().spawn(move || hash(&to_hash))?,
        })
    }

    fn sync(mut self) -> io::Result<TableFile> {
        self.flush()?;
        drop(self.blocks);
        self.file.sync_all()?;
        let panicked = |_| io::Error::other("the thread that hashes ended");
        Ok(TableFile {
            bytes: self.bytes,
            sha256: self.hash.join().map_err(panicked)?,
        })
    }
}

fn hash(blocks: &Receiver<Arc<Vec<u8>>>) -> String {
    let mut hash = Sha256::new();
    for block in blocks {
        hash.update(&*block);
    }
    hex(&hash.finalize())
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
        let block = Arc::new(std::mem::replace(
            &mut self.block,
            Vec::with_capacity(BLOCK),
        ));
        // It fails if the thread has ended, which `sync` reports.
        let _ = self.blocks.send(Arc::clone(&block));
        self.file.write_all(&block)?;
        self.bytes += block.len() as u64;
        Ok(())
    }
}
