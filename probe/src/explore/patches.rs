//! Principal components of the patch tokens of several images, as colours (Oquab and others 2023, figure 1).

use std::time::Instant;

use cache::{CacheReader, SliceMeta};
use image::{Rgb, RgbImage};
use serde_json::{Value, json};

use super::chosen::name;
use super::{Choice, record, settings};
use crate::Error;
use crate::error::ExploreError;
use crate::evaluate::fields;
use crate::examples::Unit;
use crate::picture::Upright;
use crate::probes::pca::{Components, Moments, otsu};
use crate::progress::Steps;
use crate::record::RunRecord;
use crate::stream::{Order, Stream};

/// Images whose tokens are in memory at a time.
const BATCH: usize = 8;
/// Components, one for each of red, green and blue.
const COLOURS: usize = 3;
/// Standard deviations on either side of the mean that the range of a colour spans.
const RANGE: f64 = 2.0;
/// Shortest side of a panel in pixels; smaller pictures are enlarged.
const PANEL: usize = 224;
/// Pixels between panels.
const GAP: u32 = 4;

/// Where the background is cut on the first component.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cut {
    /// At the threshold of Otsu's method.
    Found,
    /// At a given score.
    At(f64),
    /// Nowhere: all patches are shown.
    Nowhere,
}

/// Options of [`paint`].
#[derive(Clone, Debug, PartialEq)]
pub struct PatchOptions {
    /// The images.
    pub images: Choice,
    /// Layer of the patch tokens, 1 for the last block.
    pub layer: u32,
    /// The cut of the background.
    pub cut: Cut,
    /// Whether the other side of the first component is the foreground.
    pub flip: bool,
}

/// Images beside their first three components.
#[derive(Clone, Debug)]
pub struct Painted {
    /// Record of the components.
    pub record: RunRecord,
    /// The sheet: for each image its picture, if the cache has pictures, and its colours.
    pub sheet: RgbImage,
    /// Names of the images, and the share of the foreground in each.
    pub images: Vec<(String, f64)>,
}

/// The images and their tokens.
struct Images<'a> {
    reader: &'a CacheReader,
    stream: Stream,
    /// Rows of the cache in their order.
    rows: Vec<usize>,
    grid: [usize; 2],
    width: usize,
}

/// The first component of all patches, and the patches above the threshold.
struct Foreground {
    components: Components,
    threshold: Option<f64>,
    /// `[N, P]` in the order of the rows.
    is_kept: Vec<bool>,
}

/// Principal components of the patch tokens of some images, computed over all of them: the foreground by the
/// first component, then three components of the foreground. Tokens are read in several passes; sums and
/// scores are in memory.
///
/// The sign of the first component is such that patches at the border of the images have the lower mean score:
/// the background is below the threshold.
///
/// # Errors
///
/// [`Error::Cache`] if the cache has no patch tokens or no such layer, [`ExploreError::NoSuchCase`], and
/// [`ExploreError::NoForeground`] if fewer patches than components are above the threshold.
pub fn paint(
    reader: &CacheReader,
    options: &PatchOptions,
    steps: &Steps<'_>,
) -> Result<Painted, Error> {
    let start = Instant::now();
    let slices = reader.slices()?;
    let chosen = options.images.rows(reader, &slices)?;
    let images = Images::open(reader, &chosen, options.layer)?;
    steps.say("first component");
    let foreground = images.foreground(options)?;
    let kept = foreground.is_kept.iter().filter(|&&is| is).count();
    if kept <= COLOURS {
        return Err(Error::Explore(ExploreError::NoForeground {
            path: reader.dir().into(),
            kept,
            all: foreground.is_kept.len(),
            threshold: foreground.threshold.unwrap_or_default(),
        }));
    }
    let components = match foreground.threshold {
        Some(_) => images.moments(&foreground.is_kept)?.components(COLOURS),
        None => foreground.components.clone(),
    };
    steps.say("colours");
    let colours = images.colours(&components, &foreground.is_kept)?;
    let sheet = images.sheet(&slices, &chosen, &colours)?;
    let names: Vec<(String, f64)> = chosen
        .iter()
        .map(|&row| {
            let is_kept = images.part(&foreground.is_kept, row);
            let share = is_kept.iter().filter(|&&is| is).count() as f64 / is_kept.len() as f64;
            (name(&slices, row), share)
        })
        .collect();
    let record = images.record(options, &foreground, &components, &names)?;
    Ok(Painted {
        record: RunRecord {
            seconds: start.elapsed().as_secs_f64(),
            ..record
        },
        sheet,
        images: names,
    })
}

