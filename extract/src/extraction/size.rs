//! Size of a cache before it is written.

use std::ops::Range;

use cache::{LayerShape, PatchDtype, Tokens};
use common::counted;
use imaging::preprocess::{Preprocess, Slicing};
use imaging::read::{Reader, Source};

use crate::dataset::{Dataset, Sample};
use crate::prepare;

/// Greatest number of files whose headers are read to count slices.
const HEADERS: usize = 256;

/// Number of samples that are read as a whole if no header gives the number of slices.
const OPENED: usize = 2;

/// Pixels of a slice if no header gives them.
const PIXELS: u64 = 512 * 512;

/// Bytes of a row of `slices`, compressed; 20 to 60 were measured.
const ROW_BYTES: u64 = 64;

/// Raw bytes of a mask for each compressed byte; 30 to 150 were measured.
const MASK_RATIO: u64 = 30;

/// Slices of a dataset, as far as they are known before all files are read.
#[derive(Clone, Debug)]
pub struct SliceCount {
    /// Rows of the cache: slices, and their augmented views.
    pub rows: u64,
    /// Mean number of pixels of a slice as it is stored.
    pub pixels: u64,
    /// Mean number of slices of a sample.
    pub per_sample: f64,
    /// How `rows` was found: `counted`, or from which headers.
    pub how: String,
}

impl SliceCount {
    /// Counts the slices of `samples` of a dataset. Pictures, images of archives and series of files are counted by the
    /// list of samples, volumes by their headers, of which at most 256 are read.
    pub fn of(dataset: &Dataset, samples: Range<usize>, recipe: &Preprocess) -> SliceCount {
        let reader = Reader::new(&dataset.root);
        let samples = dataset.samples.get(samples).unwrap_or_default();
        let known = samples.iter().filter_map(|s| known(s, recipe.slicing));
        let known: u64 = known.sum();
        let unknown = samples.iter();
        let unknown = unknown.filter(|s| self::known(s, recipe.slicing).is_none());
        let unknown: Vec<&Sample> = unknown.collect();
        let header = |s: &&Sample| reader.shape_by_header(&s.image, recipe.slicing);
        let shapes: Vec<_> = spread(&unknown, HEADERS).filter_map(header).collect();
        let mut counts: Vec<u64> = shapes.iter().map(|shape| shape[0] as u64).collect();
        let mut how = match (unknown.len(), counts.len()) {
            (0, _) => "counted".to_owned(),
            (all, read) if read == all => {
                format!("by the headers of {}", counted(all, "volume"))
            }
            (all, read) => format!(
                "estimated by the headers of {read} of {}",
                counted(all, "volume")
            ),
        };
        if counts.is_empty() && !unknown.is_empty() {
            counts = opened(dataset, &reader, recipe, &unknown);
            how = format!(
                "estimated from {} of {}",
                counts.len(),
                counted(unknown.len(), "sample")
            );
        }
        let mean = counts.iter().sum::<u64>() as f64 / counts.len().max(1) as f64;
        let slices = known + (mean * unknown.len() as f64).round() as u64;
        let views = 1 + u64::from(recipe.views.map_or(0, |views| views.count));
        let planes = spread(samples, 16).filter_map(|s| {
            let [_, rows, columns] = reader.shape_by_header(&s.image, recipe.slicing)?;
            Some((rows * columns) as u64)
        });
        let planes: Vec<u64> = planes.collect();
        SliceCount {
            rows: slices * views,
            pixels: planes
                .iter()
                .sum::<u64>()
                .checked_div(planes.len() as u64)
                .unwrap_or(PIXELS),
            per_sample: slices as f64 / samples.len().max(1) as f64,
            how,
        }
    }
}

/// Slices of a sample, if its entry in the list of samples gives them.
fn known(sample: &Sample, slicing: Slicing) -> Option<u64> {
    if let Some(range) = &sample.slices {
        return Some(u64::from(range.end() - range.start()) + 1);
    }
    match &sample.image {
        Source::Stack(files) if slicing == Slicing::StoredKXy => Some(files.len() as u64),
        Source::Stack(_) => None,
        Source::Item(..) | Source::Array(..) => Some(1),
        _ => sample.is_picture().then_some(1),
    }
}

