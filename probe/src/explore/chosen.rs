//! The choice of images.

use std::collections::BTreeMap;

use cache::{CacheReader, Labels, SliceMeta};
use common::draw::equidistant;
use common::similar;
use common::text::printable;

use crate::Error;
use crate::error::ExploreError;

/// The images to look at.
#[derive(Clone, Debug, PartialEq)]
pub enum Choice {
    /// Samples `ID`, of volumes their middle slice, or slices `ID:SLICE`.
    Named(Vec<String>),
    /// A number of images, spread over the classes.
    Spread(usize),
}

impl Choice {
    /// Whether a slice of a sample is named, and not only samples.
    pub(super) fn names_slices(&self, slices: &[SliceMeta]) -> bool {
        let is_sample = |word: &String| slices.iter().any(|slice| slice.sample == *word);
        match self {
            Choice::Named(words) => !words.iter().all(is_sample),
            Choice::Spread(_) => false,
        }
    }

    /// Rows of the images, plain views only, in the order of the choice.
    ///
    /// # Errors
    ///
    /// [`ExploreError::NoSuchCase`] for a name that the cache lacks.
    pub(super) fn rows(
        &self,
        reader: &CacheReader,
        slices: &[SliceMeta],
    ) -> Result<Vec<usize>, Error> {
        match self {
            Choice::Named(words) => {
                let rows = words.iter().map(|word| named(reader, slices, word));
                rows.collect()
            }
            Choice::Spread(count) => Ok(spread(slices, *count)),
        }
    }
}

/// The row of `ID` or `ID:SLICE`. A sample of that whole name comes first, since names may hold colons.
fn named(reader: &CacheReader, slices: &[SliceMeta], word: &str) -> Result<usize, Error> {
    let plain = || (0..slices.len()).filter(|&row| slices[row].view == 0);
    let of = |sample: &str| {
        plain()
            .filter(|&row| slices[row].sample == *sample)
            .collect()
    };
    let whole: Vec<usize> = of(word);
    if !whole.is_empty() {
        return Ok(middle(slices, whole));
    }
    let (sample, slice) = match word
        .rsplit_once(':')
        .map(|(id, at)| (id, at.parse::<u32>()))
    {
        Some((sample, Ok(slice))) => (sample, Some(slice)),
        _ => (word, None),
    };
    let rows: Vec<usize> = of(sample);
    if let Some(&row) = rows.iter().find(|&&row| Some(slices[row].slice) == slice) {
        return Ok(row);
    }
    let hint = match (rows.first(), rows.last()) {
        (Some(&first), Some(&last)) => format!(
            "`{}` has the slices {} to {}",
            printable(sample),
            slices[first].slice,
            slices[last].slice
        ),
        _ => {
            let known = slices.iter().map(|slice| slice.sample.as_str());
            let meant = similar(sample, known).or(slices.first().map(|s| s.sample.as_str()));
            let meant = meant.map(|meant| format!(", such as `{}`", printable(meant)));
            format!(
                "give a `sample` of the table `slices`{}",
                meant.unwrap_or_default()
            )
        }
    };
    Err(Error::Explore(ExploreError::NoSuchCase {
        path: reader.dir().into(),
        word: word.into(),
        hint,
    }))
}

/// `ID`, or `ID:SLICE` of a slice among several of its sample.
pub(super) fn name(slices: &[SliceMeta], row: usize) -> String {
    let SliceMeta { sample, slice, .. } = &slices[row];
    let is_other = |other: &SliceMeta| other.sample == *sample && other.slice != *slice;
    if slices.iter().any(is_other) {
        format!("{sample}:{slice}")
    } else {
        sample.clone()
    }
}

/// The middle one of some rows by slice.
pub(super) fn middle(slices: &[SliceMeta], mut rows: Vec<usize>) -> usize {
    rows.sort_by_key(|&row| slices[row].slice);
    rows[rows.len() / 2]
}

/// `count` rows: the classes in turn, of each class samples at equal distances and of those the middle slice; if
/// a class has fewer samples, rows at equal distances.
fn spread(slices: &[SliceMeta], count: usize) -> Vec<usize> {
    let mut classes: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (row, slice) in slices.iter().enumerate().filter(|(_, s)| s.view == 0) {
        classes.entry(class(&slice.labels)).or_default().push(row);
    }
    let mut wanted = vec![0; classes.len()];
    let all: usize = classes.values().map(Vec::len).sum();
    while wanted.iter().sum::<usize>() < count.min(all) {
        for (wanted_here, rows) in wanted.iter_mut().zip(classes.values()) {
            *wanted_here += usize::from(*wanted_here < rows.len());
        }
    }
    let chosen = classes.values().zip(wanted);
    let mut chosen: Vec<usize> = chosen
        .flat_map(|(rows, n)| of_class(slices, rows, n))
        .collect();
    chosen.truncate(count);
    chosen
}

fn of_class(slices: &[SliceMeta], rows: &[usize], count: usize) -> Vec<usize> {
    let mut samples: Vec<Vec<usize>> = Vec::new();
    let mut known: BTreeMap<&str, usize> = BTreeMap::new();
    for &row in rows {
        let next = samples.len();
        let at = *known.entry(&slices[row].sample).or_insert(next);
        if at == next {
            samples.push(Vec::new());
        }
        samples[at].push(row);
    }
    if samples.len() >= count {
        let at = equidistant(samples.len(), count).into_iter();
        return at
            .map(|at| middle(slices, std::mem::take(&mut samples[at])))
            .collect();
    }
    // The middle of each part.
    (0..count)
        .map(|k| rows[(2 * k + 1) * rows.len() / (2 * count)])
        .collect()
}

/// A number for the class: the first one that is present.
fn class(labels: &Labels) -> usize {
    match labels {
        Labels::Single(Some(class)) => *class as usize,
        Labels::Multi(states) => {
            let present = states.iter().position(|state| *state == Some(1));
            present.unwrap_or(states.len())
        }
        Labels::Single(None) | Labels::Unlabelled => usize::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(sample: &str, slice: u32, class: u32) -> SliceMeta {
        SliceMeta {
            slice,
            labels: Labels::Single(Some(class)),
            ..::tests::slice(sample)
        }
    }

    #[test]
    fn images_are_spread_over_classes_samples_and_slices() {
        let mut slices: Vec<SliceMeta> = (0..6)
            .flat_map(|k| (0..3).map(move |at| slice(&format!("s{k}"), at, k % 2)))
            .collect();
        let names = |slices: &[SliceMeta], count| -> Vec<(String, u32)> {
            let rows = spread(slices, count).into_iter();
            rows.map(|row| (slices[row].sample.clone(), slices[row].slice))
                .collect()
        };
        let of = |known: &[(&str, u32)]| -> Vec<(String, u32)> {
            known
                .iter()
                .map(|&(name, at)| (name.to_owned(), at))
                .collect()
        };
        assert_eq!(
            names(&slices, 4),
            of(&[("s0", 1), ("s4", 1), ("s1", 1), ("s5", 1)])
        );
        assert_eq!(names(&slices, 3), of(&[("s0", 1), ("s4", 1), ("s1", 1)]));
        assert_eq!(names(&slices, 99).len(), 18);
        slices.truncate(3);
        assert_eq!(names(&slices, 2), of(&[("s0", 0), ("s0", 2)]));
        slices[2].view = 1;
        assert_eq!(names(&slices, 9), of(&[("s0", 0), ("s0", 1)]));
    }
}
