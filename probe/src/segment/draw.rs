//! Evaluation of decoders for a number of shots.

use std::time::Instant;

use cache::Split;
use common::counted;
use nn::Workspace;
use serde_json::{Map, Value, json};

use super::about::About;
use super::evaluated::Evaluated;
use super::fit::TrainingStore;
use super::kinds::{layers, name};
use super::measures;
use super::parts::Parts;
use super::pictures::pictures;
use super::predict::Predictor;
use super::resolution::Resolution;
use super::task::Task;
use crate::Error;
use crate::evaluate::{EXHAUSTED, Identity, average, blank, draws};
use crate::hold_out::HeldOut;
use crate::progress::Steps;
use crate::record::RunRecord;

/// Parameter of a draw: patients (samples, where none are known) that are learnt from.
const PATIENTS: &str = "patients";

/// Advice if a decoder finds nothing.
const ADVICE: &str = "train for more `--epochs`, at other learning rates (`--lr`) or with \
                      `--loss dice-ce`";

impl Task<'_> {
    /// The result of a number of shots: of several draws, the means and standard deviations.
    pub(super) fn shots(
        &self,
        shots: Option<usize>,
        identity: &Identity,
        store: &TrainingStore<'_>,
    ) -> Result<Evaluated, Error> {
        let repeats = draws(self.settings.protocol, shots, self.options.repeats);
        let all = (0..repeats).map(|repeat| {
            let seed = self.settings.seed.wrapping_add(repeat);
            let steps = match shots {
                Some(shots) => {
                    let draw = format!("shots={shots}, draw {} of {repeats}", repeat + 1);
                    store.steps.of(&draw)
                }
                None => store.steps.clone(),
            };
            self.draw(shots, seed, identity, (store, &steps))
        });
        let mut all = all.collect::<Result<Vec<Evaluated>, Error>>()?;
        let records: Vec<RunRecord> = all.iter().map(|draw| draw.record.clone()).collect();
        let mut first = all.swap_remove(0);
        average(&mut first.record, &records);
        let params = &mut first.record.params;
        if records.len() > 1 {
            params.insert("draws".into(), json!(records.len()));
        }
        if shots.is_some() {
            let sizes: Vec<usize> = records.iter().map(|record| record.n_train).collect();
            let patients = records.iter().map(|record| &record.params[PATIENTS]);
            let patients: Vec<Value> = patients.cloned().collect();
            params.insert("train_per_draw".into(), json!(sizes));
            params.insert("patients_per_draw".into(), json!(patients));
            params.insert("patient_unit".into(), self.cases.cluster_word().into());
        }
        params.shift_remove(PATIENTS);
        Ok(first)
    }

    fn draw(
        &self,
        shots: Option<usize>,
        seed: u64,
        identity: &Identity,
        (store, steps): (&TrainingStore<'_>, &Steps<'_>),
    ) -> Result<Evaluated, Error> {
        let start = Instant::now();
        let test = self.part(&[Split::Test], false)?;
        let parts = self.parts(shots, seed)?;
        let mut warnings = self.check(&parts, &test, shots.is_some())?;
        warnings.extend(self.cases.warnings.iter().cloned());
        let (saved, file) = self.trained(&parts, shots, seed, identity, store, steps)?;
        let decoder = saved.decoder_of(&store.runs.join(&file))?;
        let about = &saved.about;
        if about.val_dice == Some(0.0) {
            warnings.push("at every learning rate the Dice coefficient on `val` is 0".into());
        }
        let count = steps.count("measuring", test.len(), "slices");
        let batch = self.options.batch_size.min(test.len());
        let mut predictor = Predictor {
            decoder: &decoder,
            workspace: &mut Workspace::new(self.options.decoder, self.shape, batch)?,
            stream: &self.stream,
            cases: &self.cases,
            count: Some(&count),
        };
        let resolution = self.settings.protocol.resolution();
        let volumes = predictor.measure(&test, resolution, |_| Ok(()))?;
        predictor.count = None;
        let names = &self.cases.names;
        warnings.extend(measures::never_predicted(&volumes, names, ADVICE));
        let has_intervals = draws(self.settings.protocol, shots, self.options.repeats) == 1;
        let confidence = self.settings.confidence.as_ref();
        let confidence = confidence.filter(|_| has_intervals);
        let measures = match resolution {
            Resolution::Native => measures::by_volume(&volumes, names, confidence, &mut warnings)?,
            Resolution::Input => measures::pooled(&volumes, names),
        };
        let pictures = if shots.is_none() && resolution == Resolution::Native {
            pictures(&mut predictor, self.reader, &test, &volumes)?
        } else {
            Vec::new()
        };
        let record = RunRecord {
            probe: "segment".into(),
            setting: self.setting(about, shots),
            params: self.params(&parts, about, shots),
            n_train: parts.fit.len(),
            n_test: test.len(),
            chosen: about.val_dice.map(|_| true),
            chosen_on: about.val_dice.map(|_| parts.chosen_on.name().into()),
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

    fn setting(&self, about: &About, shots: Option<usize>) -> String {
        let word = shots.map_or_else(String::new, |shots| format!(" shots={shots}"));
        let decoder = name(self.options.decoder);
        format!("{decoder} lr={}{word}", about.learning_rate)
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
            ("decoder".to_owned(), json!(options.decoder)),
            ("parameters".to_owned(), json!(about.parameters)),
            ("layers".to_owned(), json!(layers(options.decoder))),
            ("layer_norm".to_owned(), json!(self.layer_norm)),
            ("lr".to_owned(), json!(about.learning_rate)),
            ("lr_scan".to_owned(), json!(options.learning_rates)),
            ("epochs".to_owned(), json!(about.epochs)),
            ("epochs_of_schedule".to_owned(), json!(options.epochs)),
            ("val_dice".to_owned(), json!(about.val_dice)),
            ("batch_size".to_owned(), json!(options.batch_size)),
            ("loss".to_owned(), json!(options.loss)),
            ("augmentation".to_owned(), json!(augmentation)),
            ("classes".to_owned(), json!(&self.cases.names[1..])),
            ("shots".to_owned(), json!(shots)),
            ("train".to_owned(), json!(splits.join("+"))),
            (PATIENTS.to_owned(), json!(self.cases.patients(&parts.fit))),
            (EXHAUSTED.to_owned(), json!(parts.takes_all)),
        ];
        params.into_iter().chain(held_out).collect()
    }
}
