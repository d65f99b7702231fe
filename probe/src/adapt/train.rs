//! Training a network on a stream of tokens.

use std::f32::consts::PI;
use std::ops::Range;
use std::path::Path;
use std::time::Instant;

use ndarray::ArrayViewMut2;
use nn::transformer::{Batch, Network, Rates, Session};

use super::Store;
use super::checkpoint::{Best, Running, State};
use super::options::Options;
use super::residuals::Residuals;
use crate::Error;
use crate::error::AdaptError;
use crate::evaluate::Task;
use crate::probes::linear::Loss;
use crate::stream::Order;

/// The data and the options of a training.
pub(super) struct Training<'a> {
    pub(super) task: &'a Task<'a>,
    pub(super) options: &'a Options,
    pub(super) residuals: &'a Residuals,
    pub(super) loss: Loss,
    pub(super) store: Store<'a>,
}

/// One of the two trainings of a run.
pub(super) struct Phase<'a> {
    /// Its name in messages.
    pub(super) name: &'static str,
    /// The file to which its state is written after every epoch.
    pub(super) checkpoint: &'a Path,
    /// Examples to learn from.
    pub(super) part: &'a [usize],
    /// Whether the best epoch on `val` is chosen.
    pub(super) is_watched: bool,
    /// Epochs to train for, of those over which learning rates fall.
    pub(super) epochs: usize,
}

/// A trained network.
pub(super) struct Trained {
    pub(super) network: Network,
    pub(super) session: Session,
    pub(super) epochs: usize,
    /// The measure on `val`.
    pub(super) value: Option<f64>,
    /// The same before the first step.
    pub(super) start: Option<f64>,
    /// Mean loss of each epoch.
    pub(super) losses: Vec<f64>,
}

