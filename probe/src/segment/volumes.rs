//! Predicted label maps against true ones, a volume at a time.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, StringArray, UInt64Array};
use arrow::record_batch::RecordBatch;
use common::counted;
use common::files::write_whole;
use ndarray::{ArrayView3, Zip};
use nn::IGNORE;
use parquet::arrow::ArrowWriter;
use rayon::prelude::*;
use serde_json::{Map, Value, json};

use crate::error::{Cause, Error};
use crate::examples::cluster_word;
use crate::metrics::bootstrap::Bootstrap;
use crate::metrics::confidence::Level;
use crate::metrics::measures::{Confidence, Measures};
use crate::metrics::overlap::Confusion;
use crate::metrics::scored::Weights;
use crate::metrics::surface::{diagonal, hausdorff_95};

/// How well a sample was segmented.
#[derive(Clone, Debug, PartialEq)]
pub struct Volume {
    /// The sample.
    pub sample: String,
    /// The patient, where known.
    pub patient: Option<String>,
    /// Pixels by class, background included.
    pub counts: Confusion,
    /// How far apart surfaces are; `None` where distances between pixels are not known.
    pub distances: Option<Distances>,
}

/// Distances in a volume, in mm.
#[derive(Clone, Debug, PartialEq)]
pub struct Distances {
    /// 95th percentile of Hausdorff's distance of each class but background; `None` where it is not
    /// there or not found.
    pub hd95_mm: Vec<Option<f64>>,
    /// From one corner of the image to the opposite one.
    pub diagonal_mm: f64,
}

impl Volume {
    fn hd95_mm(&self, class: usize) -> Option<f64> {
        self.distances.as_ref()?.hd95_mm[class - 1]
    }

    /// The same, but the image's diagonal for a class that is in one of truth and prediction only.
    fn hd95_penalised_mm(&self, class: usize) -> Option<f64> {
        let penalty = || {
            let distances = self.distances.as_ref()?;
            self.has(class).then_some(distances.diagonal_mm)
        };
        self.hd95_mm(class).or_else(penalty)
    }

    /// Whether a class is there or predicted.
    fn has(&self, class: usize) -> bool {
        self.counts.truth(class) + self.counts.predicted(class) > 0
    }
}

/// Writes a row for each volume and class but background: `sample`, `patient`, `class`, `dice`, `iou`,
/// `hd95_penalised_mm`, `hd95_mm`, and the pixels that are truly and predictedly of the class.
///
/// # Errors
///
/// [`Error::Output`] if the file cannot be written.
pub fn write_volumes(volumes: &[Volume], names: &[String], path: &Path) -> Result<(), Error> {
    let failed = |source: Cause| Error::Output {
        path: path.into(),
        source,
    };
    let bytes = to_parquet(volumes, names).map_err(failed)?;
    write_whole(path, &bytes).map_err(|error| failed(error.into()))
}

fn to_parquet(volumes: &[Volume], names: &[String]) -> Result<Vec<u8>, Cause> {
    let rows: Vec<(&Volume, usize)> = volumes
        .iter()
        .flat_map(|volume| (1..names.len()).map(move |class| (volume, class)))
        .collect();
    let measure = |measure: Measure| -> ArrayRef {
        Arc::new(Float64Array::from_iter(
            rows.iter().map(|(v, c)| measure(v, *c)),
        ))
    };
    let count = |count: fn(&Confusion, usize) -> u64| -> ArrayRef {
        let counts = rows
            .iter()
            .map(|(volume, class)| count(&volume.counts, *class));
        Arc::new(UInt64Array::from_iter_values(counts))
    };
    let samples = rows.iter().map(|(volume, _)| &volume.sample);
    let patients = rows.iter().map(|(volume, _)| volume.patient.as_ref());
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        ("sample", Arc::new(StringArray::from_iter_values(samples))),
        ("patient", Arc::new(StringArray::from_iter(patients))),
        (
            "class",
            Arc::new(StringArray::from_iter_values(
                rows.iter().map(|(_, class)| &names[*class]),
            )),
        ),
    ];
    columns.extend(MEASURES.map(|(name, of)| (name, measure(of))));
    columns.push(("true_pixels", count(Confusion::truth)));
    columns.push(("predicted_pixels", count(Confusion::predicted)));
    let is_nullable =
        |name: &str| name == "patient" || MEASURES.iter().any(|(known, _)| *known == name);
    let columns = columns
        .into_iter()
        .map(|(name, column)| (name, column, is_nullable(name)));
    let batch = RecordBatch::try_from_iter_with_nullable(columns)?;
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None)?;
    writer.write(&batch)?;
    writer.close()?;
    Ok(bytes)
}

