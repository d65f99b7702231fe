//! Oddities of images and masks, which are warnings.

use std::collections::{BTreeMap, BTreeSet};

use common::counted;

use super::examples::examples;

/// Oddities of a sample.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SampleOddities {
    /// Values that no class is named for, in order; such pixels are ignored.
    pub unnamed: Vec<u16>,
    /// Distance in mm between mask and image by their headers, if it is more than half a voxel.
    pub shift_mm: Option<f64>,
    /// Other oddities, as plural phrases.
    pub kinds: Vec<&'static str>,
}

/// The oddities of many samples.
#[derive(Debug, Default)]
pub(crate) struct SampleNotes {
    values: BTreeSet<u16>,
    unnamed: BTreeSet<String>,
    shifted: BTreeMap<String, f64>,
    kinds: BTreeMap<&'static str, BTreeSet<String>>,
}

impl SampleNotes {
    /// Notes a sample's.
    pub(crate) fn note(&mut self, sample: &str, oddities: &SampleOddities) {
        self.values.extend(&oddities.unnamed);
        if !oddities.unnamed.is_empty() {
            self.unnamed.insert(sample.to_owned());
        }
        if let Some(mm) = oddities.shift_mm {
            self.shifted.insert(sample.to_owned(), mm);
        }
        for kind in &oddities.kinds {
            let samples = self.kinds.entry(kind).or_default();
            samples.insert(sample.to_owned());
        }
    }

    /// Warnings for the user.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let unnamed: Vec<String> = self.unnamed.iter().cloned().collect();
        let values: Vec<String> = self.values.iter().map(u16::to_string).collect();
        let unnamed = (!unnamed.is_empty()).then(|| {
            format!(
                "masks of {} ({}) contain values without a class; their pixels are ignored: {}",
                counted(unnamed.len(), "sample"),
                examples(&unnamed),
                examples(&values)
            )
        });
        let shifted: Vec<String> = self.shifted.keys().cloned().collect();
        let most = self.shifted.values().copied().fold(0.0, f64::max);
        let shifted = (!shifted.is_empty()).then(|| {
            format!(
                "by their headers, masks of {} ({}) are up to {most:.1} mm away from their images; they are matched voxel by voxel: check one in a viewer",
                counted(shifted.len(), "sample"),
                examples(&shifted)
            )
        });
        let kinds = self.kinds.iter().map(|(kind, samples)| {
            let names: Vec<String> = samples.iter().cloned().collect();
            format!(
                "{kind}: {} ({})",
                counted(names.len(), "sample"),
                examples(&names)
            )
        });
        unnamed.into_iter().chain(shifted).chain(kinds).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_counted_and_a_few_are_named_with_the_values() {
        let mut notes = SampleNotes::default();
        notes.note("fine", &SampleOddities::default());
        assert!(notes.warnings().is_empty());
        let unnamed = |values: &[u16]| SampleOddities {
            unnamed: values.to_vec(),
            ..SampleOddities::default()
        };
        for sample in ["g", "f", "e", "d", "c", "b"] {
            notes.note(sample, &unnamed(&[255, 7]));
        }
        notes.note("b", &unnamed(&[9]));
        let text = notes.warnings().concat();
        let named = "6 samples (`b`, `c`, `d`, `e`, `f`, …)";
        assert!(
            text.contains(named) && text.ends_with("`7`, `9`, `255`"),
            "{text}"
        );
        for (sample, mm) in [("b", 2.5), ("h", 1.0)] {
            let shift_mm = Some(mm);
            notes.note(
                sample,
                &SampleOddities {
                    shift_mm,
                    ..SampleOddities::default()
                },
            );
        }
        let text = notes.warnings().pop().unwrap();
        assert!(
            text.contains("2 samples (`b`, `h`) are up to 2.5 mm"),
            "{text}"
        );
    }
}
