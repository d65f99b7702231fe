//! Predictions of a trained decoder for other caches.

use std::path::Path;
use std::time::Instant;

use cache::{CacheReader, SliceMeta};
use nn::Workspace;
use serde_json::{Map, json};

use super::about::About;
use super::cases::Cases;
use super::evaluated::Evaluated;
use super::label_maps;
use super::measures;
use super::predict::Predictor;
use super::resolution::Resolution;
use super::saved::SavedDecoder;
use super::stack::Stack;
use super::volume::Volume;
use crate::Error;
use crate::error::SegmentError;
use crate::evaluate::{Identity, NOTHING_CHOSEN, Settings, blank};
use crate::metrics::measures::Measures;
use crate::origin::{Mismatch, Part};
use crate::progress::Steps;
use crate::record::RunRecord;
use crate::stream::Stream;

/// Advice if a decoder finds nothing.
const ADVICE: &str = "see whether the images are of the kind that the decoder was trained on, and were \
                      extracted with the same recipe";

/// Slices that are predicted together.
const BATCH: usize = 8;

/// Options of the application of a decoder to a cache.
#[derive(Clone, Copy, Debug)]
pub struct Applying {
    /// The samples that it is applied to.
    pub part: Part,
    /// The treatment of tokens of another recipe.
    pub mismatch: Mismatch,
    /// If some values in masks have names and others do not: ignores pixels of the others instead of
    /// refusing the cache.
    pub ignore_unnamed: bool,
}

/// Applies the decoder of `file` to the samples of a cache, those of the split to evaluate or all, and
/// writes their label maps into `folder`, at native resolution. Where the masks have the decoder's
/// values, measures samples too.
///
/// # Errors
///
/// [`Error::HeadTokens`] if the cache's tokens are of another backbone or recipe,
/// [`SegmentError::DecoderTokens`] if they are of another width or grid, [`SegmentError::UnnamedValues`],
/// [`SegmentError::NoSlices`] if there is nothing to predict, [`FileError::Output`](crate::error::FileError::Output), and [`Error::Cache`] if the
/// cache has no patch tokens or cannot be read.
pub fn apply(
    reader: &CacheReader,
    (saved, file): (&SavedDecoder, &Path),
    settings: &Settings,
    how: Applying,
    folder: &Path,
    steps: &Steps<'_>,
) -> Result<Evaluated, Error> {
    let start = Instant::now();
    let identity = of_decoder(reader, file, settings, how, folder)?;
    let about = &saved.about;
    let mut warnings = about.origin.check(reader, how.mismatch)?;
    let decoder = saved.decoder_of(file)?;
    let stream = stream(reader, about)?;
    let split = settings.split_name.as_deref();
    let classes = (about.classes.as_slice(), about.values.as_slice());
    let cases = Cases::for_decoder(reader, split, classes, how.ignore_unnamed)?;
    warnings.extend(cases.warnings.iter().cloned());
    let rows = rows(reader, &cases, settings, how.part)?;
    let count = steps.count("predicting", rows.len(), "slices");
    let mut predictor = Predictor {
        decoder: &decoder,
        workspace: &mut Workspace::new(decoder.kind(), decoder.shape(), BATCH)?,
        stream: &stream,
        cases: &cases,
        count: Some(&count),
    };
    let mut maps = LabelMaps::new(folder, &cases, &about.values);
    let mut volumes = predictor.measure(&rows, Resolution::Native, |stack| maps.write(stack))?;
    volumes.retain(|volume| !volume.counts.is_empty());
    let evaluated = rows.iter().map(|&row| cases.who(row));
    warnings.extend(about.origin.overlap(reader, evaluated));
    warnings.extend(maps.warnings(&volumes));
    let measures = measured(&volumes, &cases, settings, &mut warnings)?;
    let params = [
        ("head".to_owned(), json!(file.display().to_string())),
        ("trained_on".to_owned(), json!(about.origin.dataset)),
        ("label_maps".to_owned(), json!(folder.display().to_string())),
        ("files".to_owned(), json!(maps.files)),
        ("scored".to_owned(), json!(rows.len())),
    ];
    let mut record = RunRecord {
        probe: "predict".into(),
        setting: format!("{} of {}", about.decoder, about.origin.dataset),
        params: Map::from_iter(params),
        n_test: rows.iter().filter(|&&row| cases.has_mask(row)).count(),
        metrics: measures.values,
        ci: measures.ci,
        warnings,
        seconds: start.elapsed().as_secs_f64(),
        ..blank(reader, settings, &identity)
    };
    if how.part == Part::All {
        record.split = "all".into();
    }
    Ok(Evaluated {
        record,
        volumes,
        names: cases.names,
        pictures: Vec::new(),
    })
}

