//! The state of a training and its file.

use std::path::Path;

use nn::Decoder;
use serde::{Deserialize, Serialize};

use super::state_dict::{borrowed, owned, parameters};
use crate::Error;
use crate::error::FileError;
use crate::tensors::{self, Tensor};

/// The key of the metadata of a checkpoint.
const KEY: &str = "slicebank.training";

/// The progress of a training.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct State {
    /// Epochs that are complete.
    pub(super) epoch: usize,
    /// Those of the decoders that are still in training.
    pub(super) learning_rates: Vec<f32>,
    pub(super) best: Option<Best>,
}

/// The best decoder so far.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Best {
    pub(super) learning_rate: f32,
    pub(super) epoch: usize,
    /// Pooled Dice coefficient on the watched rows.
    pub(super) dice: f64,
}

/// Decoders in training.
pub(super) struct Running {
    pub(super) state: State,
    /// One for each of the state's learning rates.
    pub(super) decoders: Vec<Decoder>,
    pub(super) best: Option<Decoder>,
}

impl Running {
    /// Copies of `decoder`, one for each learning rate.
    pub(super) fn new(decoder: Decoder, learning_rates: &[f32]) -> Running {
        Running {
            decoders: vec![decoder; learning_rates.len()],
            state: State {
                learning_rates: learning_rates.to_vec(),
                ..State::default()
            },
            best: None,
        }
    }

    /// Drops decoders that are not finite.
    pub(super) fn retain(&mut self, are_finite: &[bool]) {
        let mut each = are_finite.iter();
        self.decoders.retain(|_| each.next() == Some(&true));
        let mut each = are_finite.iter();
        let rates = &mut self.state.learning_rates;
        rates.retain(|_| each.next() == Some(&true));
    }

    /// Writes the state to `path`.
    pub(super) fn write(&self, path: &Path) -> Result<(), Error> {
        let mut all: Vec<Tensor> = Vec::new();
        let mut add = |prefix: String, tensors: Vec<Tensor>| {
            all.extend(tensors.into_iter().map(|tensor| Tensor {
                name: format!("{prefix}{}", tensor.name),
                ..tensor
            }));
        };
        for (number, decoder) in self.decoders.iter().enumerate() {
            add(format!("{number}."), parameters(decoder));
            add(format!("momentum.{number}."), owned(decoder.momenta()));
        }
        if let Some(best) = &self.best {
            add("best.".into(), parameters(best));
        }
        tensors::write(path, KEY, &self.state, &all)
    }

    /// Reads the state in `path`, if there is one; `blank` is a decoder of the kind and shape in training.
    ///
    /// # Errors
    ///
    /// [`FileError::Kept`] if the file is damaged.
    pub(super) fn read(path: &Path, blank: &Decoder) -> Result<Option<Running>, Error> {
        match std::fs::metadata(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            _ => {}
        }
        let found = tensors::read::<State, f32>(path, KEY).map_err(Error::of_kept)?;
        let Some((state, mut tensors)) = found else {
            return Ok(None);
        };
        let load = |tensors: &[Tensor], momenta: Option<Vec<Tensor>>| {
            let mut decoder = blank.clone();
            decoder.load(tensors.iter().map(borrowed))?;
            if let Some(momenta) = momenta {
                decoder.load_momenta(momenta.iter().map(borrowed))?;
            }
            Ok(decoder)
        };
        let failed = |error: nn::Error| {
            Error::File(FileError::Kept {
                path: path.into(),
                source: error.into(),
            })
        };
        let mut decoders = Vec::new();
        for number in 0..state.learning_rates.len() {
            let parameters = tensors.take_all(&format!("{number}."));
            let momenta = tensors.take_all(&format!("momentum.{number}."));
            decoders.push(load(&parameters, Some(momenta)).map_err(failed)?);
        }
        let best = match state.best {
            Some(_) => Some(load(&tensors.take_all("best."), None).map_err(failed)?),
            None => None,
        };
        Ok(Some(Running {
            state,
            decoders,
            best,
        }))
    }
}
