//! Segmentation: decoders over the patch tokens of a cache.
//!
//! [`evaluate`] goes its own way from a cache to run records, since patch tokens do not fit into memory:
//! `Cases` are what is to be segmented, a `Stream` brings tokens in
//! batches, decoders of all learning rates learn from each, the best on `val` is trained anew on `train`
//! and `val`, and [`Volume`]s of `test` are measured.

mod apply;
mod cases;
mod label_maps;
mod masks;
mod overlay;
mod parts;
mod predict;
mod saved;
mod stream;
mod train;
mod volumes;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use cache::{CacheReader, Split};
use common::counted;
use image::RgbImage;
use nn::{Decoder, IGNORE, Kind, Loss, Shape, Workspace};
use serde::Serialize;
use serde_json::{Map, Value, json};

pub use self::apply::{Applying, apply, of_decoder};
use self::cases::Cases;
pub use self::overlay::write_picture;
use self::parts::Parts;
use self::predict::{Resolution, measure};
pub use self::saved::{About, SavedDecoder};
use self::stream::Stream;
use self::train::{Phase, Trained, Training};
pub use self::volumes::{Distances, Volume, write_volumes};
use crate::Error;
use crate::evaluate::{
    EVALUATION_VERSION, IDLE_SHARE, Identity, Settings, VAL_SHARE, blank, hash, spread,
};
use crate::hold_out::HeldOut;
use crate::metrics::overlap::Confusion;
use crate::origin::Origin;
use crate::record::RunRecord;

/// What to do if a decoder finds nothing.
const ADVICE: &str = "train for more `--epochs`, at other learning rates (`--lr`) or with \
                      `--loss dice-ce`";

/// The training by which learning rate and epochs are chosen.
const SCAN: &str = "scan";
/// The training of the decoder that is measured.
const TRAINING: &str = "training";

/// How decoders are trained.
#[derive(Clone, Debug, Serialize)]
pub struct Options {
    /// The kind of decoder.
    pub decoder: Kind,
    /// Learning rates of the scan, at the beginning; they fall along a cosine to 0.
    pub learning_rates: Vec<f32>,
    /// Passes over the training slices.
    pub epochs: usize,
    /// Slices in a step.
    pub batch_size: usize,
    /// What is minimised.
    pub loss: Loss,
    /// Epochs without a better one on `val` after which the scan ends.
    pub patience: Option<usize>,
    /// Numbers of shots; `None` for all samples.
    pub shots: Vec<Option<usize>>,
    /// Draws of each number, where draws are random.
    pub repeats: usize,
    /// Whether pixels of values without a name, beside others that have one, are ignored, and not an
    /// error.
    pub ignore_unnamed: bool,
}

impl Options {
    /// Whether something is chosen: a learning rate, or a number of epochs.
    pub fn scans(&self) -> bool {
        self.learning_rates.len() > 1 || self.patience.is_some()
    }

    /// Identity of an evaluation of decoders that are trained so.
    ///
    /// # Errors
    ///
    /// [`Error::Cache`] if the cache's slices or the named split cannot be read.
    pub fn identity(&self, reader: &CacheReader, settings: &Settings) -> Result<Identity, Error> {
        let mut options = Map::from_iter([("probe".to_owned(), json!("segment"))]);
        options.extend(json!(self).as_object().cloned().unwrap_or_default());
        settings.identity(reader, options, VAL_SHARE, &[])
    }
}

/// A decoder, evaluated.
#[derive(Clone, Debug)]
pub struct Evaluated {
    /// What came out.
    pub record: RunRecord,
    /// How well each volume was segmented.
    pub volumes: Vec<Volume>,
    /// Names of the classes, background first.
    pub names: Vec<String>,
    /// Slices of the best, the median and the worst volume with what is true and what is predicted, and
    /// their names.
    pub pictures: Vec<(String, RgbImage)>,
}