/// Label maps of a sample's slices at their own size, as they come.
#[derive(Debug, Default)]
pub(super) struct Stack {
    /// The slices' rows in the cache.
    pub(super) rows: Vec<usize>,
    size: [usize; 2],
    is_uneven: bool,
    /// Classes of those slices that have masks.
    truth: Vec<u16>,
    predicted: Vec<u16>,
}

impl Stack {
    pub(super) fn push(&mut self, row: usize, size: [usize; 2], truth: &[u16], predicted: &[u16]) {
        self.is_uneven |= !self.rows.is_empty() && self.size != size;
        self.size = size;
        self.rows.push(row);
        self.truth.extend(truth);
        self.predicted.extend(predicted);
    }

    /// The predicted classes `[S, H, W]`; `None` if slices differ in size.
    pub(super) fn predicted(&self) -> Option<ArrayView3<'_, u16>> {
        self.volume(&self.predicted)
    }

    fn volume<'a>(&self, labels: &'a [u16]) -> Option<ArrayView3<'a, u16>> {
        let shape = (self.rows.len(), self.size[0], self.size[1]);
        let volume = ArrayView3::from_shape(shape, labels).ok();
        volume.filter(|_| !self.is_uneven)
    }

    /// The distances between surfaces; `None` if not all slices have masks, if they differ in size, or
    /// if the spacing is not known. Nothing is predicted where pixels are ignored.
    pub(super) fn distances(
        &self,
        classes: usize,
        spacing_mm: Option<[f32; 3]>,
    ) -> Option<Distances> {
        let mm = spacing_mm.filter(|mm| mm.iter().all(|mm| mm.is_finite() && *mm > 0.0))?;
        let mm = mm.map(f64::from);
        let (truth, predicted) = (self.volume(&self.truth)?, self.predicted()?);
        let class = |class: u16| {
            let found = Zip::from(truth)
                .and(predicted)
                .map_collect(|&truth, &label| truth != IGNORE && label == class);
            let truth = truth.map(|&label| label == class);
            hausdorff_95(truth.view(), found.view(), mm)
        };
        Some(Distances {
            hd95_mm: (1..classes as u16).into_par_iter().map(class).collect(),
            diagonal_mm: diagonal(truth.shape(), mm),
        })
    }
}

/// The study's measures: pixels of all slices are counted together.
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

/// A measure of a class (not background) in a volume.
type Measure = fn(&Volume, usize) -> Option<f64>;

const MEASURES: [(&str, Measure); 4] = [
    ("dice", |volume, class| volume.counts.dice(class)),
    ("iou", |volume, class| volume.counts.iou(class)),
    ("hd95_penalised_mm", Volume::hd95_penalised_mm),
    ("hd95_mm", Volume::hd95_mm),
];

/// What to tell of volumes, measured at native resolution, without distances.
pub(super) fn without_distances(volumes: &[Volume]) -> Option<String> {
    let without = volumes.iter().filter(|volume| volume.distances.is_none());
    let count = without.count();
    (count > 0).then(|| {
        format!(
            "no HD95 of {}: the spacing is not known, slices differ in size, or slices between others are missing or lack masks",
            counted(count, "volume")
        )
    })
}