/// Numbers of slices of the first and the middle sample, which are read as a whole.
fn opened(dataset: &Dataset, reader: &Reader, recipe: &Preprocess, of: &[&Sample]) -> Vec<u64> {
    let samples = spread(of, OPENED).enumerate();
    let counts = samples.map(|(index, sample)| {
        let opened = prepare::open(reader, index, dataset, sample, recipe);
        opened.map(|opened| opened.slices().len() as u64)
    });
    counts.filter_map(Result::ok).collect()
}

/// At most `most` elements, spread evenly.
fn spread<T>(all: &[T], most: usize) -> impl Iterator<Item = &T> {
    let count = most.min(all.len());
    (0..count).map(move |k| &all[k * all.len() / count])
}

/// What determines the size of a cache's tables.
#[derive(Clone, Debug)]
pub struct Tables {
    /// Shape of each layer's tokens, oldest first.
    pub shapes: Vec<LayerShape>,
    /// Kinds of tokens.
    pub tokens: Tokens,
    /// Tokens before the patches in residual tokens.
    pub first_tokens: u32,
    /// Element type of tokens of single positions.
    pub patch_dtype: PatchDtype,
    /// Whether there are masks.
    pub has_masks: bool,
    /// Side of the pictures; `None` without pictures.
    pub pictures: Option<u32>,
}

impl Tables {
    /// Names of the tables and their bytes. Tokens are not compressed, so theirs are exact; pictures are
    /// given without compression; rows and masks are estimated.
    pub fn bytes(&self, slices: &SliceCount) -> Vec<(&'static str, u64)> {
        let rows = slices.rows;
        let sum = |of: fn(&LayerShape) -> u64| 2 * rows * self.shapes.iter().map(of).sum::<u64>();
        let mut tables = vec![
            ("slices", rows * ROW_BYTES),
            ("cls", sum(|layer| layer.cls.into())),
            ("mean", sum(|layer| layer.patch.into())),
        ];
        let table = match self.tokens {
            Tokens::Cls => None,
            Tokens::All => Some(("patch", 0)),
            Tokens::Residual => Some(("residual", u64::from(self.first_tokens))),
        };
        if let Some((table, first)) = table {
            let bytes = |layer: &LayerShape| -> u64 {
                let (tokens, width) = (first + layer.patches() as u64, u64::from(layer.patch));
                match self.patch_dtype {
                    PatchDtype::F16 => 2 * tokens * width,
                    PatchDtype::Int8 => tokens * (width + 4),
                }
            };
            tables.push((table, rows * self.shapes.iter().map(bytes).sum::<u64>()));
        }
        if self.has_masks {
            tables.push(("mask", rows * 2 * slices.pixels / MASK_RATIO));
        }
        if let Some(side) = self.pictures {
            tables.push(("picture", rows * u64::from(side).pow(2)));
        }
        tables
    }

    /// Bytes of all tables.
    pub fn total(&self, slices: &SliceCount) -> u64 {
        self.bytes(slices).iter().map(|(_, bytes)| bytes).sum()
    }

    /// Options that make the cache smaller, with its size then.
    pub(super) fn smaller(&self, slices: &SliceCount) -> Vec<(&'static str, u64)> {
        let mut options = Vec::new();
        if self.shapes.len() > 1 {
            let last = self.shapes.last().copied();
            let one = Tables {
                shapes: last.into_iter().collect(),
                ..self.clone()
            };
            options.push(("--layers 1", one.total(slices)));
        }
        if self.tokens != Tokens::Cls && self.patch_dtype == PatchDtype::F16 {
            let int8 = Tables {
                patch_dtype: PatchDtype::Int8,
                ..self.clone()
            };
            options.push(("--token-dtype int8", int8.total(slices)));
        }
        if self.tokens != Tokens::Cls {
            let cls = Tables {
                tokens: Tokens::Cls,
                pictures: None,
                ..self.clone()
            };
            options.push(("--tokens cls", cls.total(slices)));
        }
        options
    }
}
