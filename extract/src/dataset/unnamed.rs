//! Values in masks that no class is named for.

use std::collections::BTreeSet;

use cache::counted;

use super::missing::examples;

/// Such values, and the samples that hold them.
#[derive(Debug, Default)]
pub(crate) struct Unnamed {
    values: BTreeSet<u16>,
    samples: BTreeSet<String>,
}

impl Unnamed {
    /// Notes the values that a sample's masks hold; none are fine.
    pub(crate) fn note(&mut self, sample: &str, values: &[u16]) {
        self.values.extend(values);
        if !values.is_empty() {
            self.samples.insert(sample.to_owned());
        }
    }

    /// What to tell the user, if there is anything.
    pub(crate) fn warning(&self) -> Option<String> {
        let values: Vec<String> = self.values.iter().map(u16::to_string).collect();
        let samples: Vec<String> = self.samples.iter().cloned().collect();
        let (count, samples_named) = (samples.len(), examples(&samples));
        (count > 0).then(|| {
            let values = examples(&values);
            format!(
                "masks of {} ({samples_named}) hold values that no class is named for: {values}",
                counted(count, "sample")
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_counted_and_a_few_are_named_with_the_values() {
        let mut unnamed = Unnamed::default();
        unnamed.note("fine", &[]);
        assert_eq!(unnamed.warning(), None);
        for sample in ["g", "f", "e", "d", "c", "b"] {
            unnamed.note(sample, &[255, 7]);
        }
        unnamed.note("b", &[9]);
        let text = unnamed.warning().unwrap();
        let named = "6 samples (`b`, `c`, `d`, `e`, `f`, …)";
        assert!(
            text.contains(named) && text.ends_with("`7`, `9`, `255`"),
            "{text}"
        );
    }
}
