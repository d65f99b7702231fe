//! The slices of a finished cache, prepared again.

use std::collections::HashSet;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use cache::{CacheReader, SliceMeta};
use imaging::preprocess::Preprocess;
use imaging::read::Reader;

use super::AHEAD;
use super::job::Job;
use super::readers::{Line, Prepared, dispatch, read_samples};
use crate::Error;
use crate::dataset::{Dataset, Sample, SampleNotes};
use crate::prepare::PreparedSlice;
use crate::sources::{self, Recorder};

/// Prepares the slices of the cache of `reader` again by its `recipe`, as its extraction did, and hands those whose
/// rows `wants` takes to `consume`, in the order of the cache. `readers` is the number of threads.
///
/// # Errors
///
/// [`Error::SourcesChanged`], [`cache::Error::OtherSamples`] if the dataset gives other slices,
/// [`Error::HalfSample`] if a file cannot be read, and those of `consume`.
pub fn prepare_again(
    reader: &CacheReader,
    dataset: &Dataset,
    recipe: &Preprocess,
    (wants, readers): (&dyn Fn(u64) -> bool, usize),
    consume: &mut dyn FnMut(&PreparedSlice) -> Result<(), Error>,
) -> Result<(), Error> {
    sources::compare(reader.dir(), reader.meta(), dataset)?;
    let rows = wanted(reader.slices()?, wants);
    let needed: HashSet<&str> = rows.iter().map(|(_, row)| row.sample.as_str()).collect();
    let samples: Vec<Sample> = dataset
        .samples
        .iter()
        .filter(|sample| needed.contains(sample.id.as_str()))
        .cloned()
        .collect();
    let job = Job {
        dataset,
        samples: 0..samples.len(),
        reader: &Reader::new(&dataset.root),
        recipe,
        pictures: false,
        batch_size: AHEAD,
        readers,
        is_repeated: true,
        save_every: Duration::MAX,
        stop: &AtomicBool::new(false),
    };
    let mut expected = rows.iter().map(|(_, row)| row).peekable();
    let mut take = |slice: PreparedSlice| {
        let is_next = |row: &&SliceMeta| is_same(row, &slice.meta);
        match expected.next_if(is_next) {
            Some(_) => consume(&slice),
            None => Ok(()),
        }
    };
    stream(&job, &samples, &mut take)?;
    match expected.next() {
        None => Ok(()),
        Some(_) => Err(other_samples(reader.dir())),
    }
}

fn wanted(slices: Vec<SliceMeta>, wants: &dyn Fn(u64) -> bool) -> Vec<(u64, SliceMeta)> {
    let rows = (0..).zip(slices);
    rows.filter(|(row, _)| wants(*row)).collect()
}

fn is_same(row: &SliceMeta, slice: &SliceMeta) -> bool {
    let key = |of: &SliceMeta| (of.slice, of.view, of.height, of.width);
    row.sample == slice.sample && key(row) == key(slice)
}

fn other_samples(dir: &Path) -> Error {
    cache::Error::OtherSamples { path: dir.into() }.into()
}

/// Reads `samples` by the threads of `job`, and hands their slices to `take` in order.
fn stream(
    job: &Job<'_>,
    samples: &[Sample],
    take: &mut dyn FnMut(PreparedSlice) -> Result<(), Error>,
) -> Result<(), Error> {
    let notes = Mutex::new(SampleNotes::default());
    let recorder = Recorder::new(job.dataset);
    thread::scope(|scope| {
        let (line, queue) = sync_channel::<Line<'_>>(0);
        let (waiting, in_line) = sync_channel(job.readers);
        let queue = Arc::new(Mutex::new(queue));
        scope.spawn(move || dispatch(samples, AHEAD, &line, &waiting));
        for _ in 0..job.readers {
            let (queue, notes) = (Arc::clone(&queue), (&recorder, &notes));
            scope.spawn(move || read_samples(job, &queue, None, notes));
        }
        drop(queue);
        for prepared in in_line.into_iter().flatten() {
            match prepared {
                Prepared::Slice(slice) => take(*slice)?,
                Prepared::Failed(error) => return Err(error),
                Prepared::Sources(_) | Prepared::Skipped(_) | Prepared::Done => {}
            }
        }
        Ok(())
    })
}
