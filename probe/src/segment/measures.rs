//! Measures of all volumes.

use common::counted;
use serde_json::{Map, Value, json};

use super::volume::{MEASURES, Volume};
use super::volume_table::{VolumeRow, VolumeTable};
use crate::Error;
use crate::examples::cluster_word;
use crate::metrics::bootstrap::{Bootstrap, few_units};
use crate::metrics::confidence::Level;
use crate::metrics::measures::{Confidence, Measures};
use crate::metrics::overlap::Confusion;
use crate::metrics::weights::Weights;

/// Structures that a warning names.
const NAMED: usize = 5;

/// The study's measures: the pixels of all slices are counted together.
pub(super) fn pooled(volumes: &[Volume], names: &[String]) -> Measures {
    let all = together(volumes, names.len());
    let (dice, jaccard) = (
        all.mean(Confusion::dice),
        all.mean(Confusion::foreground_jaccard),
    );
    let of = |measure: fn(&Confusion, usize) -> Option<f64>| {
        per_class(names, |class| measure(&all, class))
    };
    let values = Map::from_iter([
        ("dice_pooled".to_owned(), json!(dice)),
        ("jaccard_pooled".to_owned(), json!(jaccard)),
        (
            "dice_jaccard_mean".to_owned(),
            json!(
                dice.zip(jaccard)
                    .map(|(dice, jaccard)| (dice + jaccard) / 2.0)
            ),
        ),
        ("dice_pooled_per_class".to_owned(), of(Confusion::dice)),
        (
            "jaccard_pooled_per_class".to_owned(),
            of(Confusion::foreground_jaccard),
        ),
    ]);
    Measures { values, ci: None }
}

/// The mean Dice coefficient of all pixels counted together.
pub(super) fn pooled_dice(volumes: &[Volume], classes: usize) -> Option<f64> {
    together(volumes, classes).mean(Confusion::dice)
}

fn together(volumes: &[Volume], classes: usize) -> Confusion {
    let mut all = Confusion::new(classes);
    volumes.iter().for_each(|volume| all.merge(&volume.counts));
    all
}

/// A warning about volumes without distances, measured at native resolution.
fn without_distances(volumes: &[Volume]) -> Option<String> {
    let without = volumes.iter().filter(|volume| volume.distances.is_none());
    let count = without.count();
    (count > 0).then(|| {
        format!(
            "no HD95 of {}: the spacing is not known, slices differ in size, or slices between others are missing or lack masks",
            counted(count, "volume")
        )
    })
}

/// Measures by volume, with warnings about volumes without distances and about few patients.
///
/// # Errors
///
/// Those of [`measures_by_volume`].
pub(super) fn by_volume(
    volumes: &[Volume],
    names: &[String],
    confidence: Option<&Confidence>,
    warnings: &mut Vec<String>,
) -> Result<Measures, Error> {
    let table = VolumeTable::of(volumes, names);
    warnings.extend(without_distances(volumes));
    warnings.extend(few_patients(&table, confidence));
    measures_by_volume(&table, confidence)
}

/// A warning about intervals of few patients.
pub(crate) fn few_patients(table: &VolumeTable, confidence: Option<&Confidence>) -> Option<String> {
    let (patients, word) = patients(table);
    confidence.and_then(|_| few_units(patients, word))
}

/// The patient of each volume (the sample, where it is not known), and the word for what these are.
fn patients(table: &VolumeTable) -> (Vec<&str>, &'static str) {
    let volumes = table.volumes.iter();
    let patients = volumes.clone().map(VolumeRow::cluster).collect();
    let word = cluster_word(volumes.map(|volume| volume.patient.as_deref()));
    (patients, word)
}

/// A warning about structures that are in the masks and never predicted, with `advice` if none is
/// predicted.
pub(super) fn never_predicted(
    volumes: &[Volume],
    names: &[String],
    advice: &str,
) -> Option<String> {
    let all = together(volumes, names.len());
    let (found, missed): (Vec<usize>, Vec<usize>) = (1..names.len())
        .filter(|&class| all.truth(class) + all.predicted(class) > 0)
        .partition(|&class| all.predicted(class) > 0);
    if found.is_empty() && !missed.is_empty() {
        return Some(format!("no structure is predicted anywhere: {advice}"));
    }
    let missed: Vec<&str> = missed.iter().map(|&class| names[class].as_str()).collect();
    (!missed.is_empty()).then(|| {
        let named = missed[..missed.len().min(NAMED)].join("`, `");
        match missed.len().saturating_sub(NAMED) {
            0 => format!("never predicted: `{named}`"),
            more => format!("never predicted: `{named}` and {more} more"),
        }
    })
}

