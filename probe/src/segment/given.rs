//! Label maps that a training outside of this program has predicted.

use std::fs::File;
use std::path::Path;

use arrow::array::AsArray;
use arrow::datatypes::UInt64Type;
use cache::{CacheReader, ForeignParquet, Split};
use serde_json::{Map, json};

use super::cases::{Cases, has_all_splits};
use super::evaluated::Evaluated;
use super::measures;
use super::predict::compare;
use super::resolution::Resolution;
use crate::Error;
use crate::error::Cause;
use crate::error::FileError;
use crate::error::SegmentError;
use crate::evaluate::{Identity, NOTHING_CHOSEN, Settings, blank};
use crate::outside::{MASKS, Run, check_cache};
use crate::record::RunRecord;

/// Advice if a network finds nothing.
const ADVICE: &str = "train for more epochs, or at other learning rates";

/// Label maps that are read together.
const BATCH: usize = 16;

/// The key of the evaluation of the training in `folder`.
///
/// # Errors
///
/// [`Error::ScoresOfOtherCache`], and [`Error::Cache`] if the slices of the cache or the named split cannot be read.
pub fn key_of_run(
    run: &Run,
    folder: &Path,
    reader: &CacheReader,
    settings: &Settings,
) -> Result<String, Error> {
    Ok(identity(run, folder, reader, settings)?.key)
}

fn identity(
    run: &Run,
    folder: &Path,
    reader: &CacheReader,
    settings: &Settings,
) -> Result<Identity, Error> {
    check_cache(reader, run, folder)?;
    let mut options = Map::from_iter([("probe".to_owned(), json!("finetune"))]);
    options.extend(run.settings.clone());
    let sha256 = crate::head::sha256_of(&folder.join(MASKS))?;
    settings.identity(reader, options, NOTHING_CHOSEN, &[sha256])
}

/// Checks that `train`, `val` and `test` of a cache have slices with masks. Masks are read only if one has no slices.
///
/// # Errors
///
/// [`SegmentError::NoMaskedSlices`], and those of reading slices and masks.
pub fn check_splits(reader: &CacheReader, settings: &Settings) -> Result<(), Error> {
    if has_all_splits(reader, settings)? {
        return Ok(());
    }
    let cases = Cases::read(reader, settings.split_name.as_deref(), true)?;
    Split::ALL
        .iter()
        .try_for_each(|&split| cases.part(reader, &[split], false).map(drop))
}

/// Measures the label maps in `folder`.
///
/// # Errors
///
/// [`Error::ScoresOfOtherCache`], [`SegmentError::NoMasks`], [`SegmentError::NoSlices`] if `test` has no slices with masks, and
/// [`FileError::Input`] if there is no label map of a slice.
pub fn evaluate_run(
    run: &Run,
    folder: &Path,
    reader: &CacheReader,
    settings: &Settings,
) -> Result<Evaluated, Error> {
    let identity = identity(run, folder, reader, settings)?;
    let cases = Cases::read(reader, settings.split_name.as_deref(), false)?;
    let test = cases.rows(&[Split::Test], false);
    if test.is_empty() {
        return Err(Error::Segment(SegmentError::NoSlices {
            path: reader.dir().into(),
            split: settings.eval.name(),
        }));
    }
    let path = folder.join(MASKS);
    let resolution = settings.protocol.resolution();
    let shape = (cases.names.len(), reader.meta().image_size as usize);
    let volumes = compare(
        &cases,
        shape,
        resolution,
        |_| Ok(()),
        |size, consume| read(&path, &cases, &test, size, consume),
    )?;
    let mut warnings = cases.warnings.clone();
    warnings.extend(measures::never_predicted(&volumes, &cases.names, ADVICE));
    let measures = match resolution {
        Resolution::Native => {
            let confidence = settings.confidence.as_ref();
            measures::by_volume(&volumes, &cases.names, confidence, &mut warnings)?
        }
        Resolution::Input => measures::pooled(&volumes, &cases.names),
    };
    let mut record = RunRecord {
        probe: "finetune".into(),
        setting: run.setting.clone(),
        params: run.params.clone(),
        n_train: run.n_train,
        n_test: test.len(),
        chosen: Some(true),
        chosen_on: Some(Split::Val.name().into()),
        metrics: measures.values,
        ci: measures.ci,
        warnings,
        ..blank(reader, settings, &identity)
    };
    run.complete(&mut record);
    Ok(Evaluated {
        record,
        volumes,
        names: cases.names,
        pictures: Vec::new(),
    })
}

/// Hands the classes of each of `rows`, which ascend, to `consume`; label maps have the height and width `size`.
fn read(
    path: &Path,
    cases: &Cases,
    rows: &[usize],
    size: &(dyn Fn(usize) -> [usize; 2] + Sync),
    consume: &mut dyn FnMut(usize, Vec<u16>) -> Result<(), Error>,
) -> Result<(), Error> {
    let failed = |source: Cause| {
        Error::File(FileError::Input {
            path: path.into(),
            source,
        })
    };
    let open = || -> Result<_, Cause> {
        let builder = ForeignParquet::rows(File::open(path)?)?;
        Ok(builder.with_batch_size(BATCH).build()?)
    };
    let mut wanted = rows.iter().copied().peekable();
    for batch in open().map_err(failed)? {
        let batch = batch.map_err(|error| failed(error.into()))?;
        let numbers = batch.column_by_name("row");
        let numbers = numbers.and_then(|column| column.as_primitive_opt::<UInt64Type>());
        let masks = batch.column_by_name("mask");
        let masks = masks.and_then(|column| column.as_binary_opt::<i32>());
        let (Some(numbers), Some(masks)) = (numbers, masks) else {
            return Err(failed("expected the columns `row` and `mask`".into()));
        };
        for (&number, mask) in numbers.values().iter().zip(masks.iter()) {
            let Some(row) = wanted.next_if(|&row| row as u64 == number) else {
                continue;
            };
            let found = classes(cases, mask.unwrap_or_default(), size(row));
            let found = found.map_err(|what| failed(format!("row {row}: {what}").into()))?;
            consume(row, found)?;
        }
    }
    match wanted.next() {
        None => Ok(()),
        Some(row) => Err(failed(
            format!("there is no label map of row {row} of the cache").into(),
        )),
    }
}

/// The classes of a label map, two bytes a pixel.
fn classes(cases: &Cases, mask: &[u8], [height, width]: [usize; 2]) -> Result<Vec<u16>, String> {
    let (pixels, rest) = mask.as_chunks::<2>();
    if pixels.len() != height * width || !rest.is_empty() {
        let found = mask.len();
        return Err(format!("{found} bytes, expected 2 x {height} x {width}"));
    }
    let class = |bytes: &[u8; 2]| {
        let value = u16::from_le_bytes(*bytes);
        let class = cases.values.binary_search(&value);
        class
            .map(|class| class as u16)
            .map_err(|_| format!("the value {value}, which no mask of the cache has"))
    };
    pixels.iter().map(class).collect()
}
