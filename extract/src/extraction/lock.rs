//! The lock of the cache that is written.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use cache::CacheLock;

use super::Event;
use crate::Error;

/// Time between two attempts to lock a cache that another process writes.
const RETRY: Duration = Duration::from_millis(300);

/// The same in a bucket, where each attempt is two requests.
const RETRY_IN_BUCKET: Duration = Duration::from_secs(2);

/// A line on the time that locking a cache takes if `.lock` names a process of another machine.
pub(crate) fn wait_elsewhere(dir: &Path) -> Option<String> {
    let holder = CacheLock::holder_elsewhere(dir)?;
    let seconds = CacheLock::SILENCE.as_secs();
    Some(format!(
        "{}: waiting up to {seconds} s for the lock of {holder}",
        dir.display()
    ))
}

/// Locks a cache; waits at most for `wait` if another process writes it, or until it has ended.
pub(super) fn lock(
    dir: &Path,
    wait: Option<Duration>,
    report: &mut dyn FnMut(Event),
) -> Result<CacheLock, Error> {
    let started = Instant::now();
    if let Some(text) = wait_elsewhere(dir) {
        report(Event::Message(text));
    }
    let mut is_told = false;
    report(Event::Locking(dir.into()));
    loop {
        let holder = match CacheLock::of(dir) {
            Err(cache::Error::Locked { holder, .. })
                if wait.is_none_or(|wait| started.elapsed() < wait) =>
            {
                holder
            }
            found => return Ok(found?),
        };
        if !is_told {
            let of = holder.map_or("another process".to_owned(), |of| of.to_string());
            report(Event::Message(format!(
                "{}: waiting for {of}, which writes this cache",
                dir.display()
            )));
            is_told = true;
        }
        thread::sleep(if cache::is_in_bucket(dir) {
            RETRY_IN_BUCKET
        } else {
            RETRY
        });
    }
}
