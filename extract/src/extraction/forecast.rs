//! What an extraction will take: bytes, hours and memory.

use std::time::{Duration, Instant};

use cache::{CacheMeta, LayerShape, Tokens};
use common::disk::free_bytes;
use common::{peak_rss_bytes, reset_peak_rss};
use imaging::read::Reader;
use ndarray::{Array4, Axis, concatenate};

use super::backbone::Place;
use super::target::Target;
use super::{Event, Extraction, SliceCount};
use crate::backbone::Backbone;
use crate::export::{self, weights};
use crate::{Error, ModelError, parity, prepare};

/// Most time for the measured batches, after the first.
const MOST_TIME: Duration = Duration::from_secs(20);

/// Most samples that are opened to fill a batch.
const MOST_SAMPLES: usize = 64;

/// Memory that open samples may hold, as `imaging` bounds it.
const OPEN_SAMPLES: u64 = 4 << 30;

/// Batches in memory at a time: before, in and behind the backbone.
const BATCHES: u64 = 5;

/// What an extraction will take.
#[derive(Clone, Debug)]
pub struct Forecast {
    /// Kinds of tokens.
    pub tokens: Tokens,
    /// Slices.
    pub slices: SliceCount,
    /// Names of the tables and their bytes.
    pub tables: Vec<(&'static str, u64)>,
    /// Bytes and rows that an unfinished or finished cache has already.
    pub there: (u64, u64),
    /// Free bytes of the disk, if known.
    pub free: Option<u64>,
    /// Measured batches, or the reason why none were.
    pub burst: Result<Burst, String>,
}

/// A few measured batches.
#[derive(Clone, Debug)]
pub struct Burst {
    /// Provider and precision.
    pub device: String,
    /// Slices in a batch.
    pub batch_size: usize,
    /// Seconds per slice in the backbone.
    pub embedding: f64,
    /// Seconds per slice to read and prepare it, with one thread.
    pub reading: f64,
    /// Seconds per slice of a run, in which some threads read while the backbone computes.
    pub seconds: f64,
    /// Estimated peak memory of a run in bytes, if known.
    pub memory: Option<u64>,
}

impl Forecast {
    /// Bytes of all tables.
    pub fn bytes(&self) -> u64 {
        self.tables.iter().map(|(_, bytes)| bytes).sum()
    }

    /// Hours of the rest of the run, without loading the model.
    pub fn hours(&self) -> Option<f64> {
        let burst = self.burst.as_ref().ok()?;
        let rows = self.slices.rows.saturating_sub(self.there.1);
        Some(rows as f64 * burst.seconds / 3600.0)
    }
}

impl Extraction<'_> {
    /// Estimates the size of the cache and measures `batches` batches; nothing is written. Without
    /// `batches`, or if the model's weights are not here, nothing is measured.
    ///
    /// # Errors
    ///
    /// [`Error::Options`], and [`Error::Model`] if the card does not allow the input size, or residual tokens are to be
    /// stored and the model has none.
    pub fn forecast(&self, batches: u32, report: &mut dyn FnMut(Event)) -> Result<Forecast, Error> {
        self.check_crop()?;
        if self.backbone.onnx.is_none() {
            self.backbone.exported_card(self.card)?;
        }
        let dir = Target::new(self.dir()?, self.settings.part, self.samples()?).dir;
        let begun = CacheMeta::read(&dir).ok();
        let there = begun.map_or((0, 0), |begun| (begun.bytes(), begun.rows));
        let slices = SliceCount::of(self.dataset, self.samples()?, self.recipe);
        let (mut shapes, mut burst) = (
            self.shapes_of_card()?,
            Err("not measured (`--batches 0`)".to_owned()),
        );
        if !self.has_weights() {
            let name = &self.card.name;
            burst = Err(format!(
                "no weights here: `extract export {name}` gets them"
            ));
        } else if batches > 0 {
            reset_peak_rss();
            let opened = self.backbone.open(self.place(), None, report);
            let measured = opened.and_then(|mut backbone| {
                shapes = Some(backbone.shapes().to_vec());
                self.burst(&mut backbone, batches, &slices)
            });
            let one_line = |error: Error| error.to_string().replace('\n', "; ");
            burst = measured.map_err(one_line);
        }
        let shapes = match shapes {
            Some(shapes) => shapes,
            None => vec![self.last_shape()?; self.backbone.layers(self.card) as usize],
        };
        let tables = self.tables(shapes);
        Ok(Forecast {
            tokens: tables.tokens,
            tables: tables.bytes(&slices),
            slices,
            there,
            free: free_bytes(&dir),
            burst,
        })
    }