/// Measures by volume: that of a class is the mean over the volumes in which it is defined, the macro mean
/// is over classes; confidence intervals draw patients.
///
/// # Errors
///
/// [`MeasureError::Level`](crate::error::MeasureError::Level) and [`MeasureError::Draws`](crate::error::MeasureError::Draws).
pub fn measures_by_volume(
    table: &VolumeTable,
    confidence: Option<&Confidence>,
) -> Result<Measures, Error> {
    let once = Weights::once(table.volumes.len());
    let mut values = Map::new();
    for (measure, (name, _)) in MEASURES.iter().enumerate() {
        values.insert(
            format!("{name}_macro"),
            json!(macro_mean(table, measure, &once)),
        );
        let means = table.names.iter().enumerate();
        let means = means.map(|(class, name)| {
            let mean = mean(&table.volumes, class, measure, &once);
            (name.clone(), json!(mean))
        });
        values.insert(
            format!("{name}_per_class"),
            means.collect::<Map<_, _>>().into(),
        );
        values.insert(format!("{name}_sd"), json!(deviation(table, measure)));
    }
    let undefined = table.volumes.iter().flat_map(|volume| {
        let [.., penalised, hd95] = &volume.values;
        let pairs = penalised.iter().zip(hd95);
        pairs.filter(|(penalised, hd95)| hd95.is_none() && penalised.is_some())
    });
    values.insert("hd95_undefined".to_owned(), json!(undefined.count()));
    values.insert("volumes".to_owned(), json!(table.volumes.len()));
    let ci = match confidence {
        Some(confidence) => intervals(table, confidence)?,
        None => None,
    };
    Ok(Measures { values, ci })
}

/// Confidence intervals of the macro means; `None` if there are too few patients to draw from.
fn intervals(
    table: &VolumeTable,
    confidence: &Confidence,
) -> Result<Option<Map<String, Value>>, Error> {
    let (patients, word) = patients(table);
    let Ok(bootstrap) = Bootstrap::new(&patients, confidence.draws, confidence.seed) else {
        return Ok(None);
    };
    let level = Level::new(confidence.level)?;
    let mut intervals = Map::new();
    for (measure, (name, _)) in MEASURES.iter().enumerate() {
        let found = bootstrap.interval(level, |weights| macro_mean(table, measure, weights));
        if let Some(found) = found.interval {
            intervals.insert(format!("{name}_macro"), json!([found.low, found.high]));
        }
    }
    let method = format!("bootstrap of {word}s, percentiles");
    intervals.insert("method".into(), method.into());
    intervals.insert("level".into(), json!(confidence.level));
    intervals.insert("draws".into(), json!(confidence.draws));
    Ok(Some(intervals))
}

fn per_class(names: &[String], measure: impl Fn(usize) -> Option<f64>) -> Value {
    let classes = names.iter().enumerate().skip(1);
    classes
        .map(|(class, name)| (name.clone(), json!(measure(class))))
        .collect::<Map<_, _>>()
        .into()
}

/// The mean of a measure, by its place in [`MEASURES`], over the volumes in which it is defined.
fn mean(volumes: &[VolumeRow], class: usize, measure: usize, weights: &Weights) -> Option<f64> {
    let (mut sum, mut count) = (0.0, 0.0);
    for (at, volume) in volumes.iter().enumerate() {
        if let Some(value) = volume.values[measure][class] {
            let weight = f64::from(weights.of(at));
            sum += weight * value;
            count += weight;
        }
    }
    (count > 0.0).then(|| sum / count)
}

fn macro_mean(table: &VolumeTable, measure: usize, weights: &Weights) -> Option<f64> {
    let classes = 0..table.names.len();
    average(classes.filter_map(|class| mean(&table.volumes, class, measure, weights)))
}

/// The standard deviation over volumes of the mean over classes.
fn deviation(table: &VolumeTable, measure: usize) -> Option<f64> {
    let of = |volume: &VolumeRow| average(volume.values[measure].iter().copied().flatten());
    let values: Vec<f64> = table.volumes.iter().filter_map(of).collect();
    let mean = average(values.iter().copied())?;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (values.len() > 1).then(|| (squares / (values.len() - 1) as f64).sqrt())
}

fn average(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / f64::from(count))
}

#[cfg(test)]
mod tests;
