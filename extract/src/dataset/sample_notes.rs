//! What looks odd in images and masks and is no error.

use std::collections::{BTreeMap, BTreeSet};

use common::counted;

use super::missing::examples;

/// What looks odd in a sample.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SampleOddities {
    /// Values that no class is named for, in order; such pixels are ignored.
    pub unnamed: Vec<u16>,
    /// How far from where the image lies the mask's header puts it, in mm, if that is noteworthy.
    pub shift_mm: Option<f64>,
    /// What else, each in words for many samples.
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

    /// What to tell the user.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let unnamed: Vec<String> = self.unnamed.iter().cloned().collect();
        let values: Vec<String> = self.values.iter().map(u16::to_string).collect();
        let unnamed = (!unnamed.is_empty()).then(|| {
            format!(
                "masks of {} ({}) hold values that no class is named for, such pixels are ignored: {}",
                counted(unnamed.len(), "sample"),
                examples(&unnamed),
                examples(&values)
            )
        });
        let shifted: Vec<String> = self.shifted.keys().cloned().collect();
        let most = self.shifted.values().copied().fold(0.0, f64::max);
        let shifted = (!shifted.is_empty()).then(|| {
            format!(
                "by their headers, masks of {} ({}) lie up to {most:.1} mm away from their images; they are laid on them voxel by voxel: look at one in a viewer",
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
            text.contains("2 samples (`b`, `h`) lie up to 2.5 mm"),
            "{text}"
        );
    }
}
