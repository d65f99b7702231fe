//! What a trained decoder predicts of other caches.

use std::path::Path;
use std::time::Instant;

use cache::{CacheReader, SliceMeta};
use nn::Workspace;
use serde_json::{Map, json};

use super::cases::Cases;
use super::predict::{Resolution, measure};
use super::stream::Stream;
use super::{Evaluated, SavedDecoder, label_maps, volumes};
use crate::Error;
use crate::evaluate::{Identity, NOTHING_CHOSEN, Settings, blank};
use crate::metrics::measures::Measures;
use crate::origin::{Mismatch, Part};
use crate::record::RunRecord;

/// What to do if a decoder finds nothing.
const ADVICE: &str = "see whether the images are of the kind that the decoder was trained on, and were \
                      extracted with the same recipe";

/// Slices that are predicted together.
const BATCH: usize = 8;

/// How a decoder is applied to a cache.
#[derive(Clone, Copy, Debug)]
pub struct Applying {
    /// The samples that it is applied to.
    pub part: Part,
    /// What to do about tokens of another recipe.
    pub mismatch: Mismatch,
    /// Whether pixels of values without a name, beside others that have one, are ignored, and not an
    /// error.
    pub ignore_unnamed: bool,
}

/// Applies a decoder out of `file` to the samples of a cache, those of the split to evaluate or all, and
/// writes their label maps into `folder`, at native resolution. Where the masks have the decoder's
/// values, samples are measured too.
///
/// # Errors
///
/// [`Error::HeadTokens`] if the cache's tokens are of another backbone or recipe,
/// [`Error::DecoderTokens`] if they are of another width or grid, [`Error::UnnamedValues`],
/// [`Error::NoSlices`] if there is nothing to predict, [`Error::Output`], and [`Error::Cache`] if the cache has no patch tokens or cannot be read.
pub fn apply(
    reader: &CacheReader,
    (saved, file): (&SavedDecoder, &Path),
    settings: &Settings,
    how: Applying,
    folder: &Path,
) -> Result<Evaluated, Error> {
    let start = Instant::now();
    let identity = of_decoder(reader, file, settings, how, folder)?;
    let (about, meta, part) = (&saved.about, reader.meta(), how.part);
    let mut warnings = about.origin.check(reader, how.mismatch)?;
    let decoder = saved.decoder().map_err(|source| Error::Input {
        path: file.into(),
        source,
    })?;
    let patches = reader.patches(&about.layers)?;
    for &layer in &about.layers {
        let shape = meta.shape(layer);
        let grid = shape.grid.map(|length| length as usize);
        let (found, expected) = (
            tokens(shape.patch as usize, grid, meta.image_size as usize),
            tokens(about.width, about.grid, about.image_size),
        );
        if found != expected {
            return Err(Error::DecoderTokens {
                path: reader.dir().into(),
                found,
                expected,
            });
        }
    }
    let values = about.layers.iter().map(|&layer| {
        let shape = meta.shape(layer);
        shape.patches() * shape.patch as usize
    });
    let norm = about.layer_norm.then_some(about.width);
    let stream = Stream::new(patches, values.collect(), BATCH, norm);
    let split = settings.split_name.as_deref();
    let classes = (about.classes.as_slice(), about.values.as_slice());
    let cases = Cases::for_decoder(reader, split, classes, how.ignore_unnamed)?;
    warnings.extend(cases.warnings.iter().cloned());
    let rows: Vec<usize> = (0..cases.slices.len())
        .filter(|&row| {
            let slice = &cases.slices[row];
            slice.view == 0 && (part == Part::All || slice.split == Some(settings.eval))
        })
        .collect();
    if rows.is_empty() {
        return Err(Error::NoSlices {
            path: reader.dir().into(),
            split: settings.eval.name(),
        });
    }
    let mut workspace = Workspace::new(decoder.kind(), decoder.shape(), BATCH)?;
    let (mut files, mut uneven, mut has_structure) = (0, 0, false);
    let measured = measure(
        &decoder,
        &mut workspace,
        &stream,
        &cases,
        &rows,
        Resolution::Native,
        |stack| {
            let Some(labels) = stack.predicted() else {
                uneven += 1;
                return Ok(());
            };
            has_structure |= labels.iter().any(|&class| class > 0);
            let labels = labels.map(|&class| about.values[usize::from(class)]);
            let slices: Vec<&SliceMeta> =
                stack.rows.iter().map(|&row| &cases.slices[row]).collect();
            files += 1;
            label_maps::write(folder, &slices, &labels).map(|_| ())
        },
    )?;
    let measured: Vec<_> = measured
        .into_iter()
        .filter(|v| !v.counts.is_empty())
        .collect();
    let evaluated = rows.iter().map(|&row| cases.who(row));
    warnings.extend(about.origin.overlap(reader, evaluated));
    if uneven > 0 {
        warnings.push(format!(
            "{uneven} samples with slices of several sizes have no label map"
        ));
    }
    if files > 0 && !has_structure {
        warnings.push(format!("no structure is predicted anywhere: {ADVICE}"));
    } else {
        warnings.extend(volumes::never_predicted(&measured, &cases.names, ADVICE));
    }
    let measures = if measured.is_empty() {
        warnings.push("no masks of the decoder's classes: nothing measured".into());
        Measures {
            values: Map::new(),
            ci: None,
        }
    } else {
        warnings.extend(volumes::without_distances(&measured));
        volumes::by_volume(&measured, &cases.names, settings.confidence.as_ref())?
    };
    let mut record = RunRecord {
        probe: "predict".into(),
        setting: format!("{} of {}", about.decoder, about.origin.dataset),
        params: Map::from_iter([
            ("head".to_owned(), json!(file.display().to_string())),
            ("trained_on".to_owned(), json!(about.origin.dataset)),
            ("label_maps".to_owned(), json!(folder.display().to_string())),
            ("files".to_owned(), json!(files)),
            ("scored".to_owned(), json!(rows.len())),
        ]),
        n_test: rows.iter().filter(|&&row| cases.has_mask(row)).count(),
        metrics: measures.values,
        ci: measures.ci,
        warnings,
        seconds: start.elapsed().as_secs_f64(),
        ..blank(reader, settings, &identity)
    };
    if part == Part::All {
        record.split = "all".into();
    }
    Ok(Evaluated {
        record,
        volumes: measured,
        names: cases.names,
        pictures: Vec::new(),
    })
}

/// Identity of the application of a decoder out of `file`, whose label maps go to `folder`.
///
/// # Errors
///
/// [`Error::Cache`] if the cache, the named split or the file cannot be read.
pub fn of_decoder(
    reader: &CacheReader,
    file: &Path,
    settings: &Settings,
    how: Applying,
    folder: &Path,
) -> Result<Identity, Error> {
    let what = [
        ("probe".to_owned(), json!("predict")),
        ("part".to_owned(), json!(how.part)),
        ("ignore_unnamed".to_owned(), json!(how.ignore_unnamed)),
        ("label_maps".to_owned(), json!(folder)),
    ];
    let files = [crate::head::sha256_of(file)?];
    settings.identity(reader, Map::from_iter(what), NOTHING_CHOSEN, &files)
}

fn tokens(width: usize, [height, across]: [usize; 2], size: usize) -> String {
    format!("{height} x {across} tokens of width {width} of {size} pixels")
}
