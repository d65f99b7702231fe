//! Probes fitted on few examples.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use cache::{CacheReader, Split};
use common::draw::equidistant;
use serde_json::json;

use super::average::{EXHAUSTED, average, draws};
use super::evaluated::Evaluated;
use super::fitted::chosen;
use super::identity::Identity;
use super::parts::Parts;
use super::permuted::permuted;
use super::probe::Probe;
use super::settings::Settings;
use super::shots::{Draw, FewShot};
use super::task::Task;
use crate::Error;
use crate::control::Control;
use crate::examples::Examples;
use crate::made_class::draws_patients;
use crate::progress::Steps;
use crate::random;
use crate::record::RunRecord;

/// Parameter of a draw: patients (samples, where none are known) that are fitted on.
const PATIENTS: &str = "patients";

/// Evaluates a probe on few examples: for each number of shots, the mean over its draws.
///
/// Strict protocol: a draw takes, for each class, `shots` patients with the class and all of their
/// images, or `shots` examples ([`Draw`]), from `train`; hyper-parameters are chosen on `val`. Paper
/// protocol: one draw as in the study's code, from `train` and `val`; hyper-parameters are chosen on
/// `test`, as the code does without a validation set.
///
/// # Errors
///
/// As [`evaluate`](super::evaluate), except that a draw may hold one class only; logistic regression
/// alone rejects it.
pub(crate) fn few_shot<P: Probe>(
    reader: &CacheReader,
    probe: &P,
    settings: &Settings,
    few: &FewShot,
    steps: &Steps<'_>,
) -> Result<Vec<Evaluated>, Error> {
    steps.say("reading tokens");
    let mut examples = probe.examples(reader, settings)?;
    let identity = probe.identity(reader, settings, Some(few))?;
    let mut all = Vec::new();
    for &shots in &few.shots {
        let start = Instant::now();
        let drawn = |settings: &Settings,
                     examples: &Examples,
                     steps: &Steps<'_>|
         -> Result<Evaluated, Error> {
            let repeats = draws(settings.protocol, shots, few.repeats);
            let word = shots.map_or_else(|| "all".to_owned(), |shots| shots.to_string());
            let draws = (0..repeats).map(|repeat| {
                let part = format!("shots={word}, draw {} of {repeats}", repeat + 1);
                draw(
                    reader,
                    probe,
                    settings,
                    &identity,
                    examples,
                    (shots, few.draw),
                    (repeat, &steps.of(&part)),
                )
            });
            Ok(together(
                draws.collect::<Result<_, Error>>()?,
                shots,
                P::NAME,
            ))
        };
        let mut evaluated = match settings.control {
            Some(Control::ShuffledLabels { permutations }) => {
                let bare = settings.without_intervals();
                let drawn = |examples: &Examples, steps: &Steps<'_>| drawn(&bare, examples, steps);
                permuted(&mut examples, settings, permutations, steps, drawn)?
            }
            _ => drawn(settings, &examples, steps)?,
        };
        let params = &mut evaluated.record.params;
        params.insert("patient_unit".into(), examples.cluster_word().into());
        if shots.is_some() && !settings.protocol.one_draw() {
            params.insert("draw_of".into(), json!(few.draw));
        }
        if let Some(head) = &mut evaluated.head {
            head.about.settings.insert("shots".into(), json!(shots));
        }
        evaluated.record.seconds = start.elapsed().as_secs_f64();
        all.push(evaluated);
    }
    Ok(all)
}