    pub(super) fn place(&self) -> Place<'_> {
        Place {
            runtime: self.runtime,
            home: self.home,
            card: self.card,
            halved: false,
        }
    }

    /// Whether the backbone can be loaded without a download.
    fn has_weights(&self) -> bool {
        let (card, size) = (self.card, self.backbone.image_size(self.card));
        let graph = export::file(self.home, card, size, onnx_models::Flavour::Fused);
        self.backbone.onnx.is_some()
            || weights::file(self.home, card).is_file()
            || card.vit.is_none() && graph.is_file()
    }

    /// Shape of the last layer's tokens by the card.
    pub(super) fn last_shape(&self) -> Result<LayerShape, Error> {
        let grid = self.card.grid(self.backbone.image_size(self.card));
        Ok(LayerShape {
            cls: self.card.width,
            patch: self.card.width,
            grid: grid.map_err(ModelError::from)?,
        })
    }

    /// Reads a batch of slices and embeds it several times.
    fn burst(
        &self,
        backbone: &mut Backbone,
        batches: u32,
        slices: &SliceCount,
    ) -> Result<Burst, Error> {
        let batch_size = backbone.slices_at_once();
        let Some((pixels, reading)) = self.read_batch(batch_size) else {
            let samples = self.dataset.samples.len() as u64;
            return Err(Error::NothingRead { samples });
        };
        // The first batch takes memory that later ones have.
        parity::tokens(backbone, &pixels)?;
        let (started, mut done) = (Instant::now(), 0);
        while done < batches && (done == 0 || started.elapsed() < MOST_TIME) {
            parity::tokens(backbone, &pixels)?;
            done += 1;
        }
        let embedded = f64::from(done) * pixels.len_of(Axis(0)) as f64;
        let embedding = started.elapsed().as_secs_f64() / embedded;
        let device = backbone.options().device;
        let readers = self.backbone.threads();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let ahead = reading / readers.min(cores) as f64;
        let seconds = if device.provider.is_gpu() {
            embedding.max(ahead)
        } else {
            embedding + ahead
        };
        let volume = (slices.per_sample * slices.pixels as f64) as u64 * size_of::<f32>() as u64;
        let open = volume.saturating_mul(readers as u64 - 1).min(OPEN_SAMPLES);
        let tokens = self.tables(backbone.shapes().to_vec()).total(slices) / slices.rows.max(1);
        let of_slice =
            tokens + (3 * size_of::<f32>() * self.recipe.image_size.pow(2) as usize) as u64;
        let queued = BATCHES * batch_size as u64 * of_slice;
        Ok(Burst {
            device: format!("{} {}", device.provider.name(), device.precision.name()),
            batch_size,
            embedding,
            reading,
            seconds,
            memory: peak_rss_bytes().map(|peak| peak + open + queued),
        })
    }

    /// Up to `count` slices `[B, 3, S, S]` of samples spread over the dataset, and the seconds that one takes
    /// to read and prepare. `None` if no sample can be read.
    fn read_batch(&self, count: usize) -> Option<(Array4<f32>, f64)> {
        let (dataset, reader) = (self.dataset, Reader::new(&self.dataset.root));
        let samples = dataset.samples.len();
        let tried = samples.min(MOST_SAMPLES);
        let (mut pixels, mut opening, mut opened) = (Vec::new(), 0.0, 0);
        let mut preparing = 0.0;
        for k in 0..tried {
            if pixels.len() == count {
                break;
            }
            let sample = &dataset.samples[(2 * k + 1) * samples / (2 * tried)];
            let started = Instant::now();
            let Ok(sample) = prepare::open(&reader, k, dataset, sample, self.recipe) else {
                continue;
            };
            opening += started.elapsed().as_secs_f64();
            opened += sample.slices().len();
            let started = Instant::now();
            for k in sample.slices().take(count - pixels.len()) {
                pixels.push(sample.slice(k, 0).ok()?.pixels.insert_axis(Axis(0)));
            }
            preparing += started.elapsed().as_secs_f64();
        }
        let reading = opening / opened.max(1) as f64 + preparing / pixels.len().max(1) as f64;
        let views: Vec<_> = pixels.iter().map(|pixels| pixels.view()).collect();
        Some((concatenate(Axis(0), &views).ok()?, reading))
    }
}
