//! Opening a backbone that passes the parity gate.

mod args;

use std::env;
use std::io;
use std::path::Path;
use std::process::Command;

use anyhow::Context;
use cache::{CacheMeta, TokenBatch};
use common::counted;
use imaging::preprocess::Preprocess;
use ndarray::Array4;
use onnx_models::{Flavour, ModelCard};

use self::args::cores;
pub use self::args::{BackboneArgs, ProviderArg, TokensArg};
use super::{eprint_line, tell};
use crate::ModelError;
use crate::backbone::{self, Backbone, BackboneOptions, Device, Gpus, Precision, Runtime};
use crate::dataset::Dataset;
use crate::export::{self, Exported, Exporter};
use crate::parity::{self, Parity};

impl BackboneArgs {
    /// Restarts the program with TF32 disabled if TensorRT is used, which otherwise computes f32 in TF32. A process
    /// with threads cannot change its environment safely.
    pub(super) fn forbid_tf32(&self) -> anyhow::Result<()> {
        const OVERRIDE: &str = "NVIDIA_TF32_OVERRIDE";
        if self.provider != ProviderArg::Tensorrt || env::var_os(OVERRIDE).is_some_and(|v| v == "0")
        {
            return Ok(());
        }
        let mut program = Command::new(env::current_exe()?);
        program.args(env::args_os().skip(1)).env(OVERRIDE, "0");
        restart(program).with_context(|| {
            format!("could not restart with `{OVERRIDE}=0`, which TensorRT needs to compute in f32")
        })
    }

    /// Opens the backbone on the first device that can run it, with the batch size of the unfinished cache
    /// `begun`, if there is one.
    pub(super) fn open(
        &self,
        home: &Path,
        card: &ModelCard,
        begun: Option<&CacheMeta>,
    ) -> anyhow::Result<Opened> {
        if self.gpu.is_some() && self.provider == ProviderArg::Cpu {
            anyhow::bail!(
                "`--gpu` has no effect with `--provider cpu`\nhint: leave one of them out"
            );
        }
        let batch_size = self.batch_size.or(begun.map(|begun| begun.batch_size));
        let runtime = Runtime::load(home, self.provider != ProviderArg::Cpu)?;
        if self.threads() > cores() {
            eprint_line(&format!(
                "warning: {} are more than the cores: {} read images, {} run the backbone, which more would slow down",
                counted(self.threads(), "thread"),
                self.threads(),
                cores()
            ));
        }
        let mut failures = Vec::new();
        for &provider in self.provider.candidates() {
            let precision = match (provider.is_gpu(), &card.vit) {
                (true, Some(_)) if self.onnx.is_none() => Precision::Mixed16,
                _ => Precision::Fp32,
            };
            let device = Device {
                provider,
                gpus: self.gpu.unwrap_or(Gpus::One(0)),
                precision: self.precision.unwrap_or(precision),
            };
            match self.load(&runtime, home, card, device, batch_size) {
                Ok(backbone) => {
                    report(&backbone, &failures);
                    return Ok(Opened { runtime, backbone });
                }
                // `auto` tries the next provider.
                Err(error @ (ModelError::Provider { .. } | ModelError::Precision { .. }))
                    if self.provider == ProviderArg::Auto =>
                {
                    failures.push(error.to_string());
                }
                Err(error) => return Err(error.into()),
            }
        }
        anyhow::bail!("{}", failures.join("\n"))
    }

    fn load(
        &self,
        runtime: &Runtime,
        home: &Path,
        card: &ModelCard,
        device: Device,
        batch_size: Option<u32>,
    ) -> Result<Backbone, ModelError> {
        device.check_size(card)?;
        runtime.has(device.provider)?;
        let exported = self.exported(home, card, device.flavour()?)?;
        let options = self.options(card, device, batch_size)?;
        let load = |options| Backbone::load(runtime, card, &exported, options);
        match load(options.clone()) {
            Err(error) if batch_size.is_none() && backbone::lacks_memory(&error) => {
                let half = (options.batch_size / 2).max(1);
                eprint_line(&format!(
                    "the GPU has too little memory for batches of {}: using {half}",
                    options.batch_size
                ));
                load(BackboneOptions {
                    batch_size: half,
                    ..options
                })
            }
            found => found,
        }
    }

    fn exported(
        &self,
        home: &Path,
        card: &ModelCard,
        flavour: Flavour,
    ) -> Result<Exported, ModelError> {
        match &self.onnx {
            Some(_) if flavour.is_converted() => Err(ModelError::NoFlavour {
                name: card.name.clone(),
                flavour: flavour.name(),
            }),
            Some(file) => export::exported(card, file),
            None => {
                let tell = &mut |line: &str| tell(line);
                Exporter { home, tell }.ensure(card, self.image_size(card), flavour)
            }
        }
    }