fn draw<P: Probe>(
    reader: &CacheReader,
    probe: &P,
    settings: &Settings,
    identity: &Identity,
    examples: &Examples,
    (shots, of): (Option<usize>, Draw),
    (repeat, steps): (u64, &Steps<'_>),
) -> Result<Evaluated, Error> {
    let settings = Settings {
        seed: settings.seed.wrapping_add(repeat),
        ..settings.clone()
    };
    let names = &examples.classes;
    let one_draw = settings.protocol.one_draw();
    let test = examples.part(&[Split::Test])?;
    let fitted_on = if one_draw {
        vec![Split::Train, Split::Val]
    } else {
        vec![Split::Train]
    };
    let pool = pool(examples, &fitted_on)?;
    let most = pool.len();
    let (train, val, chosen_on) = if one_draw {
        let drawn = shots.map(|shots| study_draw(examples, &pool, shots));
        (drawn.unwrap_or(pool), test.clone(), Split::Test)
    } else {
        let drawn = shots
            .map(|shots| random_draw(examples, &pool, names.len(), (shots, of), settings.seed));
        (
            drawn.unwrap_or(pool),
            examples.of(&[Split::Val]),
            Split::Val,
        )
    };
    let parts = Parts {
        fit: train.clone(),
        fitted_on,
        train,
        val,
        test,
        chosen_on,
        is_few: true,
    };
    let task = Task {
        reader,
        settings: &settings,
        identity,
        examples,
        parts,
        steps,
    };
    let mut fitted = chosen(probe.fit(&task)?);
    fitted.warnings.extend(task.warnings());
    if task.check().is_err() {
        fitted.warnings.push("a draw holds one class only".into());
    }
    let confidence = settings.confidence.as_ref();
    let fit = task.parts.fit.iter();
    let patients: BTreeSet<&str> = fit.map(|&at| examples.cases[at].cluster()).collect();
    let takes_all = shots.is_some() && task.parts.fit.len() == most;
    let mut evaluated = task.evaluated("few-shot", fitted, confidence.filter(|_| one_draw))?;
    let params = &mut evaluated.record.params;
    params.insert(PATIENTS.into(), json!(patients.len()));
    params.insert(EXHAUSTED.into(), json!(takes_all));
    Ok(evaluated)
}

/// Examples of some splits, one split after the other: the study's code numbers `train` before `val`.
fn pool(examples: &Examples, splits: &[Split]) -> Result<Vec<usize>, Error> {
    examples.part(splits)?;
    let pool = splits.iter().flat_map(|&split| examples.of(&[split]));
    Ok(pool.collect())
}

/// One result of several draws.
fn together(mut draws: Vec<Evaluated>, shots: Option<usize>, probe: &str) -> Evaluated {
    let all: Vec<RunRecord> = draws.iter().map(|draw| draw.record.clone()).collect();
    let patients: Vec<_> = all.iter().map(|record| &record.params[PATIENTS]).collect();
    let settings: Vec<_> = all.iter().map(|record| &record.setting).collect();
    let sizes: Vec<_> = all.iter().map(|record| record.n_train).collect();
    let mut first = draws.swap_remove(0);
    let record = &mut first.record;
    record.params.shift_remove(PATIENTS);
    let word = shots.map_or_else(|| "all".to_owned(), |shots| shots.to_string());
    record.params.extend([
        ("head".to_owned(), json!(probe)),
        ("shots".to_owned(), json!(shots)),
        ("draws".to_owned(), json!(all.len())),
        ("train_per_draw".to_owned(), json!(sizes)),
        ("patients_per_draw".to_owned(), json!(patients)),
        ("setting_per_draw".to_owned(), json!(settings)),
    ]);
    record.setting = format!("{probe} shots={word}");
    average(record, &all);
    if all.len() > 1 {
        record.chosen = None;
    }
    first
}

/// For each class, `shots` random patients (or samples) with the class and all of their examples, or
/// `shots` random examples.
fn random_draw(
    examples: &Examples,
    pool: &[usize],
    classes: usize,
    (shots, of): (usize, Draw),
    seed: u64,
) -> Vec<usize> {
    let truth = examples.truth(pool);
    // A unit is a name, or else a number.
    let unit = |index: usize| match of {
        Draw::Patients => (examples.cases[pool[index]].cluster(), 0),
        Draw::Examples => ("", index),
    };
    let mut taken: BTreeSet<(&str, usize)> = BTreeSet::new();
    for class in 0..classes {
        let has = (0..pool.len()).filter(|&index| truth.is(index, class) == Some(true));
        let having: BTreeSet<_> = has.map(unit).collect();
        taken.extend(random::sample(having, shots, seed, class as u64));
    }
    let drawn = (0..pool.len()).filter(|&index| taken.contains(&unit(index)));
    drawn.map(|index| pool[index]).collect()
}

/// The draw of the study's code. NIH ChestX-ray14: for each class in alphabetical order the first `shots`
/// patients, sorted by name, all of whose images have the class; a patient who was already taken for
/// another class is not replaced. Other data: equidistant examples.
fn study_draw(examples: &Examples, pool: &[usize], shots: usize) -> Vec<usize> {
    let names = &examples.classes;
    let has_patients = pool.iter().all(|&e| examples.cases[e].patient.is_some());
    if !has_patients || !draws_patients(names) {
        let at = equidistant(pool.len(), shots).into_iter();
        return at.map(|at| pool[at]).collect();
    }
    let truth = examples.truth(pool);
    let mut patients: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, &example) in pool.iter().enumerate() {
        patients
            .entry(examples.cases[example].cluster())
            .or_default()
            .push(index);
    }
    let mut classes: Vec<(&String, usize)> = names.iter().zip(0..).collect();
    classes.sort_unstable();
    let mut taken: BTreeSet<&str> = BTreeSet::new();
    for (_, class) in classes {
        let has = |&index: &usize| truth.is(index, class) == Some(true);
        let first = patients.iter().filter(|(_, images)| images.iter().all(has));
        taken.extend(first.map(|(&patient, _)| patient).take(shots));
    }
    let images = taken.iter().flat_map(|patient| &patients[patient]);
    let mut drawn: Vec<usize> = images.map(|&index| pool[index]).collect();
    drawn.sort_unstable();
    drawn
}

#[cfg(test)]
mod tests;