impl<'a> Images<'a> {
    fn open(reader: &'a CacheReader, chosen: &[usize], layer: u32) -> Result<Images<'a>, Error> {
        let patches = reader.patches(&[layer])?;
        let shape = reader.meta().shape(layer);
        let (width, grid) = (shape.patch as usize, shape.grid.map(|side| side as usize));
        let mut rows = chosen.to_vec();
        rows.sort_unstable();
        rows.dedup();
        let stream = Stream::new(patches, vec![grid[0] * grid[1] * width], BATCH, None);
        Ok(Images {
            reader,
            stream,
            rows,
            grid,
            width,
        })
    }

    fn patches(&self) -> usize {
        self.grid[0] * self.grid[1]
    }

    /// Those of `[N, P]` values that belong to a row of the cache.
    fn part<'v, T>(&self, values: &'v [T], row: usize) -> &'v [T] {
        let at = self.rows.partition_point(|&known| known < row);
        &values[at * self.patches()..][..self.patches()]
    }

    /// Calls `visit` with the number of each patch among all, `[N, P]`, and the tokens of a batch.
    fn pass(&self, mut visit: impl FnMut(usize, &[f32])) -> Result<(), Error> {
        let mut first = 0;
        self.stream.pass(&self.rows, Order::Stored, |batch| {
            visit(first, &batch.tokens[0]);
            first += batch.rows.len() * self.patches();
            Ok(())
        })
    }

    /// Sums over the wanted patches, `[N, P]`.
    fn moments(&self, is_wanted: &[bool]) -> Result<Moments, Error> {
        let mut moments = Moments::new(self.width);
        self.pass(|first, tokens| {
            let rows = tokens.chunks_exact(self.width).zip(&is_wanted[first..]);
            moments.add(
                rows.filter(|(_, is_wanted)| **is_wanted)
                    .map(|(row, _)| row),
            );
        })?;
        Ok(moments)
    }

    fn foreground(&self, options: &PatchOptions) -> Result<Foreground, Error> {
        let all = vec![true; self.rows.len() * self.patches()];
        let mut components = self.moments(&all)?.components(COLOURS);
        if options.cut == Cut::Nowhere {
            return Ok(Foreground {
                components,
                threshold: None,
                is_kept: all,
            });
        }
        let mut scores = Vec::with_capacity(all.len());
        self.pass(|_, tokens| {
            let rows = tokens.chunks_exact(self.width);
            scores.extend(rows.map(|row| components.scores(row)[0]));
        })?;
        if self.is_brighter_at_the_border(&scores) != options.flip {
            components.axes.row_mut(0).mapv_inplace(|value| -value);
            scores.iter_mut().for_each(|score| *score = -*score);
        }
        let threshold = match options.cut {
            Cut::At(threshold) => Some(threshold),
            _ => otsu(&scores),
        };
        Ok(Foreground {
            is_kept: scores
                .iter()
                .map(|&score| threshold.is_none_or(|at| score > at))
                .collect(),
            components,
            threshold,
        })
    }

    /// Whether patches at the border of the images have a higher mean score than the others.
    fn is_brighter_at_the_border(&self, scores: &[f64]) -> bool {
        let [rows, columns] = self.grid;
        let is_at_border = |patch: usize| {
            let (y, x) = (patch / columns, patch % columns);
            y == 0 || x == 0 || y + 1 == rows || x + 1 == columns
        };
        let mean = |wanted: bool| {
            let patches = scores.iter().enumerate();
            let found = patches.filter(|(at, _)| is_at_border(at % self.patches()) == wanted);
            let (count, sum) = found.fold((0, 0.0), |(n, sum), (_, score)| (n + 1, sum + score));
            (count > 0).then(|| sum / f64::from(count))
        };
        let [border, inside] = [true, false].map(mean);
        border
            .zip(inside)
            .is_some_and(|(border, inside)| border > inside)
    }

    /// The colour of each patch, `[N, P]`; black for the background. Each component is one of red, green and
    /// blue, from [`RANGE`] standard deviations below the mean to as many above.
    fn colours(&self, components: &Components, is_kept: &[bool]) -> Result<Vec<[u8; 3]>, Error> {
        let mut colours = Vec::with_capacity(is_kept.len());
        self.pass(|first, tokens| {
            let rows = tokens.chunks_exact(self.width).zip(&is_kept[first..]);
            colours.extend(rows.map(|(row, is_kept)| {
                if *is_kept {
                    colour(components, row)
                } else {
                    [0; 3]
                }
            }));
        })?;
        Ok(colours)
    }

    /// The images in lines, each its picture beside its colours.
    fn sheet(
        &self,
        slices: &[SliceMeta],
        chosen: &[usize],
        colours: &[[u8; 3]],
    ) -> Result<RgbImage, Error> {
        let mut panels = Vec::new();
        for &row in chosen {
            let [grey, colours] = self.panels(&slices[row], row, self.part(colours, row))?;
            panels.push(grey.into_iter().chain(colours).collect::<Vec<_>>());
        }
        let cells: Vec<RgbImage> = panels
            .iter()
            .map(|panels| in_lines(panels, panels.len()))
            .collect();
        let columns = (1..).find(|n| n * n >= cells.len()).unwrap_or(1);
        Ok(in_lines(&cells, columns))
    }

    fn panels(
        &self,
        slice: &SliceMeta,
        row: usize,
        colours: &[[u8; 3]],
    ) -> Result<[Option<RgbImage>; 2], Error> {
        let meta = self.reader.meta();
        let side = meta.image_size as usize;
        let upright = Upright::of(slice, side);
        let scale = PANEL.div_ceil(side);
        let paint = |colour: &dyn Fn(usize) -> [u8; 3]| {
            let [height, width] = upright.size().map(|length| (length * scale) as u32);
            RgbImage::from_fn(width, height, |x, y| {
                let scale = scale as u32;
                Rgb(colour(upright.place(y / scale, x / scale)))
            })
        };
        let picture = if meta.has_pictures {
            Some(self.reader.picture(row)?)
        } else {
            None
        };
        let grey = picture.map(|picture| paint(&|at| [picture[[at / side, at % side]]; 3]));
        let patch = |at: usize| {
            let [y, x] = [at / side, at % side];
            y * self.grid[0] / side * self.grid[1] + x * self.grid[1] / side
        };
        Ok([grey, Some(paint(&|at| colours[patch(at)]))])
    }

    fn record(
        &self,
        options: &PatchOptions,
        foreground: &Foreground,
        components: &Components,
        images: &[(String, f64)],
    ) -> Result<RunRecord, Error> {
        let names: Vec<&String> = images.iter().map(|(name, _)| name).collect();
        let (cut, threshold) = match options.cut {
            Cut::Found => ("otsu", foreground.threshold),
            Cut::At(at) => ("given", Some(at)),
            Cut::Nowhere => ("none", None),
        };
        let what = json!({
            "probe": "pca",
            "images": names,
            "layer": options.layer,
            "cut": cut,
            "threshold": threshold.filter(|_| cut == "given"),
            "flip": options.flip,
        });
        let settings = settings(Unit::Slice, None, None);
        let record = record(self.reader, &settings, fields(&what))?;
        let patches = foreground.is_kept.len();
        let kept = foreground.is_kept.iter().filter(|&&is| is).count();
        let shares: Vec<Value> = images.iter().map(|(_, share)| json!(share)).collect();
        let metrics = json!({
            "threshold": threshold,
            "foreground": kept as f64 / patches as f64,
            "explained_variance_ratio": components.shares(),
            "explained_variance_ratio_of_all": foreground.components.shares(),
        });
        let params = json!({
            "unit": "slice",
            "images": names,
            "foreground_of_images": shares,
            "layer": options.layer,
            "grid": self.grid,
            "cut": cut,
            "flip": options.flip,
        });
        Ok(RunRecord {
            probe: "pca".into(),
            setting: format!("layer={} images={}", options.layer, images.len()),
            params: fields(&params),
            metrics: fields(&metrics),
            n_test: self.rows.len(),
            ..record
        })
    }
}

