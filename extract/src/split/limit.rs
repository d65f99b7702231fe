//! Subsets of a dataset's samples, for a first try.

use std::collections::HashSet;

use cache::{Labels, Split};

use super::draw::shuffled;
use crate::dataset::Sample;

/// Keeps `count` samples, drawn by `seed`, in their order.
///
/// Samples that add a class to a split, or a split, come first. So all classes are in all splits if `count`
/// allows it, and a smaller subset is part of a larger one.
pub fn limit(samples: &mut Vec<Sample>, count: usize, seed: u64) {
    let order = shuffled(samples.len(), seed);
    let mut seen = HashSet::new();
    let (mut chosen, rest): (Vec<usize>, Vec<usize>) = order.into_iter().partition(|&k| {
        let news = kinds(&samples[k])
            .into_iter()
            .filter(|kind| seen.insert(*kind));
        news.count() > 0
    });
    chosen.extend(rest);
    chosen.truncate(count);
    let chosen: HashSet<usize> = chosen.into_iter().collect();
    let mut position = 0..;
    samples.retain(|_| position.next().is_some_and(|k| chosen.contains(&k)));
}

/// Pairs of the split and each class that is present, or no class.
fn kinds(sample: &Sample) -> Vec<(Option<Split>, Option<usize>)> {
    let classes: Vec<usize> = match &sample.labels {
        Labels::Unlabelled => Vec::new(),
        Labels::Single(class) => class.iter().map(|class| *class as usize).collect(),
        Labels::Multi(states) => (0..states.len())
            .filter(|&c| states[c] == Some(1))
            .collect(),
    };
    if classes.is_empty() {
        vec![(sample.split, None)]
    } else {
        classes
            .into_iter()
            .map(|c| (sample.split, Some(c)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use imaging::read::Source;

    /// Samples sorted by class, as folders are listed.
    fn sorted() -> Vec<Sample> {
        let sample = |k: u32| Sample {
            labels: Labels::Single(Some(k / 100)),
            split: Some(Split::ALL[k as usize % 3]),
            ..Sample::of_image(Source::File(format!("{k:03}.png").into()))
        };
        (0..300).map(sample).collect()
    }

    fn limited(count: usize, seed: u64) -> Vec<Sample> {
        let mut samples = sorted();
        limit(&mut samples, count, seed);
        samples
    }

    #[test]
    fn every_class_is_there_in_every_split_as_far_as_there_is_room() {
        let few = limited(9, 7);
        let kinds: HashSet<_> = few
            .iter()
            .map(|s| format!("{:?} {:?}", s.labels, s.split))
            .collect();
        assert_eq!((few.len(), kinds.len()), (9, 9));
        assert!(few.is_sorted_by_key(|sample| sample.id.clone()));
        assert_ne!(few, limited(9, 8));
        let more = limited(40, 7);
        assert!(few.iter().all(|sample| more.contains(sample)));
        assert_eq!(limited(400, 7), sorted());
    }

    #[test]
    fn rare_classes_of_several_are_there() {
        let mut samples = sorted();
        for sample in &mut samples {
            sample.labels = Labels::Multi(vec![Some(1), Some(0), None]);
        }
        samples[123].labels = Labels::Multi(vec![Some(1), Some(1), None]);
        limit(&mut samples, 10, 0);
        assert!(samples.iter().any(|sample| sample.id == "123"));
    }
}
