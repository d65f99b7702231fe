//! Parallel readers → bounded queues → batches, on the GPU → inference → one writer, in sample order.
//!
//! Every open sample has a bounded queue of its own. The queues are emptied in sample order, so the rows of a
//! cache do not depend on the number of threads, and memory does not depend on the number of samples.

mod job;
mod readers;
mod slices;

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use cache::{CacheMeta, CacheWriter, Position, SourceFile, TokenBatch};
use ndarray::{Array4, Axis};

pub use self::job::Job;
use self::readers::{Line, Prepared, Skip, dispatch, read_samples};
pub use self::slices::prepare_again;
use crate::Error;
use crate::backbone::{Backbone, LoadedBatch, Loader, SliceBatch};
use crate::dataset::{Dataset, Sample, SampleNotes};
use crate::prepare::PreparedSlice;
use crate::sources::Recorder;

/// Capacity of the channels before and after the backbone, in batches.
const WAITING_BATCHES: usize = 2;

/// Smallest capacity of a sample's queue, in slices; more if there are few readers per batch.
const AHEAD: usize = 8;

/// Time between two looks at the request to stop, and at what is to be saved.
const POLL: Duration = Duration::from_millis(50);

/// Progress of a run.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Slices embedded in this run.
    pub slices: u64,
    /// Slices embedded by earlier runs.
    pub earlier: u64,
    /// Finished samples of the run, including skipped ones and those of earlier runs.
    pub samples: u64,
    /// Samples that could not be read, as `path: reason`, since the last report.
    pub skipped: Vec<String>,
}

/// Result of a run.
#[derive(Debug)]
pub struct Outcome {
    /// The cache; it is not complete if the run was stopped.
    pub meta: CacheMeta,
    /// Slices embedded in this run.
    pub slices: u64,
    /// Time from the first sample to the finished cache.
    pub elapsed: Duration,
    /// Time in the backbone.
    pub inference: Duration,
    /// Warnings about the samples of this run.
    pub warnings: Vec<String>,
}

impl Outcome {
    /// The outcome of a run that found nothing left to do.
    pub fn of_finished(meta: CacheMeta) -> Outcome {
        Outcome {
            meta,
            slices: 0,
            elapsed: Duration::ZERO,
            inference: Duration::ZERO,
            warnings: Vec::new(),
        }
    }
}

/// A message between stages; `End` or `Stop` is the last. A failed stage sends neither, and without `End` the
/// cache is not finished.
enum Step<B> {
    /// A batch, and the files of samples that begin in it.
    Batch(B, Vec<SourceFile>),
    Skipped(Skip),
    Failed(Error),
    Stop,
    End,
}

/// A step, and the number of samples that were finished since the one before.
type Counted<B> = (u64, Step<B>);