/// Where trainings keep what they have, and tell how far they are.
pub struct TrainingStore<'a> {
    /// The folder of run records.
    pub runs: &'a Path,
    /// Whether a decoder that is there already is trained again, once.
    pub force: bool,
    /// Files of the decoders that were trained for this.
    pub trained: &'a Mutex<BTreeSet<PathBuf>>,
    /// Shows how far a training is.
    pub say: &'a dyn Fn(&str),
    /// Shows a line that stays.
    pub tell: &'a dyn Fn(&str),
}

/// A cache, opened for decoders.
struct Task<'a> {
    reader: &'a CacheReader,
    settings: &'a Settings,
    options: &'a Options,
    cases: Cases,
    stream: Stream,
    shape: Shape,
    /// Whether tokens first go through a LayerNorm without weights.
    layer_norm: bool,
}

/// Evaluates decoders on a cache: a result per number of shots.
///
/// # Errors
///
/// [`Error::Cache`] if the cache has no patch tokens or too few layers, [`Error::NoMasks`],
/// [`Error::UnnamedValues`],
/// [`Error::NoMaskedSlices`] if a part is empty, [`Error::ClassAbsent`] if a class of `test` or `val` is not
/// in what is learnt from, [`Error::UnevenLayers`] if a U-Net's layers differ,
/// [`Error::SegmentDiverged`], and [`Error::Output`] if something cannot be kept.
pub fn evaluate(
    reader: &CacheReader,
    options: &Options,
    settings: &Settings,
    store: &TrainingStore<'_>,
) -> Result<Vec<Evaluated>, Error> {
    let task = Task::open(reader, options, settings)?;
    let identity = options.identity(reader, settings)?;
    let of_shots = |&shots: &Option<usize>| task.shots(shots, &identity, store);
    options.shots.iter().map(of_shots).collect()
}

