//! Measures of several backbones in the same bootstrap draws of patients.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use arrow::array::{Array, AsArray};
use arrow::datatypes::Float64Type;

use super::cells::{Way, figure, task};
use super::read::{Study, backbone};
use crate::error::FileError;
use crate::error::MeasureError;
use crate::error::{Cause, Error};
use crate::examples::Case;
use crate::metrics::bootstrap::{Bootstrap, FEWEST_UNITS, two_sided};
use crate::metrics::measures::Scored;
use crate::metrics::ranked::{auroc, mean_of_all, per_class};
use crate::metrics::weights::Weights;
use crate::predictions::Predictions;
use crate::record::RunRecord;

/// Level of tests.
pub(super) const LEVEL: f64 = 0.05;

/// Scores that the draws of a file go through at most; of larger ones there are fewer draws, at least [`FEW`].
const WORK: usize = 60_000_000;
/// Draws up to which p-values are of the normal distribution with their standard deviation.
const FEW: usize = 200;

/// The rule by which a figure is marked as the best, for captions.
pub(super) const RULE: &str = "Bold: the best figure of a column, if it differs from every other one (paired bootstrap of at least six patients, Holm-corrected p below 0.05).";

/// Task, way and protocol.
type Group = (String, Way, String);

/// Measures of backbones in bootstrap draws, by group.
#[derive(Debug, Default)]
pub(super) struct Resampled {
    groups: BTreeMap<Group, BTreeMap<String, Vec<Option<f64>>>>,
    /// Reasons why records have no draws.
    pub(super) complaints: Vec<String>,
}

/// A measure of cases by their weights.
type Measure = Box<dyn Fn(&Weights) -> Option<f64> + Sync>;

/// Cases of a file of scores, and its measure.
struct Cases {
    clusters: Vec<String>,
    measure: Measure,
    /// Scores that a draw goes through.
    work: usize,
}

impl Resampled {
    /// Draws patients `draws` times for each group of at least two backbones whose scores are saved.
    pub(super) fn of(study: &Study, draws: usize) -> Resampled {
        let mut all = Resampled::default();
        for protocol in study.protocols() {
            for way in Way::ALL {
                // Figures of pooled pixels have no scores by volume.
                if way.is_segmentation() && protocol == "paper" {
                    continue;
                }
                let records = study.all_of(way, protocol).compared;
                for group in records.chunk_by(|a, b| task(a) == task(b)) {
                    let drawn = drawn(study, way, group, draws, &mut all.complaints);
                    let place = (task(group[0]), way, protocol.to_owned());
                    all.groups.insert(place, drawn);
                }
            }
        }
        all
    }

    /// Draws of the backbones of a group.
    pub(super) fn group(
        &self,
        task: &str,
        way: Way,
        protocol: &str,
    ) -> Option<&BTreeMap<String, Vec<Option<f64>>>> {
        self.groups
            .get(&(task.to_owned(), way, protocol.to_owned()))
    }

    /// Two-sided p-value of no difference between two records of a group.
    pub(super) fn p(&self, way: Way, first: &RunRecord, second: &RunRecord) -> Option<f64> {
        let group = self.group(&task(first), way, &first.protocol)?;
        let [a, b] = [first, second].map(|record| group.get(&backbone(record)));
        let pairs = a?.iter().zip(b?);
        let differences: Vec<Option<f64>> = pairs.map(|(a, b)| Some((*a)? - (*b)?)).collect();
        let defined = differences.iter().flatten().count();
        let p = if differences.len() <= FEW {
            normal(&differences)
        } else {
            two_sided(&differences)
        };
        (2 * defined >= differences.len()).then_some(p)
    }