/// The tokens of the decoder's layers, whose width and grid must be those it was trained on.
fn stream(reader: &CacheReader, about: &About) -> Result<Stream, Error> {
    let patches = reader.patches(&about.layers)?;
    let size = reader.meta().image_size as usize;
    let expected = tokens(about.width, about.grid, about.image_size);
    let mut values = Vec::new();
    for &layer in &about.layers {
        let shape = reader.meta().shape(layer);
        let found = tokens(
            shape.patch as usize,
            shape.grid.map(|length| length as usize),
            size,
        );
        if found != expected {
            return Err(Error::Segment(SegmentError::DecoderTokens {
                path: reader.dir().into(),
                found,
                expected,
            }));
        }
        values.push(shape.patches() * shape.patch as usize);
    }
    let norm = about.layer_norm.then_some(about.width);
    Ok(Stream::new(patches, values, BATCH, norm))
}

/// The plain slices of the part to predict.
fn rows(
    reader: &CacheReader,
    cases: &Cases,
    settings: &Settings,
    part: Part,
) -> Result<Vec<usize>, Error> {
    let rows: Vec<usize> = (0..cases.slices.len())
        .filter(|&row| {
            let slice = &cases.slices[row];
            slice.view == 0 && (part == Part::All || slice.split == Some(settings.eval))
        })
        .collect();
    if rows.is_empty() {
        return Err(Error::Segment(SegmentError::NoSlices {
            path: reader.dir().into(),
            split: settings.eval.name(),
        }));
    }
    Ok(rows)
}

/// Measures by volume; none, with a warning, if no masks are of the decoder's classes.
fn measured(
    volumes: &[Volume],
    cases: &Cases,
    settings: &Settings,
    warnings: &mut Vec<String>,
) -> Result<Measures, Error> {
    if volumes.is_empty() {
        warnings.push("no masks of the decoder's classes: nothing measured".into());
        return Ok(Measures {
            values: Map::new(),
            ci: None,
        });
    }
    let confidence = settings.confidence.as_ref();
    measures::by_volume(volumes, &cases.names, confidence, warnings)
}

/// The label maps that are written.
struct LabelMaps<'a> {
    folder: &'a Path,
    cases: &'a Cases,
    /// The value of each class.
    values: &'a [u16],
    /// Files written.
    files: usize,
    /// Samples with slices of several sizes.
    uneven: usize,
    /// Whether any pixel is not background.
    has_structure: bool,
}

impl<'a> LabelMaps<'a> {
    fn new(folder: &'a Path, cases: &'a Cases, values: &'a [u16]) -> LabelMaps<'a> {
        LabelMaps {
            folder,
            cases,
            values,
            files: 0,
            uneven: 0,
            has_structure: false,
        }
    }

    fn write(&mut self, stack: &Stack) -> Result<(), Error> {
        let Some(labels) = stack.predicted() else {
            self.uneven += 1;
            return Ok(());
        };
        self.has_structure |= labels.iter().any(|&class| class > 0);
        let labels = labels.map(|&class| self.values[usize::from(class)]);
        let rows = stack.rows.iter();
        let slices: Vec<&SliceMeta> = rows.map(|&row| &self.cases.slices[row]).collect();
        self.files += 1;
        label_maps::write(self.folder, &slices, &labels)?;
        Ok(())
    }

    fn warnings(&self, volumes: &[Volume]) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.uneven > 0 {
            warnings.push(format!(
                "{} samples with slices of several sizes have no label map",
                self.uneven
            ));
        }
        if self.files > 0 && !self.has_structure {
            warnings.push(format!("no structure is predicted anywhere: {ADVICE}"));
        } else {
            let names = &self.cases.names;
            warnings.extend(measures::never_predicted(volumes, names, ADVICE));
        }
        warnings
    }
}

/// Identity of the application of the decoder of `file`, whose label maps go to `folder`.
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

/// A description of tokens for messages.
fn tokens(width: usize, [height, across]: [usize; 2], size: usize) -> String {
    format!("{height} x {across} tokens of width {width} of {size} pixels")
}
