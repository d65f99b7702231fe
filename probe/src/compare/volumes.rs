//! Comparison by the Dice coefficients of volumes.

use std::collections::BTreeMap;
use std::path::Path;

use super::{More, POOLED, Tested, check_recorded, recorded};
use crate::Error;
use crate::error::MeasureError;
use crate::examples::cluster_word;
use crate::metrics::bootstrap::{Bootstrap, FEWEST_UNITS};
use crate::metrics::confidence::Level;
use crate::metrics::measures::Confidence;
use crate::metrics::weights::Weights;
use crate::record::RunRecord;
use crate::segment::{Overlap, Overlaps, read_volumes};

/// Compares the Dice coefficients of two records.
pub(super) fn compare(
    runs: &Path,
    records: [&RunRecord; 2],
    measure: &'static str,
    confidence: &Confidence,
) -> Result<Tested, Error> {
    let [first, second] = records;
    let (a, mut b) = (read(runs, first, measure)?, read(runs, second, measure)?);
    // Pooled pixels are those of the backbones' inputs, whose sizes may differ.
    in_order_of(&mut b, &a, measure == POOLED)?;
    let patients: Vec<&str> = a.volumes.iter().map(Overlap::cluster).collect();
    let once = Weights::once(a.volumes.len());
    let word = cluster_word(a.volumes.iter().map(|volume| volume.patient.as_deref()));
    let differences = by_patient(&a, &b);
    let mut names = patients.clone();
    names.sort_unstable();
    names.dedup();
    let mut tested = Tested {
        cases: a.volumes.len(),
        unit: word,
        units: names.len(),
        values: [&a, &b].map(|of| of.dice(measure, &once)),
        recorded: records.map(|record| recorded(record, measure)),
        ..Tested::default()
    };
    if names.len() < 2 {
        return Ok(tested.with(None));
    }
    let level = Level::new(confidence.level)?;
    if names.len() >= FEWEST_UNITS {
        tested.more = over_patients(&differences, level, confidence)?;
    }
    let bootstrap = Bootstrap::new(&patients, confidence.draws, confidence.seed)?;
    let found = bootstrap.compare(
        level,
        |weights| a.dice(measure, weights),
        |weights| b.dice(measure, weights),
    );
    Ok(tested.with(found))
}

fn read(runs: &Path, record: &RunRecord, measure: &'static str) -> Result<Overlaps, Error> {
    let file = runs.join(record.predictions.as_deref().unwrap_or_default());
    let overlaps = read_volumes(&file)?;
    let found = overlaps.dice(measure, &Weights::once(overlaps.volumes.len()));
    check_recorded(record, measure, found, &file)?;
    Ok(overlaps)
}

/// Sorts volumes as others are; those of other samples, patients, classes or, unless `any_size`, masks are an
/// error.
fn in_order_of(volumes: &mut Overlaps, others: &Overlaps, any_size: bool) -> Result<(), Error> {
    let places = others.volumes.iter().enumerate();
    let places: BTreeMap<&str, usize> = places.map(|(at, of)| (of.sample.as_str(), at)).collect();
    let place = |of: &Overlap| {
        places
            .get(of.sample.as_str())
            .copied()
            .unwrap_or(usize::MAX)
    };
    volumes.volumes.sort_by_key(place);
    let is_same = |(a, b): (&Overlap, &Overlap)| {
        (&a.sample, &a.patient) == (&b.sample, &b.patient) && (any_size || a.truth == b.truth)
    };
    let mut pairs = volumes.volumes.iter().zip(&others.volumes);
    let is_like = volumes.names == others.names
        && volumes.volumes.len() == others.volumes.len()
        && pairs.all(is_same);
    if is_like {
        Ok(())
    } else {
        Err(Error::Measure(MeasureError::UnlikeCases))
    }
}

/// Differences of patients, in the order in which they appear: of the mean over a patient's volumes of the mean
/// Dice over classes. A volume in which one of the two has no Dice (its masks are empty, and so is what is
/// predicted) is left out, and a patient without others too.
fn by_patient(first: &Overlaps, second: &Overlaps) -> Vec<f64> {
    let mut patients: Vec<(&str, f64, f64)> = Vec::new();
    let mut places = BTreeMap::new();
    for (a, b) in first.volumes.iter().zip(&second.volumes) {
        let (Some(dice), Some(other)) = (a.mean(), b.mean()) else {
            continue;
        };
        let at = *places.entry(a.cluster()).or_insert_with(|| {
            patients.push((a.cluster(), 0.0, 0.0));
            patients.len() - 1
        });
        patients[at].1 += dice - other;
        patients[at].2 += 1.0;
    }
    patients.iter().map(|(_, sum, count)| sum / count).collect()
}

/// Wilcoxon's test over patients, and its effect with an interval.
fn over_patients(
    differences: &[f64],
    level: Level,
    confidence: &Confidence,
) -> Result<More, Error> {
    let wilcoxon = stats::wilcoxon::wilcoxon(differences);
    let mut more = More {
        p_wilcoxon: Some(wilcoxon.p),
        rank_biserial: wilcoxon.rank_biserial,
        ..More::default()
    };
    if differences.len() < 2 {
        return Ok(more);
    }
    let patients: Vec<usize> = (0..differences.len()).collect();
    let bootstrap = Bootstrap::new(&patients, confidence.draws, confidence.seed)?;
    let drawn = |weights: &Weights| {
        let times = |at: usize| std::iter::repeat_n(differences[at], weights.of(at) as usize);
        let drawn: Vec<f64> = (0..differences.len()).flat_map(times).collect();
        stats::wilcoxon::rank_biserial(&drawn)
    };
    let interval = bootstrap.interval(level, drawn).interval;
    more.rank_biserial_ci = interval.map(|of| [of.low, of.high]);
    Ok(more)
}