/// What to tell of structures that are there and that no pixel is predicted to be of; `advice` is what to
/// do if that is so of all.
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
    (!missed.is_empty()).then(|| format!("never predicted: `{}`", missed.join("`, `")))
}

/// Measures by volume: a class's is the mean over the volumes in which it is defined, the macro mean is
/// over classes; intervals draw patients.
pub(super) fn by_volume(
    volumes: &[Volume],
    names: &[String],
    confidence: Option<&Confidence>,
) -> Result<Measures, Error> {
    let classes = names.len();
    let once = Weights::once(volumes.len());
    let mut measures = Map::new();
    for (name, measure) in MEASURES {
        measures.insert(
            format!("{name}_macro"),
            json!(macro_mean(volumes, classes, measure, &once)),
        );
        measures.insert(
            format!("{name}_per_class"),
            per_class(names, |class| mean(volumes, class, measure, &once)),
        );
        measures.insert(
            format!("{name}_sd"),
            json!(deviation(volumes, classes, measure)),
        );
    }
    let undefined = volumes.iter().flat_map(|volume| {
        (1..classes).filter(|&class| {
            volume.hd95_mm(class).is_none() && volume.hd95_penalised_mm(class).is_some()
        })
    });
    measures.insert("hd95_undefined".to_owned(), json!(undefined.count()));
    measures.insert("volumes".to_owned(), json!(volumes.len()));
    let Some(confidence) = confidence else {
        return Ok(Measures {
            values: measures,
            ci: None,
        });
    };
    let patients: Vec<&str> = volumes
        .iter()
        .map(|volume| volume.patient.as_deref().unwrap_or(&volume.sample))
        .collect();
    let Ok(bootstrap) = Bootstrap::new(&patients, confidence.draws, confidence.seed) else {
        return Ok(Measures {
            values: measures,
            ci: None,
        });
    };
    let level = Level::new(confidence.level)?;
    let mut intervals = Map::new();
    for (name, measure) in MEASURES {
        let of = |weights: &Weights| macro_mean(volumes, classes, measure, weights);
        if let Some(found) = bootstrap.interval(level, of).interval {
            intervals.insert(format!("{name}_macro"), json!([found.low, found.high]));
        }
    }
    let word = cluster_word(volumes.iter().map(|volume| volume.patient.as_deref()));
    let method = format!("bootstrap of {word}s, percentiles");
    intervals.insert("method".into(), method.into());
    intervals.insert("level".into(), json!(confidence.level));
    intervals.insert("draws".into(), json!(confidence.draws));
    Ok(Measures {
        values: measures,
        ci: Some(intervals),
    })
}

fn per_class(names: &[String], measure: impl Fn(usize) -> Option<f64>) -> Value {
    let classes = names.iter().enumerate().skip(1);
    classes
        .map(|(class, name)| (name.clone(), json!(measure(class))))
        .collect::<Map<_, _>>()
        .into()
}

fn mean(volumes: &[Volume], class: usize, measure: Measure, weights: &Weights) -> Option<f64> {
    let (mut sum, mut count) = (0.0, 0.0);
    for (at, volume) in volumes.iter().enumerate() {
        if let Some(value) = measure(volume, class) {
            let weight = f64::from(weights.of(at));
            sum += weight * value;
            count += weight;
        }
    }
    (count > 0.0).then(|| sum / count)
}

fn macro_mean(
    volumes: &[Volume],
    classes: usize,
    measure: Measure,
    weights: &Weights,
) -> Option<f64> {
    average((1..classes).filter_map(|class| mean(volumes, class, measure, weights)))
}

/// The standard deviation over volumes of the mean over classes.
fn deviation(volumes: &[Volume], classes: usize, measure: Measure) -> Option<f64> {
    let of = |volume: &Volume| average((1..classes).filter_map(|class| measure(volume, class)));
    let values: Vec<f64> = volumes.iter().filter_map(of).collect();
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