impl Training<'_> {
    /// Trains `network`, from the phase's checkpoint on if there is one.
    ///
    /// # Errors
    ///
    /// [`AdaptError::Diverged`] if the loss has become NaN or infinite, [`Error::NoChoice`] if no epoch has a defined
    /// measure, [`FileError::Kept`](crate::error::FileError::Kept) if the checkpoint is damaged, and [`FileError::Output`](crate::error::FileError::Output) if it cannot be written.
    pub(super) fn run(&self, network: Network, phase: &Phase<'_>) -> Result<Trained, Error> {
        let session = Session::new(&network, self.options.optimiser());
        let mut running = Running {
            state: State::default(),
            network,
            session,
            best: None,
        };
        if !self.store.force && running.read(phase.checkpoint)? {
            let epoch = running.state.epoch;
            (self.store.tell)(&format!("{}: goes on after epoch {epoch}", phase.name));
        }
        let start = (Instant::now(), running.state.epoch);
        let before = running.state.seconds;
        if phase.is_watched && running.state.epoch == 0 {
            running.state.start = self.on_val(phase, &running)?;
        }
        while running.state.epoch < phase.epochs && !self.is_out_of_patience(&running.state) {
            let loss = self.epoch(phase, &mut running, start)?;
            running.state.losses.push(loss);
            running.state.epoch += 1;
            if !is_finite(&running.network) {
                return Err(self.diverged(phase.name, running.state.epoch));
            }
            if phase.is_watched {
                self.watch(phase, &mut running)?;
            }
            running.state.seconds = before + start.0.elapsed().as_secs_f64();
            running.write(phase.checkpoint)?;
        }
        let Running {
            state,
            network,
            session,
            best,
        } = running;
        match (state.best, best, phase.is_watched) {
            (Some(at), Some(network), _) => Ok(Trained {
                network,
                session,
                epochs: at.epoch,
                value: Some(at.value),
                start: state.start,
                losses: state.losses,
            }),
            (_, _, true) => Err(self.task.no_choice("the epoch", None)),
            _ => Ok(Trained {
                network,
                session,
                epochs: state.epoch,
                value: None,
                start: None,
                losses: state.losses,
            }),
        }
    }

    fn is_out_of_patience(&self, state: &State) -> bool {
        let since = state.best.map(|best| state.epoch - best.epoch);
        let patience = self.options.patience.zip(since);
        patience.is_some_and(|(patience, since)| since >= patience)
    }

    /// Trains for an epoch, and returns the mean loss; `start` is the time and the epoch at which this run began.
    fn epoch(
        &self,
        phase: &Phase<'_>,
        running: &mut Running,
        (start, first): (Instant, usize),
    ) -> Result<f64, Error> {
        let (options, epoch) = (self.options, running.state.epoch);
        let views = self.task.examples.training_rows(phase.part);
        let rows: Vec<usize> = views
            .iter()
            .map(|views| views[epoch % views.len()])
            .collect();
        let steps = rows.len().div_ceil(options.batch_size);
        let order = Order::Shuffled {
            seed: self.task.settings.seed,
            pass: epoch as u64,
        };
        let (mut step, mut sum) = (0, 0.0);
        self.residuals.pass(&rows, order, |rows, tokens| {
            let at = (epoch * steps + step) as f32 / (steps * options.epochs) as f32;
            let share = (1.0 + (PI * at).cos()) / 2.0;
            let rates = Rates {
                encoder: share * options.learning_rate,
                head: share * options.head_learning_rate,
            };
            let loss = self.step(running, rows, tokens, rates)?;
            if !loss.is_finite() {
                return Err(self.diverged(phase.name, epoch + 1));
            }
            step += 1;
            sum += loss;
            let done = (epoch - first) * steps + step;
            let left = (phase.epochs - first) * steps - done;
            let seconds = start.elapsed().as_secs_f64() / done as f64 * left as f64;
            let best = running.state.best.map(|best| {
                let measure = self.options.select.measure();
                format!(
                    ", best val {measure} {:.4} (epoch {})",
                    best.value, best.epoch
                )
            });
            (self.store.say)(&format!(
                "{}: epoch {} of {}, step {step} of {steps}, loss {loss:.4}{}, {seconds:.0} s left",
                phase.name,
                epoch + 1,
                phase.epochs,
                best.unwrap_or_default(),
            ));
            Ok(())
        })?;
        Ok(sum / steps.max(1) as f64)
    }

    /// The error that numbers overflowed.
    pub(super) fn diverged(&self, phase: &'static str, epoch: usize) -> Error {
        Error::Adapt(AdaptError::Diverged {
            path: self.task.reader.dir().into(),
            phase,
            epoch,
            learning_rate: self.options.learning_rate,
        })
    }

    fn step(
        &self,
        running: &mut Running,
        rows: &[usize],
        tokens: &[f32],
        rates: Rates,
    ) -> Result<f64, Error> {
        let targets = &self.task.examples.targets;
        let loss = |images: Range<usize>, logits: &mut [f32]| {
            let shape = (images.len(), logits.len() / images.len().max(1));
            let Ok(logits) = ArrayViewMut2::from_shape(shape, logits) else {
                return f64::NAN;
            };
            self.loss.part(logits, targets, &rows[images], rows.len())
        };
        let batch = Batch {
            tokens,
            loss: &loss,
        };
        Ok(running.network.step(&mut running.session, &batch, rates)?)
    }

    /// The measure on `val`; `None` if it is not defined.
    fn on_val(&self, phase: &Phase<'_>, running: &Running) -> Result<Option<f64>, Error> {
        let (network, session) = (&running.network, &running.session);
        let at = (phase.name, running.state.epoch);
        let val = &self.task.parts.val;
        let scores = super::fit::scores(self, (network, session), val, at)?;
        let scored = self.task.scored(val, scores)?;
        let undefined = self.task.settings.protocol.undefined_auroc();
        Ok(self.options.select.of(&scored, undefined))
    }

    /// Measures the network on `val`, and keeps it if it is the best so far.
    fn watch(&self, phase: &Phase<'_>, running: &mut Running) -> Result<(), Error> {
        let Some(value) = self.on_val(phase, running)? else {
            return Ok(());
        };
        if running.state.best.is_none_or(|best| value > best.value) {
            running.best = Some(running.network.clone());
            running.state.best = Some(Best {
                epoch: running.state.epoch,
                value,
            });
        }
        Ok(())
    }
}

fn is_finite(network: &Network) -> bool {
    let mut values = network.parameters().flat_map(|tensor| tensor.data);
    values.all(|value| value.is_finite())
}
