//! Probes fitted on few examples.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use cache::{CacheReader, Split};
use clap::ValueEnum;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{Evaluated, Identity, Parts, Probe, Settings, Task, chosen, permuted};
use crate::Error;
use crate::control::Control;
use crate::examples::Examples;
use crate::random;
use crate::study::draws_patients;

/// Numbers of examples, and of draws of each number.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct FewShot {
    /// Numbers of shots; `None` for all examples.
    pub(crate) shots: Vec<Option<usize>>,
    /// Random draws of each number.
    pub(crate) repeats: usize,
    /// Unit of a random draw.
    pub(crate) draw: Draw,
}

/// Unit of a random draw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Draw {
    /// Patients (samples, if no patients are known), with all of their images
    #[default]
    Patients,
    /// Examples of any patient, as in DINOv2's evaluation
    Examples,
}

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
) -> Result<Vec<Evaluated>, Error> {
    let mut examples = settings.examples(reader, probe)?;
    let identity = settings.of_probe(reader, probe, Some(few))?;
    let mut all = Vec::new();
    for &shots in &few.shots {
        let start = Instant::now();
        let drawn = |settings: &Settings, examples: &Examples| -> Result<Evaluated, Error> {
            let repeats = 0..repeats(settings, few, shots) as u64;
            let draws = repeats.map(|repeat| {
                draw(
                    reader,
                    probe,
                    settings,
                    &identity,
                    examples,
                    (shots, few.draw),
                    repeat,
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
                let drawn = |examples: &Examples| drawn(&bare, examples);
                permuted(&mut examples, settings, permutations, drawn)?
            }
            _ => drawn(settings, &examples)?,
        };
        if shots.is_some() && !settings.protocol.one_draw() {
            let params = &mut evaluated.record.params;
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

fn repeats(settings: &Settings, few: &FewShot, shots: Option<usize>) -> usize {
    if settings.protocol.one_draw() || shots.is_none() {
        1
    } else {
        few.repeats
    }
}

fn draw<P: Probe>(
    reader: &CacheReader,
    probe: &P,
    settings: &Settings,
    identity: &Identity,
    examples: &Examples,
    (shots, of): (Option<usize>, Draw),
    repeat: u64,
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
    };
    let mut fitted = chosen(probe.fit(&task)?);
    fitted.warnings.extend(task.lint());
    if task.check().is_err() {
        fitted.warnings.push("a draw holds one class only".into());
    }
    let confidence = settings.confidence.as_ref();
    task.evaluated("few-shot", fitted, confidence.filter(|_| one_draw))
}

/// The examples of some splits, those of one split after those of another: the study numbers `train`
/// before `val`.
fn pool(examples: &Examples, splits: &[Split]) -> Result<Vec<usize>, Error> {
    examples.part(splits)?;
    let pool = splits.iter().flat_map(|&split| examples.of(&[split]));
    Ok(pool.collect())
}

/// One result of several draws: means, and their standard deviations.
fn together(mut draws: Vec<Evaluated>, shots: Option<usize>, probe: &str) -> Evaluated {
    let all: Vec<Map<String, Value>> = draws.iter().map(|d| d.record.metrics.clone()).collect();
    let settings: Vec<_> = draws.iter().map(|d| d.record.setting.clone()).collect();
    let sizes: Vec<_> = draws.iter().map(|d| d.record.n_train).collect();
    let warnings: BTreeSet<String> = draws
        .iter()
        .flat_map(|d| d.record.warnings.clone())
        .collect();
    let mut first = draws.swap_remove(0);
    let record = &mut first.record;
    let word = shots.map_or_else(|| "all".to_owned(), |shots| shots.to_string());
    record.params.extend([
        ("head".to_owned(), json!(probe)),
        ("shots".to_owned(), json!(shots)),
        ("draws".to_owned(), json!(all.len())),
        ("train_per_draw".to_owned(), json!(sizes)),
        ("setting_per_draw".to_owned(), json!(settings)),
    ]);
    record.setting = format!("{probe} shots={word}");
    record.warnings = warnings.into_iter().collect();
    if all.len() > 1 {
        let (means, deviations) = spread(&all);
        (record.metrics, record.spread) = (means, Some(deviations));
        record.chosen = None;
    }
    first
}

/// Means of the numbers that all draws have, and their standard deviations with the draws' values;
/// beside the means, what else is equal in all draws.
pub(crate) fn spread(draws: &[Map<String, Value>]) -> (Map<String, Value>, Map<String, Value>) {
    let (mut means, mut spread) = (Map::new(), Map::new());
    for name in draws[0].keys() {
        let found: Option<Vec<f64>> = draws.iter().map(|draw| draw.get(name)?.as_f64()).collect();
        let Some(found) = found else {
            if draws
                .iter()
                .all(|draw| draw.get(name) == draws[0].get(name))
            {
                means.insert(name.clone(), draws[0][name].clone());
            }
            continue;
        };
        let mean = found.iter().sum::<f64>() / found.len() as f64;
        let squares: f64 = found.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = (squares / (found.len() - 1) as f64).sqrt();
        means.insert(name.clone(), mean.into());
        spread.insert(name.clone(), json!({"sd": deviation, "draws": found}));
    }
    (means, spread)
}

/// For each class, `shots` patients (or samples) that have it, drawn at random, with all of their
/// examples, or `shots` examples.
fn random_draw(
    examples: &Examples,
    pool: &[usize],
    classes: usize,
    (shots, of): (usize, Draw),
    seed: u64,
) -> Vec<usize> {
    let truth = examples.truth(pool);
    // What is drawn as one: a name, or else a number.
    let one = |index: usize| match of {
        Draw::Patients => (examples.cases[pool[index]].cluster(), 0),
        Draw::Examples => ("", index),
    };
    let mut taken: BTreeSet<(&str, usize)> = BTreeSet::new();
    for class in 0..classes {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(class as u64);
        let has = (0..pool.len()).filter(|&index| truth.is(index, class) == Some(true));
        let having: BTreeSet<_> = has.map(one).collect();
        let mut having: Vec<_> = having.into_iter().collect();
        random::shuffle(&mut having, &mut rng);
        taken.extend(having.into_iter().take(shots));
    }
    let is_taken = |&index: &usize| taken.contains(&one(index));
    (0..pool.len())
        .filter(is_taken)
        .map(|index| pool[index])
        .collect()
}

/// The study's draw. Of NIH ChestX-ray14: for each class in alphabetical order the first `shots`
/// patients, sorted, all of whose images have it; one that is taken for a class already is left out
/// and not replaced. Of other data: examples at equal distances.
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

/// `np.arange(0, n, n / shots).round()`: halves go to the even neighbour.
pub(crate) fn equidistant(n: usize, shots: usize) -> Vec<usize> {
    let shots = shots.min(n);
    let step = n as f64 / shots as f64;
    let at = |k: usize| ((k as f64 * step).round_ties_even() as usize).min(n - 1);
    (0..shots).map(at).collect()
}

#[cfg(test)]
mod tests;