/// Runs `job` from where `writer` stands and finishes the cache, or saves all whole batches if it is asked to
/// stop.
///
/// `report` is called after each batch and each skipped sample.
///
/// # Errors
///
/// [`Error::Model`] if the backbone fails, [`Error::Cache`] if the cache cannot be written, and
/// [`Error::NothingRead`] if no sample of the dataset could be read. Slices that were computed
/// before are saved, and the next run resumes from there.
pub fn run(
    job: &Job<'_>,
    backbone: &mut Backbone,
    writer: CacheWriter,
    report: &mut dyn FnMut(Progress),
) -> Result<Outcome, Error> {
    let started = Instant::now();
    let position = writer.position()?;
    let samples = &job.dataset.samples[job.samples.clone()];
    let first = first_sample(samples, position.as_ref());
    let earlier = writer.rows();
    report(Progress {
        samples: first as u64,
        earlier,
        ..Progress::default()
    });
    let report = &mut |progress| {
        report(Progress {
            earlier,
            ..progress
        });
    };
    let samples = &samples[first..];
    let notes = Mutex::new(SampleNotes::default());
    let recorder = Recorder::new(job.dataset);
    thread::scope(|scope| {
        let (line, queue) = sync_channel::<Line<'_>>(0);
        let (waiting, in_line) = sync_channel(job.readers);
        let (batches, to_embed) = sync_channel(WAITING_BATCHES);
        let (tokens, to_write) = sync_channel(WAITING_BATCHES);
        let queue = Arc::new(Mutex::new(queue));
        let ahead = job.batch_size.div_ceil(job.readers).max(AHEAD);
        let ahead = ahead.min(job.batch_size);
        scope.spawn(move || dispatch(samples, ahead, &line, &waiting));
        for _ in 0..job.readers {
            let (queue, position) = (Arc::clone(&queue), position.as_ref());
            let notes = (&recorder, &notes);
            scope.spawn(move || read_samples(job, &queue, position, notes));
        }
        drop(queue);
        let loader = backbone.loader();
        scope.spawn(move || assemble(job, &loader, &in_line, &batches));
        let written = scope.spawn(move || write(job, writer, &to_write));
        let embedded = embed(job, backbone, to_embed, tokens, first as u64, report);
        let written = written.join().unwrap_or(Err(Error::Broken));
        let (meta, (slices, inference)) = match (written, embedded) {
            (Err(Error::Broken), Err(error)) => return Err(error),
            (written, embedded) => (written?, embedded?),
        };
        Ok(Outcome {
            meta,
            slices,
            elapsed: started.elapsed(),
            inference,
            warnings: notes
                .lock()
                .map_or_else(|_| Vec::new(), |notes| notes.warnings()),
        })
    })
}

/// The sample to start with: the one that the last finished shard ends in.
fn first_sample(samples: &[Sample], position: Option<&Position>) -> usize {
    let Some(position) = position else { return 0 };
    let mut samples = samples.iter();
    samples.position(|s| s.id == position.sample).unwrap_or(0)
}

fn assemble(
    job: &Job<'_>,
    loader: &Loader,
    in_line: &Receiver<Receiver<Prepared>>,
    batches: &SyncSender<Counted<LoadedBatch>>,
) {
    let load = |slices, sources| match loader.load(stack(job, slices)) {
        Ok(batch) => Step::Batch(batch, sources),
        Err(error) => Step::Failed(error.into()),
    };
    let (mut slices, mut sources) = (Vec::with_capacity(job.batch_size), Vec::new());
    // Sent with the next step: for single images, separate steps would fill the channel, and nothing would
    // be read while a batch is computed.
    let mut finished = 0;
    for queue in in_line {
        let mut done = false;
        for prepared in queue {
            done = matches!(prepared, Prepared::Done);
            let step = match prepared {
                Prepared::Done => {
                    finished += 1;
                    continue;
                }
                Prepared::Skipped(skipped) => Step::Skipped(skipped),
                Prepared::Failed(error) => Step::Failed(error),
                Prepared::Sources(files) => {
                    sources.extend(files);
                    continue;
                }
                Prepared::Slice(slice) => {
                    slices.push(*slice);
                    if slices.len() < job.batch_size {
                        continue;
                    }
                    load(std::mem::take(&mut slices), std::mem::take(&mut sources))
                }
            };
            if batches.send((std::mem::take(&mut finished), step)).is_err() {
                return;
            }
        }
        if !done {
            return;
        }
    }
    if !slices.is_empty() {
        let _ = batches.send((0, load(slices, sources)));
    }
    let _ = batches.send((finished, Step::End));
}

fn stack(job: &Job<'_>, slices: Vec<PreparedSlice>) -> SliceBatch {
    let size = job.recipe.image_size as usize;
    let mut pixels = Array4::zeros((slices.len(), 3, size, size));
    let mut batch = SliceBatch {
        pixels: Array4::zeros((0, 3, size, size)),
        slices: Vec::with_capacity(slices.len()),
        masks: Vec::new(),
        pictures: Vec::new(),
    };
    let has_masks = has_masks(job.dataset);
    for (slice, mut row) in slices.into_iter().zip(pixels.axis_iter_mut(Axis(0))) {
        row.assign(&slice.pixels);
        batch.slices.push(slice.meta);
        if job.pictures {
            batch.pictures.push(job.recipe.picture(slice.pixels.view()));
        }
        if has_masks {
            batch.masks.push(slice.mask);
        }
    }
    batch.pixels = pixels;
    batch
}

