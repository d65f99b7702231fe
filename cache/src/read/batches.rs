//! Batches of a shard with the expected row numbers.

use std::iter;
use std::ops::Range;
use std::path::{Path, PathBuf};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::UInt64Type;

use crate::Error;

/// The batches of a shard, with a check that they hold exactly `rows`: shards that were swapped or cut
/// short are errors.
pub(super) fn numbered(
    mut batches: impl Iterator<Item = Result<RecordBatch, Error>>,
    path: PathBuf,
    mut rows: Range<u64>,
) -> impl Iterator<Item = Result<RecordBatch, Error>> {
    iter::from_fn(move || {
        let batch = match batches.next() {
            Some(Ok(batch)) => batch,
            None if !rows.is_empty() => {
                let (first, last) = (rows.start, rows.end - 1);
                rows = 0..0;
                return Some(Err(Error::Shard {
                    path: path.clone(),
                    what: "end of the rows",
                    found: format!("before row {first}"),
                    expected: format!("behind row {last}"),
                }));
            }
            end => return end,
        };
        let numbers = batch.column(0).as_primitive::<UInt64Type>().values();
        match numbers.iter().find(|&&found| rows.next() != Some(found)) {
            None => Some(Ok(batch)),
            Some(&found) => {
                let expected = rows.start.saturating_sub(1);
                Some(Err(wrong_row(&path, found, expected)))
            }
        }
    })
}

pub(crate) fn wrong_row(path: &Path, found: u64, expected: u64) -> Error {
    Error::Shard {
        path: path.into(),
        what: "row number",
        found: found.to_string(),
        expected: expected.to_string(),
    }
}

/// The part that holds `index`, and the index in it, of consecutive parts of these lengths.
pub(super) fn located(
    mut index: usize,
    lengths: impl Iterator<Item = usize>,
) -> Option<(usize, usize)> {
    for (part, length) in lengths.enumerate() {
        match index.checked_sub(length) {
            None => return Some((part, index)),
            Some(after) => index = after,
        }
    }
    None
}
