//! Overlap of structures: Dice, intersection over union, and the study's Jaccard index.

use nn::IGNORE;

/// Counts of pixels or voxels: true classes in rows, predicted classes in columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confusion {
    classes: usize,
    counts: Vec<u64>,
}

impl Confusion {
    /// Empty counts of `classes` classes, including background.
    pub fn new(classes: usize) -> Confusion {
        Confusion {
            classes,
            counts: vec![0; classes * classes],
        }
    }

    /// Counts pixels whose classes are below the number of classes; those whose true class is [`IGNORE`] are
    /// excluded.
    ///
    /// # Panics
    ///
    /// If another class is not below it, or there are not as many predictions as truths.
    pub fn add(&mut self, truth: &[u16], predicted: &[u16]) {
        assert_eq!(truth.len(), predicted.len());
        let pixels = truth.iter().zip(predicted);
        for (&truth, &predicted) in pixels.filter(|(truth, _)| **truth != IGNORE) {
            self.counts[usize::from(truth) * self.classes + usize::from(predicted)] += 1;
        }
    }

    /// Whether nothing has been counted.
    pub fn is_empty(&self) -> bool {
        self.counts.iter().all(|&count| count == 0)
    }

    /// Adds counts of the same number of classes.
    pub fn merge(&mut self, other: &Confusion) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
    }

    fn count(&self, truth: usize, predicted: usize) -> u64 {
        self.counts[truth * self.classes + predicted]
    }

    /// Pixels whose true class is this one.
    pub fn truth(&self, class: usize) -> u64 {
        (0..self.classes).map(|p| self.count(class, p)).sum()
    }

    /// Pixels whose predicted class is this one.
    pub fn predicted(&self, class: usize) -> u64 {
        (0..self.classes).map(|t| self.count(t, class)).sum()
    }

    /// Dice coefficient `2 TP / (2 TP + FP + FN)` of a class: 0 if it is predicted but absent, `None` if it is
    /// neither predicted nor present.
    pub fn dice(&self, class: usize) -> Option<f64> {
        let both = self.count(class, class);
        share(2 * both, self.truth(class) + self.predicted(class))
    }

    /// Intersection over union `TP / (TP + FP + FN)`; `None` as for [`dice`](Self::dice).
    pub fn iou(&self, class: usize) -> Option<f64> {
        let both = self.count(class, class);
        share(both, self.truth(class) + self.predicted(class) - both)
    }

    /// The Jaccard index as the study's code computes it (torchmetrics 1.0.3 with `ignore_index=0`):
    /// pixels of background are excluded, so that structures predicted there do not count.
    pub fn foreground_jaccard(&self, class: usize) -> Option<f64> {
        let both = self.count(class, class);
        let predicted = self.predicted(class) - self.count(0, class);
        share(both, self.truth(class) + predicted - both)
    }

    /// Mean of a measure over the structures (all classes but background) that have one.
    pub fn mean(&self, measure: impl Fn(&Confusion, usize) -> Option<f64>) -> Option<f64> {
        let found: Vec<f64> = (1..self.classes).filter_map(|c| measure(self, c)).collect();
        (!found.is_empty()).then(|| found.iter().sum::<f64>() / found.len() as f64)
    }
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn background_taken_for_a_structure_costs_dice_and_not_the_studys_jaccard() {
        let mut counts = Confusion::new(3);
        counts.add(&[0, 0, 1, 1, 1, 2], &[1, 0, 1, 1, 2, 2]);
        assert_eq!(counts.dice(1), Some(4.0 / 6.0));
        assert_eq!(counts.iou(1), Some(2.0 / 4.0));
        assert_eq!(counts.foreground_jaccard(1), Some(2.0 / 3.0));
        assert_eq!(counts.mean(Confusion::iou), Some(0.5));
    }

    #[test]
    fn ignored_pixels_count_for_nothing() {
        let (mut counts, mut without) = (Confusion::new(2), Confusion::new(2));
        counts.add(&[IGNORE, 1, IGNORE, 0], &[1, 1, 0, 0]);
        without.add(&[1, 0], &[1, 0]);
        assert_eq!(counts, without);
    }

    #[test]
    fn a_class_that_is_nowhere_is_left_out_of_the_mean() {
        let mut counts = Confusion::new(3);
        counts.add(&[0, 1], &[0, 1]);
        assert_eq!(counts.dice(2), None);
        assert_eq!(counts.mean(Confusion::dice), Some(1.0));
        let mut other = Confusion::new(3);
        other.add(&[0], &[2]);
        counts.merge(&other);
        assert_eq!(counts.dice(2), Some(0.0));
        assert_eq!(Confusion::new(2).mean(Confusion::dice), None);
    }
}
