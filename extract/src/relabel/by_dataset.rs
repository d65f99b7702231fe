//! Labels and masks from a dataset, as an extraction would read them now.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroUsize;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use cache::{CacheReader, LabelWriter, NewLabels, Relabelled, SliceMeta};
use imaging::preprocess::Preprocess;
use imaging::read::Reader;

use super::patients::{Hidden, is_hidden};
use super::{Target, Written, comparable, other_samples};
use crate::dataset::{Dataset, Sample};
use crate::split::{PatientSplits, check_overlaps};
use crate::{Error, pipeline, prepare, sources};

/// Rows that a thread prepares before they are written.
const AHEAD: usize = 16;

/// New labels of a row, or why its sample cannot be read.
type Row = Result<Relabelled, Error>;

/// Rows of a sample in a cache, and the sample in the dataset.
struct Work<'a> {
    sample: &'a Sample,
    rows: &'a [SliceMeta],
}

/// Gives a cache the labels, patients and masks that the dataset has now. Images are read only if there are
/// masks, and not embedded.
///
/// # Errors
///
/// [`Error::Layout`] if a sample of the cache is not in the dataset or of another image, [`Error::SourcesChanged`]
/// if an image has changed, [`Error::HalfSample`] if one cannot be read, [`Error::PatientOverlap`], and errors of
/// [`LabelWriter`].
pub fn by_dataset(
    reader: &CacheReader,
    dataset: &Dataset,
    target: Target<'_>,
) -> Result<Written, Error> {
    let has_masks = pipeline::has_masks(dataset);
    let masks = (dataset.mask_classes.clone(), dataset.ignored_mask_value());
    let new = NewLabels {
        made_by: format!("dataset:{}", dataset.name),
        task: dataset.task,
        classes: dataset.classes.clone(),
        masks: has_masks.then_some(masks),
    };
    let slices = reader.slices()?;
    let samples = dataset
        .samples
        .iter()
        .map(|sample| (sample.id.as_str(), sample));
    let samples: HashMap<&str, &Sample> = samples.collect();
    let groups: Vec<&[SliceMeta]> = slices.chunk_by(|a, b| a.sample == b.sample).collect();
    check_images(reader, dataset, &samples, &groups)?;
    let hidden = Hidden::of(slices.iter().any(is_hidden))?;
    let mut patients = PatientSplits::default();
    for rows in &groups {
        let patient = hidden.name(samples[rows[0].sample.as_str()].patient.clone());
        if let (Some(patient), Some(split)) = (patient, rows[0].split) {
            patients.add(&patient, split);
        }
    }
    let hint = "correct the patients of the dataset";
    let overlap = check_overlaps(&patients.overlaps(), target.allow_patient_overlap, hint)?;
    let work: Vec<Work<'_>> = groups
        .into_iter()
        .map(|rows| Work {
            sample: samples[rows[0].sample.as_str()],
            rows,
        })
        .collect();
    let mut written = Written {
        changed: comparable(reader, &new),
        warnings: overlap.into_iter().collect(),
        ..Written::new(&new)
    };
    let writer = LabelWriter::create(reader, (target.name, target.replace), new, target.staging)?;
    if has_masks {
        let recipe = serde_json::from_value(reader.meta().preprocess.clone())?;
        with_masks(dataset, &recipe, &work, |next| {
            writer.write(|slice| {
                let new = next()?;
                written.count(&slice.labels, &new.labels);
                Ok(Relabelled {
                    patient: hidden.name(new.patient),
                    ..new
                })
            })
        })?;
    } else {
        writer.write(|slice| {
            let sample = samples[slice.sample.as_str()];
            written.count(&slice.labels, &sample.labels);
            Ok::<_, Error>(Relabelled {
                patient: hidden.name(sample.patient.clone()),
                labels: sample.labels.clone(),
                mask: None,
            })
        })?;
    }
    Ok(written)
}

