//! Rows of an import to the cache.

use cache::{CacheMeta, CacheWriter, SliceMeta, TokenBatch};

use super::import::Note;
use super::listed_rows::DescribedRows;
use super::source_files::SourceFiles;
use super::tokens::{Read, TokenReader};
use crate::Error;

/// Batches after which progress is told.
const TOLD: u64 = 16;

/// Appends the rows that the cache does not have, and finishes it.
///
/// # Errors
///
/// Errors of the files, [`Error::Layout`] for numbers that a cache cannot hold, and [`Error::Cache`].
pub(super) fn write(
    mut writer: CacheWriter,
    tokens: &mut TokenReader,
    mut rows: DescribedRows<'_>,
    mut files: SourceFiles,
    report: &mut dyn FnMut(Note),
) -> Result<CacheMeta, Error> {
    let batch_rows = writer.meta().batch_size as usize;
    let (begun, all) = (writer.rows(), rows.kept());
    let (mut done, mut batches) = (0, 0);
    let (mut batch, mut slices) = (Read::default(), Vec::new());
    while let Some(row) = rows.next()? {
        let Some(slice) = row else {
            tokens.read("", None)?;
            continue;
        };
        done += 1;
        if done <= begun {
            tokens.read(&slice.sample, None)?;
            continue;
        }
        tokens.read(&slice.sample, Some(&mut batch))?;
        slices.push(slice);
        if slices.len() == batch_rows || done == all {
            if let Some(first) = slices.first().filter(|_| done <= batch_rows as u64) {
                writer.add_sources(files.take_all(&first.sample));
            }
            append(
                &mut writer,
                tokens,
                std::mem::take(&mut batch),
                std::mem::take(&mut slices),
            )?;
            batches += 1;
            if batches % TOLD == 0 {
                report(Note::Rows(done, all));
            }
        }
    }
    Ok(writer.finish()?)
}

fn append(
    writer: &mut CacheWriter,
    tokens: &TokenReader,
    read: Read,
    slices: Vec<SliceMeta>,
) -> Result<(), Error> {
    let (cls, mean, patch) = tokens.arrays(read, slices.len())?;
    let batch = TokenBatch {
        slices,
        cls: vec![cls],
        mean: vec![mean],
        patch: patch.into_iter().collect(),
        masks: Vec::new(),
        pictures: Vec::new(),
    };
    Ok(writer.append(&batch)?)
}
