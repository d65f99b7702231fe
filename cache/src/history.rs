//! `history.json`: the processes that wrote to a cache, with their times.
//!
//! Times differ between runs whose tokens are equal, so they are neither in `meta.json`, whose hash stands for the
//! cache, nor in Parquet files. Nothing depends on this file.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use common::files::write_whole;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::error::io_error;
use crate::meta::{check_own_hash, has_own_hash, with_own_hash};
use crate::read::check_place;
use crate::{Error, store};

/// Name of the file in a cache.
pub(crate) const FILE: &str = "history.json";

/// Greatest size of the file in bytes.
const MOST_BYTES: u64 = 64 << 20;

/// A process that wrote to a cache.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// Its work: `extract`, `extend`, `repair` or `merge`.
    pub action: String,
    /// Time at which it began, in UTC (RFC 3339).
    #[serde(default)]
    pub started: String,
    /// Time at which it saved last.
    #[serde(default)]
    pub saved: String,
    /// Seconds between the two.
    #[serde(default)]
    pub seconds: f64,
    /// Number of rows before it began.
    #[serde(default)]
    pub first_row: u64,
    /// Number of rows when it saved last.
    #[serde(default)]
    pub rows: u64,
    /// The part of the dataset, `I/N`, if it was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
    /// The version of the program.
    pub tool_version: String,
    /// The version of ONNX Runtime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub onnxruntime_version: Option<String>,
    /// The execution provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The precision of the computation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<String>,
    /// Difference of its tokens from those of the CPU in f32, if it was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parity: Option<Value>,
    /// Name of the machine, if it was to be recorded, as the following.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Name of the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Path of the dataset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// Path of the cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<String>,
}

/// The sessions of a cache, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// The sessions.
    pub sessions: Vec<Session>,
}

impl History {
    /// Reads the history of the cache `dir`. It is empty if there is none, as in caches of earlier versions.
    ///
    /// # Errors
    ///
    /// [`Error::History`] if it is damaged, and [`Error::Io`].
    pub fn read(dir: &Path) -> Result<History, Error> {
        let path = dir.join(FILE);
        let damaged = |what: String| Error::History {
            path: path.clone(),
            what,
        };
        let bytes = match store::stat(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(History::default()),
            found => found.map_err(io_error(&path, "read"))?.bytes,
        };
        check_place(dir, &path, || "a file in the cache's folder".into())?;
        if bytes > MOST_BYTES {
            return Err(damaged(format!(
                "{bytes} bytes, at most {MOST_BYTES} are read"
            )));
        }
        let text = store::read(&path).map_err(io_error(&path, "read"))?;
        if !has_own_hash(&text) || check_own_hash(&path, &text).is_err() {
            return Err(damaged("its sha256 is missing or wrong".to_owned()));
        }
        serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))
    }

    /// Adds sessions that are not in it yet, and writes it to the cache `dir`.
    pub(crate) fn add(dir: &Path, sessions: Vec<Session>) -> Result<(), Error> {
        let mut history = History::usable(dir);
        history.extend(sessions);
        history.write(dir)
    }

    /// Adds sessions that are not in it yet.
    fn extend(&mut self, sessions: Vec<Session>) {
        for session in sessions {
            if !self.sessions.contains(&session) {
                self.sessions.push(session);
            }
        }
    }

    /// The history of the cache `dir`; a damaged one is given up.
    pub(crate) fn usable(dir: &Path) -> History {
        History::read(dir).unwrap_or_default()
    }

    fn write(&self, dir: &Path) -> Result<(), Error> {
        let path = dir.join(FILE);
        let text = with_own_hash(self).map_err(|source| Error::Meta {
            path: path.clone(),
            source,
        })?;
        write_whole(&path, text.as_bytes()).map_err(io_error(&path, "write"))
    }
}

/// The session of this process.
#[derive(Debug)]
pub(crate) struct Recorder {
    dir: PathBuf,
    /// With this session as the last one.
    history: History,
    own: Session,
    began: Instant,
}

impl Recorder {
    /// Begins a session with a cache that has `rows` rows. Nothing is written before the first
    /// [save](Recorder::save).
    pub(crate) fn begin(dir: &Path, session: Session, rows: u64) -> Recorder {
        Recorder {
            dir: dir.into(),
            history: History::usable(dir),
            own: Session {
                started: now(),
                first_row: rows,
                ..session
            },
            began: Instant::now(),
        }
    }

    /// Puts sessions of parts before this one.
    pub(crate) fn follow(&mut self, sessions: Vec<Session>) {
        self.history.extend(sessions);
    }

    /// Writes the session with the number of rows that are saved.
    pub(crate) fn save(&mut self, rows: u64) -> Result<(), Error> {
        self.own.saved = now();
        self.own.seconds = (self.began.elapsed().as_secs_f64() * 1e3).round() / 1e3;
        self.own.rows = rows;
        let mut history = self.history.clone();
        history.sessions.push(self.own.clone());
        history.write(&self.dir)
    }
}

/// The time in UTC, to the second.
fn now() -> String {
    let now = OffsetDateTime::now_utc();
    let now = now.replace_nanosecond(0).unwrap_or(now);
    now.format(&Rfc3339).unwrap_or_default()
}