    /// Runs the parity gate: compares tokens of some slices with those of the CPU in f32 (by ONNX's own operators, if
    /// `extract` builds the graph); `None` if both are the same computation, or the gate is off. Only one of the
    /// two backbones is in memory at a time, so the opened one is opened again.
    pub(super) fn pass(
        &self,
        gate: &Gate,
        mut opened: Opened,
    ) -> anyhow::Result<(Opened, Option<Parity>)> {
        let ours = gate.card.vit.is_some() && self.onnx.is_none();
        let is_reference = opened.backbone.options().device.is_reference();
        if self.parity_slices == 0 || (is_reference && !ours) {
            return Ok((opened, None));
        }
        let count = self.parity_slices as usize;
        let Some(pixels) = parity::slices(gate.dataset, gate.recipe, count) else {
            eprint_line(
                "warning: the parity gate was skipped: none of the samples that it uses can be read",
            );
            return Ok((opened, None));
        };
        let found = parity::tokens(&mut opened.backbone, &pixels)?;
        let Opened { runtime, backbone } = opened;
        let (exported, options) = (backbone.exported().clone(), backbone.options().clone());
        drop(backbone);
        let expected = self.reference(gate, &runtime, &pixels)?;
        let parity = Parity::of(&expected, &found);
        parity.check(self.parity_bound(options.device.precision))?;
        let backbone = Backbone::load(&runtime, gate.card, &exported, options)?;
        Ok((Opened { runtime, backbone }, Some(parity)))
    }

    /// The tokens of `pixels` on the CPU in f32.
    fn reference(
        &self,
        gate: &Gate,
        runtime: &Runtime,
        pixels: &Array4<f32>,
    ) -> Result<TokenBatch, ModelError> {
        let flavour = match self.onnx {
            None if gate.card.vit.is_some() => Flavour::Plain,
            _ => Flavour::Fused,
        };
        let exported = self.exported(gate.home, gate.card, flavour)?;
        let options = self.options(gate.card, Device::REFERENCE, None)?;
        let mut backbone = Backbone::load(runtime, gate.card, &exported, options)?;
        let tokens = parity::tokens(&mut backbone, pixels)?;
        if parity::is_finite(&tokens) {
            Ok(tokens)
        } else {
            Err(ModelError::NotFinite(exported.path))
        }
    }
}

/// Replaces this process by another program; returns only if that fails.
#[cfg(unix)]
fn restart(mut program: Command) -> io::Result<()> {
    Err(std::os::unix::process::CommandExt::exec(&mut program))
}

/// TensorRT does not exist on this system.
#[cfg(not(unix))]
fn restart(_: Command) -> io::Result<()> {
    Ok(())
}

/// The inputs of the parity gate.
pub(super) struct Gate<'a> {
    pub(super) home: &'a Path,
    pub(super) card: &'a ModelCard,
    pub(super) dataset: &'a Dataset,
    pub(super) recipe: &'a Preprocess,
}

/// A backbone and its runtime.
pub(super) struct Opened {
    pub(super) runtime: Runtime,
    pub(super) backbone: Backbone,
}

/// Prints the device, why others were not used, and warnings about it.
fn report(backbone: &Backbone, failures: &[String]) {
    let device = backbone.options().device;
    let failures = failures.iter().filter_map(|failure| failure.lines().next());
    let failures: Vec<&str> = failures.collect();
    let (provider, precision) = (device.provider.name(), device.precision.name());
    let gpus = match device.gpus {
        Gpus::All if device.provider.is_gpu() => format!(", {}", counted(backbone.gpus(), "GPU")),
        _ => String::new(),
    };
    let why = if failures.is_empty() {
        String::new()
    } else {
        format!(" ({})", failures.join("; "))
    };
    eprint_line(&format!(
        "computing on {provider}{gpus} in {precision}{why}"
    ));
    if backbone.on_cpu() > 0 {
        eprint_line(&format!(
            "warning: {} of the graph's run on the CPU, because {provider} has no kernels for them, and the GPU waits for them",
            counted(backbone.on_cpu(), "operator")
        ));
    }
    if device.precision == Precision::Int8 {
        eprint_line(
            "warning: 8-bit integers change tokens by several percent, and a slice's tokens depend slightly on the other slices of its batch: compare results with `fp32` before you rely on them",
        );
    }
}
