//! Readers: from samples to slices in queues, one for each sample.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use cache::{Position, Skipped, SourceFile};
use common::text::slashed;

use super::job::Job;
use crate::Error;
use crate::dataset::{Dataset, Sample, SampleNotes};
use crate::prepare::{self, PreparedSlice};
use crate::sources::Recorder;

/// A sample that could not be read.
pub(super) struct Skip {
    /// Entry in the cache.
    pub(super) kept: Skipped,
    /// Reason to show, with the original names of files.
    pub(super) shown: String,
}

/// Output of a reader for a sample, in order; `Done` is the last.
pub(super) enum Prepared {
    /// Before the slices of the sample that is read from them.
    Sources(Vec<SourceFile>),
    Slice(Box<PreparedSlice>),
    Skipped(Skip),
    Failed(Error),
    Done,
}

pub(super) type Line<'a> = (usize, &'a Sample, SyncSender<Prepared>);

/// Hands the samples to readers, and their queues to the assembler, in the same order.
pub(super) fn dispatch<'a>(
    samples: &'a [Sample],
    depth: usize,
    line: &SyncSender<Line<'a>>,
    waiting: &SyncSender<Receiver<Prepared>>,
) {
    for (index, sample) in samples.iter().enumerate() {
        let (slices, queue) = sync_channel(depth);
        if waiting.send(queue).is_err() || line.send((index, sample, slices)).is_err() {
            return;
        }
    }
}

pub(super) fn read_samples(
    job: &Job<'_>,
    queue: &Mutex<Receiver<Line<'_>>>,
    position: Option<&Position>,
    notes: (&Recorder<'_>, &Mutex<SampleNotes>),
) {
    loop {
        let next = queue.lock().map(|queue| queue.recv());
        let Ok(Ok((index, sample, slices))) = next else {
            return;
        };
        if job.is_stopped() {
            return;
        }
        let done = position.filter(|_| index == 0);
        let done = done.map(|p| (p.slice as usize, p.view));
        if let Err(error) = read_sample(job, (index, sample), done, &slices, notes) {
            let sample = sample.id.clone();
            let failed = match done {
                None if !job.is_repeated => Prepared::Skipped(skip(job.dataset, sample, error)),
                _ => Prepared::Failed(Error::HalfSample {
                    sample,
                    source: Box::new(error),
                }),
            };
            let _ = slices.send(failed);
        }
        let _ = slices.send(Prepared::Done);
    }
}

/// Sends the rows of a sample that come after slice and view `done`.
fn read_sample(
    job: &Job<'_>,
    (index, sample): (usize, &Sample),
    done: Option<(usize, u16)>,
    slices: &SyncSender<Prepared>,
    (recorder, notes): (&Recorder<'_>, &Mutex<SampleNotes>),
) -> Result<(), Error> {
    let before = recorder.before(sample);
    let opened = prepare::open(job.reader, index, job.dataset, sample, job.recipe)?;
    let sources = Prepared::Sources(recorder.after(sample, before)?);
    if slices.send(sources).is_err() {
        return Ok(());
    }
    if let Ok(mut notes) = notes.lock() {
        notes.note(&sample.id, opened.oddities());
    }
    let rows = opened
        .slices()
        .flat_map(|k| opened.views().map(move |view| (k, view)));
    for (k, view) in rows.filter(|row| done.is_none_or(|done| *row > done)) {
        let slice = Prepared::Slice(Box::new(opened.slice(k, view)?));
        if slices.send(slice).is_err() {
            break;
        }
    }
    Ok(())
}

/// The reason for skipping a sample, to show and to store: paths are relative to the dataset, since a cache
/// may be moved, and hashed in the cache like those of other samples.
fn skip(dataset: &Dataset, sample: String, error: Error) -> Skip {
    let error = error.relative_to(&dataset.root);
    let shown = error.to_string();
    let reason = match &dataset.pseudonyms {
        None => shown.clone(),
        Some(pseudonyms) => error
            .renamed(|path| pseudonyms.path(&slashed(path)).into())
            .to_string(),
    };
    let kept = Skipped { sample, reason };
    Skip { kept, shown }
}
