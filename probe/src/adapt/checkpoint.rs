//! The state of a training and its file.

use std::io;
use std::path::Path;

use nn::transformer::{Network, Session};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::error::FileError;
use crate::tensors::{self, Tensor};

/// The key of the metadata of a checkpoint.
const KEY: &str = "slicebank.adapting";

/// The progress of a training.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct State {
    /// Epochs that are complete.
    pub(super) epoch: usize,
    /// Steps that are complete.
    pub(super) steps: u64,
    pub(super) best: Option<Best>,
    /// The measure on the watched examples before the first step.
    #[serde(default)]
    pub(super) start: Option<f64>,
    /// Mean loss of each epoch.
    #[serde(default)]
    pub(super) losses: Vec<f64>,
    /// Time of the complete epochs, in all processes.
    #[serde(default)]
    pub(super) seconds: f64,
}

/// The best epoch so far.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Best {
    pub(super) epoch: usize,
    /// The measure on the watched examples.
    pub(super) value: f64,
}

/// A network in training.
pub(super) struct Running {
    pub(super) state: State,
    pub(super) network: Network,
    pub(super) session: Session,
    pub(super) best: Option<Network>,
}

impl State {
    /// The state in the file `path`; `None` without one that can be read.
    pub(super) fn read(path: &Path) -> Option<State> {
        let found = tensors::read::<State, f32>(path, KEY).ok()?;
        found.map(|(state, _)| state)
    }
}

impl Running {
    /// Writes the state to `path`.
    pub(super) fn write(&self, path: &Path) -> Result<(), Error> {
        let mut all = owned(&self.network, "now.");
        if let Some(best) = &self.best {
            all.extend(owned(best, "best."));
        }
        let momenta = self.session.momenta().into_iter().enumerate();
        all.extend(momenta.map(|(number, momenta)| Tensor {
            name: format!("momenta.{number}"),
            shape: vec![momenta.len()],
            values: momenta.to_vec(),
        }));
        let state = State {
            steps: self.session.steps(),
            ..self.state.clone()
        };
        tensors::write(path, KEY, &state, &all)
    }

    /// Goes on as the file `path` says; returns whether there is one.
    ///
    /// # Errors
    ///
    /// [`FileError::Kept`] if the file is damaged.
    pub(super) fn read(&mut self, path: &Path) -> Result<bool, Error> {
        match std::fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            _ => {}
        }
        let found = tensors::read::<State, f32>(path, KEY).map_err(Error::of_kept)?;
        let Some((state, mut tensors)) = found else {
            return Ok(false);
        };
        let failed = |source| {
            Error::File(FileError::Kept {
                path: path.into(),
                source,
            })
        };
        let load = |network: &mut Network, tensors: &[Tensor]| {
            let loaded = network.load(tensors.iter().map(borrowed));
            loaded.map_err(|error| failed(error.into()))
        };
        let mut best = state.best.map(|_| self.network.clone());
        if let Some(best) = &mut best {
            load(best, &tensors.take_all("best."))?;
        }
        load(&mut self.network, &tensors.take_all("now."))?;
        let mut momenta = |number: usize| tensors.take(&format!("momenta.{number}"));
        let [first, second] = [momenta(0), momenta(1)];
        let momenta = [
            first.map_err(failed)?.values,
            second.map_err(failed)?.values,
        ];
        let resumed = self.session.resume(state.steps, momenta);
        resumed.map_err(|error| failed(error.into()))?;
        (self.state, self.best) = (state, best);
        Ok(true)
    }
}

fn owned(network: &Network, prefix: &str) -> Vec<Tensor> {
    let tensors = network.parameters().map(|tensor| Tensor {
        name: format!("{prefix}{}", tensor.name),
        shape: tensor.shape.into(),
        values: tensor.data.into(),
    });
    tensors.collect()
}

pub(super) fn borrowed(tensor: &Tensor) -> nn::Tensor<'_> {
    nn::Tensor {
        name: &tensor.name,
        shape: &tensor.shape,
        data: &tensor.values,
    }
}