/// Refuses a dataset whose images are not those that the rows of each sample were computed from.
fn check_images(
    reader: &CacheReader,
    dataset: &Dataset,
    samples: &HashMap<&str, &Sample>,
    groups: &[&[SliceMeta]],
) -> Result<(), Error> {
    let (mut missing, mut others) = (Vec::new(), Vec::new());
    for rows in groups {
        let id = &rows[0].sample;
        match samples.get(id.as_str()) {
            None => missing.push(id.clone()),
            Some(sample) if !is_of(sample, dataset, rows) => others.push(id.clone()),
            Some(_) => {}
        }
    }
    let hint = "check that `--root` is the folder that the cache was extracted from, and that options such as \
                `--keep-ids` are those of the extraction";
    if !missing.is_empty() {
        let found = ("is not in the dataset", "are not in the dataset");
        return Err(other_samples(&dataset.root, found, &missing, hint));
    }
    if !others.is_empty() {
        let found = (
            "is of another image or other slices than in the cache",
            "are of other images or other slices than in the cache",
        );
        return Err(other_samples(&dataset.root, found, &others, hint));
    }
    let of_cache = groups.iter().map(|rows| samples[rows[0].sample.as_str()]);
    sources::compare_images(reader.dir(), reader.meta(), dataset, of_cache)
}

/// Whether a sample has the images and slices of the rows.
fn is_of(sample: &Sample, dataset: &Dataset, rows: &[SliceMeta]) -> bool {
    let files = sample.image.files().iter();
    let files: HashSet<String> = files
        .map(|file| sources::recorded_path(dataset, file))
        .collect();
    rows.iter().all(|row| {
        let slices = sample.slices.as_ref();
        files.contains(&row.image) && slices.is_none_or(|range| range.contains(&row.slice))
    })
}

/// Reads the masks of all samples with a thread per core. `write` gets a function that gives the next row, in the
/// order of the cache.
fn with_masks(
    dataset: &Dataset,
    recipe: &Preprocess,
    work: &[Work<'_>],
    write: impl FnOnce(&mut dyn FnMut() -> Row) -> Result<(), Error>,
) -> Result<(), Error> {
    let reader = Reader::new(&dataset.root);
    let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let threads = threads.min(work.len()).max(1);
    thread::scope(|scope| {
        let mut queues: Vec<Receiver<Row>> = Vec::with_capacity(threads);
        for first in 0..threads {
            let (rows, queue) = sync_channel(AHEAD);
            queues.push(queue);
            let reader = &reader;
            scope.spawn(move || {
                for (index, of) in work.iter().enumerate().skip(first).step_by(threads) {
                    if let Err(error) = read_masks(reader, index, (dataset, recipe), of, &rows)
                        && rows.send(Err(error)).is_err()
                    {
                        return;
                    }
                }
            });
        }
        let samples = work.iter().enumerate();
        let mut samples = samples.flat_map(|(index, of)| of.rows.iter().map(move |_| (index, of)));
        write(&mut || {
            let (index, of) = samples.next().ok_or(Error::Broken)?;
            let new = queues[index % threads].recv().map_err(|_| Error::Broken)?;
            new.map_err(|source| Error::HalfSample {
                sample: of.sample.id.clone(),
                source: Box::new(source),
            })
        })
    })
}

fn read_masks(
    reader: &Reader,
    index: usize,
    (dataset, recipe): (&Dataset, &Preprocess),
    of: &Work<'_>,
    rows: &SyncSender<Row>,
) -> Result<(), Error> {
    let opened = prepare::open(reader, index, dataset, of.sample, recipe)?;
    for row in of.rows {
        let slice = row.slice as usize;
        if !opened.slices().contains(&slice) {
            let found = format!("no slice {slice} in the sample");
            let (expected, hint) = (
                "the image that was extracted".to_owned(),
                "restore it".to_owned(),
            );
            let path = dataset.root.join(of.sample.image.file());
            return Err(Error::Layout {
                path,
                found,
                expected,
                hint,
            });
        }
        let (meta, mask) = opened.described(slice, row.view)?;
        let new = Relabelled {
            patient: meta.patient,
            labels: meta.labels,
            mask,
        };
        if rows.send(Ok(new)).is_err() {
            break;
        }
    }
    Ok(())
}
