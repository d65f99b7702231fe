//! The process that holds a lock.

use std::fmt;
use std::time::{Duration, SystemTime};

use common::process;
use common::text::printable;
use serde::{Deserialize, Serialize};

/// A process that writes to a cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Name of its machine.
    pub host: String,
    /// The machine's start, by which machines of one name differ; empty if it is not known.
    #[serde(default)]
    pub(super) boot: String,
    /// Number of the process.
    pub process: u32,
    /// When it began to hold the lock, in seconds since 1970.
    pub since_unix: u64,
    /// Number of renewals.
    #[serde(default)]
    pub(super) beat: u64,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = printable(&self.host);
        let since = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(self.since_unix));
        let held = since.and_then(|since| since.elapsed().ok());
        write!(f, "process {} on `{host}`", self.process)?;
        held.map_or(Ok(()), |held| write!(f, " (began {} ago)", time(held)))
    }
}

fn time(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3600),
    }
}

impl Holder {
    pub(super) fn this() -> Holder {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Holder {
            host: process::host(),
            boot: process::boot(),
            process: std::process::id(),
            since_unix: now.map_or(0, |now| now.as_secs()),
            beat: 0,
        }
    }

    /// Whether the process is known to have ended: it was one of this machine, and there is none of its number.
    pub fn has_ended(&self) -> bool {
        self.is_of_this_machine() && !process::is_alive(self.process)
    }

    /// Whether both are one process at different times.
    pub(super) fn is_same(&self, other: &Holder) -> bool {
        Holder {
            beat: 0,
            ..self.clone()
        } == Holder {
            beat: 0,
            ..other.clone()
        }
    }

    pub(super) fn is_of_this_machine(&self) -> bool {
        let boot = process::boot();
        self.host == process::host() && (self.boot == boot || boot.is_empty())
    }
}
