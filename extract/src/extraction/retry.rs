//! Samples that were skipped and can be read now.

use std::collections::HashMap;
use std::path::Path;

use cache::{CacheMeta, CacheReader, Parts, Skipped, SliceMeta};
use common::counted;
use common::text::shown;
use imaging::preprocess::Preprocess;
use imaging::read::Reader;

use crate::dataset::{Dataset, Sample};
use crate::{Error, prepare, sources};

/// The part of a cache that stays when samples are taken in: rows keep the order of the dataset, so all
/// after the first new sample are computed again.
pub(super) struct Retry {
    /// Number of samples that can be read now.
    pub(super) repaired: usize,
    /// Shards that stay.
    pub(super) shards: usize,
    /// Slices that are in the cache and are computed again.
    pub(super) again: u64,
    /// Skipped samples before the end of these shards.
    pub(super) skipped: Vec<Skipped>,
}

/// What is about to be done, for the user.
pub(super) fn describe(retry: Option<&Retry>, begun: &CacheMeta) -> String {
    let skipped = counted(begun.skipped.len(), "skipped sample");
    let Some(Retry {
        repaired, again, ..
    }) = retry
    else {
        return format!("`--retry-skipped`: none of {skipped} can be read now");
    };
    let slices = counted(*again, "slice");
    format!(
        "{repaired} of {skipped} can be read now; {slices} after the first of them will be computed again, to keep the order of the dataset"
    )
}

/// A warning of splits and labels that were made of the samples before, if there are any.
///
/// # Errors
///
/// If the cache cannot be read.
pub(super) fn stale_sets(dir: &Path) -> Result<Option<String>, Error> {
    let reader = CacheReader::open_unfinished(dir)?;
    let splits = reader
        .splits()?
        .into_iter()
        .map(|name| format!("split `{name}`"));
    let labels = reader
        .label_sets()?
        .into_iter()
        .map(|name| format!("labels `{name}`"));
    let sets: Vec<String> = splits.chain(labels).collect();
    if sets.is_empty() {
        return Ok(None);
    }
    Ok(Some(format!(
        "`--retry-skipped` adds samples that these do not have, so they can no longer be used: {}; make them again with `extract split --force` and `extract relabel --force`",
        sets.join(", ")
    )))
}

/// Refuses a run that finds repaired files and was not told to take them in: the list of samples is not
/// that of the cache any more.
///
/// # Errors
///
/// [`Error::Options`].
pub(super) fn refuse_repaired(
    dir: &Path,
    begun: &CacheMeta,
    run: &CacheMeta,
    (dataset, recipe): (&Dataset, &Preprocess),
) -> Result<(), Error> {
    let may_be_repaired = !begun.skipped.is_empty()
        && begun.samples == run.samples
        && begun.samples_sha256 != run.samples_sha256;
    if !may_be_repaired {
        return Ok(());
    }
    // Samples that differ in other ways are refused later.
    let Ok(Some(retry)) = plan(dir, begun, dataset, recipe) else {
        return Ok(());
    };
    Err(Error::Options {
        found: format!(
            "`{}`: {} of {} can be read now",
            shown(dir),
            retry.repaired,
            counted(begun.skipped.len(), "skipped sample")
        ),
        hint: "give `--retry-skipped` to take them in".to_owned(),
    })
}

/// Refuses a part of another list of samples if the reason is a file that was changed or repaired since other
/// parts were extracted.
///
/// # Errors
///
/// [`Error::Options`], and [`Error::SourcesChanged`] if tokens of the file are in another part.
pub(super) fn refuse_repaired_parts(
    parts: &Parts,
    (dataset, recipe): (&Dataset, &Preprocess),
) -> Result<(), Error> {
    let reader = Reader::new(&dataset.root);
    for (dir, meta) in parts.begun() {
        sources::compare(&dir, meta, dataset)?;
        for skipped in &meta.skipped {
            let mut samples = dataset.samples.iter();
            let Some(sample) = samples.find(|sample| sample.id == skipped.sample) else {
                continue;
            };
            if prepare::open(&reader, 0, dataset, sample, recipe).is_ok() {
                return Err(Error::Options {
                    found: format!(
                        "`{}`: `{}` was skipped there and can be read now, so that the samples are no longer those of that part",
                        shown(&dir),
                        shown(&sample.id)
                    ),
                    hint: "put the file back as it was until all parts are joined; then `--retry-skipped` without `--shard` takes the repaired one in. Or delete the folder `parts` and extract all parts again".to_owned(),
                });
            }
        }
    }
    Ok(())
}

/// Reads the skipped samples of the cache `dir`; `None` if none of them can be read.
///
/// # Errors
///
/// [`cache::Error::OtherSamples`] if samples of the cache are not those of the dataset.
pub(super) fn plan(
    dir: &Path,
    cache: &CacheMeta,
    dataset: &Dataset,
    recipe: &Preprocess,
) -> Result<Option<Retry>, Error> {
    let slices = CacheReader::open_unfinished(dir)?.slices()?;
    let places = dataset.samples.iter().enumerate();
    let places: HashMap<&str, usize> = places.map(|(k, sample)| (&*sample.id, k)).collect();
    check_rows(dir, &slices, dataset, &places)?;
    let place = |sample: &str| {
        let place = places.get(sample).copied();
        place.ok_or_else(|| other_samples(dir))
    };
    let mut skipped = Vec::new();
    for sample in &cache.skipped {
        skipped.push((place(&sample.sample)?, sample.clone()));
    }
    let reader = Reader::new(&dataset.root);
    let mut repaired = Vec::new();
    for (number, (place, _)) in skipped.iter().enumerate() {
        let sample = &dataset.samples[*place];
        if prepare::open(&reader, number, dataset, sample, recipe).is_ok() {
            repaired.push(*place);
        }
    }
    let Some(&first) = repaired.iter().min() else {
        return Ok(None);
    };
    let mut before = 0;
    for slice in &slices {
        before += u64::from(place(&slice.sample)? < first);
    }
    let shards = (before / u64::from(cache.shard_rows.max(1))) as usize;
    let kept: u64 = (cache.shards.iter().take(shards))
        .map(|shard| u64::from(shard.rows))
        .sum();
    let end = match (kept as usize).checked_sub(1) {
        Some(last) => place(&slices[last].sample)?,
        None => 0,
    };
    Ok(Some(Retry {
        repaired: repaired.len(),
        shards,
        again: cache.saved_rows() - kept,
        skipped: (skipped.into_iter())
            .filter(|(place, _)| *place < end)
            .map(|(_, sample)| sample)
            .collect(),
    }))
}

/// Compares the rows of a cache with the samples of a dataset: ids, patients, splits and labels.
fn check_rows(
    dir: &Path,
    slices: &[SliceMeta],
    dataset: &Dataset,
    places: &HashMap<&str, usize>,
) -> Result<(), Error> {
    let is_same = |slice: &SliceMeta, sample: &Sample| {
        slice.patient == sample.patient
            && slice.split == sample.split
            && (dataset.labels_from_mask || slice.labels == sample.labels)
    };
    let of = |slice: &SliceMeta| Some(&dataset.samples[*places.get(&*slice.sample)?]);
    let all_same = slices
        .iter()
        .all(|slice| of(slice).is_some_and(|sample| is_same(slice, sample)));
    if all_same {
        Ok(())
    } else {
        Err(other_samples(dir))
    }
}

fn other_samples(dir: &Path) -> Error {
    cache::Error::OtherSamples { path: dir.into() }.into()
}
