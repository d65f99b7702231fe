//! The list of caches below a folder, as `extract ls` and `probe ls` print it.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::{Value, json};

use crate::parts::ranges;
use crate::schema::Table;
use crate::{CacheMeta, CacheReader, Error, ORIGINAL, Parts, store};

/// A cache's folder and its description, read from `meta.json` alone.
#[derive(Debug)]
pub struct Listed {
    /// Its folder.
    pub dir: PathBuf,
    /// Its description, or why there is none.
    pub meta: Result<CacheMeta, Error>,
    /// Names of the splits that were added after extraction.
    pub splits: Vec<String>,
    /// Names of the label sets that were added after extraction.
    pub labels: Vec<String>,
    /// Time at which `meta.json` was written last.
    pub written: Option<SystemTime>,
}

/// Number of columns of text, which come before those of numbers.
pub const TEXT_COLUMNS: usize = 6;

/// Order in which the columns may be left out, the highest first; those of 0 never are.
pub const RANKS: [u8; 10] = [0, 5, 4, 3, 0, 6, 0, 1, 2, 0];

/// Headers of [`Listed::cells`].
pub const COLUMNS: [&str; 10] = [
    "cache", "tables", "splits", "labels", "state", "made by", "slices", "classes", "layers", "MB",
];

/// All caches below `root`, in the order of their paths.
///
/// # Errors
///
/// [`Error::NoCache`] if `root` does not exist, and [`Error::Io`] if it cannot be listed.
pub fn list(root: &Path) -> Result<Vec<Listed>, Error> {
    let caches = CacheReader::find(root)?;
    Ok(caches.into_iter().map(Listed::of).collect())
}

impl Listed {
    /// The cache in the folder `dir`.
    pub fn of(dir: PathBuf) -> Listed {
        let file = store::stat(&dir.join("meta.json"));
        Listed {
            written: file.ok().and_then(|file| file.modified),
            splits: crate::splits::names(&dir).unwrap_or_default(),
            labels: crate::labels::names(&dir).unwrap_or_default(),
            meta: CacheMeta::read(&dir),
            dir,
        }
    }

    /// `DATASET/MODEL@SIZE`, the last two parts of the path.
    pub fn name(&self) -> String {
        let parts: Vec<_> = self.dir.iter().rev().take(2).collect();
        let parts = parts.iter().rev().map(|part| part.to_string_lossy());
        parts.collect::<Vec<_>>().join("/")
    }

    /// Whether the cache is finished.
    pub fn is_complete(&self) -> bool {
        self.meta.as_ref().is_ok_and(|meta| meta.complete)
    }

    /// A row of the table with [`COLUMNS`].
    pub fn cells(&self) -> [String; 10] {
        let meta = match &self.meta {
            Ok(meta) => meta,
            Err(error) => return self.cells_without(error),
        };
        let splits = [meta.split.as_deref().unwrap_or("official")];
        let splits = splits
            .into_iter()
            .chain(self.splits.iter().map(String::as_str));
        let labels = [ORIGINAL].into_iter();
        let labels = labels.chain(self.labels.iter().map(String::as_str));
        [
            self.name(),
            tables(meta).join(" "),
            splits.collect::<Vec<_>>().join(", "),
            labels.collect::<Vec<_>>().join(", "),
            self.state(meta),
            format!("{} {} {}", meta.tool_version, meta.provider, meta.precision),
            meta.saved_rows().to_string(),
            meta.classes.len().to_string(),
            meta.layers.to_string(),
            format!("{:.1}", meta.bytes() as f64 / 1e6),
        ]
    }

    /// The column `state` of a cache with a description, and what parts lie beside it.
    fn state(&self, meta: &CacheMeta) -> String {
        let state = if meta.complete {
            "complete"
        } else {
            "incomplete"
        };
        match Parts::of(&self.dir) {
            Ok(None) => state.into(),
            Ok(Some(_)) if meta.complete => format!("{state}, parts not deleted"),
            Ok(Some(parts)) => format!("{state}, {}", done_parts(parts.count(), &parts.missing())),
            Err(_) => format!("{state}, parts damaged"),
        }
    }

    /// A row of a folder without a description.
    fn cells_without(&self, error: &Error) -> [String; 10] {
        let mut cells = <[String; 10]>::default();
        (cells[0], cells[4]) = (self.name(), "damaged".into());
        if let (Error::Parts { of, missing, .. }, Ok(Some(parts))) = (error, Parts::of(&self.dir)) {
            cells[4] = done_parts(*of, missing);
            cells[6] = parts.rows().to_string();
            cells[9] = format!("{:.1}", parts.bytes() as f64 / 1e6);
        }
        cells
    }

    /// The same facts and more as JSON; `error` and numbers of parts instead if the description cannot be read.
    pub fn json(&self) -> Value {
        let path = self.dir.to_string_lossy();
        match &self.meta {
            Err(error @ Error::Parts { of, missing, .. }) => json!({
                "path": path,
                "error": error.to_string(),
                "parts": of,
                "missing_parts": missing,
            }),
            Err(error) => json!({"path": path, "error": error.to_string()}),
            Ok(meta) => json!({
                "path": path,
                "dataset": meta.dataset,
                "model": meta.model.name,
                "image_size": meta.image_size,
                "task": meta.task,
                "slices": meta.saved_rows(),
                "samples": meta.samples,
                "skipped": meta.skipped.len(),
                "classes": meta.classes,
                "layers": meta.layers,
                "tables": tables(meta),
                "split": meta.split,
                "splits": self.splits,
                "labels": self.labels,
                "bytes": meta.bytes(),
                "complete": meta.complete,
                "written_unix": self.written.and_then(seconds),
                "tool_version": meta.tool_version,
                "provider": meta.provider,
                "precision": meta.precision,
            }),
        }
    }
}

fn done_parts(of: u32, missing: &[u32]) -> String {
    let done = of as usize - missing.len();
    match ranges(missing).as_str() {
        "" => format!("{done} of {of} parts, not joined"),
        missing => format!("{done} of {of} parts, missing: {missing}"),
    }
}

fn seconds(time: SystemTime) -> Option<u64> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    Some(since.as_secs())
}

fn tables(meta: &CacheMeta) -> Vec<&'static str> {
    Table::of(meta).into_iter().map(Table::name).collect()
}
