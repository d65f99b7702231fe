//! Training decoders on a stream of tokens, all learning rates over the same pass.

use std::f32::consts::PI;
use std::path::PathBuf;
use std::time::Instant;

use nn::{Decoder, Shape, Workspace};

use super::cases::Cases;
use super::checkpoint::{Best, Running, State};
use super::measures::pooled_dice;
use super::options::Options;
use super::predict::Predictor;
use super::resolution::Resolution;
use crate::Error;
use crate::error::SegmentError;
use crate::progress::{Steps, time};
use crate::stream::{Batch, Order, Stream};

/// The data and the options of a training.
pub(super) struct Training<'a> {
    pub(super) stream: &'a Stream,
    pub(super) cases: &'a Cases,
    pub(super) options: &'a Options,
    pub(super) shape: Shape,
    pub(super) seed: u64,
    /// The file of a phase, to which its state is written after every epoch.
    pub(super) checkpoint: &'a dyn Fn(&str) -> PathBuf,
    pub(super) steps: &'a Steps<'a>,
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

impl Training<'_> {
    /// Trains, from the phase's checkpoint on if there is one.
    ///
    /// # Errors
    ///
    /// [`SegmentError::Diverged`] if the loss or a parameter of every learning rate has become NaN or
    /// infinite, [`FileError::Kept`](crate::error::FileError::Kept) if the checkpoint is damaged, and [`FileError::Output`](crate::error::FileError::Output) if the state cannot be
    /// written; the checkpoint before stays.
    pub(super) fn run(&self, phase: &Phase<'_>) -> Result<Trained, Error> {
        let kind = self.options.decoder;
        let checkpoint = (self.checkpoint)(phase.name);
        let blank = Decoder::new(kind, self.shape, self.seed)?;
        let mut running = match Running::read(&checkpoint, &blank)? {
            Some(running) => {
                let epoch = running.state.epoch;
                (self.tell)(&format!("{}: goes on after epoch {epoch}", phase.name));
                running
            }
            None => Running::new(blank, phase.learning_rates),
        };
        let mut workspace = Workspace::new(kind, self.shape, self.batch())?;
        let start = (Instant::now(), running.state.epoch);
        while running.state.epoch < phase.epochs && !self.is_out_of_patience(&running.state) {
            self.epoch(phase, &mut running, &mut workspace, start)?;
            let are_finite: Vec<bool> = running.decoders.iter().map(is_finite).collect();
            keep_finite(&mut running, &are_finite, phase)?;
            running.state.epoch += 1;
            if let Some(rows) = phase.watched {
                self.watch(&mut running, &mut workspace, rows)?;
            }
            running.write(&checkpoint)?;
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

    fn is_out_of_patience(&self, state: &State) -> bool {
        let since = state.best.map(|best| state.epoch - best.epoch);
        self.options
            .patience
            .zip(since)
            .is_some_and(|(patience, since)| since >= patience)
    }

    /// Trains for an epoch. `start` and `first` are the time and the epoch at which this run began.
    fn epoch(
        &self,
        phase: &Phase<'_>,
        running: &mut Running,
        workspace: &mut Workspace,
        (start, first): (Instant, usize),
    ) -> Result<(), Error> {
        let epoch = running.state.epoch;
        let steps = phase.rows.len().div_ceil(self.options.batch_size);
        let order = Order::Shuffled {
            seed: self.seed,
            pass: epoch as u64,
        };
        let mut step = 0;
        self.stream.pass(phase.rows, order, |batch| {
            let at = (epoch * steps + step) as f32 / (steps * self.options.epochs) as f32;
            let losses = self.step(running, workspace, batch, at)?;
            let are_finite: Vec<bool> = losses.iter().map(|loss| loss.is_finite()).collect();
            keep_finite(running, &are_finite, phase)?;
            step += 1;
            let done = (epoch - first) * steps + step;
            let left = (phase.epochs - first) * steps - done;
            let seconds = start.elapsed().as_secs_f64() / done as f64 * left as f64;
            let least = losses.iter().copied().fold(f64::INFINITY, f64::min);
            let text = format!(
                "{}: epoch {} of {}, step {step} of {steps}, loss {least:.4}{}, {} left",
                phase.name,
                epoch + 1,
                phase.epochs,
                running.state.best.map(best_so_far).unwrap_or_default(),
                time(seconds),
            );
            let share = (epoch * steps + step) as f64 / (phase.epochs * steps) as f64;
            self.steps.share(share, &text);
            Ok(())
        })
    }

    /// Takes a step of all decoders, at the share `at` of the schedule; returns their losses.
    fn step(
        &self,
        running: &mut Running,
        workspace: &mut Workspace,
        batch: &Batch,
        at: f32,
    ) -> Result<Vec<f64>, Error> {
        let truth = self.cases.squares(&batch.rows, self.shape.size);
        let tokens: Vec<&[f32]> = batch.tokens.iter().map(Vec::as_slice).collect();
        let share = (1.0 + (PI * at).cos()) / 2.0;
        let rates = running.state.learning_rates.iter();
        let rates: Vec<f32> = rates.map(|rate| rate * share).collect();
        Ok(nn::step(
            &mut running.decoders,
            workspace,
            &tokens,
            &truth,
            self.options.loss,
            &rates,
        )?)
    }

    /// Measures the decoders on `rows`, and stores the best so far.
    fn watch(
        &self,
        running: &mut Running,
        workspace: &mut Workspace,
        rows: &[usize],
    ) -> Result<(), Error> {
        let classes = self.cases.names.len();
        let slices = rows.len() * running.decoders.len();
        let count = self.steps.count("measuring on val", slices, "slices");
        for (decoder, &learning_rate) in running.decoders.iter().zip(&running.state.learning_rates)
        {
            let mut predictor = Predictor {
                decoder,
                workspace,
                stream: self.stream,
                cases: self.cases,
                count: Some(&count),
            };
            let volumes = predictor.measure(rows, Resolution::Input, |_| Ok(()))?;
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
}

/// Continues with the decoders that are finite; at least one must be.
fn keep_finite(running: &mut Running, are_finite: &[bool], phase: &Phase<'_>) -> Result<(), Error> {
    running.retain(are_finite);
    if running.decoders.is_empty() {
        return Err(Error::Segment(SegmentError::Diverged {
            phase: phase.name,
            learning_rates: join(phase.learning_rates),
            epoch: running.state.epoch + 1,
        }));
    }
    Ok(())
}

fn best_so_far(best: Best) -> String {
    format!(
        ", best Dice {:.4} (lr {}, epoch {})",
        best.dice, best.learning_rate, best.epoch
    )
}

fn is_finite(decoder: &Decoder) -> bool {
    let mut values = decoder.parameters().flat_map(|tensor| tensor.data);
    values.all(|value| value.is_finite())
}

/// Learning rates, separated by commas.
fn join(rates: &[f32]) -> String {
    let rates: Vec<String> = rates.iter().map(f32::to_string).collect();
    rates.join(", ")
}