    /// Place of the record that is significantly better than every other one ([`RULE`]).
    pub(super) fn best(&self, way: Way, records: &[Option<&RunRecord>]) -> Option<usize> {
        let value = |at: usize| Some(figure(records[at]?)?.value);
        let known: Vec<usize> = (0..records.len())
            .filter(|&at| value(at).is_some())
            .collect();
        let best = known.iter().copied().max_by(|&a, &b| {
            let [a, b] = [a, b].map(|at| value(at).unwrap_or(f64::MIN));
            a.total_cmp(&b)
        })?;
        let others = known.into_iter().filter(|&at| at != best);
        let p = others.map(|at| self.p(way, records[best]?, records[at]?));
        let p: Vec<f64> = p.collect::<Option<_>>()?;
        let worst = stats::holm::holm(&p).into_iter().fold(0.0, f64::max);
        (!p.is_empty() && worst < LEVEL).then_some(best)
    }
}

/// Two-sided p-value of no difference, of a normal distribution with the mean and standard deviation of the draws.
fn normal(draws: &[Option<f64>]) -> f64 {
    let defined: Vec<f64> = draws.iter().copied().flatten().collect();
    let count = defined.len() as f64;
    let mean = defined.iter().sum::<f64>() / count;
    let squares: f64 = defined.iter().map(|value| (value - mean).powi(2)).sum();
    let deviation = (squares / (count - 1.0)).sqrt();
    if deviation > 0.0 {
        libm::erfc(mean.abs() / deviation / std::f64::consts::SQRT_2)
    } else {
        1.0
    }
}

/// Draws by backbone, over the cases that all files have in common with the first.
fn drawn(
    study: &Study,
    way: Way,
    records: &[&RunRecord],
    draws: usize,
    complaints: &mut Vec<String>,
) -> BTreeMap<String, Vec<Option<f64>>> {
    let mut found = BTreeMap::new();
    let mut first: Option<(Bootstrap, First)> = None;
    for record in records {
        let Some(file) = study.file(record.predictions.as_deref()) else {
            continue;
        };
        let like = first.as_ref().map(|(_, first)| first);
        match cases(&file, way, like) {
            Ok((cases, _)) if count(&cases.clusters) < FEWEST_UNITS => {}
            Ok((cases, as_first)) => {
                let known = first.take().map_or_else(
                    || {
                        let draws = draws.min((WORK / cases.work.max(1)).max(FEW));
                        Bootstrap::new(&cases.clusters, draws, 0).map(|b| (b, as_first))
                    },
                    Ok,
                );
                if let Ok((bootstrap, as_first)) = known {
                    found.insert(backbone(record), bootstrap.draws(&cases.measure));
                    first = Some((bootstrap, as_first));
                }
            }
            Err(error) => complaints.push(format!(
                "{} of {} on {}: not tested: {error}",
                record.probe,
                backbone(record),
                record.dataset
            )),
        }
    }
    found
}

/// Number of different clusters.
fn count<T: Ord>(clusters: &[T]) -> usize {
    clusters.iter().collect::<BTreeSet<_>>().len()
}

/// What the other files of a group must have in common with the first.
enum First {
    Scores(Predictions),
    Volumes(VolumeScores),
}

fn cases(path: &Path, way: Way, like: Option<&First>) -> Result<(Cases, First), Error> {
    if way.is_segmentation() {
        let mut scores = VolumeScores::read(path)?;
        if let Some(First::Volumes(first)) = like {
            scores = scores.in_order_of(first)?;
        }
        let found = scores.clone();
        let measure: Measure = Box::new(move |weights| scores.macro_dice(weights));
        let clusters = found.clusters.clone();
        let cases = Cases {
            work: found.dice.len() * found.classes.len(),
            clusters,
            measure,
        };
        return Ok((cases, First::Volumes(found)));
    }
    let (mut predictions, _) = Predictions::read(path)?;
    if let Some(First::Scores(first)) = like {
        predictions = predictions.in_order_of(&first.cases)?;
        if predictions.targets != first.targets {
            return Err(Error::Measure(MeasureError::UnlikeCases));
        }
    }
    let scored = Scored::new(&predictions)?;
    let found = scored.auroc();
    let defined: Vec<usize> = (0..found.len()).filter(|&c| found[c].is_some()).collect();
    let measure: Measure = Box::new(move |weights| {
        let all = per_class(&scored.classes, weights, auroc);
        let values: Vec<_> = defined.iter().map(|&class| all[class]).collect();
        mean_of_all(&values)
    });
    let clusters = predictions
        .cases
        .iter()
        .map(|case: &Case| case.cluster().to_owned());
    let clusters = clusters.collect();
    let cases = Cases {
        work: predictions.scores.values.len(),
        clusters,
        measure,
    };
    Ok((cases, First::Scores(predictions)))
}

