//! Training decoders on a stream of tokens, all learning rates over the same pass.

use std::f32::consts::PI;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Instant;

use nn::{Decoder, Shape, Workspace};
use serde::{Deserialize, Serialize};

use super::Options;
use super::cases::Cases;
use super::predict::{Resolution, measure};
use super::stream::{Order, Stream};
use super::volumes::pooled_dice;
use crate::Error;
use crate::tensors::{self, Tensor};

/// The key of a checkpoint's metadata.
const KEY: &str = "slicebank.training";

/// What a training goes over, and where it is kept.
pub(super) struct Training<'a> {
    pub(super) stream: &'a Stream,
    pub(super) cases: &'a Cases,
    pub(super) options: &'a Options,
    pub(super) shape: Shape,
    pub(super) seed: u64,
    /// Where the state of a phase is kept after every epoch.
    pub(super) checkpoint: &'a dyn Fn(&str) -> PathBuf,
    pub(super) say: &'a dyn Fn(&str),
    pub(super) tell: &'a dyn Fn(&str),
}

/// One of the two trainings of a run.
pub(super) struct Phase<'a> {
    /// Its name in the checkpoint and in messages.
    pub(super) name: &'static str,
    pub(super) learning_rates: &'a [f32],
    /// Rows to learn from.
    pub(super) rows: &'a [usize],
    /// Rows by which the best learning rate and epoch are chosen.
    pub(super) watched: Option<&'a [usize]>,
    /// Epochs to train for, of those over which learning rates fall.
    pub(super) epochs: usize,
}

/// A trained decoder.
pub(super) struct Trained {
    pub(super) decoder: Decoder,
    pub(super) learning_rate: f32,
    pub(super) epochs: usize,
    /// Pooled Dice coefficient on the watched rows.
    pub(super) dice: Option<f64>,
}

/// How far a training is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct State {
    epoch: usize,
    learning_rates: Vec<f32>,
    best: Option<Best>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Best {
    learning_rate: f32,
    epoch: usize,
    dice: f64,
}

/// Decoders in training.
struct Running {
    state: State,
    /// One for each of the state's learning rates.
    decoders: Vec<Decoder>,
    best: Option<Decoder>,
}

impl Running {
    /// Goes on with those that are finite, of which there must be one.
    fn keep_finite(&mut self, are_finite: &[bool], phase: &Phase<'_>) -> Result<(), Error> {
        let mut each = are_finite.iter();
        self.decoders.retain(|_| each.next() == Some(&true));
        let mut each = are_finite.iter();
        let rates = &mut self.state.learning_rates;
        rates.retain(|_| each.next() == Some(&true));
        if self.decoders.is_empty() {
            Err(Error::SegmentDiverged {
                phase: phase.name,
                learning_rates: join(phase.learning_rates),
                epoch: self.state.epoch + 1,
            })
        } else {
            Ok(())
        }
    }
}