impl<'a> Task<'a> {
    fn open(
        reader: &'a CacheReader,
        options: &'a Options,
        settings: &'a Settings,
    ) -> Result<Task<'a>, Error> {
        let layers = layers(options.decoder);
        let patches = reader.patches(&layers)?;
        let meta = reader.meta();
        let last = meta.shape(1);
        if let Some(&layer) = layers.iter().find(|&&layer| {
            let shape = meta.shape(layer);
            (shape.patch, shape.grid) != (last.patch, last.grid)
        }) {
            return Err(Error::UnevenLayers {
                path: reader.dir().into(),
                layer,
            });
        }
        let split = settings.split_name.as_deref();
        let mut cases = Cases::read(reader, split, options.ignore_unnamed)?;
        let may_norm = options.decoder == Kind::Linear && settings.protocol.norms_raw_tokens();
        let layer_norm = may_norm && meta.model.final_norm == Some(false);
        if may_norm && meta.model.final_norm.is_none() && meta.onnxruntime_version.is_none() {
            cases.warnings.push(
                "the cache is of a version that did not record whether tokens went through the model's last LayerNorm: none is put on them, as is right for DINOv2; of other vision transformers, extract again"
                    .into(),
            );
        }
        let lacks_val = cases.rows(&[Split::Val], false).is_empty();
        if lacks_val && options.scans() && settings.protocol.holds_out() {
            cases.hold_out(settings.val_share.unwrap_or(VAL_SHARE), settings.seed);
        }
        if settings.val_share.is_some() && !lacks_val && options.scans() {
            cases.warnings.push(IDLE_SHARE.into());
        }
        let shape = Shape {
            width: last.patch as usize,
            grid: (last.grid[0] as usize, last.grid[1] as usize),
            size: meta.image_size as usize,
            classes: cases.names.len(),
        };
        let values = last.patch as usize * last.patches();
        let norm = layer_norm.then_some(shape.width);
        let stream = Stream::new(
            patches,
            vec![values; layers.len()],
            options.batch_size,
            norm,
        );
        Ok(Task {
            reader,
            settings,
            options,
            cases,
            stream,
            shape,
            layer_norm,
        })
    }

    /// All draws of a number of shots.
    fn shots(
        &self,
        shots: Option<usize>,
        identity: &Identity,
        store: &TrainingStore<'_>,
    ) -> Result<Evaluated, Error> {
        let repeats = if self.settings.protocol.one_draw() || shots.is_none() {
            1
        } else {
            self.options.repeats
        };
        let mut draws: Vec<Evaluated> = Vec::new();
        for repeat in 0..repeats as u64 {
            draws.push(self.draw(
                shots,
                self.settings.seed.wrapping_add(repeat),
                identity,
                store,
            )?);
        }
        let all: Vec<Map<String, Value>> = draws.iter().map(|d| d.record.metrics.clone()).collect();
        let warnings: BTreeSet<String> = draws
            .iter()
            .flat_map(|draw| draw.record.warnings.clone())
            .collect();
        let mut first = draws.swap_remove(0);
        first.record.warnings = warnings.into_iter().collect();
        if all.len() > 1 {
            let (means, deviations) = spread(&all);
            first.record.params.insert("draws".into(), json!(all.len()));
            first.record.metrics = means;
            first.record.spread = Some(deviations);
            first.record.ci = None;
        }
        Ok(first)
    }

    fn draw(
        &self,
        shots: Option<usize>,
        seed: u64,
        identity: &Identity,
        store: &TrainingStore<'_>,
    ) -> Result<Evaluated, Error> {
        let start = Instant::now();
        let test = self.part(&[Split::Test], false)?;
        let parts = self.parts(shots, seed)?;
        let mut warnings = self.check(&parts, &test, shots.is_some())?;
        warnings.extend(self.cases.warnings.iter().cloned());
        let (saved, file) = self.trained(&parts, shots, seed, identity, store)?;
        let decoder = saved.decoder().map_err(|source| Error::Input {
            path: store.runs.join(&file),
            source,
        })?;
        if saved.about.val_dice == Some(0.0) {
            warnings.push("at every learning rate the Dice coefficient on `val` is 0".into());
        }
        (store.say)("measuring");
        let by_volume = self.settings.protocol.measures_volumes();
        let resolution = if by_volume {
            Resolution::Native
        } else {
            Resolution::Input
        };
        let batch = self.options.batch_size.min(test.len());
        let mut workspace = Workspace::new(self.options.decoder, self.shape, batch)?;
        let volumes = measure(
            &decoder,
            &mut workspace,
            &self.stream,
            &self.cases,
            &test,
            resolution,
            |_| Ok(()),
        )?;
        let names = &self.cases.names;
        warnings.extend(volumes::never_predicted(&volumes, names, ADVICE));
        if resolution == Resolution::Native {
            warnings.extend(volumes::without_distances(&volumes));
        }
        let pictures = match (shots, resolution) {
            (None, Resolution::Native) => {
                self.overlays(&decoder, &mut workspace, &test, &volumes)?
            }
            _ => Vec::new(),
        };
        let measures = if by_volume {
            let confidence = self.settings.confidence.as_ref();
            volumes::by_volume(&volumes, names, confidence)?
        } else {
            volumes::pooled(&volumes, names)
        };
        let word = shots.map_or_else(String::new, |shots| format!(" shots={shots}"));
        let record = RunRecord {
            probe: "segment".into(),
            setting: format!(
                "{} lr={}{word}",
                name(self.options.decoder),
                saved.about.learning_rate
            ),
            params: self.params(&parts, &saved.about, shots),
            n_train: parts.fit.len(),
            n_test: test.len(),
            chosen: saved.about.val_dice.map(|_| true),
            chosen_on: saved.about.val_dice.map(|_| parts.chosen_on.name().into()),
            metrics: measures.values,
            ci: measures.ci,
            warnings,
            head: Some(file),
            seconds: start.elapsed().as_secs_f64(),
            ..blank(self.reader, self.settings, identity)
        };
        Ok(Evaluated {
            record,
            volumes,
            names: self.cases.names.clone(),
            pictures,
        })
    }

    /// Pictures of the best, the median and the worst volume by their mean Dice, each of the slice in
    /// which most is to be found; none if the cache keeps no pictures.
    fn overlays(
        &self,
        decoder: &Decoder,
        workspace: &mut Workspace,
        test: &[usize],
        volumes: &[Volume],
    ) -> Result<Vec<(String, RgbImage)>, Error> {
        if !self.reader.meta().has_pictures {
            return Ok(Vec::new());
        }
        let dice = |volume: &Volume| volume.counts.mean(Confusion::dice);
        let mut ranked: Vec<(&Volume, f64)> = volumes
            .iter()
            .filter_map(|volume| Some((volume, dice(volume)?)))
            .collect();
        ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
        let Some(last) = ranked.len().checked_sub(1) else {
            return Ok(Vec::new());
        };
        let side = self.shape.size;
        let mut pictures = Vec::new();
        for (word, place) in [("best", 0), ("median", last / 2), ("worst", last)] {
            let sample = &ranked[place].0.sample;
            let found = |row: usize| {
                let truth = self.cases.squares(&[row], side);
                let classes = truth.iter();
                classes
                    .filter(|class| !matches!(**class, 0 | IGNORE))
                    .count()
            };
            let of_sample = |&&row: &&usize| self.cases.slices[row].sample == *sample;
            let Some(&row) = test.iter().filter(of_sample).max_by_key(|&&row| found(row)) else {
                continue;
            };
            let grey = self.reader.picture(row)?;
            let truth = self.cases.squares(&[row], side);
            predict::predict(
                decoder,
                workspace,
                &self.stream,
                &[row],
                |_| [side; 2],
                |_, predicted| {
                    let grey: Vec<u8> = grey.iter().copied().collect();
                    let slice = &self.cases.slices[row];
                    let picture = overlay::panels(&grey, &truth, &predicted, side, slice);
                    pictures.push((format!("{word}-{}", label_maps::file_name(sample)), picture));
                    Ok(())
                },
            )?;
        }
        Ok(pictures)
    }

    fn params(&self, parts: &Parts, about: &About, shots: Option<usize>) -> Map<String, Value> {
        let options = self.options;
        let augmentation = match self.cases.views() {
            0 => "none".to_owned(),
            views => counted(usize::from(views), "stored view"),
        };
        let splits: Vec<&str> = parts.fitted_on.iter().map(|split| split.name()).collect();
        let held_out = self.cases.held_out.as_ref().map(HeldOut::to_json);
        let held_out = held_out.map(|held_out| ("val_from_train".to_owned(), held_out));
        let params = [
            ("decoder".to_owned(), json!(name(options.decoder))),
            ("parameters".to_owned(), json!(about.parameters)),
            ("layers".to_owned(), json!(layers(options.decoder))),
            ("layer_norm".to_owned(), json!(self.layer_norm)),
            ("lr".to_owned(), json!(about.learning_rate)),
            ("lr_scan".to_owned(), json!(options.learning_rates)),
            ("epochs".to_owned(), json!(about.epochs)),
            ("epochs_of_schedule".to_owned(), json!(options.epochs)),
            ("val_dice".to_owned(), json!(about.val_dice)),
            ("batch_size".to_owned(), json!(options.batch_size)),
            ("loss".to_owned(), json!(loss_name(options.loss))),
            ("augmentation".to_owned(), json!(augmentation)),
            ("classes".to_owned(), json!(&self.cases.names[1..])),
            ("shots".to_owned(), json!(shots)),
            ("train".to_owned(), json!(splits.join("+"))),
        ];
        params.into_iter().chain(held_out).collect()
    }

    /// The decoder, out of its file if it has been trained before.
    fn trained(
        &self,
        parts: &Parts,
        shots: Option<usize>,
        seed: u64,
        identity: &Identity,
        store: &TrainingStore<'_>,
    ) -> Result<(SavedDecoder, String), Error> {
        let key = self.training_key(parts, seed);
        let file = format!("heads/segment-{key}.safetensors");
        let path = store.runs.join(&file);
        let checkpoint = |phase: &str| {
            store
                .runs
                .join(format!("training/{key}-{phase}.safetensors"))
        };
        let mut trained = store.trained.lock().unwrap_or_else(PoisonError::into_inner);
        if (!store.force || trained.contains(&path))
            && path.is_file()
            && let Some(saved) = SavedDecoder::read(&path).map_err(Error::of_kept)?
        {
            return Ok((saved, file));
        }
        let training = Training {
            stream: &self.stream,
            cases: &self.cases,
            options: self.options,
            shape: self.shape,
            seed,
            checkpoint: &checkpoint,
            say: store.say,
            tell: store.tell,
        };
        let rates = &self.options.learning_rates;
        let decoder = match (&rates[..], self.options.patience) {
            (&[only], None) => self.anew(&training, parts, only, self.options.epochs)?,
            _ => {
                let scan = Phase {
                    name: SCAN,
                    learning_rates: rates,
                    rows: &parts.scan,
                    watched: Some(&parts.choose),
                    epochs: self.options.epochs,
                };
                let best = training.run(&scan)?;
                if parts.fit == parts.scan {
                    best
                } else {
                    Trained {
                        dice: best.dice,
                        ..self.anew(&training, parts, best.learning_rate, best.epochs)?
                    }
                }
            }
        };
        let seen = [&parts.fitted_on[..], &[Split::Train, parts.chosen_on]].concat();
        let split_sha256 = identity.split_sha256.clone();
        let of_parts = [&parts.scan, &parts.choose, &parts.fit]
            .into_iter()
            .flatten();
        let who = of_parts.map(|&row| self.cases.who(row));
        let origin = Origin::new(self.reader, self.settings, split_sha256, &seen, who);
        let saved = SavedDecoder::of(origin, &self.cases, &decoder, shots, self.layer_norm);
        saved.write(&path)?;
        trained.insert(path);
        for phase in [SCAN, TRAINING] {
            // What cannot be removed is written over.
            let _ = std::fs::remove_file(checkpoint(phase));
        }
        Ok((saved, file))
    }

    fn anew(
        &self,
        training: &Training<'_>,
        parts: &Parts,
        learning_rate: f32,
        epochs: usize,
    ) -> Result<Trained, Error> {
        training.run(&Phase {
            name: TRAINING,
            learning_rates: &[learning_rate],
            rows: &parts.fit,
            watched: None,
            epochs,
        })
    }

    /// What tells a training from others, whatever is measured afterwards.
    fn training_key(&self, parts: &Parts, seed: u64) -> String {
        let options = Options {
            shots: Vec::new(),
            repeats: 0,
            ..self.options.clone()
        };
        let rows = (&parts.scan, &parts.choose, &parts.fit);
        let all = (
            (EVALUATION_VERSION, self.reader.sha256()),
            (options, self.layer_norm),
            (seed, rows),
        );
        hash(&all)[..16].into()
    }
}

/// The word for a kind in records, files and on the command line.
pub fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Linear => "linear",
        Kind::UNet => "unet",
    }
}

fn kind(word: &str) -> Option<Kind> {
    [Kind::Linear, Kind::UNet]
        .into_iter()
        .find(|&kind| name(kind) == word)
}

fn loss_name(loss: Loss) -> &'static str {
    match loss {
        Loss::Dice => "dice",
        Loss::DiceCrossEntropy => "dice-ce",
    }
}

/// The layers that a decoder takes, oldest first.
fn layers(kind: Kind) -> Vec<u32> {
    match kind {
        Kind::Linear => vec![1],
        Kind::UNet => vec![5, 4, 3, 2, 1],
    }
}