/// Dice of the classes of volumes, from the file that `probe segment` saves.
#[derive(Clone, Debug, Default)]
pub(super) struct VolumeScores {
    pub(super) samples: Vec<String>,
    clusters: Vec<String>,
    classes: Vec<String>,
    /// By volume, then class.
    dice: Vec<Vec<Option<f64>>>,
}

impl VolumeScores {
    /// # Errors
    ///
    /// [`FileError::Input`] if there is no such file, or it is damaged.
    pub(super) fn read(path: &Path) -> Result<VolumeScores, Error> {
        Self::parse(path).map_err(|source| {
            Error::File(FileError::Input {
                path: path.into(),
                source,
            })
        })
    }

    fn parse(path: &Path) -> Result<VolumeScores, Cause> {
        let (batch, _) = cache::read_table(path)?;
        let column = |name: &str| {
            let column = batch.column_by_name(name);
            column.ok_or_else(|| format!("the column `{name}` is missing"))
        };
        let text = |name: &str| {
            let column = column(name)?.as_string_opt::<i32>();
            column.ok_or_else(|| format!("the column `{name}` has another type"))
        };
        let (samples, patients, classes) = (text("sample")?, text("patient")?, text("class")?);
        let dice = column("dice")?.as_primitive_opt::<Float64Type>();
        let dice = dice.ok_or("the column `dice` has another type")?;
        let mut found = VolumeScores::default();
        for row in 0..batch.num_rows() {
            let (sample, class) = (samples.value(row), classes.value(row));
            if found.samples.last().is_none_or(|last| last != sample) {
                let patient = patients.is_valid(row).then(|| patients.value(row));
                found.samples.push(sample.into());
                found.clusters.push(patient.unwrap_or(sample).into());
                found.dice.push(Vec::new());
            }
            if found.samples.len() == 1 {
                found.classes.push(class.into());
            }
            let values = found.dice.last_mut().ok_or("no volume")?;
            if found
                .classes
                .get(values.len())
                .is_none_or(|name| name != class)
            {
                return Err(format!("row {row}: expected the same classes in each volume").into());
            }
            values.push(dice.is_valid(row).then(|| dice.value(row)));
        }
        if found
            .dice
            .iter()
            .any(|values| values.len() != found.classes.len())
        {
            return Err("a volume lacks a class".into());
        }
        Ok(found)
    }

    fn in_order_of(self, first: &VolumeScores) -> Result<VolumeScores, Error> {
        let places: HashMap<&String, usize> = self.samples.iter().zip(0..).collect();
        let order = first
            .samples
            .iter()
            .map(|sample| places.get(sample).copied());
        let order: Option<Vec<usize>> = order.collect();
        let is_alike = self.samples.len() == first.samples.len() && self.classes == first.classes;
        let Some(order) = order.filter(|_| is_alike) else {
            return Err(Error::Measure(MeasureError::UnlikeCases));
        };
        Ok(VolumeScores {
            dice: order.iter().map(|&at| self.dice[at].clone()).collect(),
            ..first.clone()
        })
    }

    /// The mean over classes of the mean over the volumes in which Dice is defined, as in records.
    fn macro_dice(&self, weights: &Weights) -> Option<f64> {
        let mut means = Vec::new();
        for class in 0..self.classes.len() {
            let (mut sum, mut count) = (0.0, 0.0);
            for (at, values) in self.dice.iter().enumerate() {
                if let Some(value) = values[class] {
                    let weight = f64::from(weights.of(at));
                    sum += weight * value;
                    count += weight;
                }
            }
            if count > 0.0 {
                means.push(sum / count);
            }
        }
        (!means.is_empty()).then(|| means.iter().sum::<f64>() / means.len() as f64)
    }
}