fn colour(components: &Components, row: &[f32]) -> [u8; 3] {
    let mut colour = [128; 3];
    let scores = components
        .scores(row)
        .into_iter()
        .zip(&components.variances);
    for (value, (score, variance)) in colour.iter_mut().zip(scores) {
        let deviations = if *variance > 0.0 {
            score / variance.sqrt()
        } else {
            0.0
        };
        let share = (deviations / RANGE + 1.0) / 2.0;
        *value = (share * 255.0).round().clamp(0.0, 255.0) as u8;
    }
    colour
}

/// Pictures from left to right and from top to bottom, on white.
fn in_lines(pictures: &[RgbImage], columns: usize) -> RgbImage {
    let columns = columns.max(1);
    let width = pictures.iter().map(RgbImage::width).max().unwrap_or(1);
    let lines = pictures.chunks(columns);
    let heights: Vec<u32> = lines
        .map(|line| line.iter().map(RgbImage::height).max().unwrap_or(0))
        .collect();
    let mut sheet = RgbImage::from_pixel(
        columns.min(pictures.len()) as u32 * (width + GAP) - GAP,
        heights.iter().map(|height| height + GAP).sum::<u32>() - GAP,
        Rgb([255; 3]),
    );
    let mut top = 0;
    for (line, height) in pictures.chunks(columns).zip(heights) {
        for (place, picture) in (0..).zip(line) {
            image::imageops::replace(&mut sheet, picture, place * i64::from(width + GAP), top);
        }
        top += i64::from(height + GAP);
    }
    sheet
}
