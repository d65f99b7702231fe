//! Work on several threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::Error;

/// The results of `work` for `0..count`, in this order; at most `threads` are computed at the same time.
///
/// # Errors
///
/// The error of the smallest index for which there is one. After an error no more work is begun.
pub(crate) fn map<T: Send>(
    threads: usize,
    count: usize,
    work: impl Fn(usize) -> Result<T, Error> + Sync,
) -> Result<Vec<T>, Error> {
    if threads.min(count) <= 1 {
        return (0..count).map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::with_capacity(count));
    thread::scope(|scope| {
        for _ in 0..threads.min(count) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= count {
                        return;
                    }
                    let result = work(index);
                    if result.is_err() {
                        next.store(count, Ordering::Relaxed);
                    }
                    let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                    results.push((index, result));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_order_and_the_first_error_wins() {
        let failed = |index: usize| Error::NoCache {
            path: index.to_string().into(),
        };
        for threads in [1, 3, 100] {
            assert_eq!(map(threads, 50, Ok).unwrap(), (0..50).collect::<Vec<_>>());
            let odd = |index| {
                if index % 2 == 0 {
                    Ok(index)
                } else {
                    Err(failed(index))
                }
            };
            let error = map(threads, 50, odd).unwrap_err().to_string();
            assert!(error.contains("no cache here"), "{error}");
            assert!(map(threads, 0, odd).unwrap().is_empty());
        }
    }
}
