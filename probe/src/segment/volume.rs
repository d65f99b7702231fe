//! Measures of a volume.

use crate::metrics::overlap::Confusion;

/// The segmentation of a sample, compared with its masks.
#[derive(Clone, Debug, PartialEq)]
pub struct Volume {
    /// The sample.
    pub sample: String,
    /// The patient, where known.
    pub patient: Option<String>,
    /// Pixels by class, background included.
    pub counts: Confusion,
    /// Distances between surfaces; `None` if the spacing is not known.
    pub distances: Option<Distances>,
}

/// Distances in a volume, in mm.
#[derive(Clone, Debug, PartialEq)]
pub struct Distances {
    /// 95th percentile of the Hausdorff distance of each class except background; `None` if the class is
    /// absent from the masks or the prediction.
    pub hd95_mm: Vec<Option<f64>>,
    /// The diagonal of the image.
    pub diagonal_mm: f64,
}

impl Volume {
    /// The HD95 of a class in mm.
    pub(super) fn hd95_mm(&self, class: usize) -> Option<f64> {
        self.distances.as_ref()?.hd95_mm[class - 1]
    }

    /// The HD95 of a class in mm; the image's diagonal if the class is in only one of truth and prediction.
    pub(super) fn hd95_penalised_mm(&self, class: usize) -> Option<f64> {
        let penalty = || {
            let distances = self.distances.as_ref()?;
            self.has(class).then_some(distances.diagonal_mm)
        };
        self.hd95_mm(class).or_else(penalty)
    }

    /// Returns whether a class is in the masks or predicted.
    fn has(&self, class: usize) -> bool {
        self.counts.truth(class) + self.counts.predicted(class) > 0
    }
}

/// A measure of a class (except background) in a volume.
pub(super) type Measure = fn(&Volume, usize) -> Option<f64>;

/// The measures and their names.
pub(super) const MEASURES: [(&str, Measure); 4] = [
    ("dice", |volume, class| volume.counts.dice(class)),
    ("iou", |volume, class| volume.counts.iou(class)),
    ("hd95_penalised_mm", Volume::hd95_penalised_mm),
    ("hd95_mm", Volume::hd95_mm),
];