impl Training<'_> {
    /// Trains, from where the phase's checkpoint is.
    ///
    /// # Errors
    ///
    /// [`Error::SegmentDiverged`] if the loss or a parameter of every learning rate has become NaN or
    /// infinite, [`Error::Kept`] if the checkpoint is damaged, and [`Error::Output`] if the state cannot be
    /// kept; what was kept before stays.
    pub(super) fn run(&self, phase: &Phase<'_>) -> Result<Trained, Error> {
        let mut running = match self.resumed(phase)? {
            Some(running) => running,
            None => self.begun(phase)?,
        };
        let kind = self.options.decoder;
        let mut workspace = Workspace::new(kind, self.shape, self.batch())?;
        let start = (Instant::now(), running.state.epoch);
        while running.state.epoch < phase.epochs && !self.is_out_of_patience(&running.state) {
            self.epoch(phase, &mut running, &mut workspace, start)?;
            let are_finite: Vec<bool> = running.decoders.iter().map(is_finite).collect();
            running.keep_finite(&are_finite, phase)?;
            running.state.epoch += 1;
            if let Some(rows) = phase.watched {
                self.watch(&mut running, &mut workspace, rows)?;
            }
            self.keep(phase, &running)?;
        }
        Ok(match (running.best, running.state.best) {
            (Some(decoder), Some(best)) => Trained {
                decoder,
                learning_rate: best.learning_rate,
                epochs: best.epoch,
                dice: Some(best.dice),
            },
            _ => Trained {
                decoder: running.decoders.swap_remove(0),
                learning_rate: running.state.learning_rates[0],
                epochs: running.state.epoch,
                dice: None,
            },
        })
    }

    /// Slices in the largest batch.
    fn batch(&self) -> usize {
        self.options.batch_size.min(self.cases.slices.len())
    }

    fn begun(&self, phase: &Phase<'_>) -> Result<Running, Error> {
        let rates = phase.learning_rates.to_vec();
        let decoder = Decoder::new(self.options.decoder, self.shape, self.seed)?;
        Ok(Running {
            decoders: vec![decoder; rates.len()],
            state: State {
                learning_rates: rates,
                ..State::default()
            },
            best: None,
        })
    }

    fn decoder(&self, tensors: &[Tensor]) -> Result<Decoder, nn::Error> {
        let mut decoder = Decoder::new(self.options.decoder, self.shape, self.seed)?;
        decoder.load(tensors.iter().map(borrowed))?;
        Ok(decoder)
    }

    fn is_out_of_patience(&self, state: &State) -> bool {
        let since = state.best.map(|best| state.epoch - best.epoch);
        self.options
            .patience
            .zip(since)
            .is_some_and(|(patience, since)| since >= patience)
    }

    fn epoch(
        &self,
        phase: &Phase<'_>,
        running: &mut Running,
        workspace: &mut Workspace,
        (start, first): (Instant, usize),
    ) -> Result<(), Error> {
        let epoch = running.state.epoch;
        let steps = phase.rows.len().div_ceil(self.options.batch_size);
        let all = steps * self.options.epochs;
        let order = Order::Shuffled {
            seed: self.seed,
            pass: epoch as u64,
        };
        let mut step = 0;
        self.stream.pass(phase.rows, order, |batch| {
            let side = self.shape.size;
            let truth = self.cases.squares(&batch.rows, side);
            let tokens: Vec<&[f32]> = batch.tokens.iter().map(Vec::as_slice).collect();
            let at = (epoch * steps + step) as f32 / all as f32;
            let share = (1.0 + (PI * at).cos()) / 2.0;
            let rates = running.state.learning_rates.iter();
            let rates: Vec<f32> = rates.map(|rate| rate * share).collect();
            let loss = self.options.loss;
            let losses = nn::step(
                &mut running.decoders,
                workspace,
                &tokens,
                &truth,
                loss,
                &rates,
            )?;
            let are_finite: Vec<bool> = losses.iter().map(|loss| loss.is_finite()).collect();
            running.keep_finite(&are_finite, phase)?;
            step += 1;
            let done = (epoch - first) * steps + step;
            let left = (phase.epochs - first) * steps - done;
            let seconds = start.elapsed().as_secs_f64() / done as f64 * left as f64;
            let least = losses.iter().copied().fold(f64::INFINITY, f64::min);
            let dice = running.state.best.map(|best| {
                format!(
                    ", best Dice {:.4} (lr {}, epoch {})",
                    best.dice, best.learning_rate, best.epoch
                )
            });
            (self.say)(&format!(
                "{}: epoch {} of {}, step {step} of {steps}, loss {least:.4}{}, {} left",
                phase.name,
                epoch + 1,
                phase.epochs,
                dice.unwrap_or_default(),
                time(seconds),
            ));
            Ok(())
        })
    }

    /// Compares what has been learnt with the best so far.
    fn watch(
        &self,
        running: &mut Running,
        workspace: &mut Workspace,
        rows: &[usize],
    ) -> Result<(), Error> {
        let classes = self.cases.names.len();
        for (decoder, &learning_rate) in running.decoders.iter().zip(&running.state.learning_rates)
        {
            let volumes = measure(
                decoder,
                workspace,
                self.stream,
                self.cases,
                rows,
                Resolution::Input,
                |_| Ok(()),
            )?;
            let dice = pooled_dice(&volumes, classes).unwrap_or(0.0);
            if running.state.best.is_none_or(|best| dice > best.dice) {
                running.state.best = Some(Best {
                    learning_rate,
                    epoch: running.state.epoch,
                    dice,
                });
                running.best = Some(decoder.clone());
            }
        }
        Ok(())
    }

    fn keep(&self, phase: &Phase<'_>, running: &Running) -> Result<(), Error> {
        let mut all: Vec<Tensor> = Vec::new();
        let mut add = |prefix: String, tensors: Vec<Tensor>| {
            all.extend(tensors.into_iter().map(|tensor| Tensor {
                name: format!("{prefix}{}", tensor.name),
                ..tensor
            }));
        };
        for (number, decoder) in running.decoders.iter().enumerate() {
            add(format!("{number}."), parameters(decoder));
            add(format!("momentum.{number}."), owned(decoder.momenta()));
        }
        if let Some(best) = &running.best {
            add("best.".into(), parameters(best));
        }
        tensors::write(&(self.checkpoint)(phase.name), KEY, &running.state, &all)
    }

    fn resumed(&self, phase: &Phase<'_>) -> Result<Option<Running>, Error> {
        let path = (self.checkpoint)(phase.name);
        match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            _ => {}
        }
        let found = tensors::read::<State>(&path, KEY).map_err(Error::of_kept)?;
        let Some((state, mut tensors)) = found else {
            return Ok(None);
        };
        let failed = |error: nn::Error| Error::Kept {
            path: path.clone(),
            source: error.into(),
        };
        let mut decoders = Vec::new();
        for number in 0..state.learning_rates.len() {
            let parameters = tensors.take_all(&format!("{number}."));
            let mut decoder = self.decoder(&parameters).map_err(failed)?;
            let momenta = tensors.take_all(&format!("momentum.{number}."));
            decoder
                .load_momenta(momenta.iter().map(borrowed))
                .map_err(failed)?;
            decoders.push(decoder);
        }
        let best = state.best.map(|_| self.decoder(&tensors.take_all("best.")));
        let best = best.transpose().map_err(failed)?;
        (self.tell)(&format!(
            "{}: goes on after epoch {}",
            phase.name, state.epoch
        ));
        Ok(Some(Running {
            state,
            decoders,
            best,
        }))
    }
}

fn is_finite(decoder: &Decoder) -> bool {
    let mut values = decoder.parameters().flat_map(|tensor| tensor.data);
    values.all(|value| value.is_finite())
}

/// All tensors of a decoder.
pub(super) fn parameters(decoder: &Decoder) -> Vec<Tensor> {
    owned(decoder.parameters())
}

fn owned<'a>(tensors: impl Iterator<Item = nn::Tensor<'a>>) -> Vec<Tensor> {
    let owned = tensors.map(|tensor| Tensor {
        name: tensor.name.into(),
        shape: tensor.shape.into(),
        values: tensor.data.into(),
    });
    owned.collect()
}

pub(super) fn borrowed(tensor: &Tensor) -> nn::Tensor<'_> {
    nn::Tensor {
        name: &tensor.name,
        shape: &tensor.shape,
        data: &tensor.values,
    }
}

/// Learning rates with commas between them.
pub(super) fn join(rates: &[f32]) -> String {
    let rates: Vec<String> = rates.iter().map(f32::to_string).collect();
    rates.join(", ")
}

fn time(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}