/// True if a cache of this dataset stores masks.
pub fn has_masks(dataset: &Dataset) -> bool {
    dataset.samples.iter().any(|sample| !sample.mask.is_empty())
}

fn embed(
    job: &Job<'_>,
    backbone: &mut Backbone,
    steps: Receiver<Counted<LoadedBatch>>,
    tokens: SyncSender<Step<TokenBatch>>,
    mut samples: u64,
    report: &mut dyn FnMut(Progress),
) -> Result<(u64, Duration), Error> {
    let (mut slices, mut inference) = (0, Duration::ZERO);
    // A batch that is not full is the last one, and `End` follows.
    let mut is_full = true;
    loop {
        if is_full && job.is_stopped() {
            let _ = tokens.send(Step::Stop);
            break;
        }
        let (finished, step) = match steps.recv_timeout(POLL) {
            Ok(step) => step,
            Err(RecvTimeoutError::Timeout) => continue,
            // Readers that are asked to stop end in the middle of a sample.
            Err(RecvTimeoutError::Disconnected) if job.is_stopped() => {
                let _ = tokens.send(Step::Stop);
                break;
            }
            Err(RecvTimeoutError::Disconnected) => break,
        };
        samples += finished;
        let mut skipped = Vec::new();
        let step = match step {
            Step::End => Step::End,
            Step::Stop => Step::Stop,
            Step::Failed(error) => return Err(error),
            Step::Skipped(skip) => {
                skipped.push(skip.shown.clone());
                Step::Skipped(skip)
            }
            Step::Batch(batch, sources) => {
                slices += batch.slices() as u64;
                is_full = batch.slices() == job.batch_size;
                let started = Instant::now();
                let batch = backbone.embed(batch)?;
                inference += started.elapsed();
                Step::Batch(batch, sources)
            }
        };
        if tokens.send(step).is_err() {
            break;
        }
        report(Progress {
            slices,
            samples,
            skipped,
            ..Progress::default()
        });
    }
    Ok((slices, inference))
}

/// Writes all steps, saves in between, and finishes the cache after `End`.
fn write(
    job: &Job<'_>,
    mut writer: CacheWriter,
    steps: &Receiver<Step<TokenBatch>>,
) -> Result<CacheMeta, Error> {
    // The last batch may not be full. It is not saved, since a resumed run would not form it again if files
    // were repaired meanwhile.
    let mut is_full = true;
    loop {
        let is_due =
            || job.is_stopped() || writer.next_save(job.save_every) == Some(Duration::ZERO);
        if is_full && is_due() {
            writer.save()?;
        }
        match steps.recv_timeout(POLL) {
            Ok(Step::Batch(batch, sources)) => {
                is_full = batch.slices.len() == job.batch_size;
                writer.add_sources(sources);
                writer.append(&batch)?;
            }
            Ok(Step::Skipped(skip)) => writer.skip(skip.kept),
            Ok(Step::Failed(error)) => return Err(error),
            Ok(Step::Stop) => {
                writer.save()?;
                return Ok(writer.meta().clone());
            }
            // Another part may have samples that can be read.
            Ok(Step::End) if writer.is_empty() && writer.meta().part.is_none() => {
                let samples = writer.meta().samples;
                return Err(Error::NothingRead { samples });
            }
            Ok(Step::End) => return Ok(writer.finish()?),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) if is_full => {
                writer.save()?;
                return Err(Error::Broken);
            }
            Err(RecvTimeoutError::Disconnected) => return Err(Error::Broken),
        }
    }
}
