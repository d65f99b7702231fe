//! The decoder of a run: read from its file, or trained and saved.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use cache::Split;

use super::options::Options;
use super::parts::Parts;
use super::saved::SavedDecoder;
use super::task::Task;
use super::train::{Phase, Trained, Training};
use crate::Error;
use crate::evaluate::{EVALUATION_VERSION, Identity, hash};
use crate::origin::Origin;
use crate::progress::Steps;

/// The training by which learning rate and epochs are chosen.
const SCAN: &str = "scan";
/// The training of the decoder that is measured.
const TRAINING: &str = "training";

/// The files and messages of trainings.
pub struct TrainingStore<'a> {
    /// The folder of run records.
    pub runs: &'a Path,
    /// Trains again, once, a decoder that has been trained already.
    pub force: bool,
    /// Files of the decoders that this run has trained.
    pub trained: &'a Mutex<BTreeSet<PathBuf>>,
    /// Shows the steps of the evaluation.
    pub steps: Steps<'a>,
    /// Prints a line that stays.
    pub tell: &'a dyn Fn(&str),
}

impl TrainingStore<'_> {
    /// The file of the state of a phase of a training.
    fn checkpoint(&self, key: &str, phase: &str) -> PathBuf {
        self.runs
            .join(format!("training/{key}-{phase}.safetensors"))
    }
}

impl Task<'_> {
    /// The decoder, and its file below the folder of runs. It is read from the file if it has been
    /// trained before.
    pub(super) fn trained(
        &self,
        parts: &Parts,
        shots: Option<usize>,
        seed: u64,
        identity: &Identity,
        store: &TrainingStore<'_>,
        steps: &Steps<'_>,
    ) -> Result<(SavedDecoder, String), Error> {
        let key = self.training_key(parts, seed);
        let file = format!("heads/segment-{key}.safetensors");
        let path = store.runs.join(&file);
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
            checkpoint: &|phase| store.checkpoint(&key, phase),
            steps,
            tell: store.tell,
        };
        let decoder = self.train(&training, parts)?;
        let origin = self.origin(parts, identity);
        let saved = SavedDecoder::of(origin, &self.cases, &decoder, shots, self.layer_norm);
        saved.write(&path)?;
        trained.insert(path);
        for phase in [SCAN, TRAINING] {
            // A file that cannot be removed is overwritten by the next training.
            let _ = std::fs::remove_file(store.checkpoint(&key, phase));
        }
        Ok((saved, file))
    }

    /// Chooses learning rate and epochs by a scan, if there is a choice, and trains the decoder that is
    /// measured.
    fn train(&self, training: &Training<'_>, parts: &Parts) -> Result<Trained, Error> {
        let rates = &self.options.learning_rates;
        if !self.options.scans() {
            return final_training(training, parts, rates[0], self.options.epochs);
        }
        let best = training.run(&Phase {
            name: SCAN,
            learning_rates: rates,
            rows: &parts.scan,
            watched: Some(&parts.choose),
            epochs: self.options.epochs,
        })?;
        if parts.fit == parts.scan {
            return Ok(best);
        }
        Ok(Trained {
            dice: best.dice,
            ..final_training(training, parts, best.learning_rate, best.epochs)?
        })
    }

    fn origin(&self, parts: &Parts, identity: &Identity) -> Origin {
        let seen = [&parts.fitted_on[..], &[Split::Train, parts.chosen_on]].concat();
        let rows = [&parts.scan, &parts.choose, &parts.fit]
            .into_iter()
            .flatten();
        let who = rows.map(|&row| self.cases.who(row));
        let split = (
            self.settings.split_name.clone(),
            identity.split_sha256.clone(),
        );
        Origin::new(self.reader, split, &seen, who)
    }

    /// The key of a training: a hash of all that its result depends on.
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

fn final_training(
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
